/**
 * `npm run domains`: the operators of the verifier's numbers, gone through exhaustively where that is possible. A line
 * for each to stdout as it is done, with how many operands were looked at and seconds of the processor; the exit status is 1 where a member was lost, or less was said than Linux says.
 */
import { parseArgs } from 'node:util';
import { FULL, SMALL, stepsFor } from './plan.ts';
import { isGood } from './row.ts';

const USAGE = `usage: npm run domains -- [options]

  --only <part>   bits, intervals, deductions or branches
  --small         as the tests have it: a few bits, in seconds
`;

/** Whatever else the machine does. */
const processorSeconds = (): number => process.cpuUsage().user / 1e6;

function main(): number {
  const { values } = parseArgs({ options: { only: { type: 'string' }, small: { type: 'boolean' }, help: { type: 'boolean' } } });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return 0;
  }
  const steps = stepsFor(values.small === true ? SMALL : FULL).filter(({ part }) => values.only === undefined || values.only === part);
  if (steps.length === 0) {
    process.stderr.write(`--only ${values.only}: expected bits, intervals, deductions or branches\n`);
    return 2;
  }
  let [looked, bad] = [0, 0];
  for (const { run } of steps) {
    const begun = processorSeconds();
    const row = run();
    looked += row.looked;
    if (!isGood(row)) bad++;
    const exactness = row.inexact === undefined ? '' : row.inexact === 0 ? ', exact' : `, exact but for ${row.inexact.toLocaleString('en')}`;
    process.stdout.write(`${row.looked.toLocaleString('en').padStart(13)}  ${(processorSeconds() - begun).toFixed(1).padStart(6)} s  ${row.what}: ${row.wrong === undefined ? `sound${exactness}` : `NOT SOUND: ${row.wrong}`}${isGood(row) || row.wrong !== undefined ? '' : ' NOT EXACT'}\n`);
  }
  process.stdout.write(`${looked.toLocaleString('en')} looked at in ${Math.round(processorSeconds())} s, ${bad === 0 ? 'nothing' : bad} wrong\n`);
  return bad === 0 ? 0 : 1;
}

process.exitCode = main();
