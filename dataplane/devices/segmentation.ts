/**
 * What a sender left to its NIC, done here: TCP packets that are longer than the MTU (TSO, GSO in
 * Documentation/networking/segmentation-offloads.rst) are cut into those that the NIC would have put on the wire. Each
 * has the headers of the long one, with its own lengths, sequence number, identification and checksums; FIN and PSH are
 * in the last only, CWR in the first.
 */
import { readU16, readU32, writeU16, writeU32 } from '../packet/big-endian.ts';
import { checksum, checksumAdd, checksumFinish, pseudoHeaderSum } from '../packet/checksum.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import { IP_PROTOCOL, IPV4 } from '../packet/ipv4.ts';
import { IPV6 } from '../packet/ipv6.ts';
import { TCP, TCP_FLAG } from '../packet/tcp.ts';
import { innermostTypeAt } from '../packet/vlan.ts';

/** Where in a frame the parts of a TCP packet are. */
interface TcpPlace {
  readonly ip: number;
  readonly version: 4 | 6;
  readonly tcp: number;
  readonly payload: number;
  readonly end: number;
}

/** RFC 3168. */
const CWR = 0x80;

/** The longest that segments of one packet can be together: headers again for each small one. */
export const SEGMENTS_BYTES = 1 << 19;

/**
 * Cuts the frame at `bytes[start, start + lengthBytes)` into frames that a device of that MTU sends, one behind the
 * other from `to` on, each at a multiple of 8. Calls `segment` with each, and answers how many there are; 0 where it is
 * no TCP packet, or would be more than `most`, or longer than SEGMENTS_BYTES.
 */
export function segmentTcp(bytes: Uint8Array, start: number, lengthBytes: number, mtuBytes: number, to: number, most: number, segment: (address: number, lengthBytes: number) => void): number {
  const place = tcpPlace(bytes, start, start + lengthBytes);
  if (place === undefined) return 0;
  const { ip, version, tcp, payload, end } = place;
  const headers = payload - start;
  const each = mtuBytes - (payload - ip);
  const count = each <= 0 ? 0 : Math.ceil((end - payload) / each);
  if (count < 1 || count > most || count * (headers + 8) + (end - payload) > SEGMENTS_BYTES) return 0;
  const flags = bytes[tcp + TCP.flags]!;
  let at = to;
  for (let index = 0; index < count; index++) {
    const from = payload + index * each;
    const until = Math.min(from + each, end);
    const length = headers + until - from;
    bytes.copyWithin(at, start, payload);
    bytes.copyWithin(at + headers, from, until);
    const [segmentIp, segmentTcpAt, segmentEnd] = [at + ip - start, at + tcp - start, at + length];
    writeU32(bytes, segmentTcpAt + TCP.sequence, readU32(bytes, tcp + TCP.sequence) + index * each);
    bytes[segmentTcpAt + TCP.flags] = flags & ~((index < count - 1 ? TCP_FLAG.fin | TCP_FLAG.psh : 0) | (index > 0 ? CWR : 0));
    if (version === 4) {
      writeU16(bytes, segmentIp + IPV4.totalLength, segmentEnd - segmentIp);
      writeU16(bytes, segmentIp + IPV4.identification, readU16(bytes, ip + IPV4.identification) + index);
      writeU16(bytes, segmentIp + IPV4.checksum, 0);
      writeU16(bytes, segmentIp + IPV4.checksum, checksum(bytes, segmentIp, segmentTcpAt));
    } else {
      writeU16(bytes, segmentIp + IPV6.payloadLength, segmentEnd - segmentTcpAt);
    }
    const addresses = segmentIp + (version === 4 ? IPV4.source : IPV6.source);
    const pseudo = pseudoHeaderSum(bytes, addresses, addresses + (version === 4 ? 8 : 32), IP_PROTOCOL.tcp, segmentEnd - segmentTcpAt);
    writeU16(bytes, segmentTcpAt + TCP.checksum, 0);
    writeU16(bytes, segmentTcpAt + TCP.checksum, checksumFinish(checksumAdd(pseudo, bytes, segmentTcpAt, segmentEnd)));
    segment(at, length);
    at += (length + 7) & ~7;
  }
  return count;
}

function tcpPlace(bytes: Uint8Array, start: number, end: number): TcpPlace | undefined {
  const typeAt = innermostTypeAt(bytes, start, end);
  const type = readU16(bytes, typeAt);
  const ip = typeAt + 2;
  const version = type === ETHER_TYPE.ipv4 ? 4 : type === ETHER_TYPE.ipv6 ? 6 : undefined;
  if (version === undefined || ip + IPV6.headerLength > end) return undefined;
  const protocol = bytes[ip + (version === 4 ? IPV4.protocol : IPV6.nextHeader)];
  const tcp = ip + (version === 4 ? 4 * (bytes[ip]! & 15) : IPV6.headerLength);
  if (protocol !== IP_PROTOCOL.tcp || tcp + TCP.headerLength > end) return undefined;
  // Where it is too long for its field, the kernel writes 0.
  const said = version === 4 ? readU16(bytes, ip + IPV4.totalLength) : readU16(bytes, ip + IPV6.payloadLength) + IPV6.headerLength;
  const last = said === 0 || (version === 6 && said === IPV6.headerLength) ? end : ip + said;
  const payload = tcp + 4 * (bytes[tcp + TCP.words]! >>> 4);
  return last > end || payload >= last ? undefined : { ip, version, tcp, payload, end: last };
}
