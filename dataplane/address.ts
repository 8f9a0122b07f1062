/**
 * Addresses as text and as bytes in network order: IPv4 dotted quads, IPv6 (RFC 4291 §2.2 in, RFC 5952 out),
 * MAC addresses and prefixes.
 *
 * Parsing is strict (no octal octets, no zone, no blanks) and answers `undefined` for text that is not an address,
 * because only the caller knows where the text stood and can say so. `parse(format(bytes))` is always `bytes`.
 */

export const IPV4_BYTES = 4;
export const IPV6_BYTES = 16;
export const MAC_BYTES = 6;

/** `address` is 4 or 16 bytes, kept as written: bits past `prefixBits` are not cleared. */
export interface Prefix {
  readonly address: Uint8Array;
  readonly prefixBits: number;
}

const OCTET = /^(0|[1-9][0-9]{0,2})$/;
const IPV6_GROUP = /^[0-9a-fA-F]{1,4}$/;
const IPV6_GROUPS = 8;
const MAC = /^[0-9a-fA-F]{2}([:-])[0-9a-fA-F]{2}(\1[0-9a-fA-F]{2}){4}$/;
const PREFIX_BITS = /^(0|[1-9][0-9]{0,2})$/;

export function parseIPv4(text: string): Uint8Array | undefined {
  const octets = text.split('.');
  if (octets.length !== IPV4_BYTES) return undefined;
  const bytes = new Uint8Array(IPV4_BYTES);
  for (const [index, octet] of octets.entries()) {
    if (!OCTET.test(octet) || Number(octet) > 255) return undefined;
    bytes[index] = Number(octet);
  }
  return bytes;
}

/** The four bytes at `offset`. */
export function formatIPv4(bytes: Uint8Array, offset = 0): string {
  return `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}`;
}

/** The 16-bit groups of one side of `::`; the last may be a dotted quad where `tail` allows it. */
function parseGroups(text: string, tail: boolean): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const groups: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (IPV6_GROUP.test(part)) {
      groups.push(Number.parseInt(part, 16));
      continue;
    }
    const quad = tail && index === parts.length - 1 ? parseIPv4(part) : undefined;
    if (quad === undefined) return undefined;
    groups.push((quad[0]! << 8) | quad[1]!, (quad[2]! << 8) | quad[3]!);
  }
  return groups;
}

export function parseIPv6(text: string): Uint8Array | undefined {
  const sides = text.split('::');
  if (sides.length > 2) return undefined;
  const compressed = sides.length === 2;
  const head = parseGroups(sides[0]!, !compressed);
  const rest = parseGroups(sides[1] ?? '', true);
  if (head === undefined || rest === undefined) return undefined;
  const given = head.length + rest.length;
  if (compressed ? given >= IPV6_GROUPS : given !== IPV6_GROUPS) return undefined;
  const bytes = new Uint8Array(IPV6_BYTES);
  const put = (group: number, at: number): void => {
    bytes[2 * at] = group >> 8;
    bytes[2 * at + 1] = group & 0xff;
  };
  head.forEach((group, index) => put(group, index));
  rest.forEach((group, index) => put(group, IPV6_GROUPS - rest.length + index));
  return bytes;
}

/** RFC 5952: lower case, no leading zeros, the first longest run of zero groups as `::`, IPv4-mapped with a dotted tail. */
export function formatIPv6(bytes: Uint8Array, offset = 0): string {
  const groups: number[] = [];
  for (let at = offset; at < offset + IPV6_BYTES; at += 2) groups.push((bytes[at]! << 8) | bytes[at + 1]!);
  if (groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0)) {
    return `::ffff:${formatIPv4(bytes, offset + IPV6_BYTES - IPV4_BYTES)}`;
  }
  let runStart = 0;
  let runLength = 0;
  for (let start = 0; start < IPV6_GROUPS; start++) {
    let end = start;
    while (end < IPV6_GROUPS && groups[end] === 0) end++;
    if (end - start > runLength) [runStart, runLength] = [start, end - start];
    if (end > start) start = end;
  }
  const hex = (from: number, to: number): string => groups.slice(from, to).map((group) => group.toString(16)).join(':');
  if (runLength < 2) return hex(0, IPV6_GROUPS);
  return `${hex(0, runStart)}::${hex(runStart + runLength, IPV6_GROUPS)}`;
}

/** Either family: 4 or 16 bytes. */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIPv6(text) : parseIPv4(text);
}

/** The family is told by `lengthBytes`: 4 or 16. */
export function formatAddress(bytes: Uint8Array, offset = 0, lengthBytes = bytes.length - offset): string {
  return lengthBytes === IPV4_BYTES ? formatIPv4(bytes, offset) : formatIPv6(bytes, offset);
}

/** `02:00:00:00:00:01` or `02-00-00-00-00-01`. */
export function parseMac(text: string): Uint8Array | undefined {
  if (!MAC.test(text)) return undefined;
  return Uint8Array.from(text.split(/[:-]/), (octet) => Number.parseInt(octet, 16));
}

export function formatMac(bytes: Uint8Array, offset = 0): string {
  const octets: string[] = [];
  for (let at = offset; at < offset + MAC_BYTES; at++) octets.push(bytes[at]!.toString(16).padStart(2, '0'));
  return octets.join(':');
}

/** `10.0.0.0/8`, `2001:db8::/32`; an address alone is its host prefix (/32 or /128). */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  const fullBits = address.length * 8;
  if (slash < 0) return { address, prefixBits: fullBits };
  const bits = text.slice(slash + 1);
  if (!PREFIX_BITS.test(bits) || Number(bits) > fullBits) return undefined;
  return { address, prefixBits: Number(bits) };
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.address)}/${prefix.prefixBits}`;
}
