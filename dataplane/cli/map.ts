/** `xdplab map`: looks at the map contents that `replay --maps-out` saved. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { XdplabError } from '../errors.ts';
import { sumCpus, type MapDump } from '../program/typed-map.ts';
import { toJson } from './json.ts';
import { paint, safe, table } from './terminal.ts';

type Value = MapDump['entries'][number]['key'];

export function addMap(program: Command): void {
  const map = program.command('map').description('look at map contents saved by replay --maps-out');
  map
    .command('list')
    .description('the maps in a folder')
    .argument('<folder>')
    .action((folder: string) => {
      const dumps = jsonFiles(folder).map((name) => read(join(folder, name)));
      print(table([['name', 'type', 'entries', 'max_entries'], ...dumps.map((d) => [safe(d.name), d.type, d.entries.length, d.maxEntries])]));
    });
  map
    .command('dump')
    .description('every entry of a map')
    .argument('<file>')
    .option('--sum', 'add up the values of all CPUs')
    .option('--json', 'as JSON')
    .action((file: string, flags: { sum?: true; json?: true }) => {
      const dump = read(file);
      const entries = flags.sum ? dump.entries.map(({ key, value }) => ({ key, value: sumCpus(value) })) : dump.entries;
      if (flags.json) print([toJson(entries)]);
      else print([paint('bold', `${safe(dump.name)}  ${dump.type}, ${entries.length} of ${dump.maxEntries} entries`), ...entries.map(({ key, value }) => `  ${text(key)}: ${text(value)}`)]);
    });
  map
    .command('lookup')
    .description('the value of a key, written as the dump writes it')
    .argument('<file>')
    .argument('<key>')
    .action((file: string, key: string) => {
      const dump = read(file);
      const found = dump.entries.find((entry) => text(entry.key) === key || JSON.stringify(entry.key) === key);
      if (!found) throw new XdplabError('ERR_VALUE', `${file}: map '${dump.name}' has no key ${key}; 'xdplab map dump' lists its ${dump.entries.length} keys`);
      print([text(found.value)]);
    });
  map
    .command('diff')
    .description('what differs between two saved states of a map')
    .argument('<before>')
    .argument('<after>')
    .action((before: string, after: string) => print(difference(read(before), read(after))));
}

function difference(before: MapDump, after: MapDump): string[] {
  const old = new Map(before.entries.map(({ key, value }) => [text(key), text(value)]));
  const lines: string[] = [];
  for (const { key, value } of after.entries) {
    const was = old.get(text(key));
    old.delete(text(key));
    if (was === undefined) lines.push(paint('green', `+ ${text(key)}: ${text(value)}`));
    else if (was !== text(value)) lines.push(paint('yellow', `~ ${text(key)}: ${was} -> ${text(value)}`));
  }
  for (const [key, value] of old) lines.push(paint('red', `- ${key}: ${value}`));
  return lines.length === 0 ? ['no difference'] : lines;
}

function text(value: Value): string {
  if (typeof value !== 'object') return safe(String(value));
  if (Array.isArray(value)) return `[${value.map((item: Value) => text(item)).join(', ')}]`;
  return `{ ${Object.entries(value).map(([name, item]) => `${safe(name)}: ${text(item as Value)}`).join(', ')} }`;
}

function print(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

function jsonFiles(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith('.json')).toSorted();
  } catch {
    throw new XdplabError('ERR_FILE', `${folder}: cannot be listed; give the folder that replay --maps-out wrote`);
  }
}

function read(file: string): MapDump {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    throw new XdplabError('ERR_FILE', `${file}: cannot be read as JSON; give a file that replay --maps-out wrote`);
  }
  if (typeof parsed === 'object' && parsed !== null && 'entries' in parsed && Array.isArray(parsed.entries)) return parsed as MapDump;
  throw new XdplabError('ERR_FILE', `${file}: has no map entries; give a file that replay --maps-out wrote`);
}
