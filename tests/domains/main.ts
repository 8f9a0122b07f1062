/**
 * `npm run domains`: the operators of the verifier's numbers, gone through exhaustively where that is possible. A line
 * for each to stdout as it is done, with how many operands were looked at and seconds of the processor; the exit status
 * is 1 where a member was lost, or less was said than Linux says.
 */
import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runScript } from '../../dataplane/cli/script.ts';
import { FULL, SMALL, stepsFor, type Step } from './plan.ts';
import { isGood, type Row } from './row.ts';

const USAGE = `usage: npm run domains -- [options]

  --only <part>     bits, intervals, deductions or branches
  --operator <op>   of pairs of intervals only add, sub, mul, and, or or xor
  --jobs <n>        processes at a time; one for each processor if not given
  --small           as the tests have it: a few bits, in seconds
`;

/** A step that was run, in seconds of the processor whatever else the machine does. */
interface Done {
  readonly row: Row;
  readonly seconds: number;
}

const processorSeconds = (): number => process.cpuUsage().user / 1e6;

/** What was forked runs the steps that it is asked for by number. */
function serve(steps: readonly Step[]): void {
  process.on('message', (index: number) => {
    const begun = processorSeconds();
    const row = steps[index]!.run();
    process.send!({ row, seconds: processorSeconds() - begun } satisfies Done);
  });
}

/** Runs all steps, and answers as each is done. */
async function runAll(count: number, jobs: number, done: (done: Done) => void): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: Math.min(jobs, count) }, () => new Promise<void>((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), process.argv.slice(2));
    const ask = (): void => {
      if (next < count) child.send(next++);
      else child.disconnect();
    };
    child.on('message', (message: Done) => {
      done(message);
      ask();
    });
    child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`a process ended with status ${code}`))));
    ask();
  })));
}

function lineOf({ row, seconds }: Done): string {
  const exactness = row.inexact === undefined ? '' : row.inexact === 0 ? ', exact' : `, exact but for ${row.inexact.toLocaleString('en')}`;
  const said = row.wrong === undefined ? `sound${exactness}` : `NOT SOUND: ${row.wrong}`;
  return `${row.looked.toLocaleString('en').padStart(13)}  ${seconds.toFixed(1).padStart(6)} s  ${row.what}: ${said}${isGood(row) || row.wrong !== undefined ? '' : ' NOT EXACT'}\n`;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: 'string' }, operator: { type: 'string' }, jobs: { type: 'string' }, small: { type: 'boolean' }, help: { type: 'boolean' } } });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return 0;
  }
  const steps = stepsFor(values.small === true ? SMALL : FULL).filter(({ part, operator }) => (values.only ?? part) === part && (values.operator ?? operator) === operator);
  const jobs = Number(values.jobs ?? availableParallelism());
  if (steps.length === 0 || !(jobs >= 1)) {
    process.stderr.write(USAGE);
    return 2;
  }
  if (process.send !== undefined) {
    serve(steps);
    return 0;
  }
  let [looked, seconds, bad] = [0, 0, 0];
  await runAll(steps.length, jobs, (done) => {
    looked += done.row.looked;
    seconds += done.seconds;
    if (!isGood(done.row)) bad++;
    process.stdout.write(lineOf(done));
  });
  process.stdout.write(`${looked.toLocaleString('en')} looked at in ${Math.round(seconds)} s, ${bad === 0 ? 'nothing' : bad} wrong\n`);
  return bad === 0 ? 0 : 1;
}

await runScript(main);
