/** The command line as a bundle, with the code that V8 made of it (dataplane/cli/start.cts). */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { REPOSITORY } from './run-cli.ts';

const START = join(REPOSITORY, 'dist/dataplane/cli/start.cjs');
const BUNDLE = join(REPOSITORY, 'dist/dataplane/bundle/lab.cjs');
const MODULES = join(REPOSITORY, 'dist/dataplane/cli/main.js');

const node = async (...args: readonly string[]): Promise<string> => (await promisify(execFile)(process.execPath, args)).stdout;

/** With the flags of V8 that are set before the bundle is read. */
const TAKES_KEPT_CODE = `
  if (process.versions.v8.startsWith('11.')) require('node:v8').${/setFlagsFromString\('[^']+'\)/.exec(readFileSync(START, 'utf8'))![0]};
  const { readFileSync } = require('node:fs');
  const [, file] = process.argv;
  const text = '(function (exports, require, module, __filename, __dirname) {' + readFileSync(file, 'latin1') + '\\n})';
  process.stdout.write(String(!new (require('node:vm').Script)(text, { filename: file, cachedData: readFileSync(file + '.code') }).cachedDataRejected));
`;

test('V8 takes the code that was kept of the bundle', async () => {
  expect(await node('-e', TAKES_KEPT_CODE, BUNDLE)).toBe('true');
});

test('a V8 that does not take it, since its flags are others, runs the bundle all the same', async () => {
  expect(await node('--no-opt', '-e', TAKES_KEPT_CODE, BUNDLE)).toBe('false');
  expect(await node('--no-opt', START, 'supported')).toBe(await node(MODULES, 'supported'));
});

test('all that decides whether a program is accepted is in the file that proofs are bound to', async () => {
  const others = (await readdir(dirname(BUNDLE))).filter((name) => name.endsWith('.cjs') && name !== basename(BUNDLE));
  expect(others.length).toBeGreaterThan(0);
  const rooms = /^\/\/ dataplane\/(?:verifier|bpf|maps|helpers|hooks)\//m;
  expect(await readFile(BUNDLE, 'latin1')).toMatch(rooms);
  for (const name of others) expect(await readFile(join(dirname(BUNDLE), name), 'latin1'), name).not.toMatch(rooms);
});

test('the bundle is ASCII, as it is read', async () => {
  expect((await readFile(BUNDLE)).findIndex((byte) => byte > 0x7f)).toBe(-1);
});
