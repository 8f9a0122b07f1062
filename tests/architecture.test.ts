/** The import law of the tree: a file imports its own room or a lower floor, never a sibling room, never up. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const DATAPLANE = join(ROOT, 'dataplane');

/** From the ground up; rooms on one line are siblings. Files beside the rooms count as rooms of their own. */
const FLOORS = [
  ['errors.ts'],
  ['address.ts', 'random.ts'],
  ['system'],
  ['machine'],
  ['wasm'],
  ['bpf', 'packet'],
  ['maps'],
  ['helpers'],
  ['hooks'],
  ['program'],
  ['verifier', 'engine', 'devices'],
  ['soundness'],
  ['pipeline'],
  ['insight', 'live'],
  ['measure', 'server'],
  ['index.ts', 'cli'],
] as const;

const floorOf = new Map<string, number>(FLOORS.flatMap((rooms, floor) => rooms.map((room) => [room, floor] as const)));

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}

const roomOf = (path: string): string => relative(DATAPLANE, path).split('/')[0]!;

function importsOf(path: string): string[] {
  const found = readFileSync(path, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g);
  return Array.from(found, ([, target]) => normalize(join(dirname(path), target!)));
}

test('every file imports its own room or a lower floor', () => {
  const broken: string[] = [];
  for (const path of sources(DATAPLANE)) {
    const room = roomOf(path);
    for (const target of importsOf(path)) {
      const other = roomOf(target);
      if (other === room) continue;
      const [from, to] = [floorOf.get(room), floorOf.get(other)];
      if (from === undefined || to === undefined || to >= from) broken.push(`${relative(ROOT, path)} imports ${relative(ROOT, target)}`);
    }
  }
  expect(broken).toEqual([]);
});

test('the page knows the server by what it sends: of the dataplane it imports the decoder of verdicts only', () => {
  const web = join(ROOT, 'web', 'src');
  const sourcesOfPage = readdirSync(web, { encoding: 'utf8' }).filter((name) => /\.tsx?$/.test(name)).map((name) => join(web, name));
  const outside = new Set(sourcesOfPage.flatMap((path) => importsOf(path).filter((target) => relative(web, target).startsWith('..')).map((target) => relative(ROOT, target))));
  expect([...outside]).toEqual(['dataplane/server/verdict-decoder.ts']);
});

test('nothing in the dataplane imports programs, traces, bench or tests', () => {
  const outside = sources(DATAPLANE).flatMap((path) => importsOf(path).filter((target) => relative(DATAPLANE, target).startsWith('..')));
  expect(outside).toEqual([]);
});
