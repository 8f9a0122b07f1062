/** What an object file holds, in words: programs, maps, global variables, types. */
import { valueCodec, type BtfValue } from '../bpf/btf-value.ts';
import { mapTypeName } from '../bpf/map-type.ts';
import { kernelOnlyType } from '../bpf/section-name.ts';
import type { CollectionSpec, MapSpec, ProgramSpec } from '../bpf/spec.ts';
import { programTag } from '../bpf/tag.ts';

export interface ObjectDescription {
  readonly license: string;
  readonly programs: readonly ProgramDescription[];
  readonly maps: readonly MapDescription[];
  readonly globals: readonly { readonly section: string; readonly variables: BtfValue }[];
  readonly btf: Readonly<Record<string, number>> | undefined;
}

export function describeObject(spec: CollectionSpec): ObjectDescription {
  const maps = [...spec.maps.values()];
  return {
    license: spec.license,
    programs: [...spec.programs.values()].map(describeProgram),
    maps: maps.filter(({ section }) => section === undefined).map(describeMap),
    globals: maps.filter(({ section }) => section !== undefined).map(describeGlobals),
    btf: spec.btf === undefined ? undefined : btfKinds(spec),
  };
}

export type ProgramDescription = ReturnType<typeof describeProgram>;

function describeProgram(program: ProgramSpec) {
  return {
    name: program.name,
    section: program.section,
    type: program.type ?? kernelOnlyType(program.section) ?? 'unknown',
    tag: programTag(program.instructions),
    instructions: program.instructions.length,
    subprograms: program.functions.slice(1).map(({ name }) => name),
    frags: program.frags,
    unresolved: program.unresolved?.map(({ reason }) => reason) ?? [],
  };
}

export type MapDescription = ReturnType<typeof describeMap>;

export function describeMap(map: MapSpec) {
  return {
    name: map.name,
    type: mapTypeName(map.type) ?? `type ${map.type}`,
    key: typeText(map, map.keyTypeId, map.keyBytes),
    keyBytes: map.keyBytes,
    value: typeText(map, map.valueTypeId, map.valueBytes),
    valueBytes: map.valueBytes,
    maxEntries: map.maxEntries,
    flags: map.flags,
    pinning: map.pinning,
  };
}

function typeText({ btf }: MapSpec, id: number, sizeBytes: number): string {
  return btf === undefined || id === 0 ? `${sizeBytes} bytes` : btf.describe(id);
}

/** `.bss` has no contents: its variables are zero. */
function describeGlobals(map: MapSpec) {
  const bytes = map.contents ?? new Uint8Array(map.valueBytes);
  return { section: map.section!, variables: valueCodec(map.btf, map.valueTypeId, map.valueBytes).read(bytes) };
}

function btfKinds({ btf }: CollectionSpec): Readonly<Record<string, number>> {
  const kinds: Record<string, number> = {};
  for (let id = 1; id < btf!.typeCount; id++) kinds[btf!.kindOf(id)] = (kinds[btf!.kindOf(id)] ?? 0) + 1;
  return kinds;
}
