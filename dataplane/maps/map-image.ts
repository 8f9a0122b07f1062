/**
 * A map on its way to the thread of a CPU. What it holds is in the memory that CPUs share; its operations are that CPU's
 * code, and what it is called and declared as goes along, as far as running programs ask.
 */
import type { MapSpec } from '../bpf/spec.ts';
import type { Machine } from '../machine/machine.ts';
import { BpfMap } from './bpf-map.ts';
import { MAP_TYPES } from './index.ts';
import { instantiateOperations, operationsModule, tabulate } from './map-module.ts';
import { mapsOf } from './map-registry.ts';
import { MAP_DESCRIPTOR } from './map.ts';

export interface MapImage {
  readonly id: number;
  readonly spec: MapSpec;
  readonly descriptor: number;
  readonly storage: number;
  /** Place of its first operation in machine.mapTable. */
  readonly operations: number;
  readonly module: WebAssembly.Module;
}

export function mapImage(machine: Machine, { id, spec, type, geometry }: BpfMap, cpu: number): MapImage {
  const { descriptor, storage } = geometry;
  const operations = machine.memory.view.getUint32(descriptor + MAP_DESCRIPTOR.operations, true);
  return { id, spec: withoutTypes(spec), descriptor, storage, operations, module: machine.onCpu(cpu, () => operationsModule(geometry, type)) };
}

/** Makes the map known in the CPU's machine. */
export function instantiateMap(machine: Machine, { id, spec, descriptor, storage, operations: first, module }: MapImage): void {
  const operations = instantiateOperations(machine.memory, module);
  tabulate(machine, first, operations);
  mapsOf(machine).add(new BpfMap(id, { spec, machine, descriptor, storage }, MAP_TYPES.get(spec.type)!, operations));
}

/** BTF is for user space, and cannot be sent. */
function withoutTypes({ btf: _btf, contents: _contents, inner, ...spec }: MapSpec): MapSpec {
  return { ...spec, keyTypeId: 0, valueTypeId: 0, ...(inner === undefined ? {} : { inner: withoutTypes(inner) }) };
}
