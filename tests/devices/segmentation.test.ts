/** A TCP packet that its sender left to the NIC to cut becomes packets that fit, and say the same. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { segmentTcp, SEGMENTS_BYTES } from '../../dataplane/devices/segmentation.ts';
import { checksum, checksumAdd, checksumFinish, pseudoHeaderSum } from '../../dataplane/packet/checksum.ts';
import { ethernet } from '../../dataplane/packet/ethernet.ts';
import { IP_PROTOCOL, ipv4 } from '../../dataplane/packet/ipv4.ts';
import { ipv6 } from '../../dataplane/packet/ipv6.ts';
import { readTcp, TCP_FLAG, tcp } from '../../dataplane/packet/tcp.ts';
import { udp } from '../../dataplane/packet/udp.ts';
import { vlan } from '../../dataplane/packet/vlan.ts';

const MACS = { source: '02:00:00:00:00:0a', destination: '02:00:00:00:00:0b' };
const CWR = 0x80;
const START = 24;
const TO = 1 << 17;

function cut(frame: Uint8Array, mtu: number, most = 256): Uint8Array[] {
  const bytes = new Uint8Array(TO + SEGMENTS_BYTES);
  bytes.set(frame, START);
  const segments: Uint8Array[] = [];
  const count = segmentTcp(bytes, START, frame.length, mtu, TO, most, (at, length) => segments.push(bytes.slice(at, at + length)));
  expect(segments.length).toBe(count);
  return segments;
}

test('whatever its length, options, tags and family', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60_000 }), fc.integer({ min: 600, max: 9000 }), fc.boolean(), fc.boolean(), fc.nat(3), fc.nat(0xffff_ffff), (length, mtu, isV6, isTagged, optionWords, sequence) => {
      const payload = Uint8Array.from({ length }, (_, index) => index * 7);
      const flags = TCP_FLAG.ack | TCP_FLAG.psh | TCP_FLAG.fin | CWR;
      const segment = tcp({ sourcePort: 1000, destinationPort: 80, sequence, flags, options: new Uint8Array(4 * optionWords).fill(1) }, payload);
      const network = isV6 ? ipv6({ source: 'fd00::1', destination: 'fd00::2' }, segment) : ipv4({ source: '10.0.0.1', destination: '10.0.0.2', identification: 0xfffe }, segment);
      const frame = ethernet(MACS, isTagged ? vlan({ id: 9 }, network) : network);
      const ip = 14 + (isTagged ? 4 : 0);
      const transport = ip + (isV6 ? 40 : 20);
      const headers = transport + 20 + 4 * optionWords;
      const segments = cut(frame, mtu);
      expect(segments.length).toBe(Math.ceil(length / (mtu - headers + ip)));
      let place = 0;
      for (const [index, each] of segments.entries()) {
        const isLast = index === segments.length - 1;
        expect(each.length).toBeLessThanOrEqual(mtu + ip);
        expect(Buffer.from(each.subarray(0, ip)).equals(frame.subarray(0, ip))).toBe(true);
        const header = readTcp(each, transport)!;
        expect(header).toMatchObject({ sequence: (sequence + place) >>> 0, sourcePort: 1000, headerLength: 20 + 4 * optionWords });
        expect(each[transport + 13]).toBe(TCP_FLAG.ack | (isLast ? TCP_FLAG.psh | TCP_FLAG.fin : 0) | (index === 0 ? CWR : 0));
        if (!isV6) {
          expect(checksum(each, ip, transport)).toBe(0);
          expect((each[ip + 4]! << 8) | each[ip + 5]!).toBe((0xfffe + index) & 0xffff);
        }
        const addresses = ip + (isV6 ? 8 : 12);
        const pseudo = pseudoHeaderSum(each, addresses, addresses + (isV6 ? 32 : 8), IP_PROTOCOL.tcp, each.length - transport);
        expect(checksumFinish(checksumAdd(pseudo, each, transport, each.length))).toBe(0);
        const part = each.subarray(headers);
        expect(Buffer.from(part).equals(payload.subarray(place, place + part.length))).toBe(true);
        place += part.length;
      }
      expect(place).toBe(length);
    }),
    { numRuns: 60 },
  );
});

test('what is no TCP, has nothing in it, or would be too many, is left alone', () => {
  const datagram = ethernet(MACS, ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, udp({ sourcePort: 1, destinationPort: 2 }, new Uint8Array(4000))));
  const large = ethernet(MACS, ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, tcp({ sourcePort: 1, destinationPort: 2, flags: TCP_FLAG.ack }, new Uint8Array(30_000))));
  const empty = ethernet(MACS, ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, tcp({ sourcePort: 1, destinationPort: 2, flags: TCP_FLAG.ack })));
  expect(cut(datagram, 1500)).toEqual([]);
  expect(cut(large, 600, 50)).toEqual([]);
  expect(cut(large, 40)).toEqual([]);
  expect(cut(empty, 1500)).toEqual([]);
  for (let length = 14; length < 54; length++) expect(cut(large.subarray(0, length), 1500)).toEqual([]);
});
