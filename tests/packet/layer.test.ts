/** Builders and readers of headers, one against the other; capture-oracles.test.ts asks tshark about both. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { formatAddress, formatMac } from '../../dataplane/address.ts';
import { arp, ARP_OPERATION, readArp } from '../../dataplane/packet/arp.ts';
import { checksum, checksumAdd, checksumFinish, pseudoHeaderSum } from '../../dataplane/packet/checksum.ts';
import { ethernet, ETHER_TYPE, readEthernet } from '../../dataplane/packet/ethernet.ts';
import { echoRest, icmp, ICMP_TYPE, icmpv6, ICMPV6_TYPE, readIcmp } from '../../dataplane/packet/icmp.ts';
import { IP_PROTOCOL, ipv4, readIpv4 } from '../../dataplane/packet/ipv4.ts';
import { ipv6, ipv6Fragment, readIpv6 } from '../../dataplane/packet/ipv6.ts';
import { readTcp, tcp } from '../../dataplane/packet/tcp.ts';
import { readUdp, udp } from '../../dataplane/packet/udp.ts';
import { readVlan, vlan } from '../../dataplane/packet/vlan.ts';

const u8 = fc.nat(0xff);
const u16 = fc.nat(0xffff);
const u32 = fc.nat(0xffff_ffff);
const exactly = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const payload = fc.uint8Array({ maxLength: 50 });

const tcpFields = fc.record({
  sourcePort: u16,
  destinationPort: u16,
  sequence: u32,
  acknowledgment: u32,
  flags: u8,
  window: u16,
});

describe('what a builder is given, its reader gives back', () => {
  test('Ethernet and VLAN', () => {
    fc.assert(
      fc.property(exactly(6), exactly(6), fc.nat(0xfff), fc.nat(7), u16, (destination, source, id, priority, type) => {
        const frame = ethernet({ destination, source }, vlan({ id, priority, type }, new Uint8Array(4)));
        expect(readEthernet(frame)).toEqual({
          destination: formatMac(destination),
          source: formatMac(source),
          type: ETHER_TYPE.vlan,
        });
        expect(readVlan(frame, 14)).toEqual({ id, priority, dropEligible: false, type });
      }),
    );
  });

  test('IPv4 and TCP', () => {
    fc.assert(
      fc.property(
        exactly(4),
        exactly(4),
        u8,
        u16,
        tcpFields,
        payload,
        (source, destination, timeToLive, identification, fields, body) => {
          const { bytes } = ipv4(
            { source, destination, timeToLive, identification, dontFragment: true },
            tcp(fields, body),
          );
          expect(readIpv4(bytes, 0)).toEqual({
            headerLength: 20,
            totalLength: 40 + body.length,
            identification,
            dontFragment: true,
            moreFragments: false,
            fragmentOffset: 0,
            timeToLive,
            protocol: IP_PROTOCOL.tcp,
            source: formatAddress(source),
            destination: formatAddress(destination),
          });
          expect(readTcp(bytes, 20)).toEqual({ ...fields, headerLength: 20 });
          expect(checksum(bytes, 0, 20)).toBe(0);
          expect(
            checksumFinish(checksumAdd(pseudoHeaderSum(bytes, 12, 20, 6, 20 + body.length), bytes, 20, bytes.length)),
          ).toBe(0);
        },
      ),
    );
  });

  test('IPv6 and UDP, whose checksum is never zero', () => {
    fc.assert(
      fc.property(
        exactly(16),
        exactly(16),
        u8,
        fc.nat(0xf_ffff),
        u16,
        u16,
        payload,
        (source, destination, trafficClass, flowLabel, sourcePort, destinationPort, body) => {
          const { bytes } = ipv6(
            { source, destination, trafficClass, flowLabel, hopLimit: 9 },
            udp({ sourcePort, destinationPort }, body),
          );
          expect(readIpv6(bytes, 0)).toEqual({
            trafficClass,
            flowLabel,
            payloadLength: 8 + body.length,
            nextHeader: IP_PROTOCOL.udp,
            hopLimit: 9,
            source: formatAddress(source),
            destination: formatAddress(destination),
            transport: IP_PROTOCOL.udp,
            headerLength: 40,
            moreFragments: false,
            fragmentOffset: 0,
          });
          expect(readUdp(bytes, 40)).toEqual({ sourcePort, destinationPort, length: 8 + body.length });
          expect(
            checksumFinish(checksumAdd(pseudoHeaderSum(bytes, 8, 40, 17, 8 + body.length), bytes, 40, bytes.length)),
          ).toBe(0);
          expect(bytes[46]! | bytes[47]!).not.toBe(0);
        },
      ),
    );
  });

  test('a UDP sum of zero is sent as 0xffff', () => {
    // The destination port is what makes the rest of the words sum to 0xffff.
    const { bytes } = ipv4(
      { source: '0.0.0.0', destination: '0.0.0.0' },
      udp({ sourcePort: 0, destinationPort: 0xffff - 17 - 8 - 8 }),
    );
    expect([bytes[26], bytes[27]]).toEqual([0xff, 0xff]);
  });

  test('fragments of both versions', () => {
    const first = ipv4(
      { source: '1.2.3.4', destination: '5.6.7.8', protocol: 17, moreFragments: true, fragmentOffset: 1480 },
      new Uint8Array(8),
    );
    expect(readIpv4(first.bytes, 0)).toMatchObject({ moreFragments: true, fragmentOffset: 1480 });
    const piece = ipv6Fragment(
      { nextHeader: 17, offset: 1448, moreFragments: true, identification: 0xdead_beef },
      new Uint8Array(8),
    );
    expect(readIpv6(ipv6({ source: 'fd00::1', destination: 'fd00::2' }, piece).bytes, 0)).toMatchObject({
      nextHeader: IP_PROTOCOL.fragment,
      transport: 17,
      headerLength: 48,
      moreFragments: true,
      fragmentOffset: 1448,
    });
  });

  test('ICMP, ICMPv6 and ARP', () => {
    const echo = icmp({ type: ICMP_TYPE.echo, rest: echoRest(7, 9) }, new Uint8Array(5));
    expect(readIcmp(echo.bytes, 0)).toEqual({ type: 8, code: 0, rest: 0x7_0009, identifier: 7, sequence: 9 });
    expect(checksum(echo.bytes)).toBe(0);
    const { bytes } = ipv6(
      { source: 'fd00::1', destination: 'fd00::2' },
      icmpv6({ type: ICMPV6_TYPE.packetTooBig, rest: 1280 }, new Uint8Array(5)),
    );
    expect(checksumFinish(checksumAdd(pseudoHeaderSum(bytes, 8, 40, 58, 13), bytes, 40, 53))).toBe(0);
    const fields = {
      operation: ARP_OPERATION.reply,
      senderMac: '02:00:00:00:00:01',
      senderAddress: '10.0.0.1',
      targetMac: '02:00:00:00:00:fe',
      targetAddress: '10.0.0.254',
    };
    expect(readArp(arp(fields).bytes, 0)).toEqual(fields);
  });

  test('packets in packets are checked each for itself', () => {
    const inner = ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, udp({ sourcePort: 1, destinationPort: 2 }));
    const { bytes } = ipv6({ source: 'fd00::1', destination: 'fd00::2' }, inner);
    expect(readIpv6(bytes, 0)!.transport).toBe(IP_PROTOCOL.ipip);
    expect(bytes.subarray(40)).toEqual(inner.bytes);
  });
});

test('readers of headers that are not all there give nothing, and never throw', () => {
  const readers = [readEthernet, readVlan, readArp, readIpv4, readIpv6, readTcp, readUdp, readIcmp];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), fc.nat(80), (bytes, at) => {
      for (const read of readers) {
        const header = read(bytes, at);
        if (at >= bytes.length) expect(header).toBeUndefined();
      }
    }),
    { numRuns: 2000 },
  );
});
