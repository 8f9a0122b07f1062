/**
 * How long a program takes in the running Linux, over many packets. BPF_PROG_TEST_RUN repeats a program on one packet,
 * as the last run left it: a load balancer would wrap it again and again. So what is repeated is a driver, which takes
 * the next packet of a trace from a map, puts its length and first bytes back, and tail-calls the program:
 *
 *   state     0 u32 index of the next packet      4 u32 packets that could not be put back, or programs not entered
 *   packets   for each: 0 u32 length   8 bytes
 *
 * A second driver that calls an empty program takes what all this costs: the difference is the program's. Programs are
 * loaded as they are; nothing is attached, and no packet reaches a device.
 */
import { assemble } from '../../bpf/assemble.ts';
import { BPF_MAP_TYPE } from '../../bpf/map-type.ts';
import type { MapSpec, ProgramSpec } from '../../bpf/spec.ts';
import { XdplabError } from '../../errors.ts';
import { HELPER_NAMES } from '../../helpers/index.ts';
import type { Machine } from '../../machine/machine.ts';
import { MAP_FLAG } from '../../maps/map-check.ts';
import { roundUp } from '../../maps/map.ts';
import { u32Bytes } from '../../maps/slot-array.ts';
import { LINEAR_BYTES, SK_BUFF, XDP_MD } from '../../packet/frame.ts';
import { packetAt, packetCount, type PacketTrace } from '../../packet/packet-trace.ts';
import type { Program } from '../../program/program.ts';
import { contextKind, LOOPBACK_IFINDEX, type ContextKind } from '../test-run.ts';
import { UNRUNNABLE } from './kernel-engine.ts';
import { createKernelMap, type KernelMap } from './kernel-map.ts';
import { KernelOracle } from './kernel-oracle.ts';
import { loadKernelProgram, type KernelProgram } from './kernel-program.ts';
import { KernelRefusal, openLinux, type Linux } from './linux.ts';
import type { PinnedMemory } from '../../system/native.ts';

/** Of a packet, put back before each run: the headers, and all of a short one. */
const RESTORED_BYTES = 128;
const PACKET_AT = 8;
const WORD_BYTES = 8;
const ONLY_KEY = new Uint8Array(4);

/** Helpers by id that move what the driver cannot put back, by the context they take. */
const IRREVERSIBLE: Readonly<Record<ContextKind, readonly number[]>> = {
  // xdp_adjust_tail: the driver corrects the length at the head.
  xdp: [65],
  // skb_change_proto, skb_adjust_room, skb_change_head, skb_vlan_push and pop, lwt_push_encap
  skb: [31, 50, 43, 18, 19, 73],
};

export class KernelTiming {
  readonly #linux: Linux;
  readonly #oracle: KernelOracle;
  readonly #packets: KernelMap;
  readonly #runs: Readonly<Record<'program' | 'empty', TimedRun>>;
  /** Bytes of machine code; 0 where the kernel interprets. */
  readonly jitedBytes: number;

  /** The maps hold what the machine's do. ERR_PRIVILEGE where this process may not; ERR_PROGRAM where Linux refuses or the driver cannot do it. */
  constructor(machine: Machine, program: Program, trace: PacketTrace) {
    this.#linux = openLinux();
    const kind = contextKind(program.type);
    checkRunnable(program.spec, kind, trace);
    this.#oracle = new KernelOracle(machine, { ownTime: true, ifindex: () => LOOPBACK_IFINDEX });
    const loaded = this.#oracle.load(program);
    this.#oracle.copyMaps();
    this.jitedBytes = loaded.info.jitedBytes;
    this.#packets = packetsMap(this.#linux, trace);
    const empty = loadKernelProgram(this.#linux, like(program.spec, 'empty', 'r0 = 2\nexit'), { type: program.type, map: () => -1 });
    this.#runs = { program: new TimedRun(this.#linux, program, loaded, this.#packets, trace), empty: new TimedRun(this.#linux, program, empty, this.#packets, trace, empty) };
  }

  /**
   * Runs the next packets of the trace, and answers the nanoseconds that one took by the kernel's own clock. From
   * outside it cannot be seen: Linux rewrites its XDP dispatcher before and after a repeated run, which takes
   * milliseconds. The kernel cuts to whole nanoseconds, so half of one is added.
   */
  run(what: 'program' | 'empty', packets: number): number {
    return this.#runs[what].run(packets) + 0.5;
  }

  /** Throws where a packet was not put back, or a program not entered, so that the time means nothing. */
  check(): void {
    for (const run of Object.values(this.#runs)) run.check();
  }

  restoreMaps(): void {
    this.#oracle.restoreMaps();
    for (const run of Object.values(this.#runs)) run.rewind();
  }

  close(): void {
    for (const run of Object.values(this.#runs)) run.close();
    this.#packets.close();
    this.#oracle.close();
  }
}

function checkRunnable({ name, instructions, frags }: ProgramSpec, kind: ContextKind, trace: PacketTrace): void {
  for (const { kind: of, ...instruction } of instructions as readonly (ProgramSpec['instructions'][number] & { readonly target?: { readonly kind: string; readonly id: number } })[]) {
    if (of !== 'call' || instruction.target?.kind !== 'helper') continue;
    const { id } = instruction.target;
    if (UNRUNNABLE.has(id)) throw new XdplabError('ERR_PROGRAM', `program '${name}': calls ${HELPER_NAMES[id]}, which ${UNRUNNABLE.get(id)}; it is not measured in the kernel`);
    if (IRREVERSIBLE[kind].includes(id)) throw new XdplabError('ERR_PROGRAM', `program '${name}': calls ${HELPER_NAMES[id]}, after which a packet cannot be put back in the kernel; it is not measured there`);
  }
  const longest = longestPacket(trace).length;
  if (longest > LINEAR_BYTES && !frags) throw new XdplabError('ERR_PROGRAM', `program '${name}': the trace has a packet of ${longest} bytes, and a run in the kernel takes ${LINEAR_BYTES}; give a capture of shorter ones`);
}

function longestPacket(trace: PacketTrace): Uint8Array {
  let longest = 0;
  const { offsets } = trace;
  for (let index = 1; index < packetCount(trace); index++) if (offsets[index + 1]! - offsets[index]! > offsets[longest + 1]! - offsets[longest]!) longest = index;
  return packetAt(trace, longest);
}

/** One driver, with the program that it calls. */
class TimedRun {
  readonly #linux: Linux;
  readonly #state: KernelMap;
  readonly #targets: KernelMap;
  readonly #driver: KernelProgram;
  readonly #input: PinnedMemory;
  readonly #inputBytes: number;
  readonly #owned: KernelProgram | undefined;

  constructor(linux: Linux, { spec, type }: Program, target: KernelProgram, packets: KernelMap, trace: PacketTrace, owned?: KernelProgram) {
    this.#linux = linux;
    this.#owned = owned;
    this.#state = createKernelMap(linux, map('bench_state', BPF_MAP_TYPE.array, 8, 1));
    this.#targets = createKernelMap(linux, map('bench_target', BPF_MAP_TYPE.prog_array, 4, 1));
    this.#targets.update(ONLY_KEY, u32Bytes(target.fd));
    const fds: Readonly<Record<string, number>> = { bench_state: this.#state.fd, bench_target: this.#targets.fd, bench_packets: packets.fd };
    const text = driver(contextKind(type), trace);
    this.#driver = loadKernelProgram(linux, like(spec, 'bench_driver', text), { type, map: (name) => fds[name]! });
    const input = longestPacket(trace);
    this.#input = linux.allocate(input.length);
    this.#input.bytes.set(input);
    this.#inputBytes = input.length;
  }

  run(packets: number): number {
    const result = this.#linux.bpf('prog_test_run', { prog_fd: this.#driver.fd, data_size_in: this.#inputBytes, data_in: this.#input.address, repeat: packets });
    if (result < 0) throw new KernelRefusal('ERR_PROGRAM', result, `program '${this.#driver.spec.name}' in the kernel: a run is refused`);
    return this.#linux.attribute('prog_test_run', 'duration');
  }

  check(): void {
    const failures = new DataView(this.#state.lookup(ONLY_KEY)!.buffer).getUint32(4, true);
    if (failures > 0) throw new XdplabError('ERR_PROGRAM', `kernel: ${failures} packets could not be put back as they were, so that the time of the runs means nothing; take this program out of the measurement`);
  }

  rewind(): void {
    this.#state.update(ONLY_KEY, new Uint8Array(8));
  }

  close(): void {
    this.#driver.close();
    this.#owned?.close();
    this.#state.close();
    this.#targets.close();
    this.#linux.unmap(this.#input);
  }
}

function map(name: string, type: number, valueBytes: number, maxEntries: number, flags = 0): MapSpec {
  return { name, type, keyBytes: 4, valueBytes, maxEntries, flags, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false };
}

/** A program that may stand in one program array with `spec`. */
function like({ section, type, frags, attach }: ProgramSpec, name: string, text: string): ProgramSpec {
  const { instructions } = assemble(text);
  return { name, section, type, frags, ...(attach === undefined ? {} : { attach }), instructions, functions: [{ name, slot: 0, typeId: 0, linkage: 'global' }], lines: [], license: 'GPL' };
}

/** What each packet has in the map. */
function roomBytes(trace: PacketTrace): number {
  return roundUp(longestPacket(trace).length, WORD_BYTES);
}

function packetsMap(linux: Linux, trace: PacketTrace): KernelMap {
  const stride = PACKET_AT + roomBytes(trace);
  const count = packetCount(trace);
  const packets = createKernelMap(linux, map('bench_packets', BPF_MAP_TYPE.array, stride, count, MAP_FLAG.MMAPABLE));
  const memory = linux.share(packets.fd, 0, stride * count, 'write');
  for (let index = 0; index < count; index++) {
    const packet = packetAt(trace, index);
    memory.view.setUint32(index * stride, packet.length, true);
    memory.bytes.set(packet, index * stride + PACKET_AT);
  }
  linux.unmap(memory);
  return packets;
}

/** The driver: the next packet, as long as it was, with the bytes it had; then the program. */
function driver(kind: ContextKind, trace: PacketTrace): string {
  const { data, dataEnd, resize } =
    kind === 'xdp'
      ? // bpf_xdp_adjust_head(ctx, now - wanted)
        { data: XDP_MD.data, dataEnd: XDP_MD.data_end, resize: 'r1 = r6\ncall 44' }
      : // bpf_skb_change_tail(skb, wanted, 0)
        { data: SK_BUFF.data, dataEnd: SK_BUFF.data_end, resize: 'r1 = r6\nr2 = r9\nr3 = 0\ncall 38' };
  const bounds = `r1 = *(u32 *)(r6 +${data})\nr2 = *(u32 *)(r6 +${dataEnd})`;
  return `
    r6 = r1
    r1 = map[bench_state][0]+0
    r7 = *(u32 *)(r1 +0)
    r2 = r7
    r2 += 1
    if r2 < ${packetCount(trace)} goto stay
    r2 = ${trace.opening}
    stay: *(u32 *)(r1 +0) = r2
    *(u32 *)(r10 -4) = r7
    r2 = r10
    r2 += -4
    r1 = map[bench_packets]
    call 1
    if r0 == 0 goto failed
    r8 = r0
    r9 = *(u32 *)(r8 +0)
    ${bounds}
    r2 -= r1
    r2 -= r9
    if r2 == 0 goto copy
    ${resize}
    if r0 != 0 goto failed
    copy: ${bounds}
    ${copyWords(Math.min(RESTORED_BYTES, roomBytes(trace)))}
    enter: r1 = r6
    r2 = map[bench_target]
    r3 = 0
    call 12
    failed: r1 = map[bench_state][0]+0
    r2 = *(u32 *)(r1 +4)
    r2 += 1
    *(u32 *)(r1 +4) = r2
    r0 = 0
    exit`;
}

/** From r8 + PACKET_AT to r1, up to r2. */
function copyWords(lengthBytes: number): string {
  const lines: string[] = [];
  const copy = (offset: number, bytes: number, otherwise: string): string => `
    r3 = r1
    r3 += ${offset + bytes}
    if r3 > r2 goto ${otherwise}
    r3 = *(u${8 * bytes} *)(r8 +${PACKET_AT + offset})
    *(u${8 * bytes} *)(r1 +${offset}) = r3`;
  const words = lengthBytes / WORD_BYTES;
  for (let word = 0; word < words; word++) lines.push(copy(word * WORD_BYTES, WORD_BYTES, `end${word}`));
  lines.push('goto enter');
  // Where fewer than eight bytes are left: by the bits of the length, which r9 has.
  for (let word = 0; word < words; word++) {
    const at = word * WORD_BYTES;
    lines.push(`end${word}: r4 = r9\nr4 &= 7\nif r4 == 0 goto enter`);
    for (let byte = 0; byte < WORD_BYTES - 1; byte++) lines.push(copy(at + byte, 1, 'enter'));
    lines.push('goto enter');
  }
  return lines.join('\n');
}
