/**
 * Kinds of traffic, each a stream of any length: what `--profile` chooses from.
 */
import { ethernet, ETHER_TYPE } from '../dataplane/packet/ethernet.ts';
import { ipv4, IP_PROTOCOL } from '../dataplane/packet/ipv4.ts';
import { ipv6, ipv6Fragment } from '../dataplane/packet/ipv6.ts';
import type { Layer } from '../dataplane/packet/layer.ts';
import { tcp, TCP_FLAG } from '../dataplane/packet/tcp.ts';
import { udp } from '../dataplane/packet/udp.ts';
import { vlan } from '../dataplane/packet/vlan.ts';
import { addressBytes } from '../dataplane/packet/address.ts';
import type { Conversation } from './conversation.ts';
import { echoConversation, tcpConversation, udpConversation } from './conversation.ts';
import { filler } from './filler.ts';
import { MALFORMED } from './malformed.ts';
import { addressIn, ATTACKERS, clientOf, ephemeralPort, HOST, INWARD, SCANNER, VIP } from './network.ts';
import type { Service } from './network.ts';
import { Random } from '../dataplane/random.ts';
import { mergeStreams, padFrame } from './trace-packet.ts';
import type { PacketStream, TracePacket } from './trace-packet.ts';

export interface ProfileOptions {
  readonly packets: number;
  /** Conversations that the packets are shared among, by Zipf's law. */
  readonly flows: number;
  readonly size: FrameSize;
  readonly seed: number;
  readonly startNs?: number;
  /** Mean time between packets. */
  readonly gapNs: number;
  readonly answers?: boolean;
}

/** Bytes of a frame without its checksum, or a mixture. */
export type FrameSize = number | keyof typeof FRAME_SIZES;

export const FRAME_SIZES = {
  /** The simple Internet mix, 7 : 4 : 1. */
  imix: (random: Random) => random.pick([60, 60, 60, 60, 60, 60, 60, 590, 590, 590, 590, 1514]),
  /** What clients send: requests of some hundred bytes. */
  requests: (random: Random) => random.between(90, 400),
  /** Much the same, for captures that are to stay small. */
  small: (random: Random) => random.between(60, 160),
} as const;

function frameLength(size: FrameSize): (random: Random) => number {
  return typeof size === 'number' ? () => size : FRAME_SIZES[size];
}

/** Shares `packets` among `flows`: the flow of rank n gets a share of 1/n, and at least one. */
export function zipfShares(packets: number, flows: number): number[] {
  let sum = 0;
  for (let rank = 1; rank <= flows; rank++) sum += 1 / rank;
  const shares = Array.from({ length: flows }, (_, index) => Math.max(1, Math.floor(packets / ((index + 1) * sum))));
  let left = packets - shares.reduce((total, share) => total + share, 0);
  for (let index = 0; left !== 0; index = (index + 1) % flows) {
    const step = left > 0 ? 1 : shares[index]! > 1 ? -1 : 0;
    shares[index]! += step;
    left -= step;
  }
  return shares;
}

const MIXED_SERVICES: readonly Service[] = [
  VIP.http,
  VIP.http,
  VIP.http,
  VIP.https,
  VIP.https,
  VIP.https6,
  VIP.https6,
  VIP.dns,
  VIP.dns,
];

export interface FlowTraffic extends ProfileOptions {
  readonly services: readonly Service[];
  /** The prefix that clients come from. */
  readonly clients?: string;
  /** The part of the flows that pings a service instead. */
  readonly echoes?: number;
  readonly wrap?: (packet: Layer) => Layer;
}

/** Flows of clients to services, with Zipf sizes. */
export function flowTraffic(options: FlowTraffic): Generator<TracePacket, void> {
  const { packets, seed, startNs = 0, gapNs, services, clients, echoes = 0, answers = false, wrap } = options;
  const flows = Math.min(options.flows, packets);
  const random = new Random(seed);
  const durationNs = packets * gapNs;
  const streams = zipfShares(packets, flows).map((share): PacketStream => {
    const service = random.pick(services);
    // Long flows begin early, so that the last packet comes when it should.
    const offset = random.below(Math.floor(durationNs / Math.min(share + 1, 16)));
    const conversation: Conversation = {
      client: clients === undefined ? clientOf(service.address, random) : addressIn(clients, random),
      clientPort: ephemeralPort(random),
      server: addressBytes(service.address),
      serverPort: service.port,
      packets: share,
      startNs: startNs + offset,
      gapNs: Math.floor((durationNs - offset) / (share + 1)),
      answers,
      frameLength: frameLength(options.size),
      random,
      ...(wrap !== undefined && { wrap }),
    };
    if (random.chance(echoes)) return echoConversation(conversation);
    return service.protocol === IP_PROTOCOL.tcp ? tcpConversation(conversation) : udpConversation(conversation);
  });
  return mergeStreams(streams);
}

/** Times at about equal distances. */
class Clock {
  readonly #random: Random;
  readonly #gapNs: number;
  #nowNs: number;

  constructor({ startNs = 0, gapNs }: ProfileOptions, random: Random) {
    this.#random = random;
    this.#gapNs = gapNs;
    this.#nowNs = startNs;
  }

  next(): number {
    this.#nowNs += Math.floor(this.#gapNs / 2) + this.#random.below(this.#gapNs + 1);
    return this.#nowNs;
  }
}

export function inward(packet: Layer): Uint8Array {
  return padFrame(ethernet(INWARD, packet));
}

/** SYNs without end to one port, each from whom `sender` says. */
export function* synFlood(
  options: ProfileOptions,
  sender: (random: Random) => Uint8Array = (random) => addressIn(ATTACKERS, random),
): Generator<TracePacket, void> {
  const random = new Random(options.seed);
  const clock = new Clock(options, random);
  for (let sent = 0; sent < options.packets; sent++) {
    const segment = tcp({
      sourcePort: random.between(1024, 65_535),
      destinationPort: VIP.http.port,
      flags: TCP_FLAG.syn,
      sequence: random.u32(),
      window: 512,
    });
    const source = sender(random);
    const packet = ipv4(
      {
        source,
        destination: VIP.http.address,
        identification: random.below(65_536),
        timeToLive: random.between(40, 250),
      },
      segment,
    );
    yield { timeNs: clock.next(), bytes: inward(packet) };
  }
}

/** A SYN to one port after the other, with well-known ones first, and now and then a NULL, FIN or Xmas probe. */
function* portScan(options: ProfileOptions): Generator<TracePacket, void> {
  const random = new Random(options.seed);
  const clock = new Clock(options, random);
  const wellKnown = [22, 80, 443, 21, 25, 23, 3389, 8080, 53, 110, 139, 445, 3306, 5432, 6379, 9200];
  const { fin, psh, urg, syn } = TCP_FLAG;
  const probes = [syn, syn, syn, syn, syn, syn, syn, 0, fin, fin | psh | urg];
  const sourcePort = ephemeralPort(random);
  for (let sent = 0; sent < options.packets; sent++) {
    const destinationPort = wellKnown[sent] ?? 1 + ((sent * 7919) % 65_535);
    const segment = tcp({
      sourcePort,
      destinationPort,
      flags: sent < 16 ? syn : random.pick(probes),
      sequence: random.u32(),
      window: 1024,
    });
    const packet = ipv4(
      { source: SCANNER, destination: HOST, identification: random.below(65_536), timeToLive: 53 },
      segment,
    );
    yield { timeNs: clock.next(), bytes: inward(packet) };
  }
}

/** UDP datagrams to the DNS address, too long for one packet: in order, turned round, overlapping, with a piece lost. */
function* fragments(options: ProfileOptions): Generator<TracePacket, void> {
  const random = new Random(options.seed);
  const clock = new Clock(options, random);
  for (let sent = 0, datagram = 0; sent < options.packets; datagram++) {
    const pieces = datagram % 3 === 2 ? fragments6(random) : fragments4(random, datagram);
    for (const packet of pieces.slice(0, options.packets - sent)) {
      yield { timeNs: clock.next(), bytes: inward(packet) };
      sent++;
    }
  }
}

const PIECE_BYTES = 552;

function fragments4(random: Random, datagram: number): Layer[] {
  const source = addressIn('198.18.0.0/15', random);
  const destination = VIP.dns.address;
  const identification = random.below(65_536);
  const whole = ipv4(
    { source, destination },
    udp({ sourcePort: ephemeralPort(random), destinationPort: 53 }, filler(random.between(900, 1500))),
  ).bytes;
  const body = whole.subarray(20);
  const pieces: Layer[] = [];
  const piece = (from: number, to: number): void => {
    const moreFragments = to < body.length;
    const fields = {
      source,
      destination,
      identification,
      protocol: IP_PROTOCOL.udp,
      moreFragments,
      fragmentOffset: from,
    };
    pieces.push(ipv4(fields, body.subarray(from, Math.min(to, body.length))));
  };
  // A first piece of eight bytes hides what a firewall wants to see of TCP; here it holds the whole UDP header.
  const first = datagram % 7 === 3 ? 8 : PIECE_BYTES;
  piece(0, first);
  for (let from = first; from < body.length; from += PIECE_BYTES) piece(from, from + PIECE_BYTES);
  if (datagram % 7 === 4) piece(PIECE_BYTES - 64, 2 * PIECE_BYTES - 64);
  if (datagram % 7 === 5) pieces.reverse();
  if (datagram % 7 === 6) pieces.splice(1, 1);
  return pieces;
}

function fragments6(random: Random): Layer[] {
  const source = addressIn('2001:db8::/32', random);
  const destination = VIP.https6.address;
  const identification = random.u32();
  const body = ipv6(
    { source, destination },
    udp({ sourcePort: ephemeralPort(random), destinationPort: 443 }, filler(1000)),
  ).bytes.subarray(40);
  const pieces: Layer[] = [];
  for (let offset = 0; offset < body.length; offset += PIECE_BYTES) {
    const piece = body.subarray(offset, offset + PIECE_BYTES);
    const moreFragments = offset + PIECE_BYTES < body.length;
    pieces.push(
      ipv6(
        { source, destination },
        ipv6Fragment({ nextHeader: IP_PROTOCOL.udp, offset, moreFragments, identification }, piece),
      ),
    );
  }
  return pieces;
}

/** One of each kind in turn. */
function* malformed(options: ProfileOptions): Generator<TracePacket, void> {
  const random = new Random(options.seed);
  const clock = new Clock(options, random);
  for (let sent = 0; sent < options.packets; sent++) {
    const { build } = MALFORMED[sent % MALFORMED.length]!;
    yield { timeNs: clock.next(), bytes: build(random) };
  }
}

/** Flows with one tag, flows with two, and a priority tag (id 0). */
function vlans(options: ProfileOptions): Generator<TracePacket, void> {
  const third = Math.floor(options.packets / 3);
  const part = (packets: number, seed: number, wrap: (packet: Layer) => Layer): PacketStream =>
    flowTraffic({
      ...options,
      packets,
      flows: Math.ceil(options.flows / 3),
      seed,
      services: MIXED_SERVICES,
      wrap,
      gapNs: options.gapNs * 3,
    });
  return mergeStreams([
    part(third, options.seed, (packet) => vlan({ id: 100, priority: 3 }, packet)),
    part(third, options.seed + 1, (packet) => vlan({ id: 200, tagType: ETHER_TYPE.qinq }, vlan({ id: 42 }, packet))),
    part(options.packets - 2 * third, options.seed + 2, (packet) => vlan({ id: 0, priority: 6 }, packet)),
  ]);
}

export const PROFILES = {
  mixed: (options) => flowTraffic({ ...options, services: MIXED_SERVICES, echoes: 0.05 }),
  tcp: (options) => flowTraffic({ ...options, services: [VIP.http, VIP.https] }),
  udp: (options) => flowTraffic({ ...options, services: [VIP.dns] }),
  'syn-flood': (options) => synFlood(options),
  'port-scan': portScan,
  fragments,
  malformed,
  vlan: vlans,
} as const satisfies Record<string, (options: ProfileOptions) => Generator<TracePacket, void>>;

export type ProfileName = keyof typeof PROFILES;
