/**
 * UDP (RFC 768).   0 u16 sourcePort   2 u16 destinationPort   4 u16 length   6 u16 checksum   8
 */
import { readU16, writeU16 } from './big-endian.ts';
import { IP_PROTOCOL } from './ipv4.ts';
import { asLayer, NO_PAYLOAD, prepend } from './layer.ts';
import type { Layer, Payload } from './layer.ts';

export const UDP = { sourcePort: 0, destinationPort: 2, length: 4, checksum: 6, headerLength: 8 } as const;

export interface Udp {
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Header included. */
  readonly length: number;
}

export function readUdp(bytes: Uint8Array, at: number): Udp | undefined {
  if (at + UDP.headerLength > bytes.length) return undefined;
  return {
    sourcePort: readU16(bytes, at + UDP.sourcePort),
    destinationPort: readU16(bytes, at + UDP.destinationPort),
    length: readU16(bytes, at + UDP.length),
  };
}

export interface UdpFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly length?: number;
  readonly checksum?: number;
}

export function udp(fields: UdpFields, payload: Payload = NO_PAYLOAD): Layer {
  const bytes = prepend(UDP.headerLength, asLayer(payload).bytes);
  writeU16(bytes, UDP.sourcePort, fields.sourcePort);
  writeU16(bytes, UDP.destinationPort, fields.destinationPort);
  writeU16(bytes, UDP.length, fields.length ?? bytes.length);
  writeU16(bytes, UDP.checksum, fields.checksum ?? 0);
  return { bytes, ipProtocol: IP_PROTOCOL.udp, ...(fields.checksum === undefined && { checksumAt: UDP.checksum }) };
}
