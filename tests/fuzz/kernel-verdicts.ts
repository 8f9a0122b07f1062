/**
 * What Linux answers to thousands of programs: the maps are made once, no log is written, and programs that it takes
 * are closed a few at a time, with rests between: their memory is freed by workers, and Linux 6.18 locks up for good
 * when a thousand of them wait (Linux.closeProgram).
 */
import { encodeInstructions } from '../../dataplane/bpf/encode.ts';
import type { MapSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { createKernelMap, type KernelMap } from '../../dataplane/engine/kernel/kernel-map.ts';
import { LOG_LEVEL, loadKernelProgram, KernelProgram } from '../../dataplane/engine/kernel/kernel-program.ts';
import { KernelRefusal, PAGE_BYTES, errnoText, openLinux, type PinnedMemory } from '../../dataplane/engine/kernel/linux.ts';

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
const TYPES: Readonly<Record<string, number>> = { sched_cls: 3, xdp: 6 };
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
  readonly #maps = new Map<string, KernelMap>();
  #open: KernelProgram[] = [];
  /** Programs that were loaded, and those that were accepted. */
  loaded = 0;
  accepted = 0;

  constructor(maps: Iterable<MapSpec>) {
    this.#memory.bytes.set(new TextEncoder().encode('GPL\0'));
    for (const spec of maps) {
      const map = createKernelMap(this.#linux, spec);
      if (spec.contents !== undefined) map.update(ONLY_KEY, spec.contents);
      if (spec.frozen) map.freeze();
      this.#maps.set(spec.name, map);
    }
  }

  get maps(): ReadonlyMap<string, KernelMap> {
    return this.#maps;
  }

  verdict(spec: ProgramSpec): KernelVerdict {
    const started = performance.now();
    const fd = this.#load(encodeInstructions(spec.instructions, (name) => this.#fd(name)), TYPES[spec.type!]!);
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
      const program = loadKernelProgram(this.#linux, spec, { type: spec.type!, map: (name) => this.#fd(name), logLevel: LOG_LEVEL.path });
      this.#open.push(program);
      return program.log;
    } catch (error) {
      if (error instanceof KernelRefusal) return error.log;
      throw error;
    }
  }

  close(): void {
    this.#closeAll();
    for (const map of this.#maps.values()) map.close();
    this.#linux.unmap(this.#memory);
  }

  #fd(name: string): number {
    return this.#maps.get(name)?.fd ?? -1;
  }

  #load(code: Uint8Array, type: number): number {
    this.#memory.bytes.set(code, PAGE_BYTES);
    return this.#linux.open('prog_load', { prog_type: type, insn_cnt: code.length / SLOT_BYTES, insns: this.#memory.address + PAGE_BYTES, license: this.#memory.address });
  }

  #probe(): void {
    const started = performance.now();
    const fd = this.#load(SMALLEST, TYPES['xdp']!);
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

function lastLine(log: string): string {
  return log.trimEnd().split('\n').findLast((line) => line.trim() !== '' && !/^(processed \d+ insns|verification time|stack depth)/.test(line))?.trim() ?? '';
}
