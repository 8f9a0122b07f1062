/** `xdplab map`: looks at the map contents that `replay --maps-out` saved. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { XdplabError } from '../errors.ts';
import { fileError } from '../packet/byte-source.ts';
import { sumCpus, type MapDump } from '../program/typed-map.ts';
import { paint, print, printJson, safe, table } from './terminal.ts';

type Value = MapDump['entries'][number]['key'];

interface MapFlags {
  readonly sum?: true;
  readonly json?: true;
}

export function addMap(program: Command): void {
  const map = program.command('map').description('look at map contents saved by replay --maps-out');
  const verb = (name: string, description: string, ...names: readonly string[]): Command => {
    const command = map.command(name).description(description).option('--json', 'as JSON');
    for (const argument of names) command.argument(argument);
    return command;
  };

  verb('list', 'the maps in a folder', '<folder>').action((folder: string, flags: MapFlags) => {
    const dumps = jsonFiles(folder).map((name) => read(join(folder, name)));
    const rows = dumps.map(({ name, type, entries, maxEntries }) => ({ name, type, entries: entries.length, maxEntries }));
    if (flags.json) printJson(rows);
    else printLines(table([['name', 'type', 'entries', 'max_entries'], ...rows.map((row) => [safe(row.name), safe(row.type), row.entries, row.maxEntries])]));
  });

  verb('dump', 'every entry of a map', '<file>')
    .option('--sum', 'add up the values of all CPUs')
    .action((file: string, flags: MapFlags) => {
      const { name, type, maxEntries, entries: all } = read(file);
      const entries = flags.sum ? all.map(({ key, value }) => ({ key, value: sumCpus(value) })) : all;
      if (flags.json) printJson(entries);
      else printLines([paint('bold', `${safe(name)}  ${safe(type)}, ${entries.length} of ${maxEntries} entries`), ...entries.map(({ key, value }) => `  ${text(key)}: ${text(value)}`)]);
    });

  verb('lookup', 'the value of a key, written as the dump writes it or as JSON', '<file>', '<key>')
    .option('--sum', 'add up the values of all CPUs')
    .action((file: string, key: string, flags: MapFlags) => {
      const { name, entries } = read(file);
      const found = entries.find((entry) => text(entry.key) === key || JSON.stringify(entry.key) === key);
      if (!found) throw new XdplabError('ERR_VALUE', `${file}: map '${name}' has no key ${key}; 'xdplab map dump' lists its ${entries.length} keys`);
      const value = flags.sum ? sumCpus(found.value) : found.value;
      if (flags.json) printJson(value);
      else print(text(value));
    });

  verb('diff', 'what differs between two saved states of a map', '<before>', '<after>').action((before: string, after: string, flags: MapFlags) => {
    const changes = difference(read(before), read(after));
    if (flags.json) printJson(changes);
    else printLines(changes.length === 0 ? ['no difference'] : changes.map(changeLine));
  });
}

interface Change {
  readonly key: Value;
  /** Undefined: not there. */
  readonly before?: Value;
  readonly after?: Value;
}

function difference(before: MapDump, after: MapDump): Change[] {
  const old = new Map(before.entries.map((entry) => [text(entry.key), entry]));
  const changes: Change[] = [];
  for (const { key, value } of after.entries) {
    const was = old.get(text(key));
    old.delete(text(key));
    if (was === undefined) changes.push({ key, after: value });
    else if (text(was.value) !== text(value)) changes.push({ key, before: was.value, after: value });
  }
  for (const { key, value } of old.values()) changes.push({ key, before: value });
  return changes;
}

function changeLine({ key, before, after }: Change): string {
  if (before === undefined) return paint('green', `+ ${text(key)}: ${text(after!)}`);
  if (after === undefined) return paint('red', `- ${text(key)}: ${text(before)}`);
  return paint('yellow', `~ ${text(key)}: ${text(before)} -> ${text(after)}`);
}

function text(value: Value): string {
  if (typeof value !== 'object' || value === null) return safe(String(value));
  if (Array.isArray(value)) return `[${value.map((item: Value) => text(item)).join(', ')}]`;
  return `{ ${Object.entries(value).map(([name, item]) => `${safe(name)}: ${text(item as Value)}`).join(', ')} }`;
}

function printLines(lines: readonly string[]): void {
  print(lines.join('\n'));
}

function jsonFiles(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith('.json')).toSorted();
  } catch {
    throw new XdplabError('ERR_FILE', `${folder}: cannot be listed; give the folder that replay --maps-out wrote`);
  }
}

function read(file: string): MapDump {
  let bytes: string;
  try {
    bytes = readFileSync(file, 'utf8');
  } catch (error) {
    throw fileError(file, error);
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(bytes);
  } catch {
    throw new XdplabError('ERR_FILE', `${file}: cannot be read as JSON; give a file that replay --maps-out wrote`);
  }
  if (isDump(parsed)) return parsed;
  throw new XdplabError('ERR_FILE', `${file}: has no map entries; give a file that replay --maps-out wrote`);
}

function isDump(value: unknown): value is MapDump {
  if (!isObject(value)) return false;
  const { name, type, maxEntries, entries } = value;
  if (typeof name !== 'string' || typeof type !== 'string' || typeof maxEntries !== 'number' || !Array.isArray(entries)) return false;
  return entries.every((entry: unknown) => isObject(entry) && entry['key'] !== undefined && entry['value'] !== undefined);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
