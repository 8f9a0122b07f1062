/** `xdplab show`: what an object file holds: programs, maps, global variables, types. */
import type { Command } from 'commander';
import { programTag } from '../bpf/tag.ts';
import { valueCodec, type BtfValue } from '../bpf/btf-value.ts';
import { mapTypeName } from '../bpf/map-type.ts';
import type { CollectionSpec, MapSpec, ProgramSpec } from '../bpf/spec.ts';
import { jsonText } from '../pipeline/json-text.ts';
import { readObject } from '../pipeline/open-lab.ts';
import { count, paint, print, printJson, safe, table } from './terminal.ts';

export function addShow(program: Command): void {
  program
    .command('show')
    .description("show an object file's programs, maps, global variables and types")
    .argument('<object>')
    .option('--json', 'as JSON')
    .option('--btf <file>', 'BTF that CO-RE relocations are resolved against')
    .action(async (file: string, flags: { json?: true; btf?: string }) => {
      const spec = await readObject(file, flags);
      if (flags.json) printJson(describe(spec));
      else print(text(spec));
    });
}

interface Description {
  readonly license: string;
  readonly programs: readonly ReturnType<typeof describeProgram>[];
  readonly maps: readonly ReturnType<typeof describeMap>[];
  readonly globals: readonly { readonly section: string; readonly variables: BtfValue }[];
  readonly btf: Readonly<Record<string, number>> | undefined;
}

function describe(spec: CollectionSpec): Description {
  const maps = [...spec.maps.values()];
  return {
    license: spec.license,
    programs: [...spec.programs.values()].map(describeProgram),
    maps: maps.filter(({ section }) => section === undefined).map(describeMap),
    globals: maps.filter(({ section }) => section !== undefined).map(describeGlobals),
    btf: spec.btf === undefined ? undefined : btfKinds(spec),
  };
}

function describeProgram(program: ProgramSpec) {
  return {
    name: program.name,
    section: program.section,
    type: program.type ?? 'unknown',
    tag: programTag(program.instructions),
    instructions: program.instructions.length,
    subprograms: program.functions.slice(1).map(({ name }) => name),
    frags: program.frags,
    unresolved: program.unresolved?.map(({ reason }) => reason) ?? [],
  };
}

function describeMap(map: MapSpec) {
  const { btf } = map;
  const typeName = (id: number, sizeBytes: number): string => (btf === undefined || id === 0 ? `${sizeBytes} bytes` : btf.describe(id));
  return {
    name: map.name,
    type: mapTypeName(map.type) ?? `type ${map.type}`,
    key: typeName(map.keyTypeId, map.keyBytes),
    keyBytes: map.keyBytes,
    value: typeName(map.valueTypeId, map.valueBytes),
    valueBytes: map.valueBytes,
    maxEntries: map.maxEntries,
    flags: map.flags,
    pinning: map.pinning,
  };
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

function text(spec: CollectionSpec): string {
  const { license, programs, maps, globals, btf } = describe(spec);
  const lines = [`license ${safe(license) || '(none)'}`, '', paint('bold', 'Programs')];
  lines.push(
    ...table(
      [['name', 'section', 'type', 'tag', 'instructions'], ...programs.map((p) => [safe(p.name), safe(p.section), p.type, p.tag, p.instructions])],
      '  ',
    ),
  );
  for (const { name, subprograms, unresolved } of programs) {
    if (subprograms.length > 0) lines.push(`  ${safe(name)} calls ${subprograms.map(safe).join(', ')}`);
    for (const reason of unresolved) lines.push(paint('yellow', `  ${safe(name)}: ${safe(reason)}`));
  }
  if (maps.length > 0) {
    lines.push('', paint('bold', 'Maps'));
    const rows = maps.map((m) => [safe(m.name), m.type, safe(m.key), safe(m.value), m.maxEntries, m.pinning === 'none' ? '' : 'pinned by name']);
    lines.push(...table([['name', 'type', 'key', 'value', 'max_entries', ''], ...rows], '  '));
  }
  for (const { section, variables } of globals) {
    lines.push('', paint('bold', `Global variables in ${safe(section)}`));
    const named = typeof variables === 'object' && !Array.isArray(variables) ? Object.entries(variables) : [['(bytes)', variables] as const];
    lines.push(...named.map(([name, value]) => `  ${safe(name)} = ${safe(shortened(value))}`));
  }
  if (btf !== undefined) {
    const kinds = Object.entries(btf).toSorted((a, b) => b[1] - a[1]);
    lines.push('', `${paint('bold', 'BTF')}  ${kinds.map(([kind, amount]) => `${count(amount)} ${kind}`).join(', ')}`);
  }
  return lines.join('\n');
}

const SHOWN_CHARACTERS = 100;

function shortened(value: unknown): string {
  const json = jsonText(value);
  return json.length > SHOWN_CHARACTERS ? `${json.slice(0, SHOWN_CHARACTERS)}…` : json;
}
