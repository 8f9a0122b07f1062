/**
 * The bundled programs, each broken on purpose in several ways. `broken/<program>/<name>.patch` says in its first line
 * what is wrong and changes the sources of programs/; the object beside it is what they then compile to, and `.txt` is
 * what `xdplab verify` says of it. broken/objects.lock.json records what the objects were made of.
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileObject, compilerVersion, FLAGS, hashFile, hashSources, programsDirectory, runTool, type LockedObject, type ObjectLock } from '../../programs/objects.ts';

export const BROKEN_DIRECTORY = join(programsDirectory(), '../tests/insight/broken');
const LOCK_PATH = join(BROKEN_DIRECTORY, 'objects.lock.json');

export interface BrokenProgram {
  /** The bundled program: `xdp_lb`. */
  readonly program: string;
  /** `xdp_lb/stale-pointer` */
  readonly name: string;
  /** What is wrong, in a sentence. */
  readonly sentence: string;
  /** Refused only to those who may not read kernel memory. */
  readonly unprivileged: boolean;
  readonly patch: string;
  readonly object: string;
  /** The golden explanation. */
  readonly text: string;
}

export function brokenPrograms(): BrokenProgram[] {
  const patches = readdirSync(BROKEN_DIRECTORY, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.patch')).toSorted();
  return patches.map((path) => {
    const name = path.replace(/\.patch$/, '').replaceAll('\\', '/');
    const base = join(BROKEN_DIRECTORY, name);
    const patch = `${base}.patch`;
    const sentence = readFileSync(patch, 'utf8').split('\n', 1)[0]!;
    return { program: name.split('/')[0]!, name, sentence, unprivileged: sentence.includes('without CAP_PERFMON'), patch, object: `${base}.bpf.o`, text: `${base}.txt` };
  });
}

/** Patches a copy of the bundled sources and compiles it into the object at `path`. */
export function buildBroken({ program, patch }: BrokenProgram, path: string): void {
  const sources = mkdtempSync(join(tmpdir(), 'xdplab-broken-'));
  try {
    cpSync(programsDirectory(), sources, { recursive: true });
    runTool(sources, 'git', ['apply', patch]);
    compileObject(sources, `${program}.bpf.c`, path);
  } finally {
    rmSync(sources, { recursive: true });
  }
}

/** What the objects of BROKEN_DIRECTORY are made of now. */
export function brokenLock(): ObjectLock {
  const objects = brokenPrograms().map(({ program, name, patch, object }): [string, LockedObject] => [
    `${name}.bpf.o`,
    { sources: { [`${name}.patch`]: hashFile(patch), ...hashSources(programsDirectory(), `${program}.bpf.c`) }, sha256: hashFile(object) },
  ]);
  return { compiler: compilerVersion(), flags: FLAGS, objects: Object.fromEntries(objects) };
}

export const lockedBroken = (): ObjectLock => JSON.parse(readFileSync(LOCK_PATH, 'utf8')) as ObjectLock;

/** Builds all anew: `XDPLAB_RECORD=1 npx vitest run tests/insight/explain-refusal.test.ts`; with `-u` the texts too. */
export function rebuildBroken(): void {
  for (const each of brokenPrograms()) buildBroken(each, each.object);
  writeFileSync(LOCK_PATH, `${JSON.stringify(brokenLock(), null, 2)}\n`);
}
