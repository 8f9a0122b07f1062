/** `xdplab show`: what an object file holds: programs, maps, global variables, types. */
import type { Command } from 'commander';
import type { CollectionSpec } from '../bpf/spec.ts';
import { describeObject } from '../insight/describe-object.ts';
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
      if (flags.json) printJson(describeObject(spec));
      else print(text(spec));
    });
}

function text(spec: CollectionSpec): string {
  const { license, programs, maps, globals, btf } = describeObject(spec);
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
