/**
 * What Linux answers to thousands of programs: the maps are made once, no log is written, and programs that it takes
 * are closed a few at a time, with rests between: their memory is freed by workers, and Linux 6.18 locks up for good
 * when a thousand of them wait (Linux.closeProgram).
 */
import { encodeInstructions } from '../../dataplane/bpf/encode.ts';
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import { PROGRAM_TYPES, type FunctionSpec, type MapSpec, type ProgramSpec, type ProgramType } from '../../dataplane/bpf/spec.ts';
import { BtfImage } from '../../dataplane/engine/kernel/btf-image.ts';
import { createKernelMap, type KernelMap } from '../../dataplane/engine/kernel/kernel-map.ts';
import { LOG_LEVEL, loadKernelProgram, KernelProgram } from '../../dataplane/engine/kernel/kernel-program.ts';
import { KernelRefusal, openLinux } from '../../dataplane/engine/kernel/linux.ts';
import { withRights } from '../../dataplane/engine/kernel/rights.ts';
import { USERS, type User } from '../../dataplane/verifier/user.ts';
import { errnoText, PAGE_BYTES, type PinnedMemory } from '../../dataplane/system/native.ts';

/** Who loads programs of a type. */
export type UserOf = (type: ProgramType) => User;

export interface KernelVerdict {
  readonly accepted: boolean;
  /** Of a refusal: EACCES, … */
  readonly errno: string;
  /** What was accepted, open until `rest` closes it. */
  readonly program?: KernelProgram;
}

/** Loading the smallest program takes longer: something in the kernel is stuck, and more of the same makes it worse. */
export class KernelStuck extends Error {}

const SLOT_BYTES = 8;
const PROGRAM_BYTES = 4096 * SLOT_BYTES;
const TYPES: Readonly<Record<string, number>> = { socket_filter: 1, sched_cls: 3, xdp: 6, cgroup_skb: 8 };
/** struct bpf_func_info, behind the license. */
const FUNCTIONS_AT = 64;
const FUNCTION_BYTES = 8;
const MOST_OPEN = 64;
const REST_MS = 30;
const PATIENCE_MS = 2000;
const ONLY_KEY = new Uint8Array(4);
const PAUSE = new Int32Array(new SharedArrayBuffer(4));
/** r0 = 0; exit */
const SMALLEST = Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);

export class KernelVerdicts {
  readonly #linux = openLinux();
  readonly #memory: PinnedMemory = this.#linux.allocate(PAGE_BYTES + PROGRAM_BYTES);
  /** Each of the users makes maps of their own, those that they may. */
  readonly #maps = new Map<User, Map<string, KernelMap>>();
  readonly #userOf: UserOf;
  /** Every function is `int function(void)`, and static. */
  readonly #image = new BtfImage(undefined, []);
  readonly #btf: number;
  #open: KernelProgram[] = [];
  /** Programs that were loaded, and those that were accepted. */
  loaded = 0;
  accepted = 0;

  constructor(maps: Iterable<MapSpec>, userOf: UserOf = () => 'privileged') {
    this.#userOf = userOf;
    const types = this.#image.bytes();
    this.#memory.bytes.set(types, PAGE_BYTES);
    this.#btf = this.#linux.open('btf_load', { btf: this.#memory.address + PAGE_BYTES, btf_size: types.length });
    if (this.#btf < 0) throw new KernelRefusal('ERR_BTF', this.#btf, 'the types of random programs are refused');
    this.#memory.bytes.set(new TextEncoder().encode('GPL\0'));
    const specs = [...maps];
    for (const user of new Set(PROGRAM_TYPES.map(userOf))) this.#maps.set(user, withRights(this.#linux, USERS[user], () => this.#makeMaps(specs, user)));
  }

  #makeMaps(specs: readonly MapSpec[], user: User): Map<string, KernelMap> {
    const made = new Map<string, KernelMap>();
    for (const spec of specs) {
      try {
        const map = createKernelMap(this.#linux, spec);
        if (spec.contents !== undefined) map.update(ONLY_KEY, spec.contents);
        if (spec.frozen) map.freeze();
        made.set(spec.name, map);
      } catch (error) {
        if (USERS[user].bpf || !(error instanceof KernelRefusal)) throw error;
      }
    }
    return made;
  }

  get maps(): ReadonlyMap<string, KernelMap> {
    return this.#maps.get(this.#userOf('xdp'))!;
  }

  verdict(spec: ProgramSpec): KernelVerdict {
    const started = performance.now();
    const user = this.#userOf(spec.type!);
    const fd = withRights(this.#linux, USERS[user], () => this.#load(encodeInstructions(spec.instructions, (name) => this.#fd(name, user)), TYPES[spec.type!]!, USERS[user].bpf ? functionStarts(spec.instructions) : []));
    if (performance.now() - started > PATIENCE_MS) this.#probe();
    this.loaded++;
    if (fd < 0) return { accepted: false, errno: errnoText(fd) };
    this.accepted++;
    const program = new KernelProgram(this.#linux, spec, spec.type!, fd, '');
    this.#open.push(program);
    return { accepted: true, errno: '', program };
  }

  /** Between two programs: nothing that was accepted before is used any more. */
  rest(): void {
    if (this.#open.length >= MOST_OPEN) this.#closeAll();
  }

  /** Why Linux refuses: the last line of its log. */
  reason(spec: ProgramSpec): string {
    return lastLine(this.log(spec));
  }

  log(spec: ProgramSpec): string {
    try {
      const functions = functionStarts(spec.instructions).map((slot): FunctionSpec => ({ name: `f${slot}`, slot, typeId: 0, linkage: 'static' }));
      const user = this.#userOf(spec.type!);
      const options = { type: spec.type!, map: (name: string) => this.#fd(name, user), logLevel: LOG_LEVEL.path, ...(USERS[user].bpf ? { btf: { image: this.#image, fd: this.#btf } } : {}) };
      const program = withRights(this.#linux, USERS[user], () => loadKernelProgram(this.#linux, { ...spec, functions, lines: [] }, options));
      this.#open.push(program);
      return program.log;
    } catch (error) {
      if (error instanceof KernelRefusal) return error.log;
      throw error;
    }
  }

  close(): void {
    this.#closeAll();
    for (const maps of this.#maps.values()) for (const map of maps.values()) map.close();
    this.#linux.close(this.#btf);
    this.#linux.unmap(this.#memory);
  }

  #fd(name: string, user: User): number {
    return this.#maps.get(user)!.get(name)?.fd ?? -1;
  }

  #load(code: Uint8Array, type: number, starts: readonly number[]): number {
    const { address, bytes, view } = this.#memory;
    bytes.set(code, PAGE_BYTES);
    const id = this.#image.functionId({ name: '', slot: 0, typeId: 0, linkage: 'static' });
    for (const [at, start] of starts.entries()) {
      view.setUint32(FUNCTIONS_AT + FUNCTION_BYTES * at, start, true);
      view.setUint32(FUNCTIONS_AT + FUNCTION_BYTES * at + 4, id, true);
    }
    return this.#linux.open('prog_load', {
      prog_type: type, insn_cnt: code.length / SLOT_BYTES, insns: address + PAGE_BYTES, license: address,
      prog_btf_fd: starts.length === 0 ? 0 : this.#btf, func_info: address + FUNCTIONS_AT, func_info_rec_size: FUNCTION_BYTES, func_info_cnt: starts.length,
    });
  }

  #probe(): void {
    const started = performance.now();
    const fd = this.#load(SMALLEST, TYPES['xdp']!, [0]);
    const elapsedMs = performance.now() - started;
    if (fd >= 0) this.#linux.closeProgram(fd);
    if (elapsedMs > PATIENCE_MS) throw new KernelStuck(`the kernel takes ${Math.round(elapsedMs)} ms to load the smallest program; no more are loaded: see "ps -eo pid,wchan" for what waits in bpf_prog_pack_alloc`);
  }

  #closeAll(): void {
    for (const program of this.#open) program.close();
    const isMany = this.#open.length >= MOST_OPEN;
    this.#open = [];
    if (!isMany) return;
    Atomics.wait(PAUSE, 0, 0, REST_MS);
    this.#probe();
  }
}

/** Whatever is called, or named as a callback, is a function to Linux. */
export function functionStarts(instructions: readonly Instruction[]): number[] {
  const starts = new Set([0]);
  for (const each of instructions) {
    if (each.kind === 'call' && each.target.kind === 'subprogram') starts.add(each.target.slot);
    if (each.kind === 'load_imm64' && each.value.kind === 'function') starts.add(each.value.slot);
  }
  return [...starts].filter((slot) => slot >= 0 && slot < instructions.length).toSorted((a, b) => a - b);
}

/** Some messages of Linux lack an end of line, or follow an instruction that lacks one. */
function lastLine(log: string): string {
  const line = log.trimEnd().split('\n').findLast((each) => each.trim() !== '' && !/^(processed \d+ insns|verification time|stack depth|(old|cur) state:)/.test(each));
  return (line ?? '').replace(/processed \d+ insns \(limit.*$/, '').replace(/^\d+: \([0-9a-f]{2}\) .*goto pc[+-]\d+ /, '').trim();
}
