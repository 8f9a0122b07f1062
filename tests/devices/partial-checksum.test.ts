/** A checksum that its sender left to a NIC is completed to what the NIC would have made of it. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { completeChecksum } from '../../dataplane/devices/partial-checksum.ts';
import { checksumFinish, pseudoHeaderSum } from '../../dataplane/packet/checksum.ts';
import { ethernet } from '../../dataplane/packet/ethernet.ts';
import { IP_PROTOCOL, ipv4 } from '../../dataplane/packet/ipv4.ts';
import { ipv6 } from '../../dataplane/packet/ipv6.ts';
import { TCP, tcp } from '../../dataplane/packet/tcp.ts';
import { UDP, udp } from '../../dataplane/packet/udp.ts';
import { vlan } from '../../dataplane/packet/vlan.ts';

const MACS = { source: '02:00:00:00:00:0a', destination: '02:00:00:00:00:0b' };
const PLACE = 5;

test('of TCP and UDP over IPv4 and IPv6, with VLAN tags or without, wherever the frame is', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), fc.boolean(), fc.nat(2), fc.nat(60), (payload, isTcp, isV6, tags, padding) => {
      const transport = isTcp ? tcp({ sourcePort: 1000, destinationPort: 80, flags: 0x18 }, payload) : udp({ sourcePort: 1000, destinationPort: 53 }, payload);
      const network = isV6 ? ipv6({ source: 'fd00::1', destination: 'fd00::2' }, transport) : ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, transport);
      let inner = network;
      for (let tag = 0; tag < tags; tag++) inner = vlan({ id: 7 + tag }, inner);
      const frame = ethernet(MACS, inner);
      const bytes = new Uint8Array(PLACE + frame.length + padding);
      bytes.set(frame, PLACE);
      const whole = bytes.slice();
      // What a sender leaves there: the sum of the pseudo header, folded and not complemented.
      const ip = PLACE + 14 + 4 * tags;
      const start = ip + (isV6 ? 40 : 20);
      const at = start + (isTcp ? TCP.checksum : UDP.checksum);
      const addresses = ip + (isV6 ? 8 : 12);
      const sum = ~checksumFinish(pseudoHeaderSum(bytes, addresses, addresses + (isV6 ? 32 : 8), isTcp ? IP_PROTOCOL.tcp : IP_PROTOCOL.udp, PLACE + frame.length - start)) & 0xffff;
      bytes[at] = sum >>> 8;
      bytes[at + 1] = sum;
      completeChecksum(bytes, PLACE, frame.length + padding);
      expect(Buffer.from(bytes).toString('hex')).toBe(Buffer.from(whole).toString('hex'));
    }),
  );
});

test('and other packets, or what is cut short, stay as they are', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 14, maxLength: 60 }), (bytes) => {
      // ARP, whatever follows.
      bytes.set([0x08, 0x06], 12);
      const before = bytes.slice();
      completeChecksum(bytes, 0, bytes.length);
      expect(bytes).toEqual(before);
    }),
  );
  const frame = ethernet(MACS, ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, udp({ sourcePort: 1, destinationPort: 2 }, new Uint8Array(20))));
  for (let length = 14; length < frame.length; length++) {
    const bytes = frame.slice();
    completeChecksum(bytes, 0, length);
    expect(bytes).toEqual(frame);
  }
});
