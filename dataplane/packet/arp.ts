/**
 * ARP for IPv4 over Ethernet (RFC 826).
 *
 *   0 u16 hardware 1   2 u16 protocol 0x0800   4 u8 6   5 u8 4   6 u16 operation
 *   8 sender MAC   14 sender IPv4   18 target MAC   24 target IPv4   28
 */
import { formatIPv4, formatMac } from '../address.ts';
import { addressBytes, macBytes } from './address.ts';
import { readU16, writeU16 } from './big-endian.ts';
import { ETHER_TYPE } from './ethernet.ts';
import type { Layer } from './layer.ts';

export const ARP = {
  operation: 6,
  senderMac: 8,
  senderAddress: 14,
  targetMac: 18,
  targetAddress: 24,
  headerLength: 28,
} as const;

export const ARP_OPERATION = { request: 1, reply: 2 } as const;

const ETHERNET_IPV4 = [0, 1, 8, 0, 6, 4];

export interface Arp {
  readonly operation: number;
  readonly senderMac: string;
  readonly senderAddress: string;
  readonly targetMac: string;
  readonly targetAddress: string;
}

export function readArp(bytes: Uint8Array, at: number): Arp | undefined {
  if (at + ARP.headerLength > bytes.length) return undefined;
  if (!ETHERNET_IPV4.every((octet, index) => bytes[at + index] === octet)) return undefined;
  return {
    operation: readU16(bytes, at + ARP.operation),
    senderMac: formatMac(bytes, at + ARP.senderMac),
    senderAddress: formatIPv4(bytes, at + ARP.senderAddress),
    targetMac: formatMac(bytes, at + ARP.targetMac),
    targetAddress: formatIPv4(bytes, at + ARP.targetAddress),
  };
}

export function arp(fields: Arp): Layer {
  const bytes = new Uint8Array(ARP.headerLength);
  bytes.set(ETHERNET_IPV4);
  writeU16(bytes, ARP.operation, fields.operation);
  bytes.set(macBytes(fields.senderMac), ARP.senderMac);
  bytes.set(addressBytes(fields.senderAddress), ARP.senderAddress);
  bytes.set(macBytes(fields.targetMac), ARP.targetMac);
  bytes.set(addressBytes(fields.targetAddress), ARP.targetAddress);
  return { bytes, etherType: ETHER_TYPE.arp };
}
