/**
 * Ethernet II (IEEE 802.3).   0 destination   6 source   12 u16 type   14
 */
import { formatMac } from '../address.ts';
import { macBytes } from './address.ts';
import { readU16, writeU16 } from './big-endian.ts';
import { asLayer, prepend } from './layer.ts';
import type { Payload } from './layer.ts';

export const ETHERNET = { destination: 0, source: 6, type: 12, headerLength: 14 } as const;

/** What the type field says follows. */
export const ETHER_TYPE = {
  ipv4: 0x0800,
  arp: 0x0806,
  vlan: 0x8100,
  ipv6: 0x86dd,
  qinq: 0x88a8,
} as const;

export interface Ethernet {
  readonly destination: string;
  readonly source: string;
  readonly type: number;
}

/** Undefined where the header is not all there; so for each protocol. */
export function readEthernet(bytes: Uint8Array, at = 0): Ethernet | undefined {
  if (at + ETHERNET.headerLength > bytes.length) return undefined;
  return {
    destination: formatMac(bytes, at + ETHERNET.destination),
    source: formatMac(bytes, at + ETHERNET.source),
    type: readU16(bytes, at + ETHERNET.type),
  };
}

export interface EthernetFields {
  readonly destination: string | Uint8Array;
  readonly source: string | Uint8Array;
  readonly type?: number;
}

/** A frame, ready to be sent. It is not padded to the 60 bytes that hardware would send. */
export function ethernet(fields: EthernetFields, payload: Payload): Uint8Array {
  const inner = asLayer(payload);
  const bytes = prepend(ETHERNET.headerLength, inner.bytes);
  bytes.set(macBytes(fields.destination), ETHERNET.destination);
  bytes.set(macBytes(fields.source), ETHERNET.source);
  writeU16(bytes, ETHERNET.type, fields.type ?? inner.etherType ?? 0);
  return bytes;
}
