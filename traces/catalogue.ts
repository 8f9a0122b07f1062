/**
 * The small captures that are kept beside this file, and what each shows. README.md has them as a table.
 *
 * Invariant: a capture is a function of this source: generating it again gives the same bytes.
 */
import { ethernet } from '../dataplane/packet/ethernet.ts';
import type { OutputInterface } from '../dataplane/packet/capture-writer.ts';
import { demoTraffic, pathMtu, pings } from './demo.ts';
import { filler } from './filler.ts';
import { LOCAL, MAC, VIP } from './network.ts';
import { flowTraffic, PROFILES } from './profiles.ts';
import { mergeStreams } from './trace-packet.ts';
import type { PacketStream, TracePacket } from './trace-packet.ts';

export interface CatalogueEntry {
  readonly file: string;
  readonly shows: string;
  /** One Ethernet interface in nanoseconds unless said otherwise. */
  readonly interfaces?: readonly OutputInterface[];
  readonly packets: () => Iterable<TracePacket>;
}

const MILLISECOND = 1_000_000;
const LINK_TYPE_RAW = 101;
const ETHERNET_HEADER = 14;

const options = (packets: number, flows: number, seed: number) =>
  ({ packets, flows, seed, size: 'requests', gapNs: MILLISECOND }) as const;

function* mapPackets(
  stream: PacketStream,
  change: (packet: TracePacket, index: number) => TracePacket,
): Generator<TracePacket, void> {
  let index = 0;
  for (let next = stream.next(); !next.done; next = stream.next()) yield change(next.value, index++);
}

/** The IP packet of an untagged frame. */
const withoutEthernet = (packet: TracePacket): TracePacket => ({
  ...packet,
  bytes: packet.bytes.subarray(ETHERNET_HEADER),
});

function snapped(snapLength: number, packet: TracePacket): TracePacket {
  return { ...packet, bytes: packet.bytes.subarray(0, snapLength), wireLength: packet.bytes.length };
}

/** Every length from nothing to just over an Ethernet header. */
function* runts(): Generator<TracePacket, void> {
  const whole = ethernet({ source: MAC.gateway, destination: MAC.device, type: 0x0800 }, filler(6));
  for (let length = 0; length <= whole.length; length++)
    yield { timeNs: length * MILLISECOND, bytes: whole.subarray(0, length) };
}

const SNAP_LENGTH = 64;

export const CATALOGUE: readonly CatalogueEntry[] = [
  {
    file: 'demo.pcapng',
    shows:
      'ten seconds at the load balancer of `programs/demo.yaml`, in and out: web and DNS services, ssh, connections of the host itself, a SYN flood, a port scan, and the odd packets of the other captures',
    interfaces: [{ name: 'eth0', comment: 'ifindex 2' }],
    packets: demoTraffic,
  },
  {
    file: 'mixed.pcap',
    shows: 'IPv4 and IPv6 conversations with their answers: TCP from handshake to teardown, UDP, pings; sizes by Zipf',
    packets: () =>
      flowTraffic({
        ...options(1000, 80, 1),
        services: [VIP.http, VIP.https, VIP.https6, VIP.dns, LOCAL.ssh],
        echoes: 0.1,
        answers: true,
      }),
  },
  {
    file: 'packed.pcap.gz',
    shows: 'the same kind of traffic, clients only, in a gzip file of several members',
    packets: () => PROFILES.mixed(options(6000, 300, 2)),
  },
  {
    file: 'imix.pcap',
    shows: 'frames of 60, 590 and 1514 bytes, 7 : 4 : 1',
    packets: () => PROFILES.udp({ ...options(400, 64, 3), size: 'imix' }),
  },
  {
    file: 'jumbo.pcap',
    shows: 'frames of 9014 bytes: an MTU of 9000',
    packets: () => PROFILES.udp({ ...options(16, 4, 4), size: 9014 }),
  },
  {
    file: 'vlan.pcap',
    shows: 'one 802.1Q tag, two (802.1ad outside), and a priority tag',
    packets: () => PROFILES.vlan(options(300, 24, 5)),
  },
  {
    file: 'fragments.pcap',
    shows:
      'fragmented UDP over IPv4 and IPv6: in order, turned round, overlapping, a first piece of 8 bytes, a piece lost',
    packets: () => PROFILES.fragments(options(200, 1, 6)),
  },
  {
    file: 'icmp.pcap',
    shows: 'pings of the services, "fragmentation needed" and "packet too big" about their connections',
    packets: () => mergeStreams([...pings(7), pathMtu(8)]),
  },
  {
    file: 'syn-flood.pcap',
    shows: 'SYNs from 192.0.2.0/24, a new source and port each; half of the prefix is on the deny list of the demo',
    packets: () => PROFILES['syn-flood'](options(1500, 1, 9)),
  },
  {
    file: 'port-scan.pcap',
    shows: 'one source, one port after the other; SYN, FIN, NULL and Xmas probes',
    packets: () => PROFILES['port-scan'](options(600, 1, 10)),
  },
  {
    file: 'malformed.pcap',
    shows: 'headers that lie about lengths, versions and flags, or are cut; see malformed.ts for the list',
    packets: () => PROFILES.malformed(options(82, 1, 11)),
  },
  { file: 'runts.pcap', shows: 'frames of 0 to 20 bytes; an Ethernet header has 14', packets: runts },
  {
    file: 'snapped.pcapng',
    shows: `packets cut to ${SNAP_LENGTH} bytes by the capture, with their lengths on the wire`,
    interfaces: [{ name: 'eth0', snapLength: SNAP_LENGTH }],
    packets: () => mapPackets(PROFILES.mixed(options(300, 30, 12)), (packet) => snapped(SNAP_LENGTH, packet)),
  },
  {
    file: 'interfaces.pcapng',
    shows: 'three interfaces that count time in microseconds, in 2^-20 s and in nanoseconds; the third is not Ethernet',
    interfaces: [
      { name: 'eth0', resolution: 6 },
      { name: 'eth1', resolution: 0x80 | 20 },
      { name: 'tun0', linkType: LINK_TYPE_RAW },
    ],
    packets: () =>
      mapPackets(PROFILES.tcp(options(150, 12, 13)), (packet, index) =>
        index % 3 === 2 ? { ...withoutEthernet(packet), interface: 2 } : { ...packet, interface: index % 3 },
      ),
  },
  {
    file: 'raw-ip.pcap',
    shows: 'IP without Ethernet (link type 101), which XDP programs never see',
    interfaces: [{ linkType: LINK_TYPE_RAW }],
    packets: () => mapPackets(PROFILES.mixed(options(50, 10, 14)), withoutEthernet),
  },
];
