/** The objects compiled from tests/bpf/objects/*.bpf.c. */
import { readFileSync } from 'node:fs';
import { loadObject, type LoadOptions } from '../../dataplane/bpf/object.ts';
import type { CollectionSpec, MapSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';

export const OBJECT_NAMES = ['maps', 'data', 'subprograms', 'values', 'legacy', 'legacy-iproute2', 'core'] as const;
export type ObjectName = (typeof OBJECT_NAMES)[number] | 'core-target';

export function objectBytes(name: ObjectName): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`objects/${name}.bpf.o`, import.meta.url)));
}

export function load(name: ObjectName, options: Partial<LoadOptions> = {}): CollectionSpec {
  return loadObject(objectBytes(name), { name: `${name}.bpf.o`, ...options });
}

export function mapOf(collection: CollectionSpec, name: string): MapSpec {
  const map = collection.maps.get(name);
  if (map === undefined) throw new Error(`no map ${name} among ${[...collection.maps.keys()].join(', ')}`);
  return map;
}

export function programOf(collection: CollectionSpec, name: string): ProgramSpec {
  const program = collection.programs.get(name);
  if (program === undefined) throw new Error(`no program ${name} among ${[...collection.programs.keys()].join(', ')}`);
  return program;
}
