/** The results as a table for people, and as JSON for whoever compares them later. */
import { table } from '../dataplane/cli/terminal.ts';
import type { Measurement, Rounds } from './harness.ts';
import type { MachineFacts } from './machine-facts.ts';
import { summarize, type SampleSummary } from './sample-summary.ts';
import type { Workload } from './workloads.ts';

/** Half of the samples of a quiet machine lie within a few percent. */
const NOISY_SPREAD = 0.1;
const COLUMN = 11;

export interface ResultRow {
  readonly group: string;
  readonly name: string;
  readonly packetsPerSample: number;
  readonly nsPerPacket: SampleSummary;
  readonly packetsPerSecond: number;
  readonly note: string;
}

export interface Requirement {
  readonly what: string;
  readonly atLeast: number;
  readonly found: number;
}

export interface BenchResults {
  readonly machine: MachineFacts;
  readonly rounds: Rounds;
  readonly workloads: Readonly<Record<string, Workload>>;
  readonly results: readonly ResultRow[];
  readonly requirements: readonly Requirement[];
  readonly noisy: readonly string[];
}

export function resultRow({ benchmark: { group, name, packets }, nsPerPacket, note }: Measurement): ResultRow {
  const summary = summarize(nsPerPacket);
  return { group, name, packetsPerSample: packets, nsPerPacket: summary, packetsPerSecond: Math.round(1e9 / summary.median), note };
}

/** Names of rows whose samples differ too much to trust their median to a tenth. */
export function noisyRows(rows: readonly ResultRow[]): string[] {
  return rows.filter(({ nsPerPacket }) => nsPerPacket.spread > NOISY_SPREAD).map(({ name }) => name);
}

export function formatResults({ machine, rounds, results, requirements, noisy }: BenchResults): string {
  const heading = ['ns/packet', '± quartiles', 'min', 'max', 'M packets/s'].map((text) => text.padStart(COLUMN));
  const lines = [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB · ${machine.system} · Node ${machine.node}, V8 ${machine.v8} · load ${machine.load}`,
    machine.tier,
    `medians of ${rounds.counted} interleaved rounds after ${rounds.warmup} of warm-up`,
  ];
  for (const group of new Set(results.map((row) => row.group))) {
    const rows = results.filter((row) => row.group === group);
    lines.push('', ...table([[group, ...heading], ...rows.map(cells)]));
  }
  if (requirements.length > 0) {
    const rows = requirements.map(({ what, atLeast, found }) => [what, String(atLeast).padStart(8), fixed(found).padStart(8), found >= atLeast ? 'met' : 'MISSED']);
    lines.push('', ...table([['required', 'at least', '   found', ''], ...rows]));
  }
  if (noisy.length > 0) {
    lines.push('', `The machine is noisy: the quartiles of these lie more than ${NOISY_SPREAD * 100} % apart: ${noisy.join('; ')}.`, 'Take these figures with care, or run again when nothing else runs.');
  }
  return `${lines.join('\n')}\n`;
}

function cells({ name, nsPerPacket: { median, spread, min, max }, packetsPerSecond, note }: ResultRow): (string | number)[] {
  return [name, ...[fixed(median), `${((spread / 2) * 100).toFixed(1)} %`, fixed(min), fixed(max), fixed(packetsPerSecond / 1e6)].map((text) => text.padStart(COLUMN)), note];
}

/** Three digits that mean something. */
function fixed(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
