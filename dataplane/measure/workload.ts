/**
 * The traffic that is built in: TCP segments of clients to one service, a function of the options. Every flow is opened
 * by a SYN before anything is measured, so that what keeps connections knows them.
 */
import { parseAddress } from '../address.ts';
import { XdplabError } from '../errors.ts';
import { checksum, finishTransport } from '../packet/checksum.ts';
import { ethernet } from '../packet/ethernet.ts';
import { ipv4 } from '../packet/ipv4.ts';
import { tcp, TCP_FLAG } from '../packet/tcp.ts';
import { Random } from '../random.ts';
import type { PacketTrace } from '../packet/packet-trace.ts';

interface Shape {
  readonly text: string;
  readonly flows: number;
  /** Packets of a round; at least one a flow. */
  readonly packets: number;
  /** Frame bytes without checksum, drawn for each packet. */
  readonly sizes: readonly number[];
  /** How packets are shared among the flows. `once`: each packet is a SYN that begins a flow, and nothing follows. */
  readonly shares: 'equal' | 'zipf' | 'once';
}

const SMALL = [64];
/** The simple Internet mix, 7 : 4 : 1, as it is without the checksum. */
const IMIX = [64, 64, 64, 64, 64, 64, 64, 590, 590, 590, 590, 1514];

/** Names for `--workload`. */
export const WORKLOADS = {
  single: { text: 'one flow of 64-byte packets', flows: 1, packets: 4096, sizes: SMALL, shares: 'equal' },
  '1k': { text: '1,000 flows', flows: 1000, packets: 4000, sizes: SMALL, shares: 'equal' },
  '100k': { text: '100,000 flows', flows: 100_000, packets: 100_000, sizes: SMALL, shares: 'equal' },
  '1m': { text: '1,000,000 flows', flows: 1_000_000, packets: 1_000_000, sizes: SMALL, shares: 'equal' },
  zipf: { text: '10,000 flows, sizes by Zipf’s law', flows: 10_000, packets: 50_000, sizes: SMALL, shares: 'zipf' },
  imix: { text: '1,000 flows, packets of 64, 590 and 1514 bytes as 7 : 4 : 1', flows: 1000, packets: 4000, sizes: IMIX, shares: 'equal' },
  'syn-flood': { text: 'SYNs, each of another sender', flows: 200_000, packets: 200_000, sizes: SMALL, shares: 'once' },
} as const satisfies Record<string, Shape>;

export type WorkloadName = keyof typeof WORKLOADS;

export interface WorkloadOptions {
  readonly name: WorkloadName;
  /** Instead of the workload's own number. */
  readonly flows?: number;
  /** `address:port`: who is talked to. */
  readonly to: string;
  /** Ethernet address of the device: packets go to it, or come from it where the host sends them. */
  readonly mac: Uint8Array;
  /** The host's answers instead: for what looks at packets on their way out. */
  readonly outward?: boolean;
  /** The first packet alone, again and again. */
  readonly hot?: boolean;
  readonly seed?: number;
}

const GATEWAY = Uint8Array.of(2, 0, 0, 0, 0, 0xfe);
/** Clients at a thousand a second are traffic; at a million, a firewall may take them for an attack. */
const GAP_NS = 1_000_000;
/** 198.18.0.0/15, kept for benchmarks by RFC 2544. */
const CLIENTS = { network: 0xc612_0000, hosts: 1 << 17 };
/** No two flows are alike up to this. */
export const MOST_FLOWS = 1_500_000;
const IP_AT = 14;
const TCP_AT = IP_AT + 20;
const PRIME = 40_503;

export function makeTrace(options: WorkloadOptions): PacketTrace {
  const shape: Shape = WORKLOADS[options.name];
  const flows = options.flows ?? shape.flows;
  if (flows > MOST_FLOWS) throw new XdplabError('ERR_USAGE', `--flows ${flows}: expected at most ${MOST_FLOWS}`);
  const random = new Random(options.seed ?? 1);
  const order = options.hot ? Uint32Array.of(0) : orderOf(shape, flows, random);
  const opening = shape.shares === 'once' ? 0 : options.hot ? 1 : flows;
  const count = opening + order.length;
  const sizes = Uint16Array.from({ length: count }, (_, index) => (index < opening ? shape.sizes[0]! : random.pick(shape.sizes)));
  const offsets = new Uint32Array(count + 1);
  for (let index = 0; index < count; index++) offsets[index + 1] = offsets[index]! + sizes[index]!;
  const bytes = new Uint8Array(offsets[count]!);
  const [opener, follower] = [new Writer(options, TCP_FLAG.syn), new Writer(options, TCP_FLAG.ack)];
  const begins = shape.shares === 'once';
  for (let index = 0; index < count; index++) {
    const writer = begins || index < opening ? opener : follower;
    writer.write(bytes.subarray(offsets[index], offsets[index + 1]), index < opening ? index : order[index - opening]!);
  }
  const text = options.hot ? `one packet of ${sizes[opening]} bytes, again and again` : flows === shape.flows ? shape.text : `${flows.toLocaleString('en-US')} flows, otherwise as ${options.name}`;
  return { text, bytes, offsets, opening, gapNs: GAP_NS };
}

/** The flow of each packet. */
function orderOf({ packets, shares, flows: usual }: Shape, flows: number, random: Random): Uint32Array {
  const wanted = Math.max(flows, shares === 'zipf' ? packets : Math.round((packets / usual) * flows), 4096);
  const order = new Uint32Array(shares === 'zipf' ? wanted : Math.ceil(wanted / flows) * flows);
  if (shares === 'zipf') {
    // Where the sum of 1/n passes a random part of the whole.
    const sums = new Float64Array(flows);
    let sum = 0;
    for (let rank = 0; rank < flows; rank++) sums[rank] = sum += 1 / (rank + 1);
    for (let index = 0; index < order.length; index++) order[index] = lowerBound(sums, (random.u32() / 2 ** 32) * sum);
    return order;
  }
  for (let index = 0; index < order.length; index++) order[index] = index % flows;
  for (let index = order.length - 1; index > 0; index--) {
    const other = random.below(index + 1);
    [order[index], order[other]] = [order[other]!, order[index]!];
  }
  return order;
}

function lowerBound(sums: Float64Array, value: number): number {
  let [low, high] = [0, sums.length - 1];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sums[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Writes frames that differ in the client only: what does not differ is made once. */
class Writer {
  readonly #head: Uint8Array;
  readonly #outward: boolean;

  constructor({ to, mac, outward = false }: WorkloadOptions, flags: number) {
    const { address, port } = parseService(to);
    const [source, destination] = outward ? [mac, GATEWAY] : [GATEWAY, mac];
    const ends = outward ? { source: address, destination: new Uint8Array(4) } : { source: new Uint8Array(4), destination: address };
    const ports = outward ? { sourcePort: port, destinationPort: 0 } : { sourcePort: 0, destinationPort: port };
    this.#head = ethernet({ source, destination }, ipv4(ends, tcp({ ...ports, flags: outward && flags === TCP_FLAG.syn ? TCP_FLAG.syn | TCP_FLAG.ack : flags, sequence: 1, window: 64_240 }))).slice(0, TCP_AT + 20);
    this.#outward = outward;
  }

  write(frame: Uint8Array, flow: number): void {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    frame.set(this.#head);
    view.setUint16(IP_AT + 2, frame.length - IP_AT);
    view.setUint32(IP_AT + (this.#outward ? 16 : 12), CLIENTS.network + (Math.imul(flow, PRIME) & (CLIENTS.hosts - 1)));
    view.setUint16(TCP_AT + (this.#outward ? 2 : 0), 1024 + Math.floor(flow / CLIENTS.hosts) * 4969 + ((flow * 7919) % 4096));
    view.setUint16(IP_AT + 10, 0);
    view.setUint16(IP_AT + 10, checksum(frame, IP_AT, TCP_AT));
    view.setUint16(TCP_AT + 16, 0);
    finishTransport(frame.subarray(IP_AT), { addresses: 12, start: 20, protocol: 6, checksumAt: 36 });
  }
}

function parseService(text: string): { readonly address: Uint8Array; readonly port: number } {
  const colon = text.lastIndexOf(':');
  const address = parseAddress(text.slice(0, colon));
  const port = Number(text.slice(colon + 1));
  if (colon < 0 || address?.length !== 4 || !Number.isInteger(port) || port < 1 || port > 65_535) throw new XdplabError('ERR_USAGE', `--to ${text}: expected an IPv4 address and a port, as 10.0.0.100:80`);
  return { address, port };
}
