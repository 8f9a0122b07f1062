/**
 * TCP (RFC 9293).
 *
 *   0 u16 sourcePort   2 u16 destinationPort   4 u32 sequence   8 u32 acknowledgment
 *  12 u4 header words   13 u8 flags   14 u16 window   16 u16 checksum   18 u16 urgent   20 options
 */
import { readU16, readU32, writeU16, writeU32 } from './big-endian.ts';
import { IP_PROTOCOL } from './ipv4.ts';
import { asLayer, NO_PAYLOAD, prepend } from './layer.ts';
import type { Layer, Payload } from './layer.ts';

export const TCP = {
  sourcePort: 0,
  destinationPort: 2,
  sequence: 4,
  acknowledgment: 8,
  words: 12,
  flags: 13,
  window: 14,
  checksum: 16,
  headerLength: 20,
} as const;

export const TCP_FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 } as const;

export interface Tcp {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly headerLength: number;
  readonly flags: number;
  readonly window: number;
}

export function readTcp(bytes: Uint8Array, at: number): Tcp | undefined {
  if (at + TCP.headerLength > bytes.length) return undefined;
  const headerLength = (bytes[at + TCP.words]! >>> 4) * 4;
  if (headerLength < TCP.headerLength) return undefined;
  return {
    sourcePort: readU16(bytes, at + TCP.sourcePort),
    destinationPort: readU16(bytes, at + TCP.destinationPort),
    sequence: readU32(bytes, at + TCP.sequence),
    acknowledgment: readU32(bytes, at + TCP.acknowledgment),
    headerLength,
    flags: bytes[at + TCP.flags]!,
    window: readU16(bytes, at + TCP.window),
  };
}

export interface TcpFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence?: number;
  readonly acknowledgment?: number;
  readonly flags: number;
  readonly window?: number;
  readonly headerWords?: number;
  readonly checksum?: number;
  /** Padded by the caller to a multiple of four bytes. */
  readonly options?: Uint8Array;
}

export function tcp(fields: TcpFields, payload: Payload = NO_PAYLOAD): Layer {
  const headerLength = TCP.headerLength + (fields.options?.length ?? 0);
  const bytes = prepend(headerLength, asLayer(payload).bytes);
  writeU16(bytes, TCP.sourcePort, fields.sourcePort);
  writeU16(bytes, TCP.destinationPort, fields.destinationPort);
  writeU32(bytes, TCP.sequence, fields.sequence ?? 0);
  writeU32(bytes, TCP.acknowledgment, fields.acknowledgment ?? 0);
  bytes[TCP.words] = (fields.headerWords ?? headerLength / 4) << 4;
  bytes[TCP.flags] = fields.flags;
  writeU16(bytes, TCP.window, fields.window ?? 65_535);
  writeU16(bytes, TCP.checksum, fields.checksum ?? 0);
  if (fields.options !== undefined) bytes.set(fields.options, TCP.headerLength);
  return { bytes, ipProtocol: IP_PROTOCOL.tcp, ...(fields.checksum === undefined && { checksumAt: TCP.checksum }) };
}
