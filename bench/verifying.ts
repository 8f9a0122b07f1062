/**
 * `npm run bench:verify`: our verifier and the running Linux's, on the same programs, one after the other in every round.
 * Linux's time is its own (`verification time … usec` of its log), ours is what `xdplab verify` reports. Needs Linux and root.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { assemble } from '../dataplane/bpf/assemble.ts';
import type { Btf } from '../dataplane/bpf/btf.ts';
import { loadObject } from '../dataplane/bpf/object.ts';
import type { MapSpec, ProgramSpec } from '../dataplane/bpf/spec.ts';
import { runScript, wholeFrom1 } from '../dataplane/cli/script.ts';
import { table } from '../dataplane/cli/terminal.ts';
import { kernelVerdict } from '../dataplane/engine/kernel/kernel-verdict.ts';
import { XdplabError } from '../dataplane/errors.ts';
import { verifyProgram } from '../dataplane/verifier/verify.ts';
import { programsDirectory } from '../programs/objects.ts';
import { machineFacts, machineLine } from '../dataplane/measure/machine-facts.ts';
import { summarize, type SampleSummary } from '../dataplane/measure/sample-summary.ts';

const USAGE = `usage: npm run bench:verify -- [options]

  --rounds <n>    turns of each after the first (9)
  --json <file>   write the results there
`;

const OBJECTS = ['xdp_firewall', 'xdp_lb', 'tc_firewall', 'flow_counter'] as const;
/** Linux's limit; a program is to come near it, and to be finished before. */
const LIMIT = 1_000_000;

interface Subject {
  readonly name: string;
  readonly program: ProgramSpec;
  readonly maps: ReadonlyMap<string, MapSpec>;
  readonly btf?: Btf | undefined;
}

interface Row {
  readonly name: string;
  readonly processed: { readonly ours: number; readonly linux: number };
  /** Milliseconds. The first run is cold: V8 has not compiled the verifier for it. */
  readonly first: number;
  readonly ours: SampleSummary;
  readonly linux: SampleSummary;
  readonly ratio: number;
  readonly firstRatio: number;
}

/** Large programs, each hard in its own way. */
const GENERATED: Readonly<Record<string, () => string>> = {
  'counting loop': () => `r6 = 0\nagain: r6 += 1\nif r6 < 490000 goto again\nr0 = 1\nexit`,
  'loop over the stack': () => ['r6 = 0', 'again:', ...range(16).flatMap((slot) => [`r1 = r6`, `r1 <<= ${slot}`, `*(u64 *)(r10 -${8 * slot + 8}) = r1`, `r2 = *(u64 *)(r10 -${8 * slot + 8})`]), 'r6 += 1', 'if r6 < 8000 goto again', 'r0 = 1', 'exit'].join('\n'),
  'checks of a packet': () => ['r6 = *(u32 *)(r1 +0)', 'r7 = *(u32 *)(r1 +4)', 'r8 = 0', ...range(1400).flatMap((byte) => ['r2 = r6', `r2 += ${byte + 1}`, `if r2 > r7 goto out`, `r3 = *(u8 *)(r6 +${byte})`, 'r3 &= 15', 'if r3 > 7 goto pc+1', 'r8 += r3']), 'out: r0 = 1', 'exit'].join('\n'),
  'paths that do not meet': () => ['r6 = *(u32 *)(r1 +12)', 'r7 = 0', ...range(13).flatMap((bit) => [`r2 = r6`, `r2 &= ${2 ** bit}`, 'if r2 == 0 goto pc+1', `r7 |= ${2 ** bit}`]), ...range(40).flatMap(() => ['r2 = r7', 'r2 += 1']), 'if r7 > 8192 goto bad', 'r0 = 1', 'exit', 'bad: r0 = 0', 'exit'].join('\n'),
};

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

function subjects(): Subject[] {
  const bundled = OBJECTS.flatMap((name) => {
    const { programs, maps, btf } = loadObject(readFileSync(join(programsDirectory(), `${name}.bpf.o`)), { name });
    return [...programs.values()].map((program) => ({ name: program.name, program, maps, btf }));
  });
  const generated = Object.entries(GENERATED).map(([name, text]) => {
    const { instructions } = assemble(text());
    const program: ProgramSpec = { name: 'generated', section: 'xdp', type: 'xdp', frags: false, instructions, functions: [{ name: 'generated', slot: 0, typeId: 0, linkage: 'static' }], lines: [], license: 'GPL' };
    return { name, program, maps: new Map() };
  });
  return [...bundled, ...generated];
}

function measure({ name, program, maps, btf }: Subject, rounds: number): Row {
  const ours: number[] = [];
  const linux: number[] = [];
  const processed = { ours: 0, linux: 0 };
  for (let round = 0; round <= rounds; round++) {
    const report = verifyProgram(program, { maps, btf });
    const verdict = kernelVerdict(program, { type: program.type!, maps, btf });
    if (!report.accepted || !verdict.accepted) throw new XdplabError('ERR_PROGRAM', `${name}: found ${report.refusal?.message ?? 'accepted'} here and ${verdict.message ?? 'accepted'} in Linux, expected a program that both accept`);
    ours.push(report.elapsedNs / 1e6);
    linux.push(verdict.elapsedUs! / 1e3);
    processed.ours = report.instructionsProcessed;
    processed.linux = verdict.processed!;
  }
  const first = ours.shift()!;
  const [oursSummary, linuxSummary] = [summarize(ours), summarize(linux)];
  return { name, processed, first, ours: oursSummary, linux: linuxSummary, ratio: oursSummary.median / linuxSummary.median, firstRatio: first / linuxSummary.median };
}

function main(): void {
  const { values } = parseArgs({ options: { rounds: { type: 'string', default: '9' }, json: { type: 'string' }, help: { type: 'boolean' } } });
  if (values.help) return void process.stdout.write(USAGE);
  const rounds = wholeFrom1('--rounds', values.rounds);
  const rows: Row[] = subjects().map((subject) => measure(subject, rounds));
  const machine = machineFacts();
  const ratio = summarize(rows.map((row) => row.ratio)).median;
  const firstRatio = summarize(rows.map((row) => row.firstRatio)).median;
  const peakMib = process.resourceUsage().maxRSS / 1024;
  const number = (value: number, digits = 1): string => value.toFixed(digits).padStart(9);
  const cells = rows.map((row) => [row.name, String(row.processed.ours).padStart(9), String(row.processed.linux).padStart(9), number(row.ours.median), `${((row.ours.spread / 2) * 100).toFixed(0)} %`.padStart(7), number(row.linux.median), number(row.ratio, 2), number(row.firstRatio, 2), number((row.ours.median / row.processed.ours) * (LIMIT / 1000), 2)]);
  const lines = table([['program', 'processed', '    Linux', '  ours ms', '      ±', ' Linux ms', '    ratio', '    first', ' s/1M ins'], ...cells]);
  process.stdout.write([machineLine(machine), `medians of ${rounds} rounds after the first`, '', ...lines, '', `median ratio ${ratio.toFixed(2)}, of the first runs ${firstRatio.toFixed(2)}; at most ${peakMib.toFixed(0)} MiB`, ''].join('\n'));
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ machine, rounds, ratio, firstRatio, peakMib, rows }, null, 2)}\n`);
}

await runScript(main);
