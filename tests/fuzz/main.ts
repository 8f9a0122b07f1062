/**
 * `npm run fuzz -- --minutes 10 --seed 1`: random programs, asked of the running Linux and of our verifier. What both
 * accept is run by the kernel and by both engines, and what we accept by the interpreter that checks (soundness/).
 * Progress goes to stderr, the table of answers to stdout; the exit status is 1 where an answer differs. Programs on
 * which answers differ are made small, and written to `--out`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { MapSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { runScript } from '../../dataplane/cli/script.ts';
import { whyNobodysPrograms } from '../../dataplane/engine/kernel/rights.ts';
import { XdplabError } from '../../dataplane/errors.ts';
import { leastPrivileged } from '../../dataplane/verifier/user.ts';
import { Agreement, CELLS, type Mismatch } from './agreement.ts';
import { caseText } from './case-text.ts';
import { Executions } from './executions.ts';
import { FIXED_MAPS } from './fixed-maps.ts';
import { generateProgram } from './generate.ts';
import { KernelVerdicts } from './kernel-verdicts.ts';
import { mutateProgram } from './mutate.ts';
import { readObjectPrograms } from './object-programs.ts';
import { ourVerifier } from './our-verdict.ts';
import { Random } from './random.ts';

const USAGE = `usage: npm run fuzz -- [options]

  --minutes <n>    how long (1)
  --programs <n>   or how many, whichever comes first
  --seed <n>       what the programs are made of (the time)
  --only <kind>    structured, mutated or objects
  --run-every <n>  run one of n programs that are accepted (1): for many programs, since running takes most of the time
  --unprivileged   as loaded by the least user whom Linux lets load them (kernel.unprivileged_bpf_disabled has to be 0); nothing is run
  --words          compare what refusals say, too; slower
  --out <folder>   where programs go on which answers differ, as cases of tests/verifier
`;

const KINDS = ['structured', 'mutated', 'objects'] as const;
type Kind = (typeof KINDS)[number];
/** Each of them takes as long as a hundred others. */
const OBJECTS_EVERY = 200;
const PARENTS = 100;
const PROGRESS_MS = 5000;

function main(): number {
  const { values } = parseArgs({
    options: { minutes: { type: 'string' }, programs: { type: 'string' }, seed: { type: 'string' }, only: { type: 'string' }, out: { type: 'string' }, 'run-every': { type: 'string' }, words: { type: 'boolean' }, unprivileged: { type: 'boolean' }, help: { type: 'boolean' } },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return 0;
  }
  const seed = Number(values.seed ?? Date.now() % 1_000_000) >>> 0;
  const only = values.only as Kind | undefined;
  if (only !== undefined && !KINDS.includes(only)) throw new XdplabError('ERR_USAGE', `--only ${String(only)}: expected structured, mutated or objects`);
  const untilMs = Date.now() + Number(values.minutes ?? 1) * 60_000;
  const most = Number(values.programs ?? Infinity);
  const { out } = values;
  if (out !== undefined) mkdirSync(out, { recursive: true });

  const objects = readObjectPrograms(process.cwd());
  const maps = new Map<string, MapSpec>([...FIXED_MAPS, ...objects.maps.map((map) => [map.name, map] as const)]);
  const whyNot = values.unprivileged === true ? whyNobodysPrograms() : undefined;
  if (whyNot !== undefined) throw new XdplabError('ERR_PRIVILEGE', `--unprivileged: ${whyNot}`);
  const userOf = values.unprivileged === true ? leastPrivileged : undefined;
  const kernel = new KernelVerdicts(maps.values(), userOf);
  process.stderr.write(`seed ${seed}\n`);
  let written = 0;
  const told = (mismatch: Mismatch): void => {
    process.stderr.write(`${mismatch.kind}: ${mismatch.group}\n`);
    if (out !== undefined) writeFileSync(join(out, `${seed}-${++written}.cases`), caseText(mismatch, seed));
  };
  const agreement = new Agreement(kernel, ourVerifier, maps, new Executions(kernel.maps), told, { words: values.words === true, runEvery: Number(values['run-every'] ?? 1), ...(userOf === undefined ? {} : { userOf }) });

  const parents: ProgramSpec[] = [];
  const random = new Random(seed, -1);
  let toldMs = Date.now();
  for (let index = 0; index < most && Date.now() < untilMs; index++) {
    const kind = only ?? (index % OBJECTS_EVERY === 0 ? 'objects' : index % 2 === 0 ? 'structured' : 'mutated');
    if (kind === 'objects') {
      agreement.check(mutateProgram(random, random.pick(objects.programs)), random, false);
    } else if (kind === 'mutated' && parents.length > 0) {
      agreement.check(mutateProgram(random, random.pick(parents)), random, false);
      // New parents now and then.
      if (index % 10 === 0) parents.splice(random.below(parents.length), 1);
    } else {
      const { spec, steady } = generateProgram(seed, index, userOf !== undefined);
      if (agreement.check(spec, random, steady) && parents.length < PARENTS) parents.push(spec);
    }
    if (Date.now() - toldMs < PROGRESS_MS) continue;
    toldMs = Date.now();
    process.stderr.write(`${index + 1} programs, ${kernel.loaded} loads, ${agreement.executed} run, ${agreement.mismatches} mismatches\n`);
  }
  kernel.close();
  process.stdout.write(`${table(agreement, seed)}\n`);
  return agreement.mismatches === 0 ? 0 : 1;
}

function table({ cells, groups, deliberate, dangerous, unanswered, executed, checked, tooLong, otherRefusals, sameWalk }: Agreement, seed: number): string {
  const rows = CELLS.map((cell) => `${String(cells.get(cell)).padStart(9)}  ${cell}`);
  const causes = [...groups].toSorted(([, a], [, b]) => b - a).map(([group, count]) => `${String(count).padStart(9)}  ${group}`);
  const others = [...otherRefusals].toSorted(([, a], [, b]) => b - a);
  const otherwise = others.reduce((sum, [, count]) => sum + count, 0);
  return [
    `seed ${seed}`,
    ...rows,
    `${String(dangerous).padStart(9)}  not asked, because the kernel might not survive it (deliberate.ts)`,
    `${String(unanswered).padStart(9)}  not answered, because the kernel had no memory`,
    `${String(executed).padStart(9)}  run in the kernel and by both engines`,
    `${String(checked).padStart(9)}  run here, and every instruction held against what the verifier found`,
    `${String(tooLong).padStart(9)}  not so, because too much was found of them`,
    `${String(sameWalk).padStart(9)}  accepted by both over as many instructions`,
    ...Array.from(deliberate, ([{ reason }, count]) => `${String(count).padStart(9)}  answered otherwise on purpose: ${reason}`),
    `${String(otherwise).padStart(9)}  refused by both in another way`,
    ...others.map(([key, count]) => `${String(count).padStart(9)}    ${key}`),
    ...causes,
  ].join('\n');
}

await runScript(main);
