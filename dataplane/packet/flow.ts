/**
 * What a packet is, for people: the flow it belongs to, and one line as tcpdump would print it.
 *
 * Invariant: any bytes give a line. What is cut short is shown as far as it goes, ended by tcpdump's `[|tcp]`.
 */
import { ARP_OPERATION, readArp } from './arp.ts';
import { ETHER_TYPE, ETHERNET, readEthernet } from './ethernet.ts';
import { ICMP_FRAGMENTATION_NEEDED, ICMP_TYPE, ICMPV6_TYPE, readIcmp } from './icmp.ts';
import type { Icmp } from './icmp.ts';
import { IP_PROTOCOL, readIpv4 } from './ipv4.ts';
import { readIpv6 } from './ipv6.ts';
import { readTcp, TCP_FLAG } from './tcp.ts';
import { readUdp } from './udp.ts';
import { readVlan, VLAN } from './vlan.ts';

export interface FlowKey {
  readonly source: string;
  readonly destination: string;
  /** IP_PROTOCOL. */
  readonly protocol: number;
  /** 0 for protocols without ports and for fragments after the first. */
  readonly sourcePort: number;
  readonly destinationPort: number;
}

interface Network extends FlowKey {
  readonly version: 4 | 6;
  /** Where the transport header begins, and where the packet ends by its own length field. */
  readonly transportAt: number;
  readonly end: number;
  readonly fragmentOffset: number;
  readonly moreFragments: boolean;
}

interface Frame {
  readonly vlanIds: readonly number[];
  readonly type: number;
  /** Where what the type names begins. */
  readonly at: number;
}

/** The names tcpdump and people use for protocols that have no ports to show. */
const PROTOCOL_NAME: ReadonlyMap<number, string> = new Map([
  [IP_PROTOCOL.icmp, 'icmp'],
  [IP_PROTOCOL.ipip, 'ipip'],
  [IP_PROTOCOL.tcp, 'tcp'],
  [IP_PROTOCOL.udp, 'udp'],
  [IP_PROTOCOL.ipv6, 'ipv6'],
  [IP_PROTOCOL.gre, 'gre'],
  [IP_PROTOCOL.icmpv6, 'icmp6'],
  [IP_PROTOCOL.sctp, 'sctp'],
]);

export function protocolName(protocol: number): string {
  return PROTOCOL_NAME.get(protocol) ?? `protocol ${protocol}`;
}

/** Undefined for what is not IP, or not enough of it. `bytes` is an Ethernet frame, VLAN tags or none. */
export function flowKey(bytes: Uint8Array): FlowKey | undefined {
  const frame = readFrame(bytes);
  const network = frame && readNetwork(bytes, frame.type, frame.at);
  if (network === undefined) return undefined;
  const { source, destination, protocol, sourcePort, destinationPort } = network;
  return { source, destination, protocol, sourcePort, destinationPort };
}

/** `198.18.0.1:1024 > 10.0.0.100:80 tcp`. */
export function formatFlow(flow: FlowKey): string {
  const port = flow.protocol === IP_PROTOCOL.tcp || flow.protocol === IP_PROTOCOL.udp;
  const end = (address: string, number: number): string => {
    if (!port) return address;
    return address.includes(':') ? `[${address}]:${number}` : `${address}:${number}`;
  };
  return `${end(flow.source, flow.sourcePort)} > ${end(flow.destination, flow.destinationPort)} ${protocolName(flow.protocol)}`;
}

/** `IP 198.18.0.1.1024 > 10.0.0.100.80: Flags [S], seq 1, win 65535, length 0`. */
export function summarisePacket(bytes: Uint8Array): string {
  const frame = readFrame(bytes);
  if (frame === undefined) return `[|ether] ${bytes.length} bytes`;
  const tags = frame.vlanIds.map((id) => `vlan ${id}, `).join('');
  return tags + summariseNetwork(bytes, frame.type, frame.at);
}

function readFrame(bytes: Uint8Array): Frame | undefined {
  const ethernet = readEthernet(bytes);
  if (ethernet === undefined) return undefined;
  const vlanIds: number[] = [];
  let { type } = ethernet;
  let at: number = ETHERNET.headerLength;
  while (type === ETHER_TYPE.vlan || type === ETHER_TYPE.qinq) {
    const tag = readVlan(bytes, at);
    if (tag === undefined) break;
    vlanIds.push(tag.id);
    ({ type } = tag);
    at += VLAN.headerLength;
  }
  return { vlanIds, type, at };
}

function readNetwork(bytes: Uint8Array, type: number, at: number): Network | undefined {
  if (type === ETHER_TYPE.ipv4) {
    const header = readIpv4(bytes, at);
    return (
      header && {
        version: 4,
        ...withPorts(bytes, header, header.protocol, at + header.headerLength, at + header.totalLength),
      }
    );
  }
  if (type === ETHER_TYPE.ipv6) {
    const header = readIpv6(bytes, at);
    return (
      header && {
        version: 6,
        ...withPorts(bytes, header, header.transport, at + header.headerLength, at + 40 + header.payloadLength),
      }
    );
  }
  return undefined;
}

interface IpHeader {
  readonly source: string;
  readonly destination: string;
  readonly fragmentOffset: number;
  readonly moreFragments: boolean;
}

function withPorts(
  bytes: Uint8Array,
  header: IpHeader,
  protocol: number,
  transportAt: number,
  end: number,
): Omit<Network, 'version'> {
  const { source, destination, fragmentOffset, moreFragments } = header;
  const hasPorts = protocol === IP_PROTOCOL.tcp || protocol === IP_PROTOCOL.udp;
  // Both begin with the ports, so eight bytes are enough for either.
  const ports = hasPorts && fragmentOffset === 0 ? readUdp(bytes, transportAt) : undefined;
  return {
    source,
    destination,
    protocol,
    sourcePort: ports?.sourcePort ?? 0,
    destinationPort: ports?.destinationPort ?? 0,
    transportAt,
    end,
    fragmentOffset,
    moreFragments,
  };
}

function summariseNetwork(bytes: Uint8Array, type: number, at: number): string {
  if (type === ETHER_TYPE.arp) return summariseArp(bytes, at);
  const ip = type === ETHER_TYPE.ipv4 ? 'IP' : type === ETHER_TYPE.ipv6 ? 'IP6' : undefined;
  if (ip === undefined) return `ethertype 0x${type.toString(16).padStart(4, '0')}, length ${bytes.length - at}`;
  const network = readNetwork(bytes, type, at);
  if (network === undefined) return `${ip} [|${ip.toLowerCase()}], ${bytes.length - at} bytes`;
  const { source, destination, sourcePort, destinationPort, fragmentOffset, moreFragments } = network;
  const fragment = fragmentOffset > 0 || moreFragments ? ` frag (${fragmentOffset}${moreFragments ? '+' : ''})` : '';
  const transport =
    fragmentOffset > 0 ? { ports: false, text: protocolName(network.protocol) } : summariseTransport(bytes, network);
  const from = transport.ports ? `${source}.${sourcePort}` : source;
  const to = transport.ports ? `${destination}.${destinationPort}` : destination;
  return `${ip} ${from} > ${to}:${fragment} ${transport.text}`;
}

function summariseTransport(
  bytes: Uint8Array,
  { protocol, transportAt: at, end }: Network,
): { ports: boolean; text: string } {
  switch (protocol) {
    case IP_PROTOCOL.tcp: {
      const tcp = readTcp(bytes, at);
      if (tcp === undefined) return { ports: at + 8 <= bytes.length, text: '[|tcp]' };
      const acknowledged = tcp.flags & TCP_FLAG.ack ? `, ack ${tcp.acknowledgment}` : '';
      const length = Math.max(end - at - tcp.headerLength, 0);
      return {
        ports: true,
        text: `Flags [${flagLetters(tcp.flags)}], seq ${tcp.sequence}${acknowledged}, win ${tcp.window}, length ${length}`,
      };
    }
    case IP_PROTOCOL.udp: {
      const udp = readUdp(bytes, at);
      return udp === undefined
        ? { ports: false, text: '[|udp]' }
        : { ports: true, text: `UDP, length ${Math.max(udp.length - 8, 0)}` };
    }
    case IP_PROTOCOL.icmp:
    case IP_PROTOCOL.icmpv6: {
      const name = protocol === IP_PROTOCOL.icmp ? 'ICMP' : 'ICMP6';
      const icmp = readIcmp(bytes, at);
      const text =
        icmp === undefined
          ? `[|${name.toLowerCase()}]`
          : `${name} ${describeIcmp(name, icmp)}, length ${Math.max(end - at, 0)}`;
      return { ports: false, text };
    }
    case IP_PROTOCOL.ipip:
      return { ports: false, text: summariseNetwork(bytes, ETHER_TYPE.ipv4, at) };
    case IP_PROTOCOL.ipv6:
      return { ports: false, text: summariseNetwork(bytes, ETHER_TYPE.ipv6, at) };
    default:
      return { ports: false, text: `${protocolName(protocol)}, length ${Math.max(end - at, 0)}` };
  }
}

/** In tcpdump's order, the acknowledgment as a point. */
const FLAG_LETTERS: readonly (readonly [number, string])[] = [
  [TCP_FLAG.fin, 'F'],
  [TCP_FLAG.syn, 'S'],
  [TCP_FLAG.rst, 'R'],
  [TCP_FLAG.psh, 'P'],
  [TCP_FLAG.ack, '.'],
  [TCP_FLAG.urg, 'U'],
];

function flagLetters(flags: number): string {
  return FLAG_LETTERS.map(([bit, letter]) => (flags & bit ? letter : '')).join('') || 'none';
}

function describeIcmp(name: 'ICMP' | 'ICMP6', icmp: Icmp): string {
  const { type, code, rest, identifier, sequence } = icmp;
  const kinds = name === 'ICMP' ? ICMP_TYPE : ICMPV6_TYPE;
  if (type === kinds.echo) return `echo request, id ${identifier}, seq ${sequence}`;
  if (type === kinds.echoReply) return `echo reply, id ${identifier}, seq ${sequence}`;
  if (name === 'ICMP6' && type === ICMPV6_TYPE.packetTooBig) return `packet too big, mtu ${rest}`;
  if (type === kinds.timeExceeded) return 'time exceeded';
  if (type !== kinds.unreachable) return `type ${type}, code ${code}`;
  return name === 'ICMP' && code === ICMP_FRAGMENTATION_NEEDED
    ? `unreachable - need to frag (mtu ${rest & 0xffff})`
    : `unreachable, code ${code}`;
}

function summariseArp(bytes: Uint8Array, at: number): string {
  const arp = readArp(bytes, at);
  if (arp === undefined) return `ARP [|arp], ${bytes.length - at} bytes`;
  return arp.operation === ARP_OPERATION.request
    ? `ARP, Request who-has ${arp.targetAddress} tell ${arp.senderAddress}`
    : `ARP, Reply ${arp.senderAddress} is-at ${arp.senderMac}`;
}
