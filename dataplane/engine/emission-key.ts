/**
 * Modules of programs that were compiled before are found by a digest of everything that the compiler looks at, itself
 * included. What is added to a program or to a declaration of a map counts without being named here.
 */
import { declarationOf } from '../bpf/spec.ts';
import type { Machine } from '../machine/machine.ts';
import type { BpfMap } from '../maps/bpf-map.ts';
import type { Program } from '../program/program.ts';
import { keyOf } from '../system/code-digest.ts';

/** Of a program that was verified: what was not may look up maps that it does not name. */
export function emissionKey(machine: Machine, { spec, type, maps }: Program): string {
  const { lines: _lines, ...program } = spec;
  const { cpu, cpus, cpuBlock, parallel, nextCallback } = machine;
  return keyOf({ program, type, maps: [...maps.values()].map((map) => mapFacts(machine, map)), cpu, cpus, cpuBlock, parallel, nextCallback });
}

/** Of its contents only those count that never change: they are constants in the code. */
function mapFacts({ memory }: Machine, { id, spec, frozen, geometry: { descriptor, storage } }: BpfMap): object {
  return { id, declaration: declarationOf(spec), descriptor, storage, constants: frozen ? memory.u8.slice(storage, storage + spec.valueBytes) : undefined };
}
