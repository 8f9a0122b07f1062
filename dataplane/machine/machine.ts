/**
 * The simulated machine: one memory, its CPUs, virtual time, a seeded random source, and the tables through which
 * programs and maps call each other. Everything that runs belongs to exactly one machine.
 *
 * What a CPU has for itself (CPU_BLOCK, its values of per-CPU maps) is at addresses that are constants in the code, so
 * code is for one CPU: the first, unless it is emitted within `onCpu`. Where CPUs run in threads of their own, each
 * thread has a machine that is its CPU's, over the same memory.
 */
import type { Cache } from '../system/cache-folder.ts';
import { CPU_BLOCK, CPU_BLOCK_BYTES, FAULT, STACK_BYTES } from './cpu.ts';
import { MachineMemory, type MemoryPart } from './memory.ts';
import { Network } from './network.ts';

/** More are not worth their memory: every one has its values of every per-CPU map. */
export const MOST_CPUS = 256;

export interface MachineOptions {
  /** Possible CPUs: how many values a per-CPU map keeps for a key. 1 unless said. */
  readonly cpus?: number;
  /** Seed of bpf_get_prandom_u32. */
  readonly seed?: number;
  /** Instructions a program may spend on one packet before it is stopped. */
  readonly instructionBudget?: number;
  /** Whether the CPUs run at once, each in a thread: then they share the memory, and what they share in it is changed atomically. */
  readonly parallel?: boolean;
  /** What V8 is to make of the code that packets run through: fast code at once, or code at once that becomes fast. `optimized` unless said. */
  readonly tier?: CompilerTier;
  /** Code of programs that was emitted before, maybe by another process. */
  readonly modules?: Cache;
}

export type CompilerTier = 'optimized' | 'quick';

/** A CPU as another thread has it. */
export interface CpuImage {
  readonly cpu: number;
  readonly cpus: number;
  readonly memory: MemoryPart;
  /** Address of its CPU_BLOCK. */
  readonly block: number;
  readonly instructionBudget: number;
}

/** A callback: a subprogram whose address a program passes to bpf_loop or bpf_for_each_map_elem. r1 to r5, r0. */
export type Callback = (r1: bigint, r2: bigint, r3: bigint, r4: bigint, r5: bigint) => bigint;

/** For packets that have not run yet: brings what their program will look up into the caches. Not worth it where it answers 0. */
export type LookAhead = (descriptor: number, count: number) => number;

/** An event a program sent to user space. Bytes are a copy. Records of ring buffers are events where several CPUs run; one leaves them to be read. */
export interface MachineEvent {
  readonly source: 'trace' | 'perf' | 'ringbuf';
  readonly cpu: number;
  readonly timestampNs: bigint;
  /** The map it was sent through; empty for trace_printk. */
  readonly map: string;
  readonly bytes: Uint8Array;
}

const DEFAULT_BUDGET = 1 << 27;
const DEFAULT_SEED = 1;
const NO_TIMER = 0xffff_ffff_ffff_ffffn;

export class Machine {
  readonly memory: MachineMemory;
  /** Devices, routes and neighbours that helpers look up. */
  readonly network = new Network();
  readonly cpus: number;
  readonly instructionBudget: number;
  readonly tier: CompilerTier;
  readonly modules: Cache | undefined;
  /** Entry functions of programs, `(ctx: i32) -> i64`, by program id. Id 0 stays empty. */
  readonly programTable = new WebAssembly.Table({ element: 'anyfunc', initial: 64 });
  /** By id, of programs that look up large tables. */
  readonly lookAheads = new Map<number, LookAhead>();
  /** Operations of maps; see maps/map.ts. */
  readonly mapTable = new WebAssembly.Table({ element: 'anyfunc', initial: 0 });
  /** Called for what programs print and send; replaced by whoever listens. */
  onEvent: (event: MachineEvent) => void = () => {};
  /** Called after each packet whose programs committed ring buffer records, as a poll wakes up; replaced by whoever reads them. */
  onRecords: (() => void) | undefined;
  readonly #callbacks: (Callback | undefined)[] = [undefined];
  /** Of the CPUs that run: by CPU the address of its CPU_BLOCK. */
  readonly #blocks: readonly number[];
  #cpu: number;
  #programs = 1;

  /** `image`: the machine is one CPU's, in a thread of its own. */
  constructor(options: MachineOptions = {}, image?: CpuImage) {
    this.cpus = image?.cpus ?? options.cpus ?? 1;
    this.tier = options.tier ?? 'optimized';
    this.modules = options.modules;
    this.instructionBudget = image?.instructionBudget ?? options.instructionBudget ?? DEFAULT_BUDGET;
    this.#cpu = image?.cpu ?? 0;
    if (image !== undefined) {
      this.memory = new MachineMemory({ part: image.memory });
      this.#blocks = Array.from({ length: image.cpu + 1 }, () => image.block);
      return;
    }
    const { parallel = false } = options;
    this.memory = new MachineMemory({ shared: parallel });
    this.#blocks = Array.from({ length: parallel ? this.cpus : 1 }, () => this.memory.allocate(CPU_BLOCK_BYTES, 64, 'CPU'));
    this.seed(options.seed ?? DEFAULT_SEED);
    for (const block of this.#blocks) this.memory.view.setBigUint64(block + CPU_BLOCK.nextTimer, NO_TIMER, true);
  }

  /** Whether CPUs run at once. */
  get parallel(): boolean {
    return this.memory.shared;
  }

  /** The CPU that code runs on which is emitted now. */
  get cpu(): number {
    return this.#cpu;
  }

  /** Address of its CPU_BLOCK. */
  get cpuBlock(): number {
    return this.#blocks[this.#cpu]!;
  }

  /** Code that `body` emits is for that CPU. */
  onCpu<T>(cpu: number, body: () => T): T {
    const before = this.#cpu;
    this.#cpu = cpu;
    try {
      return body();
    } finally {
      this.#cpu = before;
    }
  }

  /** r10 of a program's entry function. */
  get stackTop(): number {
    return this.cpuBlock + CPU_BLOCK.stack + STACK_BYTES;
  }

  /** Starts the random sequence again, of every CPU its own. Any u32; xorshift needs a state that is not zero. */
  seed(seed: number): void {
    this.#blocks.forEach((block, cpu) => {
      const mixed = (BigInt(seed >>> 0) + BigInt(cpu + 1) * 0x9e37_79b9_7f4a_7c15n) * 0xbf58_476d_1ce4_e5b9n;
      this.memory.view.setBigUint64(block + CPU_BLOCK.random, BigInt.asUintN(64, mixed) | 1n, true);
    });
  }

  get nowNs(): bigint {
    return this.memory.view.getBigUint64(this.cpuBlock + CPU_BLOCK.now, true);
  }

  set nowNs(now: bigint) {
    this.memory.view.setBigUint64(this.cpuBlock + CPU_BLOCK.now, now, true);
  }

  /** When the packet path has to run timers, undefined while none is running. */
  set nextTimerNs(next: bigint | undefined) {
    this.memory.view.setBigUint64(this.cpuBlock + CPU_BLOCK.nextTimer, next ?? NO_TIMER, true);
  }

  /** Cell of the CPU block, u32. */
  cell(offset: number): number {
    return this.memory.u32[(this.cpuBlock + offset) >>> 2]!;
  }

  setCell(offset: number, value: number): void {
    this.memory.u32[(this.cpuBlock + offset) >>> 2] = value;
  }

  /** Before JavaScript starts a program, or a callback of it: its whole budget and stack, no tail calls made, no fault. */
  beginRun(programId: number): void {
    this.setCell(CPU_BLOCK.budget, this.instructionBudget);
    this.setCell(CPU_BLOCK.tailCalls, 0);
    this.setCell(CPU_BLOCK.fault, FAULT.none);
    this.setCell(CPU_BLOCK.framePointer, this.stackTop);
    this.setCell(CPU_BLOCK.programId, programId);
  }

  /** Tells of records that were committed since the last time. */
  tellOfRecords(): void {
    if (this.cell(CPU_BLOCK.records) === 0) return;
    this.setCell(CPU_BLOCK.records, 0);
    this.onRecords?.();
  }

  /** A new program id. */
  allocateProgramId(): number {
    const id = this.#programs++;
    this.makeRoomFor(id);
    return id;
  }

  /** In the table of programs. */
  makeRoomFor(programId: number): void {
    while (programId >= this.programTable.length) this.programTable.grow(this.programTable.length);
  }

  /** The value that the next callback gets. */
  get nextCallback(): number {
    return this.#callbacks.length;
  }

  /** Makes a subprogram callable by helpers; the returned value is what a program sees as its address. */
  addCallback(callback: Callback): number {
    return this.#callbacks.push(callback) - 1;
  }

  /** The same under a value that another thread's code has. */
  setCallback(value: number, callback: Callback): void {
    this.#callbacks[value] = callback;
  }

  callback(value: number): Callback | undefined {
    return this.#callbacks[value];
  }
}
