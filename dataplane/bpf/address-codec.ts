/**
 * Codecs of what network programs keep in their maps: addresses, ports, protocols and prefixes, in network order and
 * written as people write them.
 *
 * A 16-byte address holds either family: an IPv4 address in it is the IPv4-mapped one and is shown as `10.0.0.1`.
 */
import { formatIPv4, formatIPv6, formatMac, IPV4_BYTES, IPV6_BYTES, MAC_BYTES, parseIPv4, parseIPv6, parseMac, parsePrefix } from '../address.ts';
import { integerCodec, parseHexBytes } from './scalar-codec.ts';
import { bytesAt, failExpected, parseInteger, type Codec } from './value-codec.ts';

const MAPPED_PREFIX = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);
const MAPPED_BITS = MAPPED_PREFIX.length * 8;

/** IANA protocol numbers, by the names /etc/protocols gives them in lower case. */
const PROTOCOLS: readonly (readonly [string, bigint])[] = [
  ['icmp', 1n], ['igmp', 2n], ['ipip', 4n], ['tcp', 6n], ['udp', 17n], ['ipv6', 41n], ['gre', 47n], ['esp', 50n], ['ah', 51n],
  ['icmpv6', 58n], ['sctp', 132n],
];

/** Bytes that are an address of another length are refused, numbers are in host order: 0x0a000001 is 10.0.0.1. */
export const ipv4Codec: Codec = {
  sizeBytes: IPV4_BYTES, leaves: 1, expected: 'an IPv4 address such as 10.0.0.1',
  read: (view, at) => formatIPv4(bytesAt(view, at, IPV4_BYTES)),
  write: (view, at, value, path) => {
    const address = typeof value === 'string' ? parseIPv4(value) : value instanceof Uint8Array ? value : undefined;
    const number = address ? undefined : parseInteger(value);
    if (address?.length === IPV4_BYTES) bytesAt(view, at, IPV4_BYTES).set(address);
    else if (number !== undefined && number >= 0n && number <= 0xffffffffn) view.setUint32(at, Number(number), false);
    else failExpected(path, value, ipv4Codec.expected);
  },
};

function isMapped(bytes: Uint8Array): boolean {
  return MAPPED_PREFIX.every((byte, index) => bytes[index] === byte);
}

/** Of a 16-byte address, in the family it belongs to. */
export function formatEitherAddress(bytes: Uint8Array): string {
  return isMapped(bytes) ? formatIPv4(bytes, MAPPED_PREFIX.length) : formatIPv6(bytes);
}

function toEitherAddress(address: Uint8Array): Uint8Array {
  if (address.length === IPV6_BYTES) return address;
  const mapped = new Uint8Array(IPV6_BYTES);
  mapped.set(MAPPED_PREFIX);
  mapped.set(address, MAPPED_PREFIX.length);
  return mapped;
}

export const ipv6Codec: Codec = {
  sizeBytes: IPV6_BYTES, leaves: 1, expected: 'an IPv6 address such as 2001:db8::1, or an IPv4 address',
  read: (view, at) => formatEitherAddress(bytesAt(view, at, IPV6_BYTES)),
  write: (view, at, value, path) => {
    const address = typeof value === 'string' ? (parseIPv6(value) ?? parseIPv4(value)) : value instanceof Uint8Array && value.length === IPV6_BYTES ? value : undefined;
    if (address === undefined) return failExpected(path, value, ipv6Codec.expected);
    bytesAt(view, at, IPV6_BYTES).set(toEitherAddress(address));
  },
};

export const macCodec: Codec = {
  sizeBytes: MAC_BYTES, leaves: 1, expected: 'a MAC address such as 02:00:00:00:00:01',
  read: (view, at) => formatMac(bytesAt(view, at, MAC_BYTES)),
  write: (view, at, value, path) => {
    const text = typeof value === 'string' ? (parseMac(value) ?? parseHexBytes(value)) : undefined;
    const list = Array.isArray(value) || value instanceof Uint8Array ? Uint8Array.from(value, Number) : undefined;
    const exact = list !== undefined && list.every((byte, index) => byte === Number((value as ArrayLike<unknown>)[index])) ? list : undefined;
    const address = text ?? exact;
    if (address?.length !== MAC_BYTES) return failExpected(path, value, macCodec.expected);
    bytesAt(view, at, MAC_BYTES).set(address);
  },
};

export const protocolCodec: Codec = integerCodec({ sizeBytes: 1, names: PROTOCOLS });

/** A number in network order, shown in host order. */
export function networkOrderCodec(sizeBytes: number): Codec {
  return integerCodec({ sizeBytes, order: 'big' });
}

/** A `__u32` named like an address: most are in network order, but nobody says so. Read as a number, written as either. */
export function unsureIpv4Codec(): Codec {
  const number = integerCodec({ sizeBytes: IPV4_BYTES });
  return {
    ...number,
    expected: `${number.expected}, or an IPv4 address, which is put in network order`,
    write: (view, at, value, path) => {
      const address = typeof value === 'string' ? parseIPv4(value) : undefined;
      if (address) bytesAt(view, at, IPV4_BYTES).set(address);
      else number.write(view, at, value, path);
    },
  };
}

/**
 * The key of an LPM trie: `10.0.0.0/8`, or the object that `fields` reads and writes.
 *
 *   0 prefixlen u32, host order   4 address, 4 or 16 bytes in network order
 */
export function prefixCodec(addressBytes: 4 | 16, fields: Codec): Codec {
  const address = addressBytes === IPV4_BYTES ? ipv4Codec : ipv6Codec;
  const example = addressBytes === IPV4_BYTES ? '10.0.0.0/8' : '2001:db8::/32';
  return {
    sizeBytes: fields.sizeBytes, leaves: fields.leaves, expected: `a prefix such as ${example}, or ${fields.expected}`,
    read: (view, at) => {
      const prefixBits = view.getUint32(at, true);
      if (prefixBits > addressBytes * 8) return fields.read(view, at);
      const mapped = addressBytes === IPV6_BYTES && isMapped(bytesAt(view, at + 4, IPV6_BYTES));
      // A short prefix of the mapped range is not one of IPv4.
      if (mapped && prefixBits < MAPPED_BITS) return `${formatIPv6(bytesAt(view, at + 4, IPV6_BYTES))}/${prefixBits}`;
      return `${address.read(view, at + 4) as string}/${mapped ? prefixBits - MAPPED_BITS : prefixBits}`;
    },
    write: (view, at, value, path) => {
      if (typeof value !== 'string') return fields.write(view, at, value, path);
      const prefix = parsePrefix(value);
      const widens = prefix?.address.length === IPV4_BYTES && addressBytes === IPV6_BYTES;
      if (prefix === undefined || (prefix.address.length !== addressBytes && !widens)) return failExpected(path, value, `a prefix such as ${example}`);
      view.setUint32(at, prefix.prefixBits + (widens ? MAPPED_BITS : 0), true);
      bytesAt(view, at + 4, addressBytes).set(widens ? toEitherAddress(prefix.address) : prefix.address);
    },
  };
}
