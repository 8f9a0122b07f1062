/** `xdplab map`: looks at the map contents that `replay --maps-out` saved. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
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

const SAME = 'no difference';
/** As diff(1). */
const DIFFERENT_STATUS = 1;

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

  verb('diff', 'what differs between two saved states of a map, or of all maps of two folders', '<before>', '<after>')
    .addHelpText('after', '\nExit status, as of diff(1): 0 no difference, 1 some, 2 trouble.')
    .action((before: string, after: string, flags: MapFlags) => {
      const isDifferent = asDiff(() => {
        const folders = [before, after].filter(isFolder);
        if (folders.length === 1) throw new XdplabError('ERR_USAGE', `map diff: ${folders[0]} is a folder, and the other is not; give two files or two folders`);
        return folders.length === 2 ? diffFolders(before, after, flags) : diffFiles(before, after, flags);
      });
      if (isDifferent) process.exitCode = DIFFERENT_STATUS;
    });
}

/** Status 1 says that there are differences, so that whatever fails has to be 2, the status of wrong usage. */
function asDiff<Result>(action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    if (error instanceof XdplabError && error.exitStatus === DIFFERENT_STATUS) throw new XdplabError('ERR_USAGE', error.message, { cause: error });
    throw error;
  }
}

/** Whether they differ. */
function diffFiles(before: string, after: string, flags: MapFlags): boolean {
  const changes = difference(read(before), read(after));
  if (flags.json) printJson(changes);
  else printLines(changes.length === 0 ? [SAME] : changes.map(changeLine));
  return changes.length > 0;
}

/** Maps are told apart by their files' names. */
function diffFolders(before: string, after: string, flags: MapFlags): boolean {
  const [old, fresh] = [jsonFiles(before), jsonFiles(after)];
  const maps = old.filter((file) => fresh.includes(file)).map((file) => ({ name: basename(file, '.json'), changes: difference(read(join(before, file)), read(join(after, file))) }));
  const onlyIn = (files: readonly string[], others: readonly string[]): string[] => files.filter((file) => !others.includes(file)).map((file) => basename(file, '.json'));
  const [onlyBefore, onlyAfter] = [onlyIn(old, fresh), onlyIn(fresh, old)];
  const changed = maps.filter(({ changes }) => changes.length > 0);
  const isDifferent = changed.length + onlyBefore.length + onlyAfter.length > 0;
  if (flags.json) {
    printJson({ maps, onlyBefore, onlyAfter });
    return isDifferent;
  }
  const lines = [
    ...changed.flatMap(({ name, changes }) => [paint('bold', safe(name)), ...changes.map((change) => `  ${changeLine(change)}`)]),
    ...onlyBefore.map((name) => paint('red', `only in ${safe(before)}: ${safe(name)}`)),
    ...onlyAfter.map((name) => paint('green', `only in ${safe(after)}: ${safe(name)}`)),
  ];
  const same = maps.length - changed.length;
  if (isDifferent) lines.push(`${same} of ${maps.length} maps that both hold are the same`);
  printLines(isDifferent ? lines : [SAME]);
  return isDifferent;
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

/** What cannot be looked at is no folder: reading it says why. */
function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function jsonFiles(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith('.json')).toSorted();
  } catch {
    throw new XdplabError('ERR_FILE', `${folder}: cannot be listed; give the folder that replay --maps-out wrote`);
  }
}

function read(file: string): MapDump {
  if (isFolder(file)) throw new XdplabError('ERR_FILE', `${file}: is a folder, expected the file of one map; 'xdplab map list' names those in it`);
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
