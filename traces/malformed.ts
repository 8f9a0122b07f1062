/**
 * Headers that lie, one kind to a row: each is refused by somebody's parser, and read past its end by somebody
 * else's.
 */
import { ethernet } from '../dataplane/packet/ethernet.ts';
import { icmp, ICMP_TYPE } from '../dataplane/packet/icmp.ts';
import { ipv4, IP_PROTOCOL } from '../dataplane/packet/ipv4.ts';
import type { Ipv4Fields } from '../dataplane/packet/ipv4.ts';
import { ipv6 } from '../dataplane/packet/ipv6.ts';
import type { Ipv6Fields } from '../dataplane/packet/ipv6.ts';
import type { Layer } from '../dataplane/packet/layer.ts';
import { tcp, TCP_FLAG } from '../dataplane/packet/tcp.ts';
import type { TcpFields } from '../dataplane/packet/tcp.ts';
import { udp } from '../dataplane/packet/udp.ts';
import { vlan } from '../dataplane/packet/vlan.ts';
import { filler } from './filler.ts';
import { clientOf, ephemeralPort, MAC, VIP } from './network.ts';
import type { Random } from '../dataplane/random.ts';

export interface MalformedKind {
  /** What is wrong with it. */
  readonly name: string;
  readonly build: (random: Random) => Uint8Array;
}

const { fin, syn, rst, psh, ack, urg } = TCP_FLAG;

function frame(packet: Layer | Uint8Array, type?: number): Uint8Array {
  return ethernet({ source: MAC.gateway, destination: MAC.device, ...(type !== undefined && { type }) }, packet);
}

function segment(random: Random, fields: Partial<TcpFields> = {}): Layer {
  const ports = { sourcePort: ephemeralPort(random), destinationPort: VIP.http.port };
  return tcp({ ...ports, flags: syn, sequence: random.u32(), ...fields }, filler(20));
}

const inIpv4 =
  (fields: Partial<Ipv4Fields>, carried: (random: Random) => Layer | Uint8Array = segment) =>
  (random: Random): Uint8Array => {
    const source = clientOf(VIP.http.address, random);
    return frame(
      ipv4({ source, destination: VIP.http.address, protocol: IP_PROTOCOL.tcp, ...fields }, carried(random)),
    );
  };

const inIpv6 =
  (fields: Partial<Ipv6Fields>, carried: (random: Random) => Layer | Uint8Array = segment) =>
  (random: Random): Uint8Array => {
    const source = clientOf(VIP.https6.address, random);
    return frame(
      ipv6({ source, destination: VIP.https6.address, nextHeader: IP_PROTOCOL.tcp, ...fields }, carried(random)),
    );
  };

/** The first `lengthBytes` of what `build` makes. */
const cut =
  (lengthBytes: number, build: (random: Random) => Uint8Array) =>
  (random: Random): Uint8Array =>
    build(random).slice(0, lengthBytes);

/** Hop-by-hop headers that each announce another. */
function optionsChain(links: number): Uint8Array {
  const bytes = new Uint8Array(links * 8);
  for (let link = 0; link < links; link++) bytes.set([IP_PROTOCOL.destinationOptions, 0, 1, 4], link * 8);
  return bytes;
}

const datagram =
  (length: number) =>
  (random: Random): Layer =>
    udp({ sourcePort: ephemeralPort(random), destinationPort: VIP.dns.port, length }, filler(20));

export const MALFORMED: readonly MalformedKind[] = [
  { name: 'IPv4 type without a header', build: () => frame(new Uint8Array(0), 0x0800) },
  { name: 'IPv4 header cut after 12 bytes', build: cut(26, inIpv4({})) },
  {
    name: 'IPv4 version 5',
    build: (random) => {
      const bytes = inIpv4({})(random);
      bytes[14] = 0x55;
      return bytes;
    },
  },
  { name: 'IPv4 header of 16 bytes', build: inIpv4({ headerWords: 4 }) },
  { name: 'IPv4 header of 0 bytes', build: inIpv4({ headerWords: 0 }) },
  { name: 'IPv4 header of 60 bytes, of which 20 are there', build: cut(34, inIpv4({ headerWords: 15 })) },
  { name: 'IPv4 total length beyond the packet', build: inIpv4({ totalLength: 1500 }) },
  { name: 'IPv4 total length below its header', build: inIpv4({ totalLength: 19 }) },
  { name: 'IPv4 total length 0', build: inIpv4({ totalLength: 0 }) },
  { name: 'IPv4 checksum wrong', build: inIpv4({ checksum: 0xdead }) },
  { name: 'IPv4 time to live 0', build: inIpv4({ timeToLive: 0 }) },
  {
    name: 'IPv4 options full of zero-length options',
    build: inIpv4({ options: Uint8Array.of(0x44, 0, 0x44, 0, 0x83, 0, 7, 0) }),
  },
  { name: 'IPv4 from its own destination (land)', build: inIpv4({ source: VIP.http.address }) },
  { name: 'IPv4 from 127.0.0.1', build: inIpv4({ source: '127.0.0.1' }) },
  { name: 'IPv4 from a multicast group', build: inIpv4({ source: '224.0.0.1' }) },
  {
    name: 'IPv4 fragment that ends beyond 65535 (ping of death)',
    build: inIpv4({ fragmentOffset: 65_528 }, () => icmp({ type: ICMP_TYPE.echo }, filler(64))),
  },
  {
    name: 'IPv4 fragment with both more and do-not fragment',
    build: inIpv4({ dontFragment: true, moreFragments: true }),
  },
  { name: 'TCP header cut after 8 bytes', build: cut(42, inIpv4({})) },
  { name: 'TCP header of 16 bytes', build: inIpv4({}, (random) => segment(random, { headerWords: 4 })) },
  { name: 'TCP header beyond the packet', build: inIpv4({}, (random) => segment(random, { headerWords: 15 })) },
  { name: 'TCP with SYN and FIN', build: inIpv4({}, (random) => segment(random, { flags: syn | fin })) },
  { name: 'TCP with SYN and RST', build: inIpv4({}, (random) => segment(random, { flags: syn | rst })) },
  { name: 'TCP without flags', build: inIpv4({}, (random) => segment(random, { flags: 0 })) },
  {
    name: 'TCP with every flag',
    build: inIpv4({}, (random) => segment(random, { flags: fin | syn | rst | psh | ack | urg })),
  },
  {
    name: 'TCP from port 0 to port 0',
    build: inIpv4({}, (random) => segment(random, { sourcePort: 0, destinationPort: 0 })),
  },
  { name: 'TCP checksum wrong', build: inIpv4({}, (random) => segment(random, { checksum: 0xbeef })) },
  { name: 'UDP length 7', build: inIpv4({ protocol: IP_PROTOCOL.udp }, datagram(7)) },
  { name: 'UDP length beyond the packet', build: inIpv4({ protocol: IP_PROTOCOL.udp }, datagram(2000)) },
  { name: 'UDP header cut after 4 bytes', build: cut(38, inIpv4({ protocol: IP_PROTOCOL.udp }, datagram(28))) },
  {
    name: 'ICMP cut after 4 bytes',
    build: cut(
      38,
      inIpv4({}, () => icmp({ type: ICMP_TYPE.unreachable, code: 4 })),
    ),
  },
  {
    name: 'ICMP error about 4 bytes of a packet',
    build: inIpv4({ protocol: IP_PROTOCOL.icmp }, () =>
      icmp({ type: ICMP_TYPE.unreachable, code: 4, rest: 1400 }, filler(4)),
    ),
  },
  { name: 'IPv6 header cut after 30 bytes', build: cut(44, inIpv6({})) },
  { name: 'IPv6 type with version 4', build: inIpv6({ version: 4 }) },
  { name: 'IPv6 payload length beyond the packet', build: inIpv6({ payloadLength: 1400 }) },
  { name: 'IPv6 payload length 0', build: inIpv6({ payloadLength: 0 }) },
  {
    name: 'IPv6 with 20 extension headers and nothing behind',
    build: inIpv6({ nextHeader: IP_PROTOCOL.hopByHop }, () => optionsChain(20)),
  },
  {
    name: 'IPv6 extension header cut',
    build: cut(
      58,
      inIpv6({ nextHeader: IP_PROTOCOL.routing }, () => optionsChain(1)),
    ),
  },
  { name: 'VLAN tag cut after 2 bytes', build: cut(16, (random) => frame(vlan({ id: 100 }, segment(random)))) },
  {
    name: 'five VLAN tags',
    build: () =>
      frame(
        vlan({ id: 1 }, vlan({ id: 2 }, vlan({ id: 3 }, vlan({ id: 4 }, vlan({ id: 5, type: 0x0800 }, filler(20)))))),
      ),
  },
  { name: 'unknown Ethernet type 0x1234', build: () => frame(filler(46), 0x1234) },
  { name: 'an 802.3 length where the type should be', build: () => frame(filler(46), 46) },
];
