/**
 * `npm run mutants`: brings the mistakes of tests/mutants back, one at a time, into a copy of the tree, and says what
 * catches each. The exit status is 1 where one survives: that is a hole in the tests.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runScript } from '../../dataplane/cli/script.ts';
import { XdplabError } from '../../dataplane/errors.ts';
import { detect, type Verdict } from './detectors.ts';
import { readMutants, type Mutant } from './mutant.ts';

const USAGE = `usage: npm run mutants -- [options]

  --only <name>   this mutant; may be given more than once
  --minutes <n>   of fuzzing, for what the tests did not catch (10)
  --markdown      the table as docs/mutants.md has it: npm run --silent mutants -- --markdown > docs/mutants.md
`;

interface Row {
  readonly mutant: Mutant;
  readonly verdict: Verdict;
  readonly seconds: number;
}

/** The working tree, with what is not committed, but for what is ignored. */
function copyTree(root: string): string {
  const copy = mkdtempSync(join(tmpdir(), 'xdplab-mutants-'));
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 });
  for (const file of new Set(listed.split('\0'))) if (file !== '' && existsSync(join(root, file))) cpSync(join(root, file), join(copy, file));
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: 'string', multiple: true }, minutes: { type: 'string' }, markdown: { type: 'boolean' }, help: { type: 'boolean' } } });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return 0;
  }
  const root = process.cwd();
  const all = readMutants(root);
  const { only } = values;
  const unknown = only?.find((name) => !all.some((mutant) => mutant.name === name));
  if (unknown !== undefined) throw new XdplabError('ERR_USAGE', `--only ${unknown}: expected the name of a patch in tests/mutants`);
  const chosen = only === undefined ? all : all.filter(({ name }) => only.includes(name));
  const copy = copyTree(root);
  const rows: Row[] = [];
  try {
    for (const mutant of chosen) {
      const started = performance.now();
      execFileSync('git', ['apply', mutant.patch], { cwd: copy });
      const verdict = await detect(copy, mutant.room, Number(values.minutes ?? 10));
      execFileSync('git', ['apply', '--reverse', mutant.patch], { cwd: copy });
      const row = { mutant, verdict, seconds: Math.round((performance.now() - started) / 1000) };
      rows.push(row);
      process.stderr.write(`${rows.length}/${chosen.length} ${mutant.name}: ${outcome(verdict)} (${row.seconds} s)\n`);
    }
  } finally {
    rmSync(copy, { recursive: true });
  }
  process.stdout.write(values.markdown === true ? markdown(rows) : plain(rows));
  return rows.some(({ verdict }) => 'survived' in verdict) ? 1 : 0;
}

const outcome = (verdict: Verdict): string => ('survived' in verdict ? `SURVIVES ${verdict.survived}` : `caught by ${verdict.caughtBy}`);
const caught = (rows: readonly Row[]): number => rows.filter(({ verdict }) => 'caughtBy' in verdict).length;

function plain(rows: readonly Row[]): string {
  const lines = rows.map(({ mutant, verdict, seconds }) => `${mutant.name} (${mutant.room}, ${seconds} s)\n    ${mutant.sentence}\n    ${outcome(verdict)}\n`);
  return `${lines.join('')}${caught(rows)} of ${rows.length} caught\n`;
}

function markdown(rows: readonly Row[]): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
  const lines = rows.map(({ mutant, verdict, seconds }) => `| [${mutant.name}](../${mutant.patch}) | ${cell(mutant.sentence)} | ${cell('survived' in verdict ? `**survives** ${verdict.survived}` : verdict.caughtBy)} | ${seconds} |`);
  return `${HEAD}\n${caught(rows)} of ${rows.length} are caught.\n\n| mutant | what it brings back | caught by | seconds |\n|---|---|---|---|\n${lines.join('\n')}\n`;
}

const HEAD = `# Mistakes of the past, and what catches them here

Verifiers, JIT compilers, maps and readers of files have failed before, and how is known. Each patch under \`tests/mutants\`
brings one such mistake back into this tree. The tests of its room are then run, quick ones first, up to the first that
fails; for the verifier and the engines ten minutes of fuzzing against the kernel come last. A mutant that survives is a
hole in the tests. This table is what \`npm run mutants\` found; the time is that of a busy two-core machine.
`;

await runScript(main);
