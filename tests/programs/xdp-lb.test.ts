import { describe, expect, it } from 'vitest';
import { checksum } from '../../dataplane/packet/checksum.ts';
import { ETHER_TYPE, readEthernet } from '../../dataplane/packet/ethernet.ts';
import { echoRest, icmp, ICMP_TYPE, icmpv6, ICMPV6_TYPE, readIcmp } from '../../dataplane/packet/icmp.ts';
import { ipv4, readIpv4, type Ipv4Fields } from '../../dataplane/packet/ipv4.ts';
import { ipv6, ipv6Fragment, readIpv6 } from '../../dataplane/packet/ipv6.ts';
import type { Layer, Payload } from '../../dataplane/packet/layer.ts';
import { tcp, TCP_FLAG } from '../../dataplane/packet/tcp.ts';
import { udp } from '../../dataplane/packet/udp.ts';
import { vlan } from '../../dataplane/packet/vlan.ts';
import type { Lab, PacketResult } from '../../dataplane/pipeline/lab.ts';
import { loadBalancerMaps } from '../../programs/load-balancer.ts';
import { counted, ENGINE_NAMES, frame, HOST_MAC, ROUTER_MAC, xdpLab } from './program-lab.ts';

const SERVICES = [
  { vip: '10.0.0.100', port: 80, protocol: 'tcp', backends: [{ address: '10.1.0.1' }, { address: '10.1.0.2' }, { address: '10.1.0.3', weight: 2 }] },
  { vip: '10.0.0.100', port: 443, protocol: 'tcp', affinity: 'source', backends: [{ address: '10.1.0.1' }, { address: '10.1.0.2' }] },
  { vip: '10.0.0.101', port: 53, protocol: 'udp', stateless: true, backends: [{ address: '10.1.0.11' }, { address: '10.1.0.12' }] },
  { vip: 'fd00::100', port: 443, protocol: 'tcp', backends: [{ address: 'fd00:1::1' }, { address: '10.1.0.1' }] },
];
const CONFIG = { source_v4: '10.0.0.1', source_v6: 'fd00::1', gateway_mac: '00:00:00:00:00:00', source_mac: '00:00:00:00:00:00', egress_ifindex: 0, mtu: 0, spread_source: 0 };
const CLIENT = '198.18.0.7';
const VIP = '10.0.0.100';
const OUTER = 14;

const v4 = (payload: Payload, fields: Partial<Ipv4Fields> = {}): Layer => ipv4({ source: CLIENT, destination: VIP, ...fields }, payload);
const v6 = (payload: Payload, source = '2001:db8::7'): Layer => ipv6({ source, destination: 'fd00::100', trafficClass: 0x2e }, payload);
const web = (flags: number, sourcePort = 1000, destinationPort = 80): Layer => tcp({ sourcePort, destinationPort, flags });

interface Forwarded {
  readonly backend: string;
  readonly events: readonly string[];
}

function run(lab: Lab, packet: Uint8Array): { result: PacketResult; verdict: string; events: string[] } {
  let result!: PacketResult;
  const events = counted(lab, 'lb_counters', () => (result = lab.run(packet)));
  return { result, verdict: result.verdicts[0]!.verdict, events };
}

/** Checks the outer header and that the packet inside is untouched. */
function forward(lab: Lab, packet: Uint8Array, linkLength = OUTER): Forwarded {
  const { result, verdict, events } = run(lab, packet);
  expect(verdict).toBe('XDP_TX');
  expect(events).toContain('LB_FORWARDED');
  const { bytes } = result;
  expect(readEthernet(bytes)).toMatchObject({ destination: ROUTER_MAC, source: HOST_MAC });
  expect(bytes.subarray(12, linkLength - 2)).toEqual(packet.subarray(12, linkLength - 2));
  const innerVersion = packet[linkLength]! >> 4;
  const innerLength = packet.length - linkLength;
  const protocol = innerVersion === 4 ? 4 : 41;
  const type = (bytes[linkLength - 2]! << 8) | bytes[linkLength - 1]!;
  if (type === ETHER_TYPE.ipv4) {
    const outer = readIpv4(bytes, linkLength)!;
    expect(outer).toMatchObject({ source: CONFIG.source_v4, totalLength: innerLength + 20, protocol, timeToLive: 64 });
    expect(checksum(bytes, linkLength, linkLength + 20)).toBe(0);
    expect(bytes.subarray(linkLength + 20)).toEqual(packet.subarray(linkLength));
    return { backend: outer.destination, events };
  }
  const outer = readIpv6(bytes, linkLength)!;
  expect(outer).toMatchObject({ source: CONFIG.source_v6, payloadLength: innerLength, nextHeader: protocol, hopLimit: 64 });
  expect(bytes.subarray(linkLength + 40)).toEqual(packet.subarray(linkLength));
  return { backend: outer.destination, events };
}

describe.each(ENGINE_NAMES)('xdp_lb on the %s engine', (engine) => {
  function makeLab(config: Partial<typeof CONFIG> = {}): Lab {
    const lab = xdpLab('xdp_lb', engine);
    lab.addDevice({ name: 'eth1', ifindex: 3 });
    const maps = loadBalancerMaps(SERVICES);
    for (const { key, value } of maps.vips) lab.map('vips').set(key, value);
    for (const { key, value } of maps.backends) lab.map('backends').set(key, value);
    lab.map('lb_rings').fill(maps.lb_rings, 'lb_rings');
    lab.map('lb_config').set(0, { ...CONFIG, ...config });
    return lab;
  }

  it('keeps a flow on its backend, tagged or not', () => {
    const lab = makeLab();
    const { backend, events } = forward(lab, frame(v4(web(TCP_FLAG.syn))));
    expect(events).toEqual(['LB_FORWARDED', 'LB_NEW_FLOW']);
    expect(forward(lab, frame(v4(web(TCP_FLAG.ack))))).toEqual({ backend, events: ['LB_FORWARDED'] });
    expect(forward(lab, frame(vlan({ id: 7, priority: 3 }, v4(web(TCP_FLAG.ack)))), OUTER + 4)).toEqual({ backend, events: ['LB_FORWARDED'] });
    const twice = vlan({ id: 9, tagType: ETHER_TYPE.qinq }, vlan({ id: 7 }, v4(web(TCP_FLAG.ack))));
    expect(forward(lab, frame(twice), OUTER + 8)).toEqual({ backend, events: ['LB_FORWARDED'] });
    expect(forward(lab, frame(v4(web(TCP_FLAG.ack), { options: Uint8Array.of(7, 4, 4, 0) }))).backend).toBe(backend);
  });

  it('spreads flows by weight', () => {
    const lab = makeLab();
    const counts = new Map<string, number>();
    for (let port = 1; port <= 2000; port++) {
      const { bytes } = lab.run(frame(v4(web(TCP_FLAG.syn, port))));
      const { destination } = readIpv4(bytes, OUTER)!;
      counts.set(destination, (counts.get(destination) ?? 0) + 1);
    }
    expect(Math.abs(counts.get('10.1.0.3')! - 1000)).toBeLessThan(100);
    expect(Math.abs(counts.get('10.1.0.1')! - 500)).toBeLessThan(100);
  });

  it('wraps IPv6 in IPv6 and in IPv4, whatever the backend speaks', () => {
    const lab = makeLab();
    const backends = new Set(Array.from({ length: 16 }, (_, i) => forward(lab, frame(v6(web(TCP_FLAG.syn, 1000 + i, 443)))).backend));
    expect(backends).toEqual(new Set(['fd00:1::1', '10.1.0.1']));
  });

  it('sends all flows of a client to one backend where asked', () => {
    const lab = makeLab();
    const flows = Array.from({ length: 16 }, (_, i) => forward(lab, frame(v4(web(TCP_FLAG.syn, 1000 + i, 443)))).backend);
    expect(new Set(flows).size).toBe(1);
  });

  it('remembers no flow of a stateless VIP', () => {
    const lab = makeLab();
    forward(lab, frame(v4(udp({ sourcePort: 5000, destinationPort: 53 }), { destination: '10.0.0.101' })));
    expect(lab.map('lb_flows').size).toBe(0);
  });

  it.each([1, 17, 64, 255])('answers an echo request with TTL %i', (timeToLive) => {
    const { result, verdict, events } = run(makeLab(), frame(v4(icmp({ type: ICMP_TYPE.echo, rest: echoRest(7, 9) }, Uint8Array.of(1, 2, 3)), { timeToLive })));
    expect([verdict, ...events]).toEqual(['XDP_TX', 'LB_ECHO_ANSWERED']);
    expect(result.bytes).toEqual(
      new Uint8Array([
        ...Buffer.from('020000000099020000000001', 'hex'), 8, 0,
        ...ipv4({ source: VIP, destination: CLIENT }, icmp({ type: ICMP_TYPE.echoReply, rest: echoRest(7, 9) }, Uint8Array.of(1, 2, 3))).bytes,
      ]),
    );
  });

  it('answers an ICMPv6 echo request', () => {
    const { result, events } = run(makeLab(), frame(v6(icmpv6({ type: ICMPV6_TYPE.echo, rest: echoRest(7, 9) }))));
    expect(events).toEqual(['LB_ECHO_ANSWERED']);
    const expected = ipv6({ source: 'fd00::100', destination: '2001:db8::7', trafficClass: 0x2e }, icmpv6({ type: ICMPV6_TYPE.echoReply, rest: echoRest(7, 9) }));
    expect(result.bytes.subarray(OUTER)).toEqual(expected.bytes);
    expect(readIcmp(result.bytes, OUTER + 40)?.type).toBe(ICMPV6_TYPE.echoReply);
  });

  it('hands "fragmentation needed" and "packet too big" to the backend of the flow they quote', () => {
    const lab = makeLab();
    const { backend } = forward(lab, frame(v4(web(TCP_FLAG.syn))));
    const quote = ipv4({ source: VIP, destination: CLIENT }, tcp({ sourcePort: 80, destinationPort: 1000, flags: TCP_FLAG.ack })).bytes.subarray(0, 28);
    const error = ipv4({ source: '203.0.113.1', destination: VIP }, icmp({ type: ICMP_TYPE.unreachable, code: 4, rest: 1400 }, quote));
    expect(forward(lab, frame(error))).toEqual({ backend, events: ['LB_FORWARDED', 'LB_ICMP_ERROR'] });

    const six = forward(lab, frame(v6(web(TCP_FLAG.syn, 1000, 443)))).backend;
    const quote6 = ipv6({ source: 'fd00::100', destination: '2001:db8::7' }, tcp({ sourcePort: 443, destinationPort: 1000, flags: TCP_FLAG.ack })).bytes;
    const error6 = ipv6({ source: '2001:db8:ffff::1', destination: 'fd00::100' }, icmpv6({ type: ICMPV6_TYPE.packetTooBig, rest: 1280 }, quote6));
    expect(forward(lab, frame(error6)).backend).toBe(six);
  });

  it('finds for an error about a flow it does not know the backend that the flow would get', () => {
    const lab = makeLab();
    const quote = ipv4({ source: VIP, destination: CLIENT }, tcp({ sourcePort: 80, destinationPort: 7, flags: TCP_FLAG.ack })).bytes;
    const { backend } = forward(lab, frame(ipv4({ source: '203.0.113.1', destination: VIP }, icmp({ type: ICMP_TYPE.unreachable, code: 4 }, quote))));
    expect(lab.map('lb_flows').size).toBe(0);
    expect(forward(lab, frame(v4(web(TCP_FLAG.syn, 7)))).backend).toBe(backend);
  });

  it('sends later fragments after the first, and passes those that come before it', () => {
    const lab = makeLab();
    const datagram = udp({ sourcePort: 9, destinationPort: 53 }, new Uint8Array(1600)).bytes;
    const piece = (from: number, to: number): Uint8Array =>
      frame(ipv4({ source: CLIENT, destination: '10.0.0.101', protocol: 17, identification: 77, fragmentOffset: from, moreFragments: to < datagram.length }, datagram.subarray(from, to)));
    expect(run(lab, piece(800, datagram.length))).toMatchObject({ verdict: 'XDP_PASS', events: ['LB_FRAGMENT_UNKNOWN'] });
    const { backend } = forward(lab, piece(0, 800));
    expect(forward(lab, piece(800, datagram.length))).toEqual({ backend, events: ['LB_FORWARDED', 'LB_FRAGMENT'] });

    const segment = tcp({ sourcePort: 4000, destinationPort: 443, flags: TCP_FLAG.ack }, new Uint8Array(1600)).bytes;
    const piece6 = (from: number, to: number): Uint8Array =>
      frame(v6(ipv6Fragment({ nextHeader: 6, offset: from, moreFragments: to < segment.length, identification: 5 }, segment.subarray(from, to))));
    expect(forward(lab, piece6(0, 800)).backend).toBe(forward(lab, piece6(800, segment.length)).backend);
  });

  it('moves flows from a backend that is down to the ring', () => {
    const lab = makeLab();
    const { backend } = forward(lab, frame(v4(web(TCP_FLAG.syn))));
    const number = [...lab.map('backends').entries()].find(([, value]) => (value as { address: string }).address === backend)![0];
    lab.map('backends').set(number, { address: backend, state: 'BACKEND_DOWN' });
    expect(run(lab, frame(v4(web(TCP_FLAG.ack))))).toMatchObject({ verdict: 'XDP_DROP', events: ['LB_NO_BACKEND'] });
    const other = number === 1 ? 2 : 1;
    lab.map('lb_rings').fill(Array.from({ length: 4093 }, () => other), 'lb_rings');
    expect(forward(lab, frame(v4(web(TCP_FLAG.ack)))).events).toEqual(['LB_FORWARDED', 'LB_FLOW_UNKNOWN']);
  });

  it('redirects where told, to the next hop it is told', () => {
    const lab = makeLab({ egress_ifindex: 3, gateway_mac: '02:00:00:00:01:01', source_mac: '02:00:00:00:00:02', spread_source: 1, source_v4: '172.16.0.0' });
    const { result, verdict } = run(lab, frame(v4(web(TCP_FLAG.syn))));
    expect([verdict, result.out]).toEqual(['XDP_REDIRECT', 'eth1']);
    expect(readEthernet(result.bytes)).toMatchObject({ destination: '02:00:00:00:01:01', source: '02:00:00:00:00:02' });
    expect(readIpv4(result.bytes, OUTER)!.source).toMatch(/^172\.16\.(?!0\.0$)/);
    expect(checksum(result.bytes, OUTER, OUTER + 20)).toBe(0);
  });

  it('drops what would not fit once wrapped', () => {
    const lab = makeLab({ mtu: 1500 });
    const segment = (length: number): Uint8Array => frame(v4(tcp({ sourcePort: 1, destinationPort: 80, flags: TCP_FLAG.ack }, new Uint8Array(length))));
    expect(run(lab, segment(1440)).verdict).toBe('XDP_TX');
    expect(run(lab, segment(1441))).toMatchObject({ verdict: 'XDP_DROP', events: ['LB_TOO_BIG'] });
  });

  it.each<[string, Uint8Array]>([
    ['another port', frame(v4(web(TCP_FLAG.syn, 1000, 81)))],
    ['the same port of another protocol', frame(v4(udp({ sourcePort: 1, destinationPort: 80 })))],
    ['another protocol', frame(v4(new Uint8Array(8), { protocol: 47 }))],
    ['an echo request to another address', frame(v4(icmp({ type: ICMP_TYPE.echo }), { destination: '10.0.0.1' }))],
    ['an ICMP error that quotes no flow of a VIP', frame(v4(icmp({ type: ICMP_TYPE.unreachable, code: 4 }, v4(web(0)).bytes), { destination: '10.0.0.1' }))],
    ['ARP', frame({ bytes: new Uint8Array(28), etherType: 0x0806 })],
  ])('passes %s untouched', (_, packet) => {
    const { result, verdict, events } = run(makeLab(), packet);
    expect([verdict, ...events]).toEqual(['XDP_PASS', 'LB_PASSED']);
    expect(result.bytes).toEqual(packet);
  });

  it.each<[string, Uint8Array]>([
    ['a header length below 20', frame(v4(web(0), { headerWords: 4 }))],
    ['a total length past the frame', frame(v4(web(0), { totalLength: 1000 }))],
    ['a cut TCP header', frame(v4(new Uint8Array(8), { protocol: 6 }))],
  ])('drops %s', (_, packet) => {
    expect(run(makeLab(), packet)).toMatchObject({ verdict: 'XDP_DROP', events: ['LB_BAD_PACKET'] });
  });
});
