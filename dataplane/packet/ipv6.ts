/**
 * IPv6 and its fragment header (RFC 8200).
 *
 *   0 u4 version, u8 trafficClass, u20 flowLabel   4 u16 payloadLength   6 u8 nextHeader   7 u8 hopLimit
 *   8 source   24 destination   40
 *
 *   fragment   0 u8 nextHeader   1 u8 0   2 u16 offset:13 0:2 more:1   4 u32 identification   8
 */
import { formatIPv6 } from '../address.ts';
import { addressBytes } from './address.ts';
import { readU16, readU32, writeU16, writeU32 } from './big-endian.ts';
import { finishTransport } from './checksum.ts';
import { ETHER_TYPE } from './ethernet.ts';
import { IP_PROTOCOL } from './ipv4.ts';
import { asLayer, prepend } from './layer.ts';
import type { Layer, Payload } from './layer.ts';

export const IPV6 = {
  payloadLength: 4,
  nextHeader: 6,
  hopLimit: 7,
  source: 8,
  destination: 24,
  headerLength: 40,
} as const;

export const IPV6_FRAGMENT = { nextHeader: 0, offset: 2, identification: 4, headerLength: 8 } as const;

export interface Ipv6 {
  readonly trafficClass: number;
  readonly flowLabel: number;
  readonly payloadLength: number;
  /** As the fixed header says; `transport` is what follows the extension headers. */
  readonly nextHeader: number;
  readonly hopLimit: number;
  readonly source: string;
  readonly destination: string;
  readonly transport: number;
  /** Where it begins, counted from the fixed header. */
  readonly headerLength: number;
  readonly moreFragments: boolean;
  /** In bytes. */
  readonly fragmentOffset: number;
}

/** Extension headers whose second byte counts their 8-byte units after the first. */
const EXTENSIONS: ReadonlySet<number> = new Set([
  IP_PROTOCOL.hopByHop,
  IP_PROTOCOL.routing,
  IP_PROTOCOL.destinationOptions,
]);

export function readIpv6(bytes: Uint8Array, at: number): Ipv6 | undefined {
  if (at + IPV6.headerLength > bytes.length) return undefined;
  const first = readU32(bytes, at);
  if (first >>> 28 !== 6) return undefined;
  let transport = bytes[at + IPV6.nextHeader]!;
  let next = at + IPV6.headerLength;
  let fragment = 0;
  for (;;) {
    const isFragment = transport === IP_PROTOCOL.fragment;
    if ((!isFragment && !EXTENSIONS.has(transport)) || next + 8 > bytes.length) break;
    if (isFragment) fragment = readU16(bytes, next + IPV6_FRAGMENT.offset);
    transport = bytes[next]!;
    next += isFragment ? IPV6_FRAGMENT.headerLength : (bytes[next + 1]! + 1) * 8;
  }
  return {
    trafficClass: (first >>> 20) & 0xff,
    flowLabel: first & 0xf_ffff,
    payloadLength: readU16(bytes, at + IPV6.payloadLength),
    nextHeader: bytes[at + IPV6.nextHeader]!,
    hopLimit: bytes[at + IPV6.hopLimit]!,
    source: formatIPv6(bytes, at + IPV6.source),
    destination: formatIPv6(bytes, at + IPV6.destination),
    transport,
    headerLength: next - at,
    moreFragments: (fragment & 1) !== 0,
    fragmentOffset: fragment & 0xfff8,
  };
}

export interface Ipv6Fields {
  readonly source: string | Uint8Array;
  readonly destination: string | Uint8Array;
  readonly nextHeader?: number;
  readonly hopLimit?: number;
  readonly trafficClass?: number;
  readonly flowLabel?: number;
  readonly payloadLength?: number;
  readonly version?: number;
}

export function ipv6(fields: Ipv6Fields, payload: Payload): Layer {
  const inner = asLayer(payload);
  const bytes = prepend(IPV6.headerLength, inner.bytes);
  const protocol = fields.nextHeader ?? inner.ipProtocol ?? 0;
  writeU32(bytes, 0, ((fields.version ?? 6) << 28) | ((fields.trafficClass ?? 0) << 20) | (fields.flowLabel ?? 0));
  writeU16(bytes, IPV6.payloadLength, fields.payloadLength ?? inner.bytes.length);
  bytes[IPV6.nextHeader] = protocol;
  bytes[IPV6.hopLimit] = fields.hopLimit ?? 64;
  bytes.set(addressBytes(fields.source), IPV6.source);
  bytes.set(addressBytes(fields.destination), IPV6.destination);
  if (inner.checksumAt !== undefined) {
    const start = IPV6.headerLength;
    finishTransport(bytes, { addresses: IPV6.source, start, protocol, checksumAt: start + inner.checksumAt });
  }
  return { bytes, etherType: ETHER_TYPE.ipv6, ipProtocol: IP_PROTOCOL.ipv6 };
}

export interface Ipv6FragmentFields {
  readonly nextHeader: number;
  /** In bytes, a multiple of eight. */
  readonly offset: number;
  readonly moreFragments: boolean;
  readonly identification: number;
}

/** One fragment of a payload whose checksum is already in it. */
export function ipv6Fragment(fields: Ipv6FragmentFields, piece: Uint8Array): Layer {
  const bytes = prepend(IPV6_FRAGMENT.headerLength, piece);
  bytes[IPV6_FRAGMENT.nextHeader] = fields.nextHeader;
  writeU16(bytes, IPV6_FRAGMENT.offset, fields.offset | (fields.moreFragments ? 1 : 0));
  writeU32(bytes, IPV6_FRAGMENT.identification, fields.identification);
  return { bytes, ipProtocol: IP_PROTOCOL.fragment };
}
