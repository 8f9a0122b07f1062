/**
 * Codecs of single numbers: integers of any width and order, bitfields, enums, bools, floats, and byte strings.
 * Out of range is an error, never cut off.
 */
import type { BtfEnum } from './btf-type.ts';
import { bytesAt, exactNumber, failExpected, parseInteger, type BtfValue, type Codec } from './value-codec.ts';

export type ByteOrder = 'little' | 'big';

/** Places of bits in memory; `order` counts only for whole bytes. */
interface Place {
  readonly bits: number;
  readonly signed: boolean;
  readonly order: ByteOrder;
  /** Bits to skip in the first byte: bitfields of little-endian machines fill from the low end. */
  readonly shiftBits: number;
}

function readBits(view: DataView, at: number, { bits, signed, order, shiftBits }: Place): bigint {
  const lengthBytes = Math.ceil((shiftBits + bits) / 8);
  let raw = 0n;
  for (let index = 0; index < lengthBytes; index++) {
    raw = (raw << 8n) | BigInt(view.getUint8(at + (order === 'big' ? index : lengthBytes - 1 - index)));
  }
  raw >>= BigInt(shiftBits);
  return signed ? BigInt.asIntN(bits, raw) : BigInt.asUintN(bits, raw);
}

function writeBits(view: DataView, at: number, { bits, order, shiftBits }: Place, value: bigint): void {
  const lengthBytes = Math.ceil((shiftBits + bits) / 8);
  const mask = ((1n << BigInt(bits)) - 1n) << BigInt(shiftBits);
  const raw = (value << BigInt(shiftBits)) & mask;
  for (let index = 0; index < lengthBytes; index++) {
    const place = at + (order === 'big' ? lengthBytes - 1 - index : index);
    const shift = BigInt(8 * index);
    const kept = view.getUint8(place) & ~Number((mask >> shift) & 0xffn);
    view.setUint8(place, kept | Number((raw >> shift) & 0xffn));
  }
}

/** The common widths without a bigint in between. */
function readPlain(view: DataView, at: number, place: Place): number | bigint {
  const little = place.order === 'little';
  if (place.shiftBits === 0) {
    switch (place.bits) {
      case 8:
        return place.signed ? view.getInt8(at) : view.getUint8(at);
      case 16:
        return place.signed ? view.getInt16(at, little) : view.getUint16(at, little);
      case 32:
        return place.signed ? view.getInt32(at, little) : view.getUint32(at, little);
      default:
    }
  }
  return exactNumber(readBits(view, at, place));
}

function rangeText({ bits, signed }: Place): string {
  const low = signed ? -(1n << BigInt(bits - 1)) : 0n;
  const high = (1n << BigInt(signed ? bits - 1 : bits)) - 1n;
  return `${low} to ${high}`;
}

function writeChecked(view: DataView, at: number, place: Place, value: unknown, path: string, expected: string): void {
  const number = parseInteger(value);
  if (number === undefined) {
    const isInexact = Number.isInteger(value) && !Number.isSafeInteger(value);
    return failExpected(path, value, expected, isInexact ? 'which is past 53 bits and may not be exact; expected text or a bigint' : undefined);
  }
  const fits = place.signed ? BigInt.asIntN(place.bits, number) === number : BigInt.asUintN(place.bits, number) === number;
  if (!fits) failExpected(path, value, expected);
  writeBits(view, at, place, number);
}

export interface IntegerOptions {
  readonly sizeBytes: number;
  readonly signed?: boolean;
  readonly order?: ByteOrder;
  /** Only for bitfields: the width, and the bits before it in its first byte. */
  readonly bits?: number;
  readonly shiftBits?: number;
  /** Values that have names, and aliases that can be written. */
  readonly names?: readonly (readonly [string, bigint])[];
}

export function integerCodec(options: IntegerOptions): Codec {
  const place: Place = { bits: options.bits ?? options.sizeBytes * 8, signed: options.signed ?? false, order: options.order ?? 'little', shiftBits: options.shiftBits ?? 0 };
  const { names } = options;
  const range = rangeText(place);
  if (names === undefined || names.length === 0) {
    return {
      sizeBytes: options.sizeBytes, leaves: 1, expected: range,
      read: (view, at) => readPlain(view, at, place),
      write: (view, at, value, path) => writeChecked(view, at, place, value, path, range),
    };
  }
  const valueOf = new Map<string, bigint>();
  const nameOf = new Map<number | bigint, string>();
  for (const [name, value] of names) {
    if (!valueOf.has(name)) valueOf.set(name, value);
    if (!nameOf.has(exactNumber(value))) nameOf.set(exactNumber(value), name);
  }
  const shown = [...valueOf.keys()];
  const expected = `${shown.length > 12 ? `${shown.slice(0, 12).join(', ')}, …` : shown.join(', ')} or ${range}`;
  return {
    sizeBytes: options.sizeBytes, leaves: 1, expected,
    read: (view, at) => {
      const value = readPlain(view, at, place);
      return nameOf.get(value) ?? value;
    },
    write: (view, at, value, path) => writeChecked(view, at, place, typeof value === 'string' ? (valueOf.get(value) ?? value) : value, path, expected),
  };
}

export function enumCodec(type: BtfEnum, place: { readonly bits?: number; readonly shiftBits?: number } = {}): Codec {
  return integerCodec({ sizeBytes: type.sizeBytes, signed: type.signed, ...place, names: type.values.map(({ name, value }) => [name, value] as const) });
}

export function boolCodec(): Codec {
  const expected = 'true or false';
  return {
    sizeBytes: 1, leaves: 1, expected,
    read: (view, at): BtfValue => {
      const byte = view.getUint8(at);
      return byte > 1 ? byte : byte === 1;
    },
    write: (view, at, value, path) => {
      const number = typeof value === 'boolean' ? BigInt(value) : value === 'true' ? 1n : value === 'false' ? 0n : parseInteger(value);
      if (number === undefined || number < 0n || number > 255n) return failExpected(path, value, expected);
      view.setUint8(at, Number(number));
    },
  };
}

/** IEEE 754 of 4 or 8 bytes; other sizes have no JavaScript value and stay bytes. */
export function floatCodec(sizeBytes: 4 | 8): Codec {
  const expected = 'a number';
  return {
    sizeBytes, leaves: 1, expected,
    read: (view, at) => (sizeBytes === 4 ? view.getFloat32(at, true) : view.getFloat64(at, true)),
    write: (view, at, value, path) => {
      if (typeof value !== 'number') return failExpected(path, value, expected);
      if (sizeBytes === 4) view.setFloat32(at, value, true);
      else view.setFloat64(at, value, true);
    },
  };
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** `char[n]`: text up to the first NUL. Bytes that are not such text are shown as numbers, so that nothing is lost. */
export function textCodec(lengthBytes: number): Codec {
  const expected = `text of at most ${lengthBytes} bytes`;
  return {
    sizeBytes: lengthBytes, leaves: lengthBytes, expected,
    read: (view, at): BtfValue => {
      const bytes = bytesAt(view, at, lengthBytes);
      const end = bytes.indexOf(0);
      const text = end < 0 ? bytes : bytes.subarray(0, end);
      if (end >= 0 && bytes.subarray(end).some((byte) => byte !== 0)) return [...bytes];
      try {
        return utf8.decode(text);
      } catch {
        return [...bytes];
      }
    },
    write: (view, at, value, path) => {
      const bytes = typeof value === 'string' ? encoder.encode(value) : byteList(value);
      if (bytes === undefined || bytes.length > lengthBytes || (typeof value === 'string' && value.includes('\0'))) return failExpected(path, value, expected);
      bytesAt(view, at, lengthBytes).fill(0);
      bytesAt(view, at, lengthBytes).set(bytes);
    },
  };
}

function byteList(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  if (!Array.isArray(value)) return undefined;
  const numbers = value.map(parseInteger);
  return numbers.every((number) => number !== undefined && number >= -128n && number <= 255n) ? Uint8Array.from(numbers, (number) => Number(BigInt.asUintN(8, number!))) : undefined;
}

const HEX_BYTES = /^([0-9a-fA-F]{2}([ :]?[0-9a-fA-F]{2})*)?$/;

export function parseHexBytes(text: string): Uint8Array | undefined {
  if (!HEX_BYTES.test(text)) return undefined;
  return Uint8Array.from(text.match(/[0-9a-fA-F]{2}/g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** Bytes without a meaning: `de ad be ef` when `shown` as text, as bpftool spells them, else a list of numbers. */
export function bytesCodec(lengthBytes: number, shown: 'text' | 'list'): Codec {
  const expected = `${lengthBytes} bytes, as "de ad be ef" or [222, 173, 190, 239]`;
  return {
    sizeBytes: lengthBytes, leaves: lengthBytes, expected,
    read: (view, at): BtfValue => {
      const bytes = bytesAt(view, at, lengthBytes);
      return shown === 'list' ? [...bytes] : Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
    },
    write: (view, at, value, path) => {
      const bytes = typeof value === 'string' ? parseHexBytes(value) : byteList(value);
      if (bytes?.length !== lengthBytes) return failExpected(path, value, expected);
      bytesAt(view, at, lengthBytes).set(bytes);
    },
  };
}
