/**
 * `npm run build:programs`: compiles programs/*.bpf.c into the objects beside them and records how in
 * objects.lock.json. With `--check` nothing is written: a fresh build elsewhere is compared with what is committed,
 * one line per difference, and any difference fails.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { XdplabError } from '../dataplane/errors.ts';
import { LOCK_FILE, buildObjects, compareWithBuild, compareWithLock, programsDirectory } from './objects.ts';

function build(directory: string): void {
  const lock = buildObjects(directory, directory);
  writeFileSync(join(directory, LOCK_FILE), `${JSON.stringify(lock, null, 2)}\n`);
  for (const [name, { sha256 }] of Object.entries(lock.objects)) console.log(`${name}  ${sha256.slice(0, 16)}`);
}

function check(directory: string): number {
  const scratch = mkdtempSync(join(tmpdir(), 'xdplab-programs-'));
  try {
    const differences = [...new Set([...compareWithLock(directory), ...compareWithBuild(directory, buildObjects(directory, scratch))])];
    for (const difference of differences) console.error(difference);
    if (differences.length > 0) console.error('Run `npm run build:programs` and commit the result.');
    return differences.length > 0 ? 1 : 0;
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

const options = process.argv.slice(2);
try {
  const unknown = options.find((option) => option !== '--check');
  if (unknown !== undefined) throw new XdplabError('ERR_USAGE', `build: unknown option ${unknown}; expected --check or nothing`);
  if (options.includes('--check')) process.exitCode = check(programsDirectory());
  else build(programsDirectory());
} catch (error) {
  if (!(error instanceof XdplabError)) throw error;
  console.error(error.message);
  process.exitCode = error.exitStatus;
}
