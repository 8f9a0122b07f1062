/**
 * ICMP (RFC 792) and ICMPv6 (RFC 4443), which share a shape.
 *
 *   0 u8 type   1 u8 code   2 u16 checksum   4 u32 rest: echo u16 identifier u16 sequence;
 *   fragmentation needed u16 0 u16 mtu; packet too big u32 mtu   8 body: of errors, the packet they are about
 */
import { readU16, readU32, writeU32 } from './big-endian.ts';
import { checksum } from './checksum.ts';
import { IP_PROTOCOL } from './ipv4.ts';
import { NO_PAYLOAD, prepend } from './layer.ts';
import type { Layer } from './layer.ts';

export const ICMP = { type: 0, code: 1, checksum: 2, rest: 4, identifier: 4, sequence: 6, headerLength: 8 } as const;

export const ICMP_TYPE = { echoReply: 0, unreachable: 3, echo: 8, timeExceeded: 11 } as const;
export const ICMPV6_TYPE = {
  unreachable: 1,
  packetTooBig: 2,
  timeExceeded: 3,
  echo: 128,
  echoReply: 129,
  neighborSolicitation: 135,
  neighborAdvertisement: 136,
} as const;
/** Code of ICMP_TYPE.unreachable. */
export const ICMP_FRAGMENTATION_NEEDED = 4;

export interface Icmp {
  readonly type: number;
  readonly code: number;
  /** The 32 bits behind the checksum, whatever the type makes of them. */
  readonly rest: number;
  /** Of an echo. */
  readonly identifier: number;
  readonly sequence: number;
}

export function readIcmp(bytes: Uint8Array, at: number): Icmp | undefined {
  if (at + ICMP.headerLength > bytes.length) return undefined;
  return {
    type: bytes[at + ICMP.type]!,
    code: bytes[at + ICMP.code]!,
    rest: readU32(bytes, at + ICMP.rest),
    identifier: readU16(bytes, at + ICMP.identifier),
    sequence: readU16(bytes, at + ICMP.sequence),
  };
}

export interface IcmpFields {
  readonly type: number;
  readonly code?: number;
  /** See `echoRest` for echoes; the MTU of "fragmentation needed" and "packet too big". */
  readonly rest?: number;
}

export function echoRest(identifier: number, sequence: number): number {
  return ((identifier << 16) | sequence) >>> 0;
}

export function icmp(fields: IcmpFields, body: Uint8Array = NO_PAYLOAD): Layer {
  const bytes = message(fields, body);
  const sum = checksum(bytes);
  bytes[ICMP.checksum] = sum >>> 8;
  bytes[ICMP.checksum + 1] = sum;
  return { bytes, ipProtocol: IP_PROTOCOL.icmp };
}

/** Its checksum covers the addresses and is left to the IPv6 layer. */
export function icmpv6(fields: IcmpFields, body: Uint8Array = NO_PAYLOAD): Layer {
  return { bytes: message(fields, body), ipProtocol: IP_PROTOCOL.icmpv6, checksumAt: ICMP.checksum };
}

function message({ type, code = 0, rest = 0 }: IcmpFields, body: Uint8Array): Uint8Array {
  const bytes = prepend(ICMP.headerLength, body);
  bytes[ICMP.type] = type;
  bytes[ICMP.code] = code;
  writeU32(bytes, ICMP.rest, rest);
  return bytes;
}
