/**
 * One run of one program on one packet, as BPF_PROG_TEST_RUN makes it (Linux net/bpf/test_run.c): the packet is on the
 * loopback device, in a frame of one page; an skb has its VLAN tag in the packet, and no transport header yet. Whatever
 * runs the program, the kernel or an engine here, takes and answers the same, so that answers can be compared.
 *
 *   const bench = new TestBench(lab.machine);
 *   bench.run(program, { packet }); // { code: 2, packet, metadata, context: {} }
 */
import { XdplabError } from '../errors.ts';
import type { ProgramType } from '../bpf/spec.ts';
import { hookByName } from '../hooks/index.ts';
import type { ContextField } from '../hooks/hook.ts';
import { CPU_BLOCK } from '../machine/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import { FRAME, LINEAR_BYTES, PACKET_TYPE, SK_BUFF, XDP_MD } from '../packet/frame.ts';
import type { Program } from '../program/program.ts';

export interface TestRunInput {
  /** At least an Ethernet header. */
  readonly packet: Uint8Array;
  /** XDP: what is between data_meta and data; a multiple of 4 bytes. */
  readonly metadata?: Uint8Array;
  /** Fields of the context by name, among those of TEST_RUN_FIELDS. */
  readonly context?: Readonly<Record<string, number>>;
}

export interface TestRunOutput {
  /** The low half of r0, signed. */
  readonly code: number;
  readonly packet: Uint8Array;
  readonly metadata: Uint8Array;
  /** Of an skb: the fields of TEST_RUN_FIELDS. */
  readonly context: Readonly<Record<string, number>>;
}

/** The fields of a context that a test run sets and, of an skb, answers. */
export const TEST_RUN_FIELDS = {
  xdp: ['ingress_ifindex', 'rx_queue_index'],
  skb: ['mark', 'priority', 'ingress_ifindex', 'ifindex', 'cb[0]', 'cb[1]', 'cb[2]', 'cb[3]', 'cb[4]', 'tstamp', 'wire_len', 'gso_segs', 'hwtstamp'],
} as const;

export type ContextKind = keyof typeof TEST_RUN_FIELDS;

export function contextKind(type: ProgramType): ContextKind {
  return type === 'xdp' ? 'xdp' : 'skb';
}

const FIELDS: Readonly<Record<ContextKind, ReadonlyMap<string, ContextField>>> = {
  xdp: fieldTable('xdp'),
  skb: fieldTable('skb'),
};

function fieldTable(kind: ContextKind): Map<string, ContextField> {
  const { context } = hookByName(kind === 'xdp' ? 'xdp' : 'tc-ingress');
  const wanted: readonly string[] = TEST_RUN_FIELDS[kind];
  return new Map(context.filter(({ name }) => wanted.includes(name)).map((field) => [field.name, field]));
}

/** Writes the fields given into a context that begins at `offset`. */
export function writeContext(view: DataView, offset: number, kind: ContextKind, context: TestRunInput['context'] = {}): void {
  for (const [name, value] of Object.entries(context)) {
    const field = FIELDS[kind].get(name);
    if (field === undefined) throw new XdplabError('ERR_VALUE', `test run: context field '${name}' cannot be set, expected one of ${TEST_RUN_FIELDS[kind].join(', ')}`);
    if (field.bytes === 8) view.setBigUint64(offset + field.offset, BigInt(value), true);
    else view.setUint32(offset + field.offset, value, true);
  }
}

export function readContext(view: DataView, offset: number, kind: ContextKind): Record<string, number> {
  if (kind === 'xdp') return {};
  return Object.fromEntries(
    Array.from(FIELDS[kind].values(), ({ name, offset: at, bytes }) => [name, bytes === 8 ? Number(view.getBigUint64(offset + at, true)) : view.getUint32(offset + at, true)]),
  );
}

/** The loopback device, in every network namespace. */
export const LOOPBACK_IFINDEX = 1;
/** NET_SKB_PAD: what a test run leaves in front of an skb's packet. */
const SKB_HEADROOM_BYTES = 64;
/** In network order, as skb->protocol is. */
const ETH_P_802_3 = 0x0100;
const ETH_P_802_2 = 0x0400;
const CONTEXT_BYTES = Math.max(XDP_MD.size, SK_BUFF.size);

export class TestBench {
  readonly machine: Machine;
  readonly #context: number;
  readonly #frame: number;

  constructor(machine: Machine) {
    this.machine = machine;
    this.#context = machine.memory.allocate(CONTEXT_BYTES, 64, 'test run context');
    this.#frame = machine.memory.allocate(FRAME.skbHeadroom + FRAME.size, 64, 'test run frame') + FRAME.skbHeadroom;
  }

  /** A fault is thrown as it comes: WebAssembly.RuntimeError, with its reason in CPU_BLOCK.fault. */
  run(program: Program, input: TestRunInput): TestRunOutput {
    const { machine } = this;
    const { memory } = machine;
    const kind = contextKind(program.type);
    this.#place(kind, input);
    machine.beginRun(program.id);
    memory.view.setBigUint64(machine.cpuBlock + CPU_BLOCK.redirect, 0n, true);
    const entry = machine.programTable.get(program.id) as (context: number) => bigint;
    const code = Number(BigInt.asIntN(32, entry(this.#context)));
    const field = (offset: number): number => memory.view.getUint32(this.#context + offset, true);
    const [data, end, meta] = kind === 'xdp' ? [field(XDP_MD.data), field(XDP_MD.packet_end), field(XDP_MD.data_meta)] : [field(SK_BUFF.data), field(SK_BUFF.data_end), field(SK_BUFF.data)];
    return {
      code,
      packet: memory.u8.slice(data, end),
      metadata: memory.u8.slice(meta, data),
      context: readContext(memory.view, this.#context, kind),
    };
  }

  #place(kind: ContextKind, { packet, metadata = new Uint8Array(), context }: TestRunInput): void {
    const { memory } = this.machine;
    const longest = LINEAR_BYTES;
    if (packet.length < FRAME.minimumLength || packet.length > longest) {
      throw new XdplabError('ERR_VALUE', `test run: a packet of ${packet.length} bytes was given, expected ${FRAME.minimumLength} to ${longest}`);
    }
    memory.u8.fill(0, this.#frame - FRAME.skbHeadroom, this.#frame + FRAME.size);
    memory.u8.fill(0, this.#context, this.#context + CONTEXT_BYTES);
    const data = this.#frame + (kind === 'xdp' ? FRAME.headroom : SKB_HEADROOM_BYTES);
    const end = data + packet.length;
    memory.u8.set(metadata, data - metadata.length);
    memory.u8.set(packet, data);
    const fields = kind === 'xdp' ? this.#xdpFields(data, end, data - metadata.length) : this.#skbFields(data, end, packet);
    for (const [offset, value] of fields) memory.view.setUint32(this.#context + offset, value, true);
    writeContext(memory.view, this.#context, kind, context);
  }

  #xdpFields(data: number, end: number, meta: number): readonly (readonly [number, number])[] {
    return [
      [XDP_MD.data, data],
      [XDP_MD.data_end, end],
      [XDP_MD.data_meta, meta],
      [XDP_MD.packet_end, end],
      [XDP_MD.exposed, meta],
      [XDP_MD.ingress_ifindex, LOOPBACK_IFINDEX],
      [XDP_MD.hard_start, this.#frame],
      [XDP_MD.hard_end, this.#frame + FRAME.size - FRAME.sharedInfo],
    ];
  }

  #skbFields(data: number, end: number, packet: Uint8Array): readonly (readonly [number, number])[] {
    return [
      [SK_BUFF.len, packet.length],
      [SK_BUFF.wire_len, packet.length],
      [SK_BUFF.data, data],
      [SK_BUFF.data_end, end],
      [SK_BUFF.data_meta, data],
      [SK_BUFF.head, data - SKB_HEADROOM_BYTES],
      [SK_BUFF.end, this.#frame + FRAME.size - FRAME.sharedInfo],
      [SK_BUFF.ifindex, LOOPBACK_IFINDEX],
      [SK_BUFF.protocol, protocolOf(packet)],
      [SK_BUFF.pkt_type, packetType(packet)],
      [SK_BUFF.network_offset, FRAME.minimumLength],
      [SK_BUFF.at_ingress, 1],
    ];
  }
}

/** eth_type_trans: smaller numbers than Ethernet's types are lengths, as in IEEE 802.3. */
function protocolOf(packet: Uint8Array): number {
  const [high, low] = [packet[12]!, packet[13]!];
  if (high >= 0x06) return high | (low << 8);
  return packet[14] === 0xff && packet[15] === 0xff ? ETH_P_802_3 : ETH_P_802_2;
}

/** eth_type_trans on a device whose own address is zero. */
function packetType(packet: Uint8Array): number {
  const destination = packet.subarray(0, 6);
  if (destination.every((byte) => byte === 0xff)) return PACKET_TYPE.broadcast;
  if ((destination[0]! & 1) !== 0) return PACKET_TYPE.multicast;
  return destination.every((byte) => byte === 0) ? PACKET_TYPE.host : PACKET_TYPE.otherhost;
}
