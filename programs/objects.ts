/**
 * Compiles the bundled programs, and tells whether the committed objects are what their sources give.
 *
 * An object is a function of its sources, the compiler and the flags: no system header is read, no path of this
 * machine enters the debug information, and DWARF is stripped (BTF stays). `objects.lock.json` records all three,
 * so that a change of a source is noticed even where there is no compiler.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { XdplabError } from '../dataplane/errors.ts';

export const LOCK_FILE = 'objects.lock.json';

const TOOLS = [
  { command: 'clang-19', package: 'clang-19' },
  { command: 'llvm-strip-19', package: 'llvm-19' },
] as const;

export const FLAGS = [
  '-target', 'bpf',
  '-mcpu=v3',
  '-O2',
  '-g', // BTF is made from DWARF
  '-nostdinc',
  '-ffreestanding',
  '-fno-addrsig',
  // The folder is the working directory, wherever it really is: no path enters the object, and the compiler still
  // finds the sources when it copies their lines into BTF.
  '-fdebug-compilation-dir=.',
  '-Wall', '-Wextra', '-Werror',
] as const;

export interface LockedObject {
  /** SHA-256 of each file the object is made from, by path below programs/. */
  readonly sources: Readonly<Record<string, string>>;
  readonly sha256: string;
}

export interface ObjectLock {
  readonly compiler: string;
  readonly flags: readonly string[];
  readonly objects: Readonly<Record<string, LockedObject>>;
}

/** The folder with the C sources, seen from programs/*.ts as well as from dist/programs/*.js. */
export function programsDirectory(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) {
    const parent = dirname(directory);
    if (parent === directory) throw new XdplabError('ERR_FILE', 'programs: no package.json above this file. Run from a checkout.');
    directory = parent;
  }
  return join(directory, 'programs');
}

/** The tools that building needs and this machine lacks, each with the package that brings it. */
export function missingTools(): string[] {
  return TOOLS.filter(({ command }) => spawnSync(command, ['--version']).status !== 0).map(
    ({ command, package: name }) => `${command} is missing: apt-get install ${name}`,
  );
}

/** `xdp_lb.bpf.c` and its like, sorted. */
export function programSources(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.endsWith('.bpf.c')).toSorted();
}

/** Compiles every program into `output`; says what was built, in the form of the lock file. */
export function buildObjects(directory: string, output: string): ObjectLock {
  const missing = missingTools();
  if (missing.length > 0) throw new XdplabError('ERR_FILE', missing.join('; '));
  mkdirSync(output, { recursive: true });
  const objects: Record<string, LockedObject> = {};
  for (const source of programSources(directory)) {
    const name = objectName(source);
    const path = join(output, name);
    compileObject(directory, source, path);
    objects[name] = { sources: hashSources(directory, source), sha256: hashFile(path) };
  }
  return { compiler: compilerVersion(), flags: FLAGS, objects };
}

/** Compiles one source of `directory` into the object at `path`. */
export function compileObject(directory: string, source: string, path: string): void {
  runTool(directory, 'clang-19', [...FLAGS, `-ffile-prefix-map=${directory}=.`, '-c', source, '-o', path]);
  runTool(directory, 'llvm-strip-19', ['-g', path]);
}

/** One line per committed file that is not what the lock file says. Needs no compiler. */
export function compareWithLock(directory: string): string[] {
  const lock = readLock(directory);
  const differences: string[] = [];
  const sources = programSources(directory);
  for (const source of sources) {
    const name = objectName(source);
    const locked = lock.objects[name];
    if (!locked) {
      differences.push(`${source} has no object in ${LOCK_FILE}`);
      continue;
    }
    differences.push(...compareHashes(name, locked.sources, hashSources(directory, source)));
    const path = join(directory, name);
    if (!existsSync(path)) differences.push(`${name} is missing`);
    else if (hashFile(path) !== locked.sha256) differences.push(`${name} is not the object that ${LOCK_FILE} records`);
  }
  const names = new Set(sources.map(objectName));
  for (const name of Object.keys(lock.objects)) {
    if (!names.has(name)) differences.push(`${name} is in ${LOCK_FILE}, but its source is gone`);
  }
  return differences;
}

/** One line per way in which a fresh build differs from the committed objects. */
export function compareWithBuild(directory: string, built: ObjectLock): string[] {
  const lock = readLock(directory);
  const differences: string[] = [];
  if (JSON.stringify(lock.flags) !== JSON.stringify(built.flags)) differences.push(`${LOCK_FILE} records other compiler flags`);
  for (const [name, { sha256 }] of Object.entries(built.objects)) {
    const path = join(directory, name);
    if (!existsSync(path)) differences.push(`${name} is missing`);
    else if (hashFile(path) !== sha256) differences.push(`${name} differs from what its sources compile to`);
  }
  if (differences.length > 0 && lock.compiler !== built.compiler) {
    differences.push(`the objects were built with ${lock.compiler}; here is ${built.compiler}`);
  }
  return differences;
}

function readLock(directory: string): ObjectLock {
  const path = join(directory, LOCK_FILE);
  if (!existsSync(path)) throw new XdplabError('ERR_FILE', `${path} is missing. Build the programs.`);
  return JSON.parse(readFileSync(path, 'utf8')) as ObjectLock;
}

function objectName(source: string): string {
  return source.replace(/\.c$/, '.o');
}

function compareHashes(object: string, locked: Readonly<Record<string, string>>, found: Readonly<Record<string, string>>): string[] {
  const paths = [...new Set([...Object.keys(locked), ...Object.keys(found)])];
  return paths.filter((path) => locked[path] !== found[path]).map((path) => `${path} changed since ${object} was built`);
}

/** A source and all it includes. */
export function hashSources(directory: string, source: string): Record<string, string> {
  const hashes: Record<string, string> = {};
  const visit = (path: string): void => {
    if (path in hashes) return;
    hashes[path] = hashFile(join(directory, path));
    const text = readFileSync(join(directory, path), 'utf8');
    for (const match of text.matchAll(/^#include "([^"]+)"$/gm)) visit(normalize(join(dirname(path), match[1] ?? '')));
  };
  visit(source);
  return Object.fromEntries(Object.entries(hashes).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

export function hashFile(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

export function compilerVersion(): string {
  return spawnSync('clang-19', ['--version'], { encoding: 'utf8' }).stdout.split('\n', 1)[0] ?? '';
}

export function runTool(cwd: string, command: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new XdplabError('ERR_FILE', `${command} ${args.join(' ')}: ${stderr.trim()}`);
}
