import { join } from 'node:path';

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { arp, ARP_OPERATION } from '../../dataplane/packet/arp.ts';
import { ethernet, ETHER_TYPE } from '../../dataplane/packet/ethernet.ts';
import { flowKey, formatFlow, summarisePacket } from '../../dataplane/packet/flow.ts';
import { echoRest, icmp, ICMP_TYPE, icmpv6, ICMPV6_TYPE } from '../../dataplane/packet/icmp.ts';
import { ipv4 } from '../../dataplane/packet/ipv4.ts';
import { ipv6, ipv6Fragment } from '../../dataplane/packet/ipv6.ts';
import type { Payload } from '../../dataplane/packet/layer.ts';
import { tcp, TCP_FLAG } from '../../dataplane/packet/tcp.ts';
import { udp } from '../../dataplane/packet/udp.ts';
import { vlan } from '../../dataplane/packet/vlan.ts';
import { readCapture } from './crafted-capture.ts';

const frame = (payload: Payload, type?: number) =>
  ethernet(
    { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02', ...(type !== undefined && { type }) },
    payload,
  );
const v4 = { source: '198.18.0.1', destination: '10.0.0.100' };
const v6 = { source: '2001:db8::1', destination: 'fd00::100' };
const syn = tcp({ sourcePort: 1024, destinationPort: 80, sequence: 7, flags: TCP_FLAG.syn });
const data = tcp(
  {
    sourcePort: 1024,
    destinationPort: 443,
    sequence: 7,
    acknowledgment: 9,
    flags: TCP_FLAG.psh | TCP_FLAG.ack,
    window: 502,
  },
  new Uint8Array(10),
);

describe('one line for a packet', () => {
  test.each([
    ['IP 198.18.0.1.1024 > 10.0.0.100.80: Flags [S], seq 7, win 65535, length 0', frame(ipv4(v4, syn))],
    ['IP6 2001:db8::1.1024 > fd00::100.443: Flags [P.], seq 7, ack 9, win 502, length 10', frame(ipv6(v6, data))],
    [
      'vlan 200, vlan 42, IP 198.18.0.1.1024 > 10.0.0.100.80: Flags [S], seq 7, win 65535, length 0',
      frame(vlan({ id: 200, tagType: ETHER_TYPE.qinq }, vlan({ id: 42 }, ipv4(v4, syn)))),
    ],
    [
      'IP 198.18.0.1.53 > 10.0.0.100.5000: UDP, length 3',
      frame(ipv4(v4, udp({ sourcePort: 53, destinationPort: 5000 }, new Uint8Array(3)))),
    ],
    [
      'IP 198.18.0.1 > 10.0.0.100: ICMP echo request, id 7, seq 9, length 64',
      frame(ipv4(v4, icmp({ type: ICMP_TYPE.echo, rest: echoRest(7, 9) }, new Uint8Array(56)))),
    ],
    [
      'IP 198.18.0.1 > 10.0.0.100: ICMP unreachable - need to frag (mtu 1400), length 8',
      frame(ipv4(v4, icmp({ type: ICMP_TYPE.unreachable, code: 4, rest: 1400 }))),
    ],
    [
      'IP6 2001:db8::1 > fd00::100: ICMP6 packet too big, mtu 1280, length 8',
      frame(ipv6(v6, icmpv6({ type: ICMPV6_TYPE.packetTooBig, rest: 1280 }))),
    ],
    [
      'IP 198.18.0.1.53 > 10.0.0.100.5000: frag (0+) UDP, length 0',
      frame(ipv4({ ...v4, moreFragments: true }, udp({ sourcePort: 53, destinationPort: 5000 }))),
    ],
    [
      'IP 198.18.0.1 > 10.0.0.100: frag (1480) udp',
      frame(ipv4({ ...v4, protocol: 17, fragmentOffset: 1480 }, new Uint8Array(8))),
    ],
    [
      'IP6 2001:db8::1 > fd00::100: frag (8+) tcp',
      frame(
        ipv6(v6, ipv6Fragment({ nextHeader: 6, offset: 8, moreFragments: true, identification: 1 }, new Uint8Array(8))),
      ),
    ],
    [
      'IP 10.0.0.1 > 10.0.0.2: IP 198.18.0.1.1024 > 10.0.0.100.80: Flags [S], seq 7, win 65535, length 0',
      frame(ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, ipv4(v4, syn))),
    ],
    [
      'ARP, Request who-has 10.0.0.1 tell 10.0.0.2',
      frame(
        arp({
          operation: ARP_OPERATION.request,
          senderMac: '02:00:00:00:00:01',
          senderAddress: '10.0.0.2',
          targetMac: '00:00:00:00:00:00',
          targetAddress: '10.0.0.1',
        }),
      ),
    ],
    ['ethertype 0x1234, length 5', frame(new Uint8Array(5), 0x1234)],
    ['IP [|ip], 10 bytes', frame(ipv4(v4, syn)).subarray(0, 24)],
    ['IP 198.18.0.1.1024 > 10.0.0.100.80: [|tcp]', frame(ipv4(v4, syn)).subarray(0, 44)],
    ['IP 198.18.0.1 > 10.0.0.100: [|udp]', frame(ipv4({ ...v4, protocol: 17 }, new Uint8Array(4)))],
    ['[|ether] 13 bytes', new Uint8Array(13)],
  ])('%s', (line, bytes) => {
    expect(summarisePacket(bytes)).toBe(line);
  });

  test('any bytes give one line', () => {
    const start = [...frame(ipv6(v6, data))];
    fc.assert(
      fc.property(fc.nat(start.length), fc.uint8Array({ maxLength: 80 }), (kept, tail) => {
        expect(summarisePacket(Uint8Array.of(...start.slice(0, kept), ...tail))).toMatch(/^[^\n]+$/);
      }),
      { numRuns: 2000 },
    );
  });

  test('also the malformed packets of the traces', async () => {
    const { packets } = await readCapture(join(new URL('../../traces/', import.meta.url).pathname, 'malformed.pcap'));
    for (const { bytes } of packets) expect(summarisePacket(bytes)).toMatch(/^[^\n]+$/);
  });

  test('packets inside packets end somewhere', () => {
    let packet = ipv4(v4, syn);
    for (let depth = 0; depth < 500; depth++) packet = ipv4(v4, packet);
    expect(summarisePacket(frame(packet))).toMatch(/^IP [^\n]+$/);
  });
});

describe('flows', () => {
  test('have a key and a text, with ports or without', () => {
    expect(flowKey(frame(vlan({ id: 1 }, ipv4(v4, syn))))).toEqual({
      ...v4,
      protocol: 6,
      sourcePort: 1024,
      destinationPort: 80,
    });
    expect(formatFlow(flowKey(frame(ipv4(v4, syn)))!)).toBe('198.18.0.1:1024 > 10.0.0.100:80 tcp');
    expect(formatFlow(flowKey(frame(ipv6(v6, data)))!)).toBe('[2001:db8::1]:1024 > [fd00::100]:443 tcp');
    expect(formatFlow(flowKey(frame(ipv4(v4, icmp({ type: ICMP_TYPE.echo }))))!)).toBe('198.18.0.1 > 10.0.0.100 icmp');
    expect(formatFlow(flowKey(frame(ipv4({ ...v4, protocol: 99 }, new Uint8Array(0))))!)).toBe(
      '198.18.0.1 > 10.0.0.100 protocol 99',
    );
  });

  test('later fragments have no ports, and what is not IP has no flow', () => {
    expect(flowKey(frame(ipv4({ ...v4, protocol: 17, fragmentOffset: 8 }, new Uint8Array(8))))).toMatchObject({
      sourcePort: 0,
      destinationPort: 0,
    });
    expect(flowKey(frame(new Uint8Array(40), 0x1234))).toBeUndefined();
    expect(flowKey(new Uint8Array(3))).toBeUndefined();
  });
});
