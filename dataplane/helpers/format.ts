/**
 * The format strings of bpf_trace_printk, bpf_trace_vprintk and bpf_snprintf: a part of Linux's vsnprintf, checked
 * before anything is printed.
 *
 *   %[0 +-]*[width][l|ll](d i u x X)   %c   %s %pks %pus   %p %px %pK %ps %pS %pB   %pi4 %pI4 %pi6 %pI6   %%
 *
 * Arguments are 64-bit words; strings and IP addresses are read where the word points, and what cannot be read is
 * empty or zero. All of them together must fit the kernel's scratch buffer, as there.
 */
import type { MachineMemory } from '../machine/memory.ts';
import { ERRNO } from '../maps/map.ts';

/** Longest format argument list, MAX_BPRINTF_VARARGS. */
export const MAX_FORMAT_ARGUMENTS = 12;
/** MAX_BPRINTF_BIN_ARGS: what converted arguments may take. */
const ARGUMENT_ROOM_BYTES = 512;

const CHAR = { percent: 0x25, zero: 0x30, nine: 0x39, minus: 0x2d } as const;
const FLAGS = '0+- ';
const POINTER_DIGITS = 16;

interface Spec {
  readonly left: boolean;
  readonly zero: boolean;
  readonly sign: '' | '+' | ' ';
  readonly width: number;
}

/** Characters of a result are bytes, 0 to 255. A negative number is an errno. */
export function formatMessage(memory: MachineMemory, format: string, args: readonly bigint[]): string | number {
  for (let at = 0; at < format.length; at++) {
    if (isControl(format.charCodeAt(at))) return -ERRNO.EINVAL;
  }
  let out = '';
  let used = 0;
  let room = ARGUMENT_ROOM_BYTES;
  // Behind the end Linux finds the terminating NUL: '' here, which no conversion matches.
  for (let at = 0; at < format.length; at++) {
    if (format.charCodeAt(at) !== CHAR.percent) {
      out += format[at];
      continue;
    }
    at++;
    if (format[at] === '%') {
      out += '%';
      continue;
    }
    const value = args[used++];
    if (value === undefined) return -ERRNO.EINVAL;
    const [spec, conversion] = readSpec(format, at);
    at = conversion;
    const kind = format[at];

    if (kind === 'p') {
      const name = format.slice(at + 1, at + 3);
      if (name === 'ks' || name === 'us') {
        const text = readString(memory, value, room);
        room -= text.length + 1;
        out += pad(text, spec);
        at += 2;
      } else if (/^[iI][46]/.test(name)) {
        const text = formatIp(memory, value, name);
        if (room < (name[1] === '4' ? 4 : 16)) return -ERRNO.ENOSPC;
        room -= text.length + 1;
        out += text;
        at += 2;
      } else if (name === '' || /^[KxsSB]/.test(name) || !/^[A-Za-z0-9]/.test(name)) {
        room = (room & ~3) - 8;
        const hex = value.toString(16);
        if (/^[sSB]/.test(name)) out += pad(`0x${hex}`, spec);
        else out += spec.width === 0 ? hex.padStart(POINTER_DIGITS, '0') : pad(hex, spec);
      } else {
        return -ERRNO.EINVAL;
      }
      // What follows a pointer's name belongs to it, whether it means anything or not.
      while (/[A-Za-z0-9]/.test(format[at + 1] ?? '')) at++;
    } else if (kind === 's') {
      const text = readString(memory, value, room);
      room -= text.length + 1;
      out += pad(text, spec);
    } else if (kind === 'c') {
      room -= 1;
      out += pad(String.fromCharCode(Number(value & 0xffn)), spec);
    } else {
      let longs = 0;
      while (longs < 2 && format[at] === 'l') {
        longs++;
        at++;
      }
      const text = formatNumber(value, longs > 0 ? 64 : 32, format[at] ?? '', spec);
      if (text === undefined) return -ERRNO.EINVAL;
      room = (room & ~3) - (longs > 0 ? 8 : 4);
      out += text;
    }
    if (room < 0) return -ERRNO.ENOSPC;
  }
  return out;
}

/** Blanks and bytes past ASCII may stand in a format. */
function isControl(code: number): boolean {
  return code === 0x7f || (code < 0x20 && !(code >= 0x09 && code <= 0x0d));
}

function readSpec(format: string, start: number): [spec: Spec, next: number] {
  let at = start;
  while (at < format.length && FLAGS.includes(format[at]!)) at++;
  const flags = format.slice(start, at);
  let width = 0;
  while (format.charCodeAt(at) >= CHAR.zero && format.charCodeAt(at) <= CHAR.nine) width = width * 10 + Number(format[at++]);
  const left = flags.includes('-');
  return [{ left, zero: flags.includes('0') && !left, sign: flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : '', width }, at];
}

function pad(text: string, spec: Spec): string {
  return spec.left ? text.padEnd(spec.width) : text.padStart(spec.width);
}

function formatNumber(value: bigint, bits: 32 | 64, conversion: string, spec: Spec): string | undefined {
  const signed = conversion === 'd' || conversion === 'i';
  const hex = conversion === 'x' || conversion === 'X';
  if (!signed && !hex && conversion !== 'u') return undefined;
  const number = signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
  const digits = (number < 0n ? -number : number).toString(hex ? 16 : 10);
  const sign = number < 0n ? '-' : signed ? spec.sign : '';
  const spelled = conversion === 'X' ? digits.toUpperCase() : digits;
  return spec.zero ? sign + spelled.padStart(spec.width - sign.length, '0') : pad(sign + spelled, spec);
}

/** The string at `address`, cut where its NUL would leave `room`; empty where memory ends. */
export function readString(memory: MachineMemory, address: bigint, room: number): string {
  const { u8 } = memory;
  if (address === 0n || address >= BigInt(u8.length)) return '';
  let text = '';
  for (let at = Number(address); text.length < room - 1; at++) {
    const byte = u8[at];
    if (byte === undefined) return '';
    if (byte === 0) break;
    text += String.fromCharCode(byte);
  }
  return text;
}

/** `name` is i4, I4, i6 or I6: lower case is spelled with leading zeros, and without colons. */
function formatIp(memory: MachineMemory, address: bigint, name: string): string {
  const lengthBytes = name[1] === '4' ? 4 : 16;
  const readable = address + BigInt(lengthBytes) <= BigInt(memory.u8.length);
  const bytes = readable ? memory.u8.slice(Number(address), Number(address) + lengthBytes) : new Uint8Array(lengthBytes);
  const padded = name.startsWith('i');
  if (lengthBytes === 4) return Array.from(bytes, (byte) => (padded ? String(byte).padStart(3, '0') : String(byte))).join('.');
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return padded ? hex : hex.match(/.{4}/g)!.join(':');
}
