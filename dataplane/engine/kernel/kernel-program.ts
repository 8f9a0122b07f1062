/**
 * A program in the kernel: loaded by bpf(), run by BPF_PROG_TEST_RUN. It is attached to nothing, and sees no packet but
 * those it is run on.
 */
import { constants } from 'node:os';
import { encodeInstructions, type MapFileDescriptor } from '../../bpf/encode.ts';
import type { ProgramSpec, ProgramType } from '../../bpf/spec.ts';
import { SK_BUFF } from '../../packet/frame.ts';
import { errnoText, type PinnedMemory } from '../../system/native.ts';
import { contextKind, readContext, writeContext, type TestRunInput, type TestRunOutput } from '../test-run.ts';
import type { BtfImage } from './btf-image.ts';
import { PROG_INFO } from './bpf-attributes.ts';
import { withKernelFunctions } from './kernel-functions.ts';
import { KernelRefusal, type Linux } from './linux.ts';

/** enum bpf_prog_type. */
const PROGRAM_TYPE_IDS: Readonly<Record<ProgramType, number>> = { socket_filter: 1, sched_cls: 3, sched_act: 4, xdp: 6, cgroup_skb: 8 };
/** enum bpf_attach_type, as far as it is checked when a program is loaded. */
const ATTACH_TYPE_IDS: Readonly<Record<string, number>> = { cgroup_inet_ingress: 0, cgroup_inet_egress: 1, xdp_devmap: 33, xdp_cpumap: 35, xdp: 37 };
const BPF_F_XDP_HAS_FRAGS = 1 << 5;
const FUNC_INFO_BYTES = 8;
const LINE_INFO_BYTES = 16;
const SLOT_BYTES = 8;
/** Room for the end of the longest logs; pages that are not written cost nothing. */
const LOG_BYTES = 1 << 24;
/**
 * BPF_LOG_LEVEL1, 2, STATS, FIXED. A log that is too long keeps its end, with the last its beginning; Linux then answers
 * ENOSPC, whatever it makes of the program. With statistics alone it says why it refuses, and no path, so that is never too long.
 */
export const LOG_LEVEL = { none: 0, path: 1, states: 2, statistics: 4, fixed: 8 } as const;

export interface KernelProgramOptions {
  readonly type: ProgramType;
  readonly map: MapFileDescriptor;
  /** The object's BTF and its descriptor. Every function then needs a type. */
  readonly btf?: { readonly image: BtfImage; readonly fd: number };
  /** Of LOG_LEVEL, or-ed: what the verifier is to write. */
  readonly logLevel?: number;
}

export interface KernelProgramInfo {
  readonly id: number;
  /** 16 hexadecimal digits, as bpftool prints them. */
  readonly tag: string;
  /** Instructions that the verifier walked over, in all states. */
  readonly verifiedInstructions: number;
  /** Bytes after the verifier's rewriting, and of machine code. */
  readonly translatedBytes: number;
  readonly jitedBytes: number;
}

/** What `runRaw` answers: as TestRunOutput, with the context as bytes. */
export interface RawRunOutput {
  readonly code: number;
  readonly packet: Uint8Array;
  readonly metadata: Uint8Array;
  readonly context: Uint8Array;
}

export class KernelProgram {
  readonly spec: ProgramSpec;
  readonly type: ProgramType;
  readonly fd: number;
  /** What the verifier wrote, where it was asked to. */
  readonly log: string;
  readonly #linux: Linux;

  constructor(linux: Linux, spec: ProgramSpec, type: ProgramType, fd: number, log: string) {
    this.spec = spec;
    this.type = type;
    this.fd = fd;
    this.log = log;
    this.#linux = linux;
  }

  get info(): KernelProgramInfo {
    const { bytes, view, address } = this.#linux.scratch(PROG_INFO.sizeBytes);
    bytes.fill(0, 0, PROG_INFO.sizeBytes);
    const result = this.#linux.bpf('obj_get_info_by_fd', { bpf_fd: this.fd, info_len: PROG_INFO.sizeBytes, info: address });
    if (result < 0) this.#fail('info', result);
    return {
      id: view.getUint32(PROG_INFO.id, true),
      tag: Buffer.from(bytes.subarray(PROG_INFO.tag, PROG_INFO.tag + PROG_INFO.tagBytes)).toString('hex'),
      verifiedInstructions: view.getUint32(PROG_INFO.verifiedInstructions, true),
      translatedBytes: view.getUint32(PROG_INFO.translatedBytes, true),
      jitedBytes: view.getUint32(PROG_INFO.jitedBytes, true),
    };
  }

  /** Runs it once on the packet, on whatever CPU this thread is (Linux.onCpu). */
  run({ packet, metadata = new Uint8Array(), context }: TestRunInput): TestRunOutput {
    const kind = contextKind(this.type);
    const given = new Uint8Array(CONTEXT[kind].sizeBytes);
    writeContext(new DataView(given.buffer), 0, kind, context);
    const { code, ...left } = this.runRaw(packet, metadata, given);
    return {
      code,
      packet: left.packet.slice(),
      metadata: left.metadata.slice(),
      context: readContext(new DataView(left.context.buffer, left.context.byteOffset), 0, kind),
    };
  }

  /** The same with the context as bytes: `struct xdp_md`, whose bounds are set here, or `struct __sk_buff`. The answer is borrowed: valid until the next call of bpf(). */
  runRaw(packet: Uint8Array, metadata: Uint8Array, context: Uint8Array): RawRunOutput {
    const kind = contextKind(this.type);
    const given = metadata.length + packet.length;
    const contextBytes = CONTEXT[kind].sizeBytes;
    const dataAt = 2 * CONTEXT_ROOM_BYTES;
    const outAt = dataAt + given;
    const outBytes = given + MOST_GROWTH_BYTES;
    const memory = this.#linux.scratch(outAt + outBytes);
    memory.bytes.fill(0, 0, dataAt);
    memory.bytes.set(context);
    if (kind === 'xdp') {
      memory.view.setUint32(CONTEXT.xdp.data, metadata.length, true);
      memory.view.setUint32(CONTEXT.xdp.data_end, given, true);
    }
    memory.bytes.set(metadata, dataAt);
    memory.bytes.set(packet, dataAt + metadata.length);
    const result = this.#linux.bpf('prog_test_run', {
      prog_fd: this.fd, data_size_in: given, data_in: memory.address + dataAt, data_size_out: outBytes, data_out: memory.address + outAt,
      ctx_size_in: contextBytes, ctx_in: memory.address, ctx_size_out: contextBytes, ctx_out: memory.address + CONTEXT_ROOM_BYTES,
    });
    if (result < 0) this.#fail(`a run on ${packet.length} bytes`, result);
    const outEnd = outAt + this.#linux.attribute('prog_test_run', 'data_size_out');
    const { bytes, view } = memory;
    const packetAt = outAt + (kind === 'xdp' ? view.getUint32(CONTEXT_ROOM_BYTES + CONTEXT.xdp.data, true) : 0);
    return {
      code: this.#linux.attribute('prog_test_run', 'retval') | 0,
      packet: bytes.subarray(packetAt, outEnd),
      metadata: bytes.subarray(outAt, packetAt),
      context: bytes.subarray(CONTEXT_ROOM_BYTES, CONTEXT_ROOM_BYTES + contextBytes),
    };
  }

  close(): void {
    this.#linux.closeProgram(this.fd);
  }

  #fail(operation: string, result: number): never {
    throw new KernelRefusal('ERR_PROGRAM', result, `program '${this.spec.name}' in the kernel: ${operation} is refused`);
  }
}

/** Of struct xdp_md and struct __sk_buff: bounds are offsets in what goes in and comes out. */
const CONTEXT = { xdp: { data: 0, data_end: 4, sizeBytes: 24 }, skb: { sizeBytes: SK_BUFF.publicSize } } as const;
const CONTEXT_ROOM_BYTES = 256;
/** A packet cannot leave its page by more. */
const MOST_GROWTH_BYTES = 1 << 16;

export function loadKernelProgram(linux: Linux, spec: ProgramSpec, options: KernelProgramOptions): KernelProgram {
  const { type, btf, logLevel = LOG_LEVEL.none } = options;
  const parts = {
    insns: encodeInstructions(withKernelFunctions(spec.instructions), options.map),
    license: new TextEncoder().encode(`${spec.license}\0`),
    func_info: btf === undefined ? new Uint8Array() : functionInfo(spec, btf.image),
    line_info: btf === undefined ? new Uint8Array() : lineInfo(spec, btf.image),
  };
  const memory = linux.allocate(Object.values(parts).reduce((sum, part) => sum + roomFor(part), 0));
  const addresses: Record<string, number> = {};
  let at = 0;
  for (const [name, part] of Object.entries(parts)) {
    memory.bytes.set(part, at);
    addresses[name] = part.length === 0 ? 0 : memory.address + at;
    at += roomFor(part);
  }
  const load = (level: number, log: PinnedMemory | undefined): number =>
    linux.open('prog_load', {
      ...addresses,
      name: spec.name,
      prog_type: PROGRAM_TYPE_IDS[type],
      expected_attach_type: ATTACH_TYPE_IDS[spec.attach ?? ''] ?? 0,
      prog_flags: spec.frags ? BPF_F_XDP_HAS_FRAGS : 0,
      insn_cnt: parts.insns.length / SLOT_BYTES,
      prog_btf_fd: btf?.fd ?? 0,
      func_info_rec_size: btf === undefined ? 0 : FUNC_INFO_BYTES,
      func_info_cnt: parts.func_info.length / FUNC_INFO_BYTES,
      line_info_rec_size: btf === undefined ? 0 : LINE_INFO_BYTES,
      line_info_cnt: parts.line_info.length / LINE_INFO_BYTES,
      log_level: level,
      ...(log === undefined ? {} : { log_buf: log.address, log_size: LOG_BYTES }),
    });
  let text = '';
  const loadWithLog = (level: number): number => {
    const log = linux.allocate(LOG_BYTES);
    const fd = load(level, log);
    text = new TextDecoder().decode(log.bytes.subarray(0, log.bytes.indexOf(0)));
    linux.unmap(log);
    return fd;
  };
  // A log makes the verifier slower, so it is asked for only where it is read.
  const fd = logLevel === LOG_LEVEL.none ? load(LOG_LEVEL.none, undefined) : loadWithLog(logLevel);
  // Why it is refused is in a log of any level. The verdict stays the first one: the second may have to do with the log.
  if (fd < 0 && logLevel === LOG_LEVEL.none) linux.close(loadWithLog(LOG_LEVEL.statistics));
  linux.unmap(memory);
  if (fd < 0) throw new KernelRefusal('ERR_PROGRAM', fd, `program '${spec.name}': Linux refuses it: ${refusalLine(text) ?? meaning(fd)}`, text);
  return new KernelProgram(linux, spec, type, fd, text);
}

/** struct bpf_func_info: slot and type of every function. */
function functionInfo({ functions }: ProgramSpec, image: BtfImage): Uint8Array {
  return words(functions.flatMap((each) => [each.slot, image.functionId(each)]));
}

/** struct bpf_line_info: slots in order, each once, one where every function begins; or none at all. */
function lineInfo({ functions, lines }: ProgramSpec, image: BtfImage): Uint8Array {
  const bySlot = new Map(lines.map((line) => [line.slot, line]));
  if (bySlot.size === 0) return new Uint8Array();
  for (const { name, slot } of functions) if (!bySlot.has(slot)) bySlot.set(slot, { slot, file: '', line: 0, column: 0, text: name });
  const ordered = [...bySlot.values()].toSorted((a, b) => a.slot - b.slot);
  return words(ordered.flatMap(({ slot, file, line, column, text }) => [slot, image.text(file), image.text(text), (line << 10) | column]));
}

function words(values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

function roomFor(part: Uint8Array): number {
  return (part.length + 7) & ~7;
}

/** The line of the verifier's log that says what is wrong: the last one before its statistics, and the line of the source. */
export function refusalLine(log: string): string | undefined {
  return log
    .trimEnd()
    .split('\n')
    .findLast((line) => line.trim() !== '' && !/^(; |processed \d+ insns|verification time|stack depth|cur state:|old state:)/.test(line))
    // Of a message that Linux does not end with a newline.
    ?.replace(/verification time \d+ usec$/, '')
    .trim();
}

function meaning(result: number): string {
  return result === -constants.errno.EPERM ? 'its type needs rights that this process does not have' : `bpf() answers ${errnoText(result)} and no log`;
}
