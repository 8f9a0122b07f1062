/**
 * Programs that were accepted, run: in the kernel, and here by both engines, from the same maps on the same packets.
 * Return code, packet, context, maps and records have to be the same.
 */
import { ENGINES } from '../../dataplane/engine/index.ts';
import type { EngineName, Engine } from '../../dataplane/engine/engine.ts';
import type { KernelMap } from '../../dataplane/engine/kernel/kernel-map.ts';
import type { KernelProgram } from '../../dataplane/engine/kernel/kernel-program.ts';
import { openLinux } from '../../dataplane/engine/kernel/linux.ts';
import { TestBench, type TestRunOutput } from '../../dataplane/engine/test-run.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { CPU_BLOCK, FAULT } from '../../dataplane/machine/cpu.ts';
import { Machine } from '../../dataplane/machine/machine.ts';
import { unverified } from '../../dataplane/program/program.ts';
import { createMap, type BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { MAP_TYPES } from '../../dataplane/maps/index.ts';
import { u32Bytes } from '../../dataplane/maps/slot-array.ts';
import { valueStride } from '../../dataplane/maps/map.ts';
import { FIXED_MAPS, QUEUE_MAP, RINGBUF_MAP } from './fixed-maps.ts';
import type { Random } from './random.ts';

/** What maps here and in the kernel have in common. */
interface LiveMap {
  entries(): Iterable<[Uint8Array, Uint8Array]>;
  update(key: Uint8Array, value: Uint8Array): void;
  delete(key: Uint8Array): unknown;
  push(value: Uint8Array): void;
  pop(): Uint8Array | undefined;
  records(): Iterable<Uint8Array>;
}

/** Programs after which machines are made anew, so that what they compiled can be forgotten. */
const PROGRAMS_A_MACHINE = 300;
const LENGTHS: readonly number[] = [34, 42, 54, 60, 64, 200, 1000];
const KEYS = 3;
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

class EngineBench {
  readonly name: EngineName;
  readonly maps: ReadonlyMap<string, BpfMap>;
  readonly #machine: Machine;
  readonly #bench: TestBench;
  readonly #engine: Engine;

  constructor(name: EngineName) {
    this.name = name;
    this.#machine = new Machine({ cpus: openLinux().possibleCpus });
    this.#bench = new TestBench(this.#machine);
    this.#engine = ENGINES[name](this.#machine);
    this.maps = new Map(Array.from(FIXED_MAPS.values(), (spec) => [spec.name, createMap(this.#machine, spec)]));
  }

  load(spec: ProgramSpec): (packet: Uint8Array) => string {
    const named = new Set(spec.instructions.flatMap((each) => (each.kind === 'load_imm64' && 'map' in each.value ? [each.value.map] : [])));
    const program = { id: this.#machine.allocateProgramId(), spec, type: spec.type!, maps: new Map([...this.maps].filter(([name]) => named.has(name))) };
    this.#engine.load(unverified(program));
    return (packet) => {
      try {
        return describe(this.#bench.run(program, { packet }), this.maps);
      } catch (error) {
        if (!(error instanceof WebAssembly.RuntimeError)) throw error;
        const code = this.#machine.cell(CPU_BLOCK.fault) || FAULT.memory;
        return `fault ${Object.entries(FAULT).find(([, each]) => each === code)?.[0]}`;
      }
    };
  }
}

export class Executions {
  readonly #kernelMaps: ReadonlyMap<string, KernelMap>;
  #benches: readonly EngineBench[] = [];
  #programs = 0;

  constructor(kernelMaps: ReadonlyMap<string, KernelMap>) {
    this.#kernelMaps = new Map([...kernelMaps].filter(([name]) => FIXED_MAPS.has(name)));
  }

  /** What differs, in words; undefined where nothing does. */
  difference(spec: ProgramSpec, program: KernelProgram, random: Random): string | undefined {
    if (this.#programs++ % PROGRAMS_A_MACHINE === 0) this.#benches = [new EngineBench('interpreter'), new EngineBench('wasm')];
    const runs = this.#benches.map((bench) => ({ bench, run: bench.load(spec) }));
    for (let left = 3; left > 0; left--) {
      const packet = packetOf(random);
      const values = random.bytes(64);
      resetMaps(this.#kernelMaps, values);
      const kernel = openLinux().onCpu(0, () => describe(program.run({ packet }), this.#kernelMaps));
      for (const { bench, run } of runs) {
        resetMaps(bench.maps, values);
        const here = run(packet);
        if (here !== kernel) return `packet ${hex(packet)}\nvalues ${hex(values)}\n${inWords(kernel, here, bench.name)}`;
      }
    }
    return undefined;
  }
}

/** The parts that differ. */
function inWords(kernel: string, here: string, name: EngineName): string {
  const [theirs, ours] = [kernel.split(' '), here.split(' ')];
  if (theirs.length !== ours.length) return `${name}: ${here}`;
  return ours.flatMap((part, at) => (part === theirs[at] ? [] : [`kernel ${theirs[at]}`, `${name} ${part}`])).join('\n');
}

export function packetOf(random: Random): Uint8Array {
  const packet = random.bytes(random.pick(LENGTHS));
  // IPv4, mostly; what is in it is nothing.
  if (random.chance(0.7)) packet.set([0x08, 0x00], 12);
  return packet;
}

/** The same few entries everywhere. */
export function resetMaps(maps: ReadonlyMap<string, LiveMap>, bytes: Uint8Array, possibleCpus: number = openLinux().possibleCpus): void {
  for (const [name, map] of maps) {
    const spec = FIXED_MAPS.get(name)!;
    if (name.startsWith('programs')) continue;
    if (spec === RINGBUF_MAP) {
      for (const record of map.records()) void record;
    } else if (spec === QUEUE_MAP) {
      while (map.pop() !== undefined);
      map.push(bytes.slice(0, spec.valueBytes));
    } else {
      const type = MAP_TYPES.get(spec.type)!;
      const indexes = type.keys === 'indexes';
      const before = indexes ? [] : Array.from(map.entries(), ([key]) => key);
      for (const key of before) map.delete(key);
      const stride = type.perCpu === true ? valueStride(spec) : spec.valueBytes;
      const cpus = type.perCpu === true ? possibleCpus : 1;
      for (let at = 0; at < (indexes ? spec.maxEntries : KEYS); at++) {
        const key = new Uint8Array(spec.keyBytes);
        key.set(u32Bytes(at));
        const value = new Uint8Array(stride * cpus);
        for (let cpu = 0; cpu < cpus; cpu++) for (let byte = 0; byte < spec.valueBytes; byte++) value[cpu * stride + byte] = bytes[(byte + at + cpu) % bytes.length]!;
        map.update(key, value);
      }
    }
  }
}

function describe(output: TestRunOutput, maps: ReadonlyMap<string, LiveMap>): string {
  const contents = Array.from(maps, ([name, map]) => {
    const spec = FIXED_MAPS.get(name)!;
    if (name.startsWith('programs')) return name;
    if (spec === RINGBUF_MAP) return `${name}=${Array.from(map.records(), hex).join(',')}`;
    if (spec === QUEUE_MAP) {
      const values: string[] = [];
      for (let value = map.pop(); value !== undefined; value = map.pop()) values.push(hex(value));
      return `${name}=${values.join(',')}`;
    }
    return `${name}=${Array.from(map.entries(), ([key, value]) => `${hex(key)}:${hex(value)}`).toSorted().join(',')}`;
  });
  return [`code=${output.code}`, `packet=${hex(output.packet)}`, `metadata=${hex(output.metadata)}`, `context=${JSON.stringify(output.context)}`, ...contents].join(' ');
}
