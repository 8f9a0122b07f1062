/**
 * The demo: ten seconds at eth0 of the network in programs/demo.yaml, in which services are used, one of them
 * is flooded, the host is used and scanned, and the usual odd packets pass by. What backends answer does not pass
 * eth0: they send it to the clients themselves.
 */
import { addressBytes } from '../dataplane/packet/address.ts';
import { ICMP_FRAGMENTATION_NEEDED, icmp, ICMP_TYPE, icmpv6, ICMPV6_TYPE } from '../dataplane/packet/icmp.ts';
import { ipv4 } from '../dataplane/packet/ipv4.ts';
import { ipv6 } from '../dataplane/packet/ipv6.ts';
import { tcp, TCP_FLAG } from '../dataplane/packet/tcp.ts';
import { echoConversation, tcpConversation } from './conversation.ts';
import type { Conversation } from './conversation.ts';
import { filler } from './filler.ts';
import { hostTraffic } from './host.ts';
import { addressIn, clientOf, ephemeralPort, HOST, ROUTER, ROUTER_6, VIP } from './network.ts';
import type { Service } from './network.ts';
import { flowTraffic, FRAME_SIZES, inward, PROFILES, synFlood } from './profiles.ts';
import { Random } from '../dataplane/random.ts';
import { mergeStreams } from './trace-packet.ts';
import type { PacketStream, TracePacket } from './trace-packet.ts';

const SECOND = 1_000_000_000;
const DURATION_NS = 10 * SECOND;

interface Share {
  readonly packets: number;
  readonly flows: number;
  readonly seed: number;
  readonly services: readonly Service[];
}

/** Used throughout. */
const USE: readonly Share[] = [
  { packets: 800, flows: 80, seed: 11, services: [VIP.http] },
  { packets: 500, flows: 60, seed: 12, services: [VIP.https] },
  { packets: 400, flows: 24, seed: 13, services: [VIP.https6] },
  { packets: 360, flows: 160, seed: 14, services: [VIP.dns] },
];

/** Of the flood: most SYNs come from a network that is on the deny list of the demo, many from four hosts that are not. */
const BOTNET = '192.0.2.128/25';
const LOUD = ['192.0.2.11', '192.0.2.37', '192.0.2.58', '192.0.2.92'].map(addressBytes);

function flooder(random: Random): Uint8Array {
  return random.chance(0.55) ? addressIn(BOTNET, random) : random.pick(LOUD);
}

export function demoTraffic(): Generator<TracePacket, void> {
  const use = USE.map((share): PacketStream =>
    flowTraffic({ ...share, size: 'small', gapNs: Math.floor(DURATION_NS / share.packets) }),
  );
  const common = { flows: 1, size: 60, startNs: 0 } as const;
  return mergeStreams([
    ...use,
    // From the third second to the sixth.
    synFlood({ ...common, packets: 1200, seed: 21, startNs: 3 * SECOND, gapNs: 2_500_000 }, flooder),
    PROFILES.fragments({ ...common, packets: 60, seed: 23, gapNs: 150_000_000 }),
    PROFILES.vlan({ ...common, packets: 60, flows: 6, size: 'small', seed: 24, gapNs: 160_000_000 }),
    PROFILES.malformed({ ...common, packets: 82, seed: 25, startNs: SECOND, gapNs: 100_000_000 }),
    ...pings(31, [VIP.http.address, VIP.dns.address, VIP.https6.address]),
    pathMtu(33),
    resets(35),
    ...hostTraffic(),
  ]);
}

/** Echo requests, to the services' addresses and to the device unless said. */
export function pings(
  seed: number,
  addresses: readonly string[] = [VIP.http.address, VIP.dns.address, VIP.https6.address, HOST],
): PacketStream[] {
  const random = new Random(seed);
  return addresses.map((address) => {
    const conversation: Conversation = {
      client: clientOf(address, random),
      clientPort: random.below(65_536),
      server: addressBytes(address),
      serverPort: 0,
      packets: 10,
      startNs: random.below(SECOND),
      gapNs: Math.floor(SECOND * 0.9),
      answers: false,
      frameLength: () => 98,
      random,
    };
    return echoConversation(conversation);
  });
}

/** Routers on the way say that what a service sent was too long: the load balancer must find the backend it is for. */
export function* pathMtu(seed: number): Generator<TracePacket, void> {
  const random = new Random(seed);
  for (let sent = 0; sent < 24; sent++) {
    const timeNs = SECOND + sent * 350_000_000 + random.below(SECOND / 10);
    const flags = TCP_FLAG.ack;
    if (sent % 3 === 2) {
      const { address, port } = VIP.https6;
      const segment = tcp(
        { sourcePort: port, destinationPort: ephemeralPort(random), flags, sequence: random.u32() },
        filler(1200),
      );
      const about = ipv6({ source: address, destination: clientOf(address, random) }, segment).bytes.subarray(0, 88);
      const error = icmpv6({ type: ICMPV6_TYPE.packetTooBig, rest: 1280 }, about);
      yield { timeNs, bytes: inward(ipv6({ source: ROUTER_6, destination: address }, error)) };
    } else {
      const { address, port } = sent % 2 === 0 ? VIP.http : VIP.https;
      const segment = tcp(
        { sourcePort: port, destinationPort: ephemeralPort(random), flags, sequence: random.u32() },
        filler(1460),
      );
      const about = ipv4(
        { source: address, destination: clientOf(address, random), dontFragment: true },
        segment,
      ).bytes.subarray(0, 48);
      const error = icmp({ type: ICMP_TYPE.unreachable, code: ICMP_FRAGMENTATION_NEEDED, rest: 1400 }, about);
      yield { timeNs, bytes: inward(ipv4({ source: ROUTER, destination: address }, error)) };
    }
  }
}

/** Connections that clients give up, and resets of ones that nobody knows. */
function* resets(seed: number): Generator<TracePacket, void> {
  const random = new Random(seed);
  for (let sent = 0; sent < 20; sent++) {
    const startNs = sent * 480_000_000;
    const client = clientOf(VIP.http.address, random);
    const clientPort = ephemeralPort(random);
    const { address, port } = VIP.http;
    if (sent % 2 === 0) {
      yield* tcpConversation({
        client,
        clientPort,
        server: addressBytes(address),
        serverPort: port,
        packets: 2,
        startNs,
        gapNs: 20_000_000,
        answers: false,
        frameLength: FRAME_SIZES.small,
        random,
      });
    }
    const segment = tcp({
      sourcePort: clientPort,
      destinationPort: port,
      flags: TCP_FLAG.rst,
      sequence: random.u32(),
      window: 0,
    });
    yield { timeNs: startNs + 100_000_000, bytes: inward(ipv4({ source: client, destination: address }, segment)) };
  }
}
