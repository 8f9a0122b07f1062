/**
 * The running Linux as an engine: each run of a program is a BPF_PROG_TEST_RUN on a copy of the packet and of what of
 * the context such a run takes, and what comes back is put where the program would have left it. Programs and maps are
 * attached to nothing, and no packet reaches a device.
 *
 *   - the kernel keeps the contents of the maps that loaded programs name; whoever reads or writes such a map here asks
 *     the kernel (kernel-keeper.ts). Ring buffers are read after each packet, as ever
 *   - time and random numbers are the machine's (virtual-time.ts); programs run on its CPU
 *   - where a redirect leads is noted by the program (redirect-notes.ts) and carried out here
 *   - a run that Linux refuses stops the program with FAULT.unsupported
 *
 * What a test run does not show is in LIMITS, and what it would do to this machine is refused: UNRUNNABLE.
 */
import { release } from 'node:os';
import { XdplabError } from '../../errors.ts';
import type { ProgramSpec } from '../../bpf/spec.ts';
import { bindHelper, HELPER_NAMES, helpersOf } from '../../helpers/index.ts';
import { CPU_BLOCK, FAULT } from '../../machine/cpu.ts';
import type { Machine } from '../../machine/machine.ts';
import type { BpfMap } from '../../maps/bpf-map.ts';
import { mapsOf } from '../../maps/map-registry.ts';
import { readU32, u32Bytes } from '../../maps/slot-array.ts';
import { FRAME, LINEAR_BYTES, SK_BUFF, XDP_MD } from '../../packet/frame.ts';
import type { Program } from '../../program/program.ts';
import type { Engine } from '../engine.ts';
import { JavaScriptEntry } from '../javascript-entry.ts';
import { contextKind, LOOPBACK_IFINDEX } from '../test-run.ts';
import { missingKernelFunction } from './kernel-functions.ts';
import { KernelKeeper } from './kernel-keeper.ts';
import type { KernelMap } from './kernel-map.ts';
import { KernelOracle } from './kernel-oracle.ts';
import type { KernelProgram, RawRunOutput } from './kernel-program.ts';
import { KernelRefusal, openLinux, type Linux } from './linux.ts';
import { NOTE, REDIRECT_HELPER, withRedirectNotes } from './redirect-notes.ts';
import { VIRTUAL_TIME_BYTES } from './virtual-time.ts';

const LIMITS =
  'a test run is on device lo and queue 0, without VLAN tags, tunnel keys and metadata beside the packet of an skb; routes, sockets and hashes are the kernel\'s own; perf events and trace_printk are not read';

/** Helpers by id, and why a program that calls them cannot run. */
export const UNRUNNABLE: ReadonlyMap<number, string> = new Map([
  [13, 'sends packets through devices of this machine'],
  [18, 'leaves a VLAN tag beside the packet, which a run in the kernel does not give back'],
  [19, 'takes a VLAN tag from beside the packet, which a run in the kernel does not have'],
  [21, 'leaves a tunnel key beside the packet, which a run in the kernel does not give back'],
  [30, 'leaves tunnel options beside the packet, which a run in the kernel does not give back'],
  [169, 'starts a timer, which would run in the time of this machine'],
]);

/** What a test run takes of struct __sk_buff, and gives back. A device is not among it: that would be one of this machine. */
const SKB_FIELDS: readonly { readonly offset: number; readonly lengthBytes: number }[] = [
  { offset: SK_BUFF.mark, lengthBytes: 4 },
  { offset: SK_BUFF.priority, lengthBytes: 4 },
  { offset: SK_BUFF.ingress_ifindex, lengthBytes: 4 },
  { offset: SK_BUFF.cb, lengthBytes: 20 },
  { offset: SK_BUFF.tstamp, lengthBytes: 8 },
  { offset: SK_BUFF.gso_segs, lengthBytes: 4 },
  { offset: SK_BUFF.hwtstamp, lengthBytes: 8 },
];

const NO_BYTES = new Uint8Array();
const XDP_CONTEXT = new Uint8Array(24);

/** Of those who need Linux, only runs have somewhere else to go. */
function openForRuns(): Linux {
  try {
    return openLinux();
  } catch (error) {
    if (!(error instanceof XdplabError)) throw error;
    throw new XdplabError(error.code, `${error.message}; or use another engine`, { cause: error });
  }
}

export class KernelEngine implements Engine {
  readonly name = 'kernel';
  readonly verifies = true;
  readonly #machine: Machine;
  readonly #linux: Linux;
  readonly #oracle: KernelOracle;
  readonly #entry: JavaScriptEntry;
  readonly #ringBuffers: KernelMap[] = [];
  readonly #skb = new Uint8Array(SK_BUFF.publicSize);
  /** Where a next hop is put for bpf_redirect_neigh. */
  readonly #nextHop: number;
  /** Runs that Linux refused, by program, and what it said of the first. */
  readonly #refusals = new Map<Program, { runs: number; readonly first: string }>();
  #refusal: string | undefined;

  /** ERR_PRIVILEGE where this process may not. */
  constructor(machine: Machine) {
    this.#machine = machine;
    this.#linux = openForRuns();
    const { possibleCpus } = this.#linux;
    if (machine.cpus > possibleCpus) throw new XdplabError('ERR_LAB', `cpus: found ${machine.cpus}, but this kernel has ${possibleCpus}, and keeps values for no more; give fewer, or use another engine`);
    this.#oracle = new KernelOracle(machine, { adapt: (program) => this.#adapt(program), onMap: (map, twin) => this.#keep(map, twin) });
    this.#entry = new JavaScriptEntry(machine);
    this.#nextHop = machine.memory.allocate(NOTE.nextHopBytes, 4, 'next hop');
  }

  get remarks(): readonly string[] {
    const refused = Array.from(this.#refusals, ([{ spec }, { runs, first }]) => `${runs} ${runs === 1 ? 'run' : 'runs'} of ${spec.name} stopped at once; the first: ${first}.`);
    return [`Programs ran in Linux ${release()} by BPF_PROG_TEST_RUN: ${LIMITS}.`, ...refused];
  }

  /** Why Linux did not make the last run; undefined where it did. */
  get refusal(): string | undefined {
    return this.#refusal;
  }

  load(program: Program): void {
    const loaded = this.#oracle.load(program);
    this.#entry.set(program.id, (context) => this.#run(program, loaded, context));
  }

  close(): void {
    this.#oracle.close();
  }

  #adapt({ spec, maps }: Program): ProgramSpec {
    const missing = missingKernelFunction(spec.instructions);
    if (missing !== undefined) throw new XdplabError('ERR_PROGRAM', `program '${spec.name}': calls kernel function ${missing}, which the BTF of this kernel does not have; use another engine`);
    for (const instruction of spec.instructions) {
      if (instruction.kind !== 'call' || instruction.target.kind !== 'helper') continue;
      const why = UNRUNNABLE.get(instruction.target.id);
      if (why !== undefined) throw new XdplabError('ERR_PROGRAM', `program '${spec.name}': calls ${HELPER_NAMES[instruction.target.id]}, which ${why}; use another engine`);
    }
    const targets = [...maps].filter(([, { type }]) => type.holds === 'devices' || type.holds === 'cpus' || type.holds === 'sockets').map(([name]) => name);
    const noted = withRedirectNotes(spec, (name) => maps.get(name)!.id, targets);
    // Linux makes no test run of programs for slots of maps; as ordinary ones they do the same.
    return spec.attach === 'xdp_devmap' || spec.attach === 'xdp_cpumap' ? { ...noted, attach: 'xdp' } : noted;
  }

  /** Gives the kernel what the map holds, and leaves it there. */
  #keep(map: BpfMap, twin: KernelMap): void {
    const { holds, keys } = map.type;
    const keeper = new KernelKeeper(map, twin, { cpus: this.#machine.cpus, possibleCpus: this.#linux.possibleCpus, written: (value) => this.#written(map, value) });
    if (holds === 'records') this.#ringBuffers.push(twin);
    if (!map.frozen) {
      const entries = [...map.writtenEntries()];
      for (const [key, value] of map.type.name === 'stack' ? entries.toReversed() : entries) {
        const result = keys === 'none' ? keeper.push(value, 0) : keeper.update(key, value, 0);
        if (result < 0) throw new KernelRefusal('ERR_MAP', result, `map '${map.name}': Linux does not take what it holds at key ${Buffer.from(key).toString('hex')}`);
      }
    }
    map.keepIn(keeper);
  }

  /** File descriptors for ids; the loopback device for every device, since only whether there is one decides a helper's answer. */
  #written({ name, type }: BpfMap, value: Uint8Array): Uint8Array | undefined {
    switch (type.holds) {
      case 'programs':
        return u32Bytes(this.#oracle.programFd(readU32(value)) ?? unknown(name, `program ${readU32(value)}`));
      case 'maps': {
        const inner = mapsOf(this.#machine).byId(readU32(value));
        return u32Bytes(inner === undefined ? unknown(name, `map ${readU32(value)}`) : this.#oracle.map(inner).fd);
      }
      case 'devices':
        return withFirstWord(value.length, readU32(value) === 0 ? 0 : LOOPBACK_IFINDEX);
      case 'cpus':
        return withFirstWord(value.length, readU32(value));
      case 'sockets':
      case 'events':
        return undefined;
      default:
        return value;
    }
  }

  #run(program: Program, loaded: KernelProgram, context: number): bigint {
    const { cpu, cpuBlock, memory } = this.#machine;
    const { bytes, view } = this.#oracle.timePage;
    this.#refusal = undefined;
    this.#machine.setCell(CPU_BLOCK.fault, FAULT.none);
    bytes.set(memory.bytes(cpuBlock, VIRTUAL_TIME_BYTES));
    view.setUint32(NOTE.helper, 0, true);
    try {
      this.#linux.stayOnCpu(cpu);
      const code = contextKind(program.type) === 'xdp' ? this.#runXdp(loaded, context) : this.#runSkb(loaded, context);
      memory.u8.set(bytes.subarray(CPU_BLOCK.random, VIRTUAL_TIME_BYTES), cpuBlock + CPU_BLOCK.random);
      if (view.getUint32(NOTE.helper, true) !== 0) this.#redirect(program);
      if (this.#ringBuffers.some(({ hasRecords }) => hasRecords)) this.#machine.setCell(CPU_BLOCK.records, 1);
      return BigInt.asUintN(64, BigInt(code));
    } catch (error) {
      if (!(error instanceof KernelRefusal)) throw error;
      this.#refusal = error.message;
      const refusals = this.#refusals.get(program) ?? { runs: 0, first: error.message };
      refusals.runs++;
      this.#refusals.set(program, refusals);
      this.#machine.setCell(CPU_BLOCK.fault, FAULT.unsupported);
      return 0n;
    }
  }

  #runXdp(loaded: KernelProgram, context: number): number {
    const { u8, view } = this.#machine.memory;
    const field = (offset: number): number => view.getUint32(context + offset, true);
    const set = (offset: number, value: number): void => view.setUint32(context + offset, value, true);
    const [data, meta, end] = [field(XDP_MD.data), field(XDP_MD.data_meta), field(XDP_MD.packet_end)];
    // Of a longer one, the program would see the first page.
    if (end - data > LINEAR_BYTES && !loaded.spec.frags) refuse(loaded, end - data, `at most ${LINEAR_BYTES}, unless its section is xdp.frags`);
    const left = loaded.runRaw(u8.subarray(data, end), u8.subarray(meta, data), XDP_CONTEXT);
    const lowest = field(XDP_MD.hard_start) + FRAME.xdpFrame + left.metadata.length;
    const at = this.#place(loaded, left, data, lowest, field(XDP_MD.hard_end));
    u8.set(left.metadata, at - left.metadata.length);
    set(XDP_MD.data, at);
    set(XDP_MD.data_meta, at - left.metadata.length);
    set(XDP_MD.exposed, at - left.metadata.length);
    set(XDP_MD.data_end, at + left.packet.length);
    set(XDP_MD.packet_end, at + left.packet.length);
    return left.code;
  }

  #runSkb(loaded: KernelProgram, context: number): number {
    const { u8, view } = this.#machine.memory;
    const field = (offset: number): number => view.getUint32(context + offset, true);
    const set = (offset: number, value: number): void => view.setUint32(context + offset, value, true);
    const [data, end] = [field(SK_BUFF.data), field(SK_BUFF.data_end)];
    for (const { offset, lengthBytes } of SKB_FIELDS) this.#skb.set(u8.subarray(context + offset, context + offset + lengthBytes), offset);
    // What it was on the wire, unless a program made it longer since: Linux takes no packet for longer than its wire length.
    const wireLength = field(SK_BUFF.wire_len);
    new DataView(this.#skb.buffer, this.#skb.byteOffset).setUint32(SK_BUFF.wire_len, wireLength < end - data ? 0 : wireLength, true);
    const left = loaded.runRaw(u8.subarray(data, end), NO_BYTES, this.#skb);
    for (const { offset, lengthBytes } of SKB_FIELDS) u8.set(left.context.subarray(offset, offset + lengthBytes), context + offset);
    const at = this.#place(loaded, left, data, field(SK_BUFF.head), field(SK_BUFF.end));
    const length = left.packet.length;
    if (at !== data) set(SK_BUFF.data_meta, at);
    set(SK_BUFF.data, at);
    set(SK_BUFF.data_end, at + length);
    if (length !== end - data) set(SK_BUFF.len, length);
    return left.code;
  }

  /** Puts the packet where it was if it fits there; its address. A run does not tell at which end a packet grew, and nobody can see it. */
  #place(loaded: KernelProgram, { packet }: RawRunOutput, data: number, lowest: number, end: number): number {
    const at = Math.max(lowest, Math.min(data, end - packet.length));
    if (at + packet.length > end) refuse(loaded, packet.length, `at most ${end - lowest} after it`);
    this.#machine.memory.u8.set(packet, at);
    return at;
  }

  /** Does again what the program's last redirect helper did, with the helper of this machine. */
  #redirect(program: Program): void {
    const { bytes, view } = this.#oracle.timePage;
    const note = (offset: number): number => view.getUint32(offset, true);
    const id = note(NOTE.helper);
    const helper = bindHelper(this.#machine, helpersOf(program.type).get(id)!);
    const [target, low, high] = [note(NOTE.target), note(NOTE.flags), note(NOTE.flags + 4)];
    if (id === REDIRECT_HELPER.redirect_map) {
      helper(mapsOf(this.#machine).byId(note(NOTE.map))!.descriptor, target, 0, low, high);
    } else if (id === REDIRECT_HELPER.redirect_neigh) {
      const given = note(NOTE.given) !== 0;
      this.#machine.memory.u8.set(bytes.subarray(NOTE.nextHop, NOTE.end), this.#nextHop);
      helper(target, given ? this.#nextHop : 0, given ? NOTE.nextHopBytes : 0, low, high);
    } else {
      helper(target, low, high);
    }
  }
}

function withFirstWord(lengthBytes: number, word: number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  bytes.set(u32Bytes(word));
  return bytes;
}

function unknown(map: string, what: string): never {
  throw new XdplabError('ERR_MAP', `map '${map}': holds ${what}, which is not in the kernel; load it first`);
}

function refuse({ spec }: KernelProgram, lengthBytes: number, expected: string): never {
  const E2BIG = 7;
  throw new KernelRefusal('ERR_PROGRAM', -E2BIG, `program '${spec.name}' in the kernel: a packet of ${lengthBytes} bytes, expected ${expected}`);
}

export const createKernelEngine = (machine: Machine): KernelEngine => new KernelEngine(machine);
