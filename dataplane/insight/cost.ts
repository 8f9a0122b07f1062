/**
 * What a packet costs, counted instead of timed: the same on every machine, so that CI can hold a program to it.
 *
 *   instructions   executed, a 64-bit immediate load as one
 *   helperCalls    calls of helpers, by name
 *   mapProbes      calls that look into a map: lookups, updates, deletions, redirects and tail calls through one
 *   bytesTouched   what instructions load and store (an atomic operation both), and what map operations read of keys
 *                  and write of values
 *
 * The interpreter counts, a packet at a time; what brings the maps into their state runs compiled.
 */
import type { Instruction } from '../bpf/isa.ts';
import type { EngineFactory } from '../engine/engine.ts';
import { Interpreter } from '../engine/interpreter.ts';
import type { StepObserver } from '../engine/step-observer.ts';
import { createWasmEngine } from '../engine/wasm-engine.ts';
import { helpersOf } from '../helpers/index.ts';
import type { Helper } from '../helpers/helper.ts';
import type { Machine } from '../machine/machine.ts';
import type { BpfMap } from '../maps/bpf-map.ts';
import { mapsOf } from '../maps/map-registry.ts';
import type { PacketBatch } from '../packet/packet-batch.ts';
import type { Lab } from '../pipeline/lab.ts';
import type { Program } from '../program/program.ts';

export const COST_METRICS = ['instructions', 'helperCalls', 'mapProbes', 'bytesTouched'] as const;
export type CostMetric = (typeof COST_METRICS)[number];

/** What each packet of a run cost, in a few numbers. */
export interface MetricSummary {
  readonly mean: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** What programs did to a map. */
export interface MapUse {
  readonly map: string;
  readonly type: string;
  readonly lookups: number;
  /** Lookups that found something. */
  readonly hits: number;
  /** Updates that brought a new key. */
  readonly inserts: number;
  readonly updates: number;
  readonly deletions: number;
  /** Inserts for which a full LRU map gave up another entry. */
  readonly evictions: number;
}

export interface Cost {
  readonly packets: number;
  readonly perPacket: Readonly<Record<CostMetric, MetricSummary>>;
  /** Calls a packet, most first. */
  readonly helpers: readonly { readonly helper: string; readonly callsPerPacket: number }[];
  readonly maps: readonly MapUse[];
}

type Counts = Record<CostMetric, number>;
type MapCounts = { -readonly [Key in keyof Omit<MapUse, 'map' | 'type'>]: number };

/** What is to be counted where an instruction is run. */
interface Plan {
  readonly bytes: number;
  readonly helper: Helper | undefined;
  /** The register with the map that the helper looks into. */
  readonly mapRegister: number;
  readonly operation: string | undefined;
}

/** A map operation that runs: what it came to is known before the next instruction. */
interface Pending {
  readonly operation: string;
  readonly map: BpfMap;
  readonly counts: MapCounts;
  /** Of an update: whether the key was there, and how many were. */
  readonly known: boolean;
  readonly size: number;
}

export class CostCounter implements StepObserver {
  readonly #now: Counts = { instructions: 0, helperCalls: 0, mapProbes: 0, bytesTouched: 0 };
  readonly #helpers = new Map<string, number>();
  readonly #maps = new Map<BpfMap, MapCounts>();
  readonly #plans = new Map<Program, readonly Plan[]>();
  readonly #programs: Program[] = [];
  /** Of the functions that run, the innermost last. */
  readonly #running: (readonly Plan[])[] = [];
  #interpreter: Interpreter | undefined;
  #machine: Machine | undefined;
  #pending: Pending | undefined;

  /** For the lab that is to be counted. Packets that run before `run` are not counted, and take as little time as ever. */
  readonly engine: EngineFactory = (machine) => {
    const wasm = createWasmEngine(machine);
    this.#machine = machine;
    this.#interpreter = new Interpreter(machine, this);
    return {
      name: 'interpreter',
      load: (program) => {
        this.#programs.push(program);
        wasm.load(program);
      },
    };
  };

  /** Runs the packets of the batch from `first` on, each by itself, and says what they cost. */
  run(lab: Lab, batch: PacketBatch, first = 0): Cost {
    const { count } = batch;
    const samples = Object.fromEntries(COST_METRICS.map((metric) => [metric, new Float64Array(count - first)])) as Record<CostMetric, Float64Array>;
    this.#helpers.clear();
    this.#maps.clear();
    for (const program of this.#programs.splice(0)) this.#interpreter?.load(program);
    lab.pipeline.entries = 'watched';
    for (let index = first; index < count; index++) {
      for (const metric of COST_METRICS) this.#now[metric] = 0;
      batch.count = index + 1;
      lab.pipeline.run(batch, undefined, index);
      for (const metric of COST_METRICS) samples[metric][index - first] = this.#now[metric];
    }
    const packets = count - first;
    return {
      packets,
      perPacket: Object.fromEntries(COST_METRICS.map((metric) => [metric, summary(samples[metric])])) as Record<CostMetric, MetricSummary>,
      helpers: [...this.#helpers].map(([helper, calls]) => ({ helper, callsPerPacket: calls / packets })).toSorted((a, b) => b.callsPerPacket - a.callsPerPacket),
      maps: [...this.#maps].map(([map, counts]) => ({ map: lab.mapName(map), type: map.type.name, ...counts })),
    };
  }

  entered(program: Program): void {
    this.#running.length = 0;
    this.#running.push(this.#planOf(program));
  }

  called(program: Program): void {
    this.#running.push(this.#planOf(program));
  }

  replaced(program: Program): void {
    this.#running[this.#running.length - 1] = this.#planOf(program);
  }

  returned(): void {
    this.#running.pop();
  }

  stepping(slot: number, registers: BigUint64Array): void {
    if (this.#pending !== undefined) this.#settle(this.#pending, registers[0]!);
    const now = this.#now;
    const { bytes, helper, mapRegister, operation } = this.#running.at(-1)![slot]!;
    now.instructions++;
    now.bytesTouched += bytes;
    if (helper === undefined) return;
    now.helperCalls++;
    this.#helpers.set(helper.name, (this.#helpers.get(helper.name) ?? 0) + 1);
    if (mapRegister === 0) return;
    now.mapProbes++;
    const map = mapsOf(this.#machine!).byDescriptor(low(registers[mapRegister]!));
    if (map !== undefined && operation !== undefined) this.#begin(operation, map, low(registers[2]!));
  }

  exited(result: bigint): void {
    if (this.#pending !== undefined) this.#settle(this.#pending, result);
  }

  faulted(): void {
    this.#pending = undefined;
  }

  #begin(operation: string, map: BpfMap, key: number): void {
    const { keyBytes, valueBytes } = map.spec;
    const isUpdate = operation === 'update';
    this.#now.bytesTouched += (map.type.keys === 'none' ? 0 : keyBytes) + (isUpdate || map.type.keys === 'none' ? valueBytes : 0);
    // Unlike a lookup, lookup_percpu does not tell an LRU map that the entry is in use.
    this.#pending = { operation, map, counts: this.#countsOf(map), known: isUpdate && map.operations.lookup_percpu(key, 0) !== 0, size: isUpdate ? map.type.size(map.geometry) : 0 };
  }

  #settle({ operation, map, counts, known, size }: Pending, result: bigint): void {
    this.#pending = undefined;
    switch (operation) {
      case 'lookup':
      case 'lookup_percpu':
        counts.lookups++;
        if (result !== 0n) counts.hits++;
        return;
      case 'update':
        if (result !== 0n) return;
        if (known) counts.updates++;
        else counts.inserts++;
        if (!known && map.type.keys === 'bytes' && map.type.size(map.geometry) <= size) counts.evictions++;
        return;
      case 'delete':
        if (result === 0n) counts.deletions++;
    }
  }

  #planOf(program: Program): readonly Plan[] {
    let plan = this.#plans.get(program);
    if (plan === undefined) this.#plans.set(program, (plan = program.spec.instructions.map((instruction) => planOf(program, instruction))));
    return plan;
  }

  #countsOf(map: BpfMap): MapCounts {
    let counts = this.#maps.get(map);
    if (counts === undefined) this.#maps.set(map, (counts = { lookups: 0, hits: 0, inserts: 0, updates: 0, deletions: 0, evictions: 0 }));
    return counts;
  }
}

function planOf({ type }: Program, instruction: Instruction): Plan {
  const helper = instruction.kind === 'call' && instruction.target.kind === 'helper' ? helpersOf(type).get(instruction.target.id) : undefined;
  const implementation = helper?.implementation;
  return { bytes: bytesOf(instruction), helper, mapRegister: (helper?.args.indexOf('map') ?? -1) + 1, operation: implementation?.kind === 'map' ? implementation.operation : undefined };
}

function low(register: bigint): number {
  return Number(register & 0xffff_ffffn);
}

function bytesOf(instruction: Instruction): number {
  switch (instruction.kind) {
    case 'load':
    case 'store':
    case 'load_packet':
      return instruction.bytes;
    case 'atomic':
      return instruction.op === 'load_acquire' || instruction.op === 'store_release' ? instruction.bytes : 2 * instruction.bytes;
    default:
      return 0;
  }
}

function summary(samples: Float64Array): MetricSummary {
  const sorted = samples.toSorted();
  const total = samples.reduce((sum, each) => sum + each, 0);
  return { mean: total / samples.length, median: sorted[sorted.length >> 1]!, min: sorted[0]!, max: sorted.at(-1)! };
}
