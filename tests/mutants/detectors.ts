/**
 * What may catch a mutant, in the order in which it is tried: the tests of its room, quick ones first, then the fuzzer
 * where it asks that room anything. Each runs in a copy of the tree that is wrong.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

interface Stage {
  /** Folders and files of tests; what an earlier stage ran whole is not run again. */
  readonly places: readonly string[];
  /** Only tests whose names it matches. */
  readonly names?: string;
}

const STAGES: Readonly<Record<string, readonly Stage[]>> = {
  verifier: [
    // Two cases of a million instructions take most of the time.
    { places: ['tests/verifier/our-answers.test.ts'], names: '^(?!.*for its length)' },
    { places: ['tests/verifier/scalar.test.ts', 'tests/verifier/tnum.test.ts', 'tests/verifier/subprograms.test.ts', 'tests/verifier/admit.test.ts'] },
    { places: ['tests/verifier'] },
    { places: ['tests/soundness', 'tests/fuzz'] },
  ],
  engine: [{ places: ['tests/engine/jit-arithmetic.test.ts', 'tests/engine/wasm-engine.test.ts', 'tests/engine/jit-control-flow.test.ts', 'tests/engine/jit-calls.test.ts'] }, { places: ['tests/engine'] }],
  maps: [{ places: ['tests/maps'] }, { places: ['tests/helpers'] }],
  bpf: [{ places: ['tests/bpf'] }],
  packet: [{ places: ['tests/packet'] }],
};
/** Cases asked of the running kernel, which is no mutant. */
const ABOUT_LINUX: ReadonlySet<string> = new Set(['tests/verifier/cases.test.ts']);
const FUZZED: ReadonlySet<string> = new Set(['verifier', 'engine']);
const FUZZ_SEED = 1;
/** Of one stage. A mutant may well not end. */
const PATIENCE_MS = 15 * 60_000;

/** What it was caught by, or that it was not. */
export type Verdict = { readonly caughtBy: string } | { readonly survived: string };

interface Ended {
  readonly output: string;
  readonly status: number | null;
}

/** `told` sees what it writes, line by line, and ends it by answering true. */
function run(folder: string, args: readonly string[], told: (line: string) => boolean = () => false): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    const patience = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
    let output = '';
    let rest = '';
    const see = (chunk: Buffer): void => {
      output += chunk.toString();
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop()!;
      if (lines.some(told)) child.kill();
    };
    child.stdout.on('data', see);
    child.stderr.on('data', see);
    child.on('close', (status) => {
      clearTimeout(patience);
      resolve({ output, status });
    });
  });
}

interface TestReport {
  readonly testResults: readonly { readonly name: string; readonly status: string; readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[] }[];
}

/** The first that fails. */
async function failingTest(folder: string, files: readonly string[], names: string): Promise<string | undefined> {
  const report = join(folder, 'mutant-report.json');
  rmSync(report, { force: true });
  const { status, output } = await run(folder, ['node_modules/vitest/vitest.mjs', 'run', '--bail', '1', '--testTimeout', String(PATIENCE_MS), '--reporter', 'json', '--outputFile', report, '--testNamePattern', names, ...files]);
  if (status === 0) return undefined;
  if (status === null) return `the tests, which do not end: ${files.join(', ')}`;
  const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as TestReport;
  for (const { name, assertionResults } of testResults) {
    const failed = assertionResults.find((each) => each.status === 'failed');
    if (failed !== undefined) return `${name.slice(folder.length + 1)}: ${failed.fullName}`;
  }
  const broken = testResults.find((each) => each.status === 'failed');
  if (broken === undefined) throw new Error(`vitest ended with ${status} and reports no failure:\n${output}`);
  return `${broken.name.slice(folder.length + 1)}, which cannot be run`;
}

/** In how many programs the fuzzer finds that something differs. */
async function fuzz(folder: string, minutes: number): Promise<Verdict> {
  await run(folder, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json']);
  let programs = '';
  let different = false;
  const { status, output } = await run(folder, ['dist/tests/fuzz/main.js', '--minutes', String(minutes), '--seed', String(FUZZ_SEED)], (line) => {
    const [, count, mismatches] = /^(\d+) programs,.* (\d+) mismatches$/.exec(line) ?? [];
    if (count !== undefined) programs = count;
    different ||= Number(mismatches ?? 0) > 0;
    return different;
  });
  if (different || status === 1) return { caughtBy: `fuzzing, within ${programs} programs` };
  if (status === 0) return { survived: `${programs} programs of fuzzing` };
  return { survived: `the tests; fuzzing ended with ${output.trim().split('\n').at(-1) ?? ''}` };
}

function testFiles(folder: string, place: string): string[] {
  if (place.endsWith('.test.ts')) return [place];
  return readdirSync(join(folder, place), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.test.ts')).map((file) => `${place}/${file}`).toSorted();
}

/** `folder`: a tree with the mutant in it. */
export async function detect(folder: string, room: string, fuzzMinutes: number): Promise<Verdict> {
  const stages = STAGES[room];
  if (stages === undefined) throw new Error(`no tests are known that would catch a mutant of dataplane/${room}; expected one of ${Object.keys(STAGES).join(', ')}`);
  const done = new Set(ABOUT_LINUX);
  for (const { places, names } of stages) {
    const files = places.flatMap((place) => testFiles(folder, place)).filter((file) => !done.has(file));
    const caughtBy = await failingTest(folder, files, names ?? '');
    if (caughtBy !== undefined) return { caughtBy };
    if (names === undefined) for (const file of files) done.add(file);
  }
  return FUZZED.has(room) && fuzzMinutes > 0 ? fuzz(folder, fuzzMinutes) : { survived: 'the tests' };
}
