/** The scripts of package.json that take options: a mistake is told in one line, as the command line tells it. */
import { execFile } from 'node:child_process';
import { expect, test } from 'vitest';
import { REPOSITORY } from './run-cli.ts';

const SCRIPTS = ['bench/main', 'bench/http', 'bench/stream', 'bench/page', 'bench/live', 'bench/verifying', 'traces/generate', 'tests/fuzz/main', 'tests/mutants/main', 'tests/domains/main'];

function run(script: string, ...args: readonly string[]): Promise<{ readonly status: unknown; readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolve) => execFile(process.execPath, [`dist/${script}.js`, ...args], { cwd: REPOSITORY }, (error, stdout, stderr) => resolve({ status: error === null ? 0 : error.code, stdout, stderr })));
}

test.each(SCRIPTS)('%s refuses an option that there is not', async (script) => {
  expect(await run(script, '--nonsense')).toEqual({ status: 2, stdout: '', stderr: "Unknown option '--nonsense'; --help says what there is\n" });
});

test.each(SCRIPTS.filter((script) => script.startsWith('bench/')))('%s refuses what is no number of rounds', async (script) => {
  expect(await run(script, '--rounds', 'few')).toEqual({ status: 2, stdout: '', stderr: '--rounds: found "few", expected a whole number from 1\n' });
});
