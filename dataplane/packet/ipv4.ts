/**
 * IPv4 (RFC 791).
 *
 *   0 u4 version, u4 header words   1 u8 service   2 u16 totalLength   4 u16 identification
 *   6 u16 reserved:1 dont:1 more:1 fragmentOffset:13   8 u8 timeToLive   9 u8 protocol   10 u16 checksum
 *  12 source   16 destination   20 options
 */
import { formatIPv4 } from '../address.ts';
import { addressBytes } from './address.ts';
import { readU16, writeU16 } from './big-endian.ts';
import { checksum, finishTransport } from './checksum.ts';
import { ETHER_TYPE } from './ethernet.ts';
import { asLayer, prepend } from './layer.ts';
import type { Layer, Payload } from './layer.ts';

export const IPV4 = {
  versionAndWords: 0,
  service: 1,
  totalLength: 2,
  identification: 4,
  fragment: 6,
  timeToLive: 8,
  protocol: 9,
  checksum: 10,
  source: 12,
  destination: 16,
  headerLength: 20,
} as const;

/** Assigned protocol numbers, of IPv6 next headers too. */
export const IP_PROTOCOL = {
  hopByHop: 0,
  icmp: 1,
  ipip: 4,
  tcp: 6,
  udp: 17,
  ipv6: 41,
  routing: 43,
  fragment: 44,
  gre: 47,
  icmpv6: 58,
  destinationOptions: 60,
  sctp: 132,
} as const;

export interface Ipv4 {
  readonly headerLength: number;
  readonly totalLength: number;
  readonly identification: number;
  readonly dontFragment: boolean;
  readonly moreFragments: boolean;
  /** In bytes. */
  readonly fragmentOffset: number;
  readonly timeToLive: number;
  readonly protocol: number;
  readonly source: string;
  readonly destination: string;
}

/** Undefined also where version or header length make no sense. */
export function readIpv4(bytes: Uint8Array, at: number): Ipv4 | undefined {
  if (at + IPV4.headerLength > bytes.length) return undefined;
  const first = bytes[at + IPV4.versionAndWords]!;
  const headerLength = (first & 0xf) * 4;
  if (first >>> 4 !== 4 || headerLength < IPV4.headerLength || at + headerLength > bytes.length) return undefined;
  const fragment = readU16(bytes, at + IPV4.fragment);
  return {
    headerLength,
    totalLength: readU16(bytes, at + IPV4.totalLength),
    identification: readU16(bytes, at + IPV4.identification),
    dontFragment: (fragment & 0x4000) !== 0,
    moreFragments: (fragment & 0x2000) !== 0,
    fragmentOffset: (fragment & 0x1fff) * 8,
    timeToLive: bytes[at + IPV4.timeToLive]!,
    protocol: bytes[at + IPV4.protocol]!,
    source: formatIPv4(bytes, at + IPV4.source),
    destination: formatIPv4(bytes, at + IPV4.destination),
  };
}

export interface Ipv4Fields {
  readonly source: string | Uint8Array;
  readonly destination: string | Uint8Array;
  readonly protocol?: number;
  readonly timeToLive?: number;
  readonly service?: number;
  readonly identification?: number;
  readonly dontFragment?: boolean;
  readonly moreFragments?: boolean;
  readonly fragmentOffset?: number;
  /** Padded by the caller to a multiple of four bytes. */
  readonly options?: Uint8Array;
  readonly headerWords?: number;
  readonly totalLength?: number;
  readonly checksum?: number;
}

export function ipv4(fields: Ipv4Fields, payload: Payload): Layer {
  const inner = asLayer(payload);
  const headerLength = IPV4.headerLength + (fields.options?.length ?? 0);
  const bytes = prepend(headerLength, inner.bytes);
  const protocol = fields.protocol ?? inner.ipProtocol ?? 0;
  bytes[IPV4.versionAndWords] = 0x40 | (fields.headerWords ?? headerLength / 4);
  bytes[IPV4.service] = fields.service ?? 0;
  writeU16(bytes, IPV4.totalLength, fields.totalLength ?? bytes.length);
  writeU16(bytes, IPV4.identification, fields.identification ?? 0);
  const flags = (fields.dontFragment ? 0x4000 : 0) | (fields.moreFragments ? 0x2000 : 0);
  writeU16(bytes, IPV4.fragment, flags | ((fields.fragmentOffset ?? 0) / 8));
  bytes[IPV4.timeToLive] = fields.timeToLive ?? 64;
  bytes[IPV4.protocol] = protocol;
  bytes.set(addressBytes(fields.source), IPV4.source);
  bytes.set(addressBytes(fields.destination), IPV4.destination);
  if (fields.options !== undefined) bytes.set(fields.options, IPV4.headerLength);
  writeU16(bytes, IPV4.checksum, fields.checksum ?? checksum(bytes, 0, headerLength));
  if (inner.checksumAt !== undefined) {
    finishTransport(bytes, {
      addresses: IPV4.source,
      start: headerLength,
      protocol,
      checksumAt: headerLength + inner.checksumAt,
    });
  }
  return { bytes, etherType: ETHER_TYPE.ipv4, ipProtocol: IP_PROTOCOL.ipip };
}
