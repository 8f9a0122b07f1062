import { describe, expect, it } from 'vitest';
import { ETHER_TYPE } from '../../dataplane/packet/ethernet.ts';
import { icmp, ICMP_TYPE } from '../../dataplane/packet/icmp.ts';
import { ipv4, type Ipv4Fields } from '../../dataplane/packet/ipv4.ts';
import { ipv6, ipv6Fragment } from '../../dataplane/packet/ipv6.ts';
import type { Layer, Payload } from '../../dataplane/packet/layer.ts';
import { tcp, TCP_FLAG } from '../../dataplane/packet/tcp.ts';
import { udp } from '../../dataplane/packet/udp.ts';
import { vlan } from '../../dataplane/packet/vlan.ts';
import { EventLog } from '../../dataplane/pipeline/event-log.ts';
import type { Lab } from '../../dataplane/pipeline/lab.ts';
import { counted, ENGINE_NAMES, frame, packetCounts, xdpLab } from './program-lab.ts';

const CONFIG = { default_action: 'FW_PASS', syn_rate: 0, syn_burst: 0, event_every: 0, drop_fragments: 0, drop_ip_options: 0 };
const CLIENT = '198.18.0.1';
const HOST = '10.0.0.1';

const v4 = (payload: Payload, fields: Partial<Ipv4Fields> = {}): Layer => ipv4({ source: CLIENT, destination: HOST, ...fields }, payload);
const v6 = (payload: Payload, fields: Partial<Parameters<typeof ipv6>[0]> = {}): Layer => ipv6({ source: '2001:db8::5', destination: 'fd00::1', ...fields }, payload);
const segment = (flags: number, destinationPort = 80, headerWords = 5): Layer => tcp({ sourcePort: 1234, destinationPort, flags, headerWords });
const datagram = (destinationPort = 53, length?: number): Layer => udp({ sourcePort: 1234, destinationPort, ...(length === undefined ? {} : { length }) }, new Uint8Array(4));
const { fin, syn, rst, psh, ack, urg } = TCP_FLAG;

/** An extension header of 8 bytes in front of `inner`. */
function destinationOptions(nextHeader: number, inner: Uint8Array): Layer {
  return { bytes: Uint8Array.of(nextHeader, 0, 1, 4, 0, 0, 0, 0, ...inner), ipProtocol: 60 };
}

function nested(depth: number): Layer {
  let layer = destinationOptions(6, segment(syn).bytes);
  for (let i = 1; i < depth; i++) layer = destinationOptions(60, layer.bytes);
  return layer;
}

const PASSED: [string, Uint8Array][] = [
  ['a TCP SYN', frame(v4(segment(syn)))],
  ['a TCP SYN with ECN', frame(v4(segment(syn | 0xc0)))],
  ['a UDP datagram over IPv6', frame(v6(datagram()))],
  ['a short packet that Ethernet has padded', padded(frame(v4(udp({ sourcePort: 1, destinationPort: 2 }))))],
  ['a tagged packet', frame(vlan({ id: 5 }, v4(datagram())))],
  ['a packet with two tags', frame(vlan({ id: 5, tagType: ETHER_TYPE.qinq }, vlan({ id: 6 }, v6(datagram()))))],
  ['ARP', frame({ bytes: new Uint8Array(28), etherType: 0x0806 })],
  ['a DHCP request of a host without an address', frame(v4(udp({ sourcePort: 68, destinationPort: 67 }), { source: '0.0.0.0' }))],
  ['IPv4 options', frame(v4(segment(ack), { options: Uint8Array.of(7, 4, 4, 0) }))],
  ['four IPv6 extension headers', frame(v6(nested(4)))],
  ['a first fragment', frame(v4(datagram(53, 3000), { moreFragments: true }))],
  ['a later fragment', frame(v4(new Uint8Array(100), { protocol: 17, fragmentOffset: 1024 }))],
  ['a later fragment of IPv6', frame(v6(ipv6Fragment({ nextHeader: 17, offset: 800, moreFragments: false, identification: 1 }, new Uint8Array(80))))],
];

const DROPPED: [reason: string, name: string, packet: Uint8Array][] = [
  ['FW_TRUNCATED_FRAME', 'a cut VLAN tag', frame(vlan({ id: 5 }, new Uint8Array(0))).subarray(0, 16)],
  ['FW_VLAN_DEPTH', 'three VLAN tags', frame(vlan({ id: 1 }, vlan({ id: 2 }, vlan({ id: 3 }, v4(datagram())))))],
  ['FW_BAD_IP_HEADER', 'IPv4 with the version 6', frame({ ...v6(datagram()), etherType: ETHER_TYPE.ipv4 })],
  ['FW_BAD_IP_HEADER', 'an IPv4 header length below 20', frame(v4(datagram(), { headerWords: 4 }))],
  ['FW_BAD_IP_HEADER', 'an IPv4 total length past the frame', frame(v4(datagram(), { totalLength: 2000 }))],
  ['FW_BAD_IP_HEADER', 'an IPv4 total length below the header', frame(v4(datagram(), { totalLength: 10 }))],
  ['FW_BAD_IP_HEADER', 'an IPv6 payload length past the frame', frame(v6(datagram(), { payloadLength: 100 }))],
  ['FW_BAD_IP_HEADER', 'an IPv6 extension header past the payload', frame(v6(nested(1), { payloadLength: 4 }))],
  ['FW_BAD_IP_HEADER', 'five IPv6 extension headers', frame(v6(nested(5)))],
  ['FW_BAD_ADDRESS', 'a loopback source', frame(v4(datagram(), { source: '127.0.0.1' }))],
  ['FW_BAD_ADDRESS', 'a multicast source', frame(v4(datagram(), { source: '224.0.0.1' }))],
  ['FW_BAD_ADDRESS', 'a source that is the destination', frame(v4(datagram(), { source: HOST }))],
  ['FW_BAD_ADDRESS', 'an IPv6 multicast source', frame(v6(datagram(), { source: 'ff02::1' }))],
  ['FW_BAD_ADDRESS', 'an IPv6 loopback source', frame(v6(datagram(), { source: '::1' }))],
  ['FW_BAD_ADDRESS', 'an IPv4-mapped source, which would pass for another', frame(v6(datagram(), { source: '::ffff:192.0.2.1' }))],
  ['FW_BAD_FRAGMENT', 'a fragment over the TCP flags', frame(v4(new Uint8Array(40), { protocol: 6, fragmentOffset: 8 }))],
  ['FW_BAD_FRAGMENT', 'a fragment past 65535 bytes', frame(v4(new Uint8Array(100), { protocol: 1, fragmentOffset: 65512 }))],
  ['FW_BAD_FRAGMENT', 'an empty fragment', frame(v4(new Uint8Array(0), { protocol: 17, fragmentOffset: 800 }))],
  ['FW_TRUNCATED_TRANSPORT', 'a first fragment without all of the TCP header', frame(v4(new Uint8Array(8), { protocol: 6, moreFragments: true }))],
  ['FW_TRUNCATED_TRANSPORT', 'a UDP header that is padding in part', padded(frame(v4(new Uint8Array(4), { protocol: 17 })))],
  ['FW_BAD_TCP_HEADER', 'a TCP header length below 20', frame(v4(segment(ack, 80, 4)))],
  ['FW_BAD_TCP_HEADER', 'a TCP header length past the packet', frame(v4(segment(ack, 80, 15)))],
  ...[0, fin | psh | urg, syn | fin, syn | rst, fin, fin | syn | rst | psh | ack | urg].map(
    (flags): [string, string, Uint8Array] => ['FW_BAD_TCP_FLAGS', `the TCP flags 0x${flags.toString(16)}`, frame(v4(segment(flags)))],
  ),
  ['FW_BAD_UDP_LENGTH', 'a UDP length past the packet', frame(v4(datagram(53, 100)))],
  ['FW_BAD_UDP_LENGTH', 'a UDP length below 8', frame(v4(datagram(53, 4)))],
];

function padded(packet: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(60);
  bytes.set(packet);
  return bytes;
}

function judge(lab: Lab, packet: Uint8Array, timestampNs = 0n): string {
  let verdict = '';
  const reasons = counted(lab, 'fw_counters', () => {
    const result = lab.run(packet, { timestampNs });
    verdict = result.verdicts[0]!.verdict;
    expect(result.bytes).toEqual(packet);
  });
  expect(reasons).toHaveLength(1);
  expect(verdict).toBe(reasons[0] === 'FW_PASSED' ? 'XDP_PASS' : 'XDP_DROP');
  return reasons[0]!;
}

describe.each(ENGINE_NAMES)('xdp_firewall on the %s engine', (engine) => {
  function makeLab(config: Partial<typeof CONFIG> = {}): Lab {
    const lab = xdpLab('xdp_firewall', engine);
    lab.map('fw_config').set(0, { ...CONFIG, ...config });
    return lab;
  }

  it('passes what is sound when nothing is configured', () => {
    const lab = makeLab();
    for (const [name, packet] of PASSED) expect([name, judge(lab, packet)]).toEqual([name, 'FW_PASSED']);
  });

  it('drops what no honest sender makes', () => {
    const lab = makeLab();
    for (const [reason, name, packet] of DROPPED) expect([name, judge(lab, packet)]).toEqual([name, reason]);
  });

  it('drops options and fragments where told', () => {
    const lab = makeLab({ drop_fragments: 1, drop_ip_options: 1 });
    expect(judge(lab, frame(v4(segment(ack), { options: Uint8Array.of(7, 4, 4, 0) })))).toBe('FW_IP_OPTIONS');
    expect(judge(lab, frame(v6(nested(1))))).toBe('FW_IP_OPTIONS');
    expect(judge(lab, frame(v4(new Uint8Array(100), { protocol: 17, fragmentOffset: 1024 })))).toBe('FW_FRAGMENT');
    expect(judge(lab, frame(v4(datagram(53, 3000), { moreFragments: true })))).toBe('FW_FRAGMENT');
  });

  it('asks the allow list, then the deny list, then the rules', () => {
    const lab = makeLab();
    lab.map('allow_v4').set('192.0.2.200/32', 1);
    lab.map('deny_v4').set('192.0.2.128/25', 10);
    lab.map('deny_v6').set('2001:db8:bad::/48', 11);
    lab.map('fw_rules').set({ protocol: 'tcp', port: 23 }, { id: 20, action: 'FW_DROP' });
    const telnet = segment(syn, 23);
    expect(judge(lab, frame(v4(telnet, { source: '192.0.2.200' })))).toBe('FW_PASSED');
    expect(judge(lab, frame(v4(telnet, { source: '192.0.2.128' })))).toBe('FW_DENY_LIST');
    expect(judge(lab, frame(v6(segment(syn), { source: '2001:db8:bad::9' })))).toBe('FW_DENY_LIST');
    expect(judge(lab, frame(v4(telnet, { source: '192.0.2.127' })))).toBe('FW_RULE');
    expect(judge(lab, frame(v4(segment(syn), { source: '192.0.2.127' })))).toBe('FW_PASSED');
    expect(packetCounts(lab, 'rule_stats')).toEqual(new Map([['0', 1], ['1', 1], ['10', 1], ['11', 1], ['20', 1]]));
  });

  it('prefers the rule of a port to the rule of its protocol, and that to the default', () => {
    const lab = makeLab({ default_action: 'FW_DROP' });
    lab.map('fw_rules').set({ protocol: 'udp', port: 0 }, { id: 1, action: 'FW_DROP' });
    lab.map('fw_rules').set({ protocol: 'udp', port: 53 }, { id: 2, action: 'FW_PASS' });
    lab.map('fw_rules').set({ protocol: 'icmp', port: 8 }, { id: 3, action: 'FW_PASS' });
    expect(judge(lab, frame(v4(datagram(53))))).toBe('FW_PASSED');
    expect(judge(lab, frame(v4(datagram(54))))).toBe('FW_RULE');
    expect(judge(lab, frame(v4(new Uint8Array(100), { protocol: 17, fragmentOffset: 1024 })))).toBe('FW_RULE');
    expect(judge(lab, frame(v4(icmp({ type: ICMP_TYPE.echo }))))).toBe('FW_PASSED');
    expect(judge(lab, frame(v4(icmp({ type: ICMP_TYPE.echoReply }))))).toBe('FW_DEFAULT');
  });

  it('lets a source send a burst of SYNs, then one per interval', () => {
    const lab = makeLab({ syn_rate: 10, syn_burst: 3 });
    const flood = (source: string, at: bigint, count: number): number =>
      Array.from({ length: count }, () => judge(lab, frame(v4(segment(syn), { source })), at)).filter((reason) => reason === 'FW_PASSED').length;
    const start = 1_000_000_000_000n;
    expect(flood(CLIENT, start, 10)).toBe(3);
    expect(flood('198.18.0.2', start, 10)).toBe(3);
    expect(judge(lab, frame(v4(segment(ack))), start)).toBe('FW_PASSED');
    expect(flood(CLIENT, start + 99_999_999n, 10)).toBe(0);
    expect(flood(CLIENT, start + 250_000_000n, 10)).toBe(2);
    expect(flood(CLIENT, start + 60_000_000_000n, 10)).toBe(3);
  });

  it('counts SYNs over IPv6 by the /64', () => {
    const lab = makeLab({ syn_rate: 10, syn_burst: 3 });
    const reasons = Array.from({ length: 5 }, (_, i) => judge(lab, frame(v6(segment(syn), { source: `2001:db8::${i + 1}` }))));
    expect(reasons).toEqual(['FW_PASSED', 'FW_PASSED', 'FW_PASSED', 'FW_SYN_RATE', 'FW_SYN_RATE']);
    expect(judge(lab, frame(v6(segment(syn), { source: '2001:db8:0:1::1' })))).toBe('FW_PASSED');
  });

  it('reports each n-th drop of a reason, the first one always', () => {
    const lab = makeLab({ event_every: 3 });
    lab.map('deny_v4').set('192.0.2.0/24', 10);
    const lines: string[] = [];
    new EventLog(lab, new Map([['fw_drops', 'drop_event']]), (line) => lines.push(line));
    for (let i = 0; i < 7; i++) judge(lab, frame(v4(segment(syn), { source: '192.0.2.1' })), 1_000_000_000n * BigInt(i + 1));
    judge(lab, frame(v6(segment(0))), 9_000_000_000n);
    const records = lines.map((line) => (JSON.parse(line) as { readonly record: Record<string, unknown> }).record);
    expect(records.map(({ reason, time_ns }) => [reason, time_ns])).toEqual([
      ['FW_DENY_LIST', 1e9], ['FW_DENY_LIST', 4e9], ['FW_DENY_LIST', 7e9], ['FW_BAD_TCP_FLAGS', 9e9],
    ]);
    expect(records[0]).toMatchObject({ rule: 10, source: '192.0.2.1', destination: HOST, source_port: 1234, destination_port: 80, protocol: 'tcp', tcp_flags: syn, length_bytes: 54 });
    expect(records[3]).toMatchObject({ rule: 0, source: '2001:db8::5', destination: 'fd00::1', ether_type: 0x86dd });
  });
});
