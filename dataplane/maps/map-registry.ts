/** The maps of a machine, by id and by descriptor, and what else they share. */
import type { ProgramSpec, ProgramType } from '../bpf/spec.ts';
import type { Machine } from '../machine/machine.ts';
import type { BpfMap } from './bpf-map.ts';
import { roundUp } from './map.ts';

const FIRST_SCRATCH_BYTES = 4096;

/** What a map has to know of a program that is put into it. */
export interface ProgramReference {
  /** Place in machine.programTable. */
  readonly id: number;
  readonly type: ProgramType;
  readonly spec: Pick<ProgramSpec, 'name' | 'section' | 'frags' | 'attach'>;
}

export class MapRegistry implements Iterable<BpfMap> {
  readonly #machine: Machine;
  readonly #byId = new Map<number, BpfMap>();
  readonly #byDescriptor = new Map<number, BpfMap>();
  readonly #programs = new Map<number, ProgramReference>();
  #nextId = 1;
  #scratch = 0;
  #scratchBytes = 0;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  byId(id: number): BpfMap | undefined {
    return this.#byId.get(id);
  }

  /** What a program's `struct bpf_map *` points to. */
  byDescriptor(address: number): BpfMap | undefined {
    return this.#byDescriptor.get(address >>> 0);
  }

  /** In the order they were made. */
  [Symbol.iterator](): Iterator<BpfMap> {
    return this.#byId.values();
  }

  allocateId(): number {
    return this.#nextId++;
  }

  add(map: BpfMap): void {
    this.#byId.set(map.id, map);
    this.#byDescriptor.set(map.descriptor, map);
  }

  /** Makes a program known, so that maps check whether it fits. */
  addProgram(program: ProgramReference): void {
    this.#programs.set(program.id, program);
  }

  program(id: number): ProgramReference | undefined {
    return this.#programs.get(id);
  }

  /** Where JavaScript puts keys and values for an operation; valid until the next call. */
  scratch(lengthBytes: number): number {
    if (lengthBytes > this.#scratchBytes) {
      this.#scratchBytes = roundUp(Math.max(lengthBytes, this.#scratchBytes * 2), FIRST_SCRATCH_BYTES);
      this.#scratch = this.#machine.memory.allocate(this.#scratchBytes, 64, 'map arguments');
    }
    return this.#scratch;
  }
}

const registries = new WeakMap<Machine, MapRegistry>();

export function mapsOf(machine: Machine): MapRegistry {
  let registry = registries.get(machine);
  if (registry === undefined) registries.set(machine, (registry = new MapRegistry(machine)));
  return registry;
}
