/**
 * Checksums that a sender left to its NIC (CHECKSUM_PARTIAL in include/linux/skbuff.h): the field of TCP or UDP holds
 * the sum of the pseudo header, and the NIC would have added the rest. Where a packet came from a virtual interface
 * and is sent on by this process, nobody has.
 */
import { readU16, writeU16 } from '../packet/big-endian.ts';
import { checksumAdd, checksumFinish } from '../packet/checksum.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import { IP_PROTOCOL, IPV4 } from '../packet/ipv4.ts';
import { IPV6 } from '../packet/ipv6.ts';
import { TCP } from '../packet/tcp.ts';
import { UDP } from '../packet/udp.ts';
import { innermostTypeAt } from '../packet/vlan.ts';

/** Completes the checksum of the TCP or UDP packet in the frame at `bytes[start, start + lengthBytes)`; leaves others as they are. */
export function completeChecksum(bytes: Uint8Array, start: number, lengthBytes: number): void {
  const end = start + lengthBytes;
  const typeAt = innermostTypeAt(bytes, start, end);
  const type = readU16(bytes, typeAt);
  const ip = typeAt + 2;
  let transport: number;
  let transportEnd: number;
  let protocol: number;
  if (type === ETHER_TYPE.ipv4 && ip + IPV4.headerLength <= end) {
    transport = ip + 4 * (bytes[ip]! & 15);
    transportEnd = ip + readU16(bytes, ip + IPV4.totalLength);
    protocol = bytes[ip + IPV4.protocol]!;
  } else if (type === ETHER_TYPE.ipv6 && ip + IPV6.headerLength <= end) {
    transport = ip + IPV6.headerLength;
    transportEnd = transport + readU16(bytes, ip + IPV6.payloadLength);
    protocol = bytes[ip + IPV6.nextHeader]!;
  } else {
    return;
  }
  const field = protocol === IP_PROTOCOL.tcp ? TCP.checksum : protocol === IP_PROTOCOL.udp ? UDP.checksum : undefined;
  if (field === undefined || transportEnd > end || transport + field + 2 > transportEnd) return;
  const value = checksumFinish(checksumAdd(0, bytes, transport, transportEnd));
  // In UDP 0 says that there is none (RFC 768).
  writeU16(bytes, transport + field, value === 0 && protocol === IP_PROTOCOL.udp ? 0xffff : value);
}
