/**
 * A machine's programs and maps, in the kernel: to ask Linux what it makes of a packet, and to compare.
 *
 *   const oracle = new KernelOracle(lab.machine);
 *   oracle.load(program);                      // and the programs it tail-calls
 *   oracle.copyMaps();                         // what the lab's maps hold now
 *   oracle.run(program, { packet });           // { code, packet, metadata, context }
 *   oracle.mapDifferences();                   // what the maps hold now, where not the same
 *   oracle.close();
 *
 * Time and random numbers are the machine's (virtual-time.ts) unless said, and programs run on CPU 0, as they do here. The machine
 * must have as many CPUs as the kernel has possible ones for per-CPU maps to be compared.
 */
import type { Btf } from '../../bpf/btf.ts';
import type { MapSpec, ProgramSpec } from '../../bpf/spec.ts';
import type { Machine } from '../../machine/machine.ts';
import type { BpfMap } from '../../maps/bpf-map.ts';
import { readU32, u32Bytes } from '../../maps/slot-array.ts';
import type { Program } from '../../program/program.ts';
import type { TestRunInput, TestRunOutput } from '../test-run.ts';
import { XdplabError } from '../../errors.ts';
import { PAGE_BYTES, type PinnedMemory } from '../../system/native.ts';
import { BtfImage } from './btf-image.ts';
import { createKernelMap, type KernelMap } from './kernel-map.ts';
import { loadKernelProgram, type KernelProgram } from './kernel-program.ts';
import { openLinux, type Linux } from './linux.ts';
import { loadBtf, withBtf } from './load-btf.ts';
import { VIRTUAL_TIME_BYTES, VIRTUAL_TIME_MAP, withVirtualTime } from './virtual-time.ts';

export interface KernelOracleOptions {
  /** LOG_LEVEL of kernel-program.ts. */
  readonly logLevel?: number;
  /** What is loaded in place of a program; its own instructions unless said. */
  readonly adapt?: (program: Program) => ProgramSpec;
  /** The kernel's own time and random numbers, for programs that run on the kernel's own packets. */
  readonly ownTime?: true;
  /** Maps of names that a program does not declare, for what `adapt` adds. */
  readonly addedMap?: (program: Program, name: string) => KernelMap;
  /** The kernel's number of a device of the machine, where a map names it. */
  readonly ifindex?: (ifindex: number) => number;
  /** Called for every twin of a map, once it is made and before any program uses it. */
  readonly onMap?: (map: BpfMap, twin: KernelMap) => void;
}

export interface MapDifference {
  readonly map: string;
  readonly key: string;
  /** Hexadecimal; undefined where there is no such entry. */
  readonly here: string | undefined;
  readonly kernel: string | undefined;
}

const ONLY_KEY = new Uint8Array(4);

export class KernelOracle {
  readonly machine: Machine;
  readonly #linux: Linux;
  readonly #options: KernelOracleOptions;
  readonly #maps = new Map<BpfMap, KernelMap>();
  readonly #programs = new Map<number, KernelProgram>();
  readonly #time: KernelMap;
  /** VIRTUAL_TIME_MAP's value, as the kernel sees it. */
  readonly timePage: PinnedMemory;

  /** ERR_PRIVILEGE where this process may not. */
  constructor(machine: Machine, options: KernelOracleOptions = {}) {
    this.machine = machine;
    this.#linux = openLinux();
    this.#options = options;
    this.#time = createKernelMap(this.#linux, VIRTUAL_TIME_MAP);
    this.timePage = this.#linux.share(this.#time.fd, 0, PAGE_BYTES, 'write');
  }

  /** Loads the program, and makes the maps it names. ERR_PROGRAM with the verifier's log where Linux refuses. */
  load(program: Program): KernelProgram {
    const found = this.#programs.get(program.id);
    if (found !== undefined) return found;
    const { adapt, ownTime, addedMap, logLevel } = this.#options;
    const source = program.source ?? program.spec;
    const adapted = adapt?.({ ...program, spec: source }) ?? source;
    const spec = ownTime ? adapted : withVirtualTime(adapted);
    const loaded = withBtf(this.#linux, new BtfImage(program.btf, [spec]), program.spec.name, (btf) =>
      loadKernelProgram(this.#linux, spec, {
        ...(logLevel === undefined ? {} : { logLevel }),
        type: program.type,
        map: (name) => (program.maps.has(name) ? this.map(program.maps.get(name)!) : addedMap !== undefined && name !== VIRTUAL_TIME_MAP.name ? addedMap(program, name) : this.#time).fd,
        ...(btf === undefined ? {} : { btf }),
      }),
    );
    this.#programs.set(program.id, loaded);
    return loaded;
  }

  /** Descriptor of a program that was loaded. */
  programFd(id: number): number | undefined {
    return this.#programs.get(id)?.fd;
  }

  /** Takes the program out of the kernel, and the maps it names. */
  unload(program: Program): void {
    this.#programs.get(program.id)?.close();
    this.#programs.delete(program.id);
    for (const map of program.maps.values()) {
      this.#maps.get(map)?.close();
      this.#maps.delete(map);
    }
  }

  /** The kernel's twin of a map, made when first asked for; of global variables, with their values. */
  map(map: BpfMap): KernelMap {
    let twin = this.#maps.get(map);
    if (twin !== undefined) return twin;
    twin = this.#create(map.spec, map.spec.btf);
    this.#maps.set(map, twin);
    if (map.spec.contents !== undefined) twin.update(ONLY_KEY, map.spec.contents);
    if (map.spec.frozen) twin.freeze();
    this.#options.onMap?.(map, twin);
    return twin;
  }

  /** Writes what the machine's maps hold into their twins. Programs and inner maps must be known, devices exist. */
  copyMaps(): void {
    for (const map of Array.from(this.#maps.keys())) if (!map.frozen) this.#copy(map);
  }

  /** Takes out of the kernel's maps what programs put there, and writes what the machine's hold. Elements of arrays that are zero here keep what they have. */
  restoreMaps(): void {
    for (const [map, twin] of this.#maps) {
      if (map.type.keys === 'bytes' && !map.frozen) for (const key of twin.keys()) twin.delete(key);
    }
    this.copyMaps();
  }

  /** Runs the program once in the kernel, at the machine's time. */
  run(program: Program, input: TestRunInput): TestRunOutput {
    const { memory, cpuBlock, cpu } = this.machine;
    this.timePage.bytes.set(memory.bytes(cpuBlock, VIRTUAL_TIME_BYTES));
    return this.#linux.onCpu(cpu, () => this.load(program).run(input));
  }

  /** Entries that are not the same here and in the kernel. Of maps of references, only whether there is one. */
  mapDifferences(): MapDifference[] {
    return [...this.#maps].flatMap(([map, twin]) => differencesOf(map, twin));
  }

  close(): void {
    for (const program of this.#programs.values()) program.close();
    for (const map of this.#maps.values()) map.close();
    this.#linux.unmap(this.timePage);
    this.#time.close();
  }

  #create(spec: MapSpec, btf: Btf | undefined): KernelMap {
    if (btf === undefined) return createKernelMap(this.#linux, spec);
    return loadBtf(this.#linux, new BtfImage(btf, []), spec.name, (btfFd) => createKernelMap(this.#linux, spec, { btfFd }));
  }

  #copy(map: BpfMap): void {
    const twin = this.map(map);
    const { holds, keys } = map.type;
    if (holds === 'records' || holds === 'events' || holds === 'sockets' || keys === 'none') return;
    for (const [key, value] of map.entries()) {
      if (holds === 'bytes' && keys === 'indexes' && value.every((byte) => byte === 0)) continue;
      twin.update(key, this.written(map, value));
    }
  }

  /** A value as bpf() wants it: file descriptors where the machine has ids. */
  written(map: BpfMap, value: Uint8Array): Uint8Array {
    const programFd = (id: number): number => this.#programs.get(id)?.fd ?? this.#unknown(map, `program ${id}`);
    switch (map.type.holds) {
      case 'programs':
        return u32Bytes(programFd(readU32(value)));
      case 'maps':
        return u32Bytes(this.#innerMap(map, readU32(value)).fd);
      case 'devices':
      case 'cpus': {
        const { ifindex = (own: number): number => own } = this.#options;
        const target = map.type.holds === 'devices' && readU32(value) !== 0 ? ifindex(readU32(value)) : readU32(value);
        const program = value.length < 8 ? 0 : readU32(value, 4);
        return value.length < 8 ? u32Bytes(target) : u32Bytes(target, program === 0 ? 0 : programFd(program));
      }
      default:
        return value;
    }
  }

  #innerMap(outer: BpfMap, id: number): KernelMap {
    const inner = [...outer.keys()].map((key) => outer.innerMap(key)).find((map) => map?.id === id);
    if (inner === undefined) return this.#unknown(outer, `map ${id}`);
    const isNew = !this.#maps.has(inner);
    const twin = this.map(inner);
    if (isNew) this.#copy(inner);
    return twin;
  }

  #unknown(map: BpfMap, what: string): never {
    throw new XdplabError('ERR_MAP', `map '${map.name}': holds ${what}, which is not in the kernel; load it first`);
  }
}

function differencesOf(map: BpfMap, twin: KernelMap): MapDifference[] {
  const { holds, keys } = map.type;
  if (holds === 'records' || holds === 'events' || holds === 'sockets' || keys === 'none') return [];
  const onlyPresence = holds !== 'bytes';
  const here = contents(map.entries(), onlyPresence);
  const kernel = contents(twin.entries(), onlyPresence);
  return [...new Set([...here.keys(), ...kernel.keys()])]
    .filter((key) => here.get(key) !== kernel.get(key))
    .map((key) => ({ map: map.name, key, here: here.get(key), kernel: kernel.get(key) }));
}

function contents(entries: Iterable<[Uint8Array, Uint8Array]>, onlyPresence: boolean): Map<string, string> {
  return new Map(Array.from(entries, ([key, value]) => [hex(key), onlyPresence ? 'an entry' : hex(value)]));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}
