/**
 * What the host of the demo serves, asks and answers: the traffic that a stateful firewall on it is about.
 *
 * It was captured where no firewall was yet: the host answers everybody, with RSTs and port unreachables too.
 * So what such a firewall would have dropped on its way in has an answer that it drops on its way out.
 */
import { addressBytes, macBytes } from '../dataplane/packet/address.ts';
import { arp, ARP_OPERATION } from '../dataplane/packet/arp.ts';
import { ethernet } from '../dataplane/packet/ethernet.ts';
import { ICMP_FRAGMENTATION_NEEDED, icmp, ICMP_TYPE, icmpv6, ICMPV6_TYPE } from '../dataplane/packet/icmp.ts';
import { ipv4, readIpv4 } from '../dataplane/packet/ipv4.ts';
import { ipv6 } from '../dataplane/packet/ipv6.ts';
import type { Layer } from '../dataplane/packet/layer.ts';
import { readTcp, tcp, TCP_FLAG } from '../dataplane/packet/tcp.ts';
import { udp } from '../dataplane/packet/udp.ts';
import type { Conversation } from './conversation.ts';
import { echoConversation, tcpConversation, udpConversation } from './conversation.ts';
import { DNS_PORT, dnsMessage } from './dns.ts';
import { filler } from './filler.ts';
import { addressIn, ephemeralPort, HOST, HOST_6, LOCAL, MAC, OUTWARD, REMOTE, ROUTER, TRUSTED, UNTRUSTED } from './network.ts';
import type { Service } from './network.ts';
import { flowTraffic, FRAME_SIZES, inward, PROFILES } from './profiles.ts';
import { Random } from '../dataplane/random.ts';
import { mergeStreams, padFrame } from './trace-packet.ts';
import type { PacketStream, TracePacket } from './trace-packet.ts';

const MICROSECOND = 1000;
const MILLISECOND = 1_000_000;
const SECOND = 1_000_000_000;
const DURATION_NS = 10 * SECOND;
/** How long the host takes to answer from its own stack. */
const ANSWER_NS = 80 * MICROSECOND;

const { fin, syn, rst, ack } = TCP_FLAG;

export function hostTraffic(): PacketStream[] {
  return [
    services(41, 180, 4, LOCAL.ssh, TRUSTED),
    services(42, 160, 8, LOCAL.web),
    // Somebody tries passwords from a network that ssh is not open to.
    services(43, 60, 3, LOCAL.ssh, UNTRUSTED),
    sessionUnderWay(44),
    ...lookups(45),
    ...downloads(46),
    ...clocks(47),
    pingedBy(48, addressIn(TRUSTED, new Random(48))),
    scan(49),
    forgedAnswers(50),
    forgedErrors(51),
    backscatter(52),
    neighbours(53),
  ];
}

function outward(packet: Layer): Uint8Array {
  return padFrame(ethernet(OUTWARD, packet));
}

/** Asked and answered. */
function services(seed: number, packets: number, flows: number, service: Service, clients?: string): PacketStream {
  const gapNs = Math.floor(DURATION_NS / packets);
  const from = clients === undefined ? {} : { clients };
  return flowTraffic({ packets, flows, seed, services: [service], size: 'small', gapNs, answers: true, ...from });
}

/** A conversation that the host begins. */
function ask(server: Service, random: Random, packets: number, startNs: number, gapNs: number): Conversation {
  return {
    client: addressBytes(HOST),
    clientPort: ephemeralPort(random),
    server: addressBytes(server.address),
    serverPort: server.port,
    packets,
    startNs,
    gapNs,
    answers: true,
    outward: true,
    frameLength: FRAME_SIZES.small,
    random,
  };
}

/** A shell that was open before anybody captured. */
function sessionUnderWay(seed: number): PacketStream {
  const random = new Random(seed);
  return tcpConversation({
    client: addressIn(TRUSTED, random),
    clientPort: ephemeralPort(random),
    server: addressBytes(HOST),
    serverPort: LOCAL.ssh.port,
    packets: 30,
    startNs: random.below(SECOND),
    gapNs: 300 * MILLISECOND,
    answers: true,
    underWay: true,
    frameLength: FRAME_SIZES.small,
    random,
  });
}

/** Names that the host looks up, each from a port of its own. */
function lookups(seed: number): PacketStream[] {
  const random = new Random(seed);
  return Array.from({ length: 40 }, (_, sent) =>
    udpConversation(ask(REMOTE.dns, random, 2, sent * 240 * MILLISECOND + random.below(SECOND / 10), 4 * MILLISECOND)),
  );
}

/** Packages from a mirror; a router on the way back finds what the host sends too long. */
function downloads(seed: number): PacketStream[] {
  const random = new Random(seed);
  return [0.5, 3, 6].flatMap((startSeconds) => {
    const startNs = startSeconds * SECOND;
    const download = ask(REMOTE.mirror, random, 48, startNs, 60 * MILLISECOND);
    const about = tcp(
      { sourcePort: download.clientPort, destinationPort: download.serverPort, flags: ack, sequence: random.u32() },
      filler(1460),
    );
    return [tcpConversation(download), single(startNs + SECOND, tooLong(REMOTE.mirror.address, about))];
  });
}

function clocks(seed: number): PacketStream[] {
  const random = new Random(seed);
  const length = 14 + 20 + 8 + 48;
  return [1, 3, 5, 7, 9].map((second) =>
    udpConversation({ ...ask(REMOTE.clock, random, 2, second * SECOND, 12 * MILLISECOND), frameLength: () => length }),
  );
}

function pingedBy(seed: number, client: Uint8Array): PacketStream {
  const random = new Random(seed);
  return echoConversation({
    client,
    clientPort: random.below(0x1_0000),
    server: addressBytes(HOST),
    serverPort: 0,
    packets: 20,
    startNs: random.below(SECOND),
    gapNs: 450 * MILLISECOND,
    answers: true,
    frameLength: () => 98,
    random,
  });
}

/** The port scan, from the fifth second to the ninth, and how a host without a firewall answers. */
function* scan(seed: number): Generator<TracePacket, void> {
  const probes = PROFILES['port-scan']({
    packets: 200,
    flows: 1,
    size: 60,
    seed,
    startNs: 5 * SECOND,
    gapNs: 20 * MILLISECOND,
  });
  const open = new Set<number>([LOCAL.ssh.port, LOCAL.web.port]);
  const random = new Random(seed);
  for (const probe of probes) {
    yield probe;
    const { source } = readIpv4(probe.bytes, 14)!;
    const { sourcePort, destinationPort, flags, sequence } = readTcp(probe.bytes, 34)!;
    const isOpen = open.has(destinationPort);
    if (isOpen && flags !== syn) continue;
    const first = random.u32();
    const answer = tcp({
      sourcePort: destinationPort,
      destinationPort: sourcePort,
      flags: isOpen ? syn | ack : rst | ack,
      sequence: isOpen ? first : 0,
      acknowledgment: flags & (syn | fin) ? (sequence + 1) >>> 0 : sequence,
      window: isOpen ? 64_240 : 0,
    });
    yield { timeNs: probe.timeNs + ANSWER_NS, bytes: outward(ipv4({ source: HOST, destination: source }, answer)) };
    if (!isOpen) continue;
    const enough = tcp({ sourcePort, destinationPort, flags: rst, sequence: (sequence + 1) >>> 0, window: 0 });
    yield { timeNs: probe.timeNs + 2 * ANSWER_NS, bytes: inward(ipv4({ source, destination: HOST }, enough)) };
  }
}

/** Answers to questions that were never asked, in the name of the resolver; the host says that nobody is there. */
function* forgedAnswers(seed: number): Generator<TracePacket, void> {
  const random = new Random(seed);
  const source = REMOTE.dns.address;
  for (let sent = 0; sent < 20; sent++) {
    const timeNs = 2 * SECOND + sent * 50 * MILLISECOND;
    const answer = udp(
      { sourcePort: DNS_PORT, destinationPort: ephemeralPort(random) },
      dnsMessage('response', random.below(65_536), random.between(60, 100)),
    );
    const packet = ipv4({ source, destination: HOST, identification: random.below(65_536) }, answer);
    const PORT_UNREACHABLE = 3;
    const error = icmp({ type: ICMP_TYPE.unreachable, code: PORT_UNREACHABLE }, packet.bytes);
    yield { timeNs, bytes: inward(packet) };
    yield { timeNs: timeNs + ANSWER_NS, bytes: outward(ipv4({ source: HOST, destination: source }, error)) };
  }
}

/** "Fragmentation needed" about connections that the host does not have: somebody wants its packets small. */
function* forgedErrors(seed: number): Generator<TracePacket, void> {
  const random = new Random(seed);
  for (let sent = 0; sent < 8; sent++) {
    const about = tcp(
      { sourcePort: LOCAL.web.port, destinationPort: ephemeralPort(random), flags: ack, sequence: random.u32() },
      filler(1460),
    );
    const victim = addressIn(UNTRUSTED, random);
    yield { timeNs: SECOND + sent * SECOND, bytes: inward(tooLong(victim, about)) };
  }
}

/** SYN-ACKs to SYNs that somebody else sent in the host's name, and the RSTs that they get. */
function* backscatter(seed: number): Generator<TracePacket, void> {
  const random = new Random(seed);
  for (let sent = 0; sent < 16; sent++) {
    const timeNs = 4 * SECOND + sent * 250 * MILLISECOND;
    const [flooded, port, acknowledgment] = [addressIn(UNTRUSTED, random), ephemeralPort(random), random.u32()];
    const surprise = tcp({
      sourcePort: 443,
      destinationPort: port,
      flags: syn | ack,
      sequence: random.u32(),
      acknowledgment,
    });
    const answer = tcp({ sourcePort: port, destinationPort: 443, flags: rst, sequence: acknowledgment, window: 0 });
    yield { timeNs, bytes: inward(ipv4({ source: flooded, destination: HOST }, surprise)) };
    yield { timeNs: timeNs + ANSWER_NS, bytes: outward(ipv4({ source: HOST, destination: flooded }, answer)) };
  }
}

/** A router's word on a packet of the host to `destination`. */
function tooLong(destination: string | Uint8Array, segment: Layer): Layer {
  const about = ipv4({ source: HOST, destination, dontFragment: true }, segment).bytes.subarray(0, 48);
  const error = icmp({ type: ICMP_TYPE.unreachable, code: ICMP_FRAGMENTATION_NEEDED, rest: 1400 }, about);
  return ipv4({ source: ROUTER, destination: HOST }, error);
}

function* single(timeNs: number, packet: Layer): Generator<TracePacket, void> {
  yield { timeNs, bytes: inward(packet) };
}

/** Each second the gateway asks who the host is, by ARP and by neighbour discovery, and is told. */
function neighbours(seed: number): PacketStream {
  const random = new Random(seed);
  const gateway = { address: '10.0.0.254', address6: 'fe80::fe' } as const;
  const who = arp({
    operation: ARP_OPERATION.request,
    senderMac: MAC.gateway,
    senderAddress: gateway.address,
    targetMac: '00:00:00:00:00:00',
    targetAddress: HOST,
  });
  const me = arp({
    operation: ARP_OPERATION.reply,
    senderMac: MAC.device,
    senderAddress: HOST,
    targetMac: MAC.gateway,
    targetAddress: gateway.address,
  });
  // RFC 4861 §4.3 and §4.4: the address in question, then an option with a link-layer address.
  const message = (option: number, mac: string): Uint8Array =>
    Uint8Array.of(...addressBytes(HOST_6), option, 1, ...macBytes(mac));
  const solicitation = ipv6(
    { source: gateway.address6, destination: 'ff02::1:ff00:1', hopLimit: 255 },
    icmpv6({ type: ICMPV6_TYPE.neighborSolicitation }, message(1, MAC.gateway)),
  );
  const SOLICITED_OVERRIDE = 0x6000_0000;
  const advertisement = ipv6(
    { source: HOST_6, destination: gateway.address6, hopLimit: 255 },
    icmpv6({ type: ICMPV6_TYPE.neighborAdvertisement, rest: SOLICITED_OVERRIDE }, message(2, MAC.device)),
  );
  function* dialogue(offsetNs: number, question: Uint8Array, answer: Layer): Generator<TracePacket, void> {
    for (let second = 0; second < 10; second++) {
      const timeNs = second * SECOND + offsetNs;
      yield { timeNs, bytes: padFrame(question) };
      yield { timeNs: timeNs + ANSWER_NS, bytes: outward(answer) };
    }
  }
  return mergeStreams([
    dialogue(random.below(SECOND), ethernet({ source: MAC.gateway, destination: 'ff:ff:ff:ff:ff:ff' }, who), me),
    dialogue(random.below(SECOND), ethernet({ source: MAC.gateway, destination: '33:33:ff:00:00:01' }, solicitation), advertisement),
  ]);
}
