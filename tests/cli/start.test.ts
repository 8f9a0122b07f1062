/** The command line as a bundle, with the code that V8 made of it (dataplane/cli/start.cts). */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { ScratchFolder } from '../packet/crafted-capture.ts';
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
  process.stdout.write(String(!new (require('node:vm').Script)(text, { filename: file, cachedData: readFileSync(file + '.code').subarray(8) }).cachedDataRejected));
`;

test('V8 takes the code that was kept of the bundle', async () => {
  expect(await node('-e', TAKES_KEPT_CODE, BUNDLE)).toBe('true');
});

test('a V8 that does not take it, since its flags are others, runs the bundle all the same', async () => {
  expect(await node('--no-opt', '-e', TAKES_KEPT_CODE, BUNDLE)).toBe('false');
  expect(await node('--no-opt', START, 'supported')).toBe(await node(MODULES, 'supported'));
});

test('all that decides whether a program is accepted, and what it is compiled to, is in the file that both are bound to', async () => {
  const others = (await readdir(dirname(BUNDLE))).filter((name) => name.endsWith('.cjs') && name !== basename(BUNDLE));
  expect(others.length).toBeGreaterThan(0);
  const rooms = /^\/\/ dataplane\/(?:system|machine|wasm|verifier|bpf|maps|helpers|hooks|program|engine)\//m;
  expect(await readFile(BUNDLE, 'latin1')).toMatch(rooms);
  for (const name of others) expect(await readFile(join(dirname(BUNDLE), name), 'latin1'), name).not.toMatch(rooms);
});

test('the bundle is ASCII, as it is read', async () => {
  expect((await readFile(BUNDLE)).findIndex((byte) => byte > 0x7f)).toBe(-1);
});

describe('an installation elsewhere', () => {
  const scratch = new ScratchFolder();
  afterAll(() => scratch.remove());

  /** Whose file of the bundle, and its code, are what `change` makes of them. */
  async function installed(name: string, change: (text: Buffer, code: Buffer) => { readonly text?: Buffer; readonly code?: Buffer }): Promise<string> {
    const folder = join(scratch.path, name);
    const [bundle, cli] = [join(folder, 'dist/dataplane/bundle'), join(folder, 'dist/dataplane/cli')];
    await mkdir(cli, { recursive: true });
    await cp(dirname(BUNDLE), bundle, { recursive: true });
    await cp(START, join(cli, 'start.cjs'));
    await cp(join(REPOSITORY, 'package.json'), join(folder, 'package.json'));
    await symlink(join(REPOSITORY, 'node_modules'), join(folder, 'node_modules'));
    const file = join(bundle, basename(BUNDLE));
    const { text, code } = change(await readFile(file), await readFile(`${file}.code`));
    if (text !== undefined) await writeFile(file, text);
    if (code !== undefined) await writeFile(`${file}.code`, code);
    return join(cli, 'start.cjs');
  }

  const help = async (start: string): Promise<string> => node(start, 'replay', '--help');

  test('runs where its path has spaces', async () => {
    expect(await help(await installed('a b', () => ({})))).toBe(await help(START));
  });

  test('runs the text that is there, not the code of another one as long', async () => {
    const start = await installed('other', (text) => ({ text: Buffer.from(text.toString('latin1').replaceAll('stop after this many packets', 'STOP AFTER THIS MANY PACKETS'), 'latin1') }));
    expect(await help(start)).toContain('STOP AFTER THIS MANY PACKETS');
  });

  test('does not run code that is damaged', async () => {
    const start = await installed('damaged', (_, code) => ({ code: Buffer.concat([code.subarray(0, code.length / 2), Buffer.alloc(code.length - Math.floor(code.length / 2), 0xff)]) }));
    expect(await help(start)).toBe(await help(START));
  });

  test.each([0, 3, 8, 100])('does not run the first %i bytes of code', async (length) => {
    const start = await installed(`first-${length}`, (_, code) => ({ code: code.subarray(0, length) }));
    expect(await help(start)).toBe(await help(START));
  });
});
