/**
 * Addresses as people write them: IPv4, IPv6 (RFC 4291 in, RFC 5952 out), MAC and prefixes.
 *
 * Invariant: a parser answers `undefined` to whatever it does not accept whole, because only the caller can
 * say where the text stood; `parse(format(bytes))` gives the bytes back.
 */
import { XdplabError } from '../errors.ts';

const IPV4 = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/;
const MAC = /^[0-9a-f]{1,2}([:-])[0-9a-f]{1,2}(?:\1[0-9a-f]{1,2}){4}$/i;
const HEXTET = /^[0-9a-f]{1,4}$/i;

/** Four bytes. A leading zero is refused: some readers take it for octal. */
export function parseIpv4(text: string): Uint8Array | undefined {
  const match = IPV4.exec(text);
  if (match === null) return undefined;
  const octets = match.slice(1).map(Number);
  return octets.every((octet) => octet <= 255) ? Uint8Array.from(octets) : undefined;
}

export function formatIpv4(bytes: Uint8Array, at = 0): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** Sixteen bytes. `::` stands for one zero hextet or more; the last four bytes may be written as IPv4. */
export function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [left, right] = halves.map(hextets);
  if (left === undefined) return undefined;
  if (halves.length === 1) return left.length === 16 ? Uint8Array.from(left) : undefined;
  if (right === undefined || left.length + right.length > 14) return undefined;
  // An IPv4 tail ends the address, so it cannot stand before the `::`.
  if (halves[0]!.includes('.')) return undefined;
  const bytes = new Uint8Array(16);
  bytes.set(left, 0);
  bytes.set(right, 16 - right.length);
  return bytes;
}

function hextets(text: string): number[] | undefined {
  if (text === '') return [];
  const bytes: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (index === parts.length - 1 && part.includes('.')) {
      const tail = parseIpv4(part);
      if (tail === undefined) return undefined;
      bytes.push(...tail);
    } else {
      if (!HEXTET.test(part)) return undefined;
      const value = Number.parseInt(part, 16);
      bytes.push(value >> 8, value & 0xff);
    }
  }
  return bytes.length <= 16 ? bytes : undefined;
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero hextets as `::`. */
export function formatIpv6(bytes: Uint8Array, at = 0): string {
  const words: number[] = [];
  for (let index = 0; index < 8; index++) words.push((bytes[at + 2 * index]! << 8) | bytes[at + 2 * index + 1]!);
  if (words.slice(0, 5).every((word) => word === 0) && words[5] === 0xffff) {
    return `::ffff:${formatIpv4(bytes, at + 12)}`;
  }
  let runStart = 0;
  let runLength = 1;
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && words[start + length] === 0) length++;
    if (length > runLength) [runStart, runLength] = [start, length];
  }
  const hex = words.map((word) => word.toString(16));
  if (runLength < 2) return hex.join(':');
  return `${hex.slice(0, runStart).join(':')}::${hex.slice(runStart + runLength).join(':')}`;
}

/** Four or sixteen bytes. */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

export function formatAddress(bytes: Uint8Array): string {
  return bytes.length === 4 ? formatIpv4(bytes) : formatIpv6(bytes);
}

/** Six bytes, from `02:00:00:00:00:01` or `02-00-00-00-00-01`. */
export function parseMac(text: string): Uint8Array | undefined {
  if (!MAC.test(text)) return undefined;
  return Uint8Array.from(text.split(/[:-]/), (octet) => Number.parseInt(octet, 16));
}

export function formatMac(bytes: Uint8Array, at = 0): string {
  const octets: string[] = [];
  for (let index = 0; index < 6; index++) octets.push(bytes[at + index]!.toString(16).padStart(2, '0'));
  return octets.join(':');
}

export interface Prefix {
  /** Four or sixteen bytes, as written: bits beyond the prefix are kept. */
  readonly address: Uint8Array;
  readonly prefixBits: number;
}

/** `10.0.0.0/8`, `fd00::/8`, or an address alone for the whole of it. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  const widest = address.length * 8;
  if (slash < 0) return { address, prefixBits: widest };
  const bits = text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(bits) || Number(bits) > widest) return undefined;
  return { address, prefixBits: Number(bits) };
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.address)}/${prefix.prefixBits}`;
}

/** For builders: the bytes of an address written as text, or the bytes given. Throws ERR_VALUE. */
export function addressBytes(address: string | Uint8Array): Uint8Array {
  return bytesOf(address, parseAddress, 'an IPv4 or IPv6 address');
}

/** The same for a MAC address. */
export function macBytes(address: string | Uint8Array): Uint8Array {
  return bytesOf(address, parseMac, 'a MAC address');
}

function bytesOf(
  value: string | Uint8Array,
  parse: (text: string) => Uint8Array | undefined,
  expected: string,
): Uint8Array {
  if (typeof value !== 'string') return value;
  const bytes = parse(value);
  if (bytes === undefined) throw new XdplabError('ERR_VALUE', `found "${value}", expected ${expected}`);
  return bytes;
}
