/**
 * Single conversations, packet by packet: what a client sends and, where asked for, what it is answered.
 *
 * Invariant: a conversation yields exactly `packets` packets. A TCP one begins with its handshake and, where
 * they fit, ends with its teardown; sequence numbers count what was sent.
 */
import { ethernet } from '../dataplane/packet/ethernet.ts';
import { echoRest, icmp, ICMP_TYPE, icmpv6, ICMPV6_TYPE } from '../dataplane/packet/icmp.ts';
import { ipv4 } from '../dataplane/packet/ipv4.ts';
import { ipv6 } from '../dataplane/packet/ipv6.ts';
import type { Layer } from '../dataplane/packet/layer.ts';
import { tcp, TCP_FLAG } from '../dataplane/packet/tcp.ts';
import { udp } from '../dataplane/packet/udp.ts';
import { DNS_PORT, dnsMessage } from './dns.ts';
import { filler } from './filler.ts';
import { INWARD, OUTWARD } from './network.ts';
import type { Random } from '../dataplane/random.ts';
import { padFrame } from './trace-packet.ts';
import type { TracePacket } from './trace-packet.ts';

export interface Conversation {
  readonly client: Uint8Array;
  readonly clientPort: number;
  readonly server: Uint8Array;
  readonly serverPort: number;
  readonly packets: number;
  readonly startNs: number;
  /** Mean; each gap is between half of it and one and a half. */
  readonly gapNs: number;
  /** Whether answers are in the trace too. A load balancer with direct return never sees them. */
  readonly answers: boolean;
  /** The client is the device's own host, and the server somewhere outside. */
  readonly outward?: boolean;
  /** TCP that was opened before the trace began: no handshake. */
  readonly underWay?: boolean;
  /** Frame lengths to aim at; a frame is longer where its headers need it. */
  readonly frameLength: (random: Random) => number;
  readonly random: Random;
  /** Puts something between Ethernet and IP. */
  readonly wrap?: (packet: Layer) => Layer;
}

/** MSS 1460, SACK permitted, no-operation, window scale 7. */
const SYN_OPTIONS = Uint8Array.of(2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7, 1, 1);

/** The two ends of a conversation, for wrapping what one sends to the other. */
class Wire {
  readonly #conversation: Conversation;
  #timeNs: number;
  #identification: number;

  constructor(conversation: Conversation) {
    this.#conversation = conversation;
    this.#timeNs = conversation.startNs;
    this.#identification = conversation.random.below(0x1_0000);
  }

  get isIpv4(): boolean {
    return this.#conversation.client.length === 4;
  }

  /** Bytes of Ethernet and IP headers. */
  get overhead(): number {
    return this.isIpv4 ? 34 : 54;
  }

  send(fromClient: boolean, transport: Layer): TracePacket {
    const { client, server, random, gapNs, wrap, outward = false } = this.#conversation;
    const [source, destination] = fromClient ? [client, server] : [server, client];
    this.#identification = (this.#identification + 1) & 0xffff;
    const packet = this.isIpv4
      ? ipv4({ source, destination, identification: this.#identification, dontFragment: true }, transport)
      : ipv6({ source, destination }, transport);
    const macs = fromClient === outward ? OUTWARD : INWARD;
    const timeNs = this.#timeNs;
    this.#timeNs += Math.floor(gapNs / 2) + random.below(gapNs + 1);
    return { timeNs, bytes: padFrame(ethernet(macs, wrap === undefined ? packet : wrap(packet))) };
  }
}

interface TcpStep {
  readonly fromClient: boolean;
  readonly flags: number;
  readonly hasPayload?: boolean;
  readonly options?: Uint8Array;
}

const { fin, syn, psh, ack } = TCP_FLAG;

const OPENING: readonly TcpStep[] = [
  { fromClient: true, flags: syn, options: SYN_OPTIONS },
  { fromClient: false, flags: syn | ack, options: SYN_OPTIONS },
  { fromClient: true, flags: ack },
];
const EXCHANGE: readonly TcpStep[] = [
  { fromClient: true, flags: psh | ack, hasPayload: true },
  { fromClient: false, flags: psh | ack, hasPayload: true },
  { fromClient: true, flags: ack },
];
const CLOSING: readonly TcpStep[] = [
  { fromClient: true, flags: fin | ack },
  { fromClient: false, flags: fin | ack },
  { fromClient: true, flags: ack },
];

export function* tcpConversation(conversation: Conversation): Generator<TracePacket, void> {
  const { packets, answers, random, clientPort, serverPort, frameLength, underWay = false } = conversation;
  const wire = new Wire(conversation);
  const seen = (steps: readonly TcpStep[]): readonly TcpStep[] =>
    steps.filter(({ fromClient }) => fromClient || answers);
  const closing = seen(CLOSING);
  let clientNext = random.u32();
  let serverNext = random.u32();
  let left = packets;

  function* play(all: readonly TcpStep[]): Generator<TracePacket, void> {
    for (const { fromClient, flags, hasPayload, options } of all) {
      const isSeen = fromClient || answers;
      if (isSeen && left === 0) return;
      const payload = hasPayload ? filler(frameLength(random) - wire.overhead - 20) : filler(0);
      const segment = tcp(
        {
          sourcePort: fromClient ? clientPort : serverPort,
          destinationPort: fromClient ? serverPort : clientPort,
          sequence: fromClient ? clientNext : serverNext,
          acknowledgment: flags & ack ? (fromClient ? serverNext : clientNext) : 0,
          flags,
          window: 502,
          ...(options !== undefined && { options }),
        },
        payload,
      );
      const advance = payload.length + (flags & (syn | fin) ? 1 : 0);
      if (fromClient) clientNext = (clientNext + advance) >>> 0;
      else serverNext = (serverNext + advance) >>> 0;
      if (!isSeen) continue;
      left--;
      yield wire.send(fromClient, segment);
    }
  }

  if (!underWay) yield* play(OPENING);
  while (left > closing.length)
    yield* play(left - closing.length >= seen(EXCHANGE).length ? EXCHANGE : EXCHANGE.slice(0, 1));
  yield* play(CLOSING);
}

export function* udpConversation(conversation: Conversation): Generator<TracePacket, void> {
  const { packets, answers, random, clientPort, serverPort, frameLength } = conversation;
  const wire = new Wire(conversation);
  for (let sent = 0; sent < packets; sent++) {
    const fromClient = !answers || sent % 2 === 0;
    const [sourcePort, destinationPort] = fromClient ? [clientPort, serverPort] : [serverPort, clientPort];
    const lengthBytes = frameLength(random) - wire.overhead - 8;
    const isDns = serverPort === DNS_PORT;
    const payload = isDns
      ? dnsMessage(fromClient ? 'query' : 'response', random.below(0x1_0000), lengthBytes)
      : filler(lengthBytes);
    yield wire.send(fromClient, udp({ sourcePort, destinationPort }, payload));
  }
}

export function* echoConversation(conversation: Conversation): Generator<TracePacket, void> {
  const { packets, answers, random, clientPort, frameLength } = conversation;
  const wire = new Wire(conversation);
  const build = wire.isIpv4 ? icmp : icmpv6;
  const types = wire.isIpv4 ? ICMP_TYPE : ICMPV6_TYPE;
  for (let sent = 0; sent < packets; sent++) {
    const fromClient = !answers || sent % 2 === 0;
    const sequence = answers ? sent >> 1 : sent;
    const type = fromClient ? types.echo : types.echoReply;
    const body = filler(frameLength(random) - wire.overhead - 8);
    yield wire.send(fromClient, build({ type, rest: echoRest(clientPort, sequence & 0xffff) }, body));
  }
}
