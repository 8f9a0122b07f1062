/**
 * The demo: ten seconds at eth0 of the network in programs/demo.yaml, in which services are used, one of them
 * is flooded, the device is scanned, and the usual odd packets pass by.
 */
import { addressBytes } from '../dataplane/packet/address.ts';
import { arp, ARP_OPERATION } from '../dataplane/packet/arp.ts';
import { ethernet } from '../dataplane/packet/ethernet.ts';
import { ICMP_FRAGMENTATION_NEEDED, icmp, ICMP_TYPE, icmpv6, ICMPV6_TYPE } from '../dataplane/packet/icmp.ts';
import { ipv4 } from '../dataplane/packet/ipv4.ts';
import { ipv6 } from '../dataplane/packet/ipv6.ts';
import { tcp, TCP_FLAG } from '../dataplane/packet/tcp.ts';
import { udp } from '../dataplane/packet/udp.ts';
import { echoConversation, tcpConversation } from './conversation.ts';
import type { Conversation } from './conversation.ts';
import { DNS_PORT, dnsMessage } from './dns.ts';
import { filler } from './filler.ts';
import { clientOf, ephemeralPort, HOST, LOCAL, MAC, ROUTER, ROUTER_6, VIP } from './network.ts';
import type { Service } from './network.ts';
import { flowTraffic, FRAME_SIZES, inward, PROFILES } from './profiles.ts';
import { Random } from './random.ts';
import { mergeStreams, padFrame } from './trace-packet.ts';
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
  { packets: 900, flows: 60, seed: 11, services: [VIP.http] },
  { packets: 600, flows: 40, seed: 12, services: [VIP.https] },
  { packets: 500, flows: 24, seed: 13, services: [VIP.https6] },
  { packets: 400, flows: 160, seed: 14, services: [VIP.dns] },
  { packets: 120, flows: 3, seed: 15, services: [LOCAL.ssh] },
  { packets: 80, flows: 8, seed: 16, services: [LOCAL.web] },
];

export function demoTraffic(): Generator<TracePacket, void> {
  const use = USE.map((share): PacketStream =>
    flowTraffic({ ...share, size: 'small', gapNs: Math.floor(DURATION_NS / share.packets) }),
  );
  const common = { flows: 1, size: 60, startNs: 0 } as const;
  return mergeStreams([
    ...use,
    // The flood lasts from the third second to the sixth, the scan from the fifth to the ninth.
    PROFILES['syn-flood']({ ...common, packets: 1500, seed: 21, startNs: 3 * SECOND, gapNs: 2_000_000 }),
    PROFILES['port-scan']({ ...common, packets: 400, seed: 22, startNs: 5 * SECOND, gapNs: 10_000_000 }),
    PROFILES.fragments({ ...common, packets: 60, seed: 23, gapNs: 150_000_000 }),
    PROFILES.vlan({ ...common, packets: 60, flows: 6, size: 'small', seed: 24, gapNs: 160_000_000 }),
    PROFILES.malformed({ ...common, packets: 82, seed: 25, startNs: SECOND, gapNs: 100_000_000 }),
    ...pings(31),
    dnsReplies(32),
    pathMtu(33),
    neighbours(34),
    resets(35),
  ]);
}

/** Echo requests to the services' addresses and to the device. */
export function pings(seed: number): PacketStream[] {
  const random = new Random(seed);
  return [VIP.http.address, VIP.dns.address, VIP.https6.address, HOST].map((address) => {
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

/** Answers to what the device asked a resolver, some of which it never asked. */
function* dnsReplies(seed: number): Generator<TracePacket, void> {
  const random = new Random(seed);
  for (let sent = 0; sent < 40; sent++) {
    const reply = udp(
      { sourcePort: DNS_PORT, destinationPort: ephemeralPort(random) },
      dnsMessage('response', random.below(65_536), random.between(60, 200)),
    );
    yield {
      timeNs: sent * 240_000_000 + random.below(100_000_000),
      bytes: inward(ipv4({ source: '198.18.0.53', destination: HOST, identification: random.below(65_536) }, reply)),
    };
  }
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

/** The gateway asks who the device is. */
function* neighbours(seed: number): Generator<TracePacket, void> {
  const random = new Random(seed);
  const question = arp({
    operation: ARP_OPERATION.request,
    senderMac: MAC.gateway,
    senderAddress: '10.0.0.254',
    targetMac: '00:00:00:00:00:00',
    targetAddress: HOST,
  });
  const frame = padFrame(ethernet({ source: MAC.gateway, destination: 'ff:ff:ff:ff:ff:ff' }, question));
  for (let sent = 0; sent < 10; sent++) yield { timeNs: sent * SECOND + random.below(SECOND / 2), bytes: frame };
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
