/** What the suite found, as text for people, and as JSON for whoever compares it later. */
import { reportText } from '../dataplane/cli/bench-table.ts';
import { table } from '../dataplane/cli/terminal.ts';
import type { BenchReport } from '../dataplane/measure/bench-report.ts';
import type { MachineFacts } from '../dataplane/measure/machine-facts.ts';
import type { Noise } from '../dataplane/measure/noise.ts';
import type { Measurement } from '../dataplane/measure/rounds.ts';
import { summarizeTurns, type SampleSummary, type TurnSummary } from '../dataplane/measure/sample-summary.ts';
import type { MapMemory, UpdateRate } from './maps.ts';
import type { SuiteTime } from './programs.ts';
import { beyondNodeMs, type StartTime } from './starting.ts';
import type { Workload } from './workloads.ts';

const COLUMN = 11;
const ROW_HEADING = ['ns/packet', '± quartiles', 'min', 'max', 'M packets/s'].map((text) => text.padStart(COLUMN));

const START_HEADING = ['ms', '± quartiles', 'min', 'max', 'beyond Node'].map((text) => text.padStart(COLUMN));

export interface ResultRow {
  readonly name: string;
  readonly nsPerPacket: TurnSummary;
  readonly packetsPerSecond: number;
  readonly note: string;
}

export interface Promised {
  readonly what: string;
  readonly atLeast?: number;
  readonly atMost?: number;
  readonly found: number;
}

export interface SuiteResults {
  readonly kind: 'xdplab suite';
  readonly machine: MachineFacts;
  readonly time: SuiteTime;
  readonly capture: Workload;
  /** By label. */
  readonly programs: Readonly<Record<string, BenchReport>>;
  readonly growth: readonly GrowthRow[];
  readonly cpus: readonly ResultRow[];
  readonly maps: { readonly memory: MapMemory; readonly updates: UpdateRate } | undefined;
  /** Not in results of before it was measured. */
  readonly starts?: readonly StartTime[];
  readonly rows: readonly ResultRow[];
  readonly promises: readonly Promised[];
  readonly noise: Noise | undefined;
}

/** How time grows with flows or prefixes. */
export interface GrowthRow {
  readonly label: string;
  readonly wasm: number;
  readonly kernelNet: number | undefined;
  readonly speedupVsKernelNet: number | undefined;
}

export function resultRow({ benchmark: { name }, turns, note }: Measurement): ResultRow {
  const nsPerPacket = summarizeTurns(turns);
  return { name, nsPerPacket, packetsPerSecond: Math.round(1e9 / nsPerPacket.median), note };
}

export function formatSuite({ machine, programs, growth, cpus, maps, starts = [], rows, promises, noise }: SuiteResults): string {
  const sections = Object.entries(programs).map(([label, report]) => [`== ${label}`, reportText(report)]);
  if (growth.length > 0) {
    const heading = ['wasm', 'kernel net', 'kernel net / wasm'].map((text) => text.padStart(COLUMN));
    const body = growth.map(({ label, wasm, kernelNet, speedupVsKernelNet }) => [label, ...[wasm, kernelNet, speedupVsKernelNet].map((value) => (value === undefined ? '' : fixed(value)).padStart(COLUMN))]);
    sections.push(['== growth, ns per packet', ...table([['', ...heading], ...body])]);
  }
  if (cpus.length > 0) sections.push(['== two CPUs against one', ...table([['', ...ROW_HEADING], ...cpus.map(cells)])]);
  if (maps !== undefined) {
    const { memory, updates } = maps;
    sections.push([
      '== maps',
      `hash of ${memory.entries.toLocaleString('en-US')} entries, 16-byte keys, 32-byte values: ${(memory.bytes / 1e6).toFixed(1)} MB${memory.kernelBytes === undefined ? '' : `, in the kernel ${(memory.kernelBytes / 1e6).toFixed(1)} MB`}`,
      `an update from JavaScript: ${fixed(updates.nsPerUpdate)} ns; 500,000 a second slow packets by ${(100 * updates.slowdown).toFixed(1)} %`,
    ]);
  }
  if (starts.length > 0) {
    const body = starts.flatMap((start) => [startCells(`Node, to its ${start.event}`, start.nodeMs), startCells(`xdplab replay, to its ${start.event}`, start.xdplabMs, beyondNodeMs(start))]);
    sections.push(['== starting', ...table([['', ...START_HEADING], ...body])]);
  }
  if (rows.length > 0) {
    sections.push(['== reading and replaying a capture', `${machine.system} · Node ${machine.node} · load ${machine.load}`, ...table([['', ...ROW_HEADING], ...rows.map(cells)]), ...(noise?.warnings ?? [])]);
  }
  if (promises.length > 0) sections.push(promisedLines(promises));
  return `${sections.map((lines) => lines.join('\n')).join('\n\n')}\n`;
}

export function promisedLines(promises: readonly Promised[]): string[] {
  const body = promises.map(({ what, atLeast, atMost, found }) => {
    const met = (atLeast === undefined || found >= atLeast) && (atMost === undefined || found <= atMost);
    return [what, `${atLeast === undefined ? 'at most' : 'at least'} ${atLeast ?? atMost}`, fixed(found).padStart(8), met ? 'met' : 'MISSED'];
  });
  return ['== promised', ...table([['', '', '   found', ''], ...body])];
}

function cells({ name, nsPerPacket: { median, spread, min, max }, packetsPerSecond, note }: ResultRow): (string | number)[] {
  return [name, ...[fixed(median), `${((spread / 2) * 100).toFixed(1)} %`, fixed(min), fixed(max), fixed(packetsPerSecond / 1e6)].map((text) => text.padStart(COLUMN)), note];
}

function startCells(name: string, { median, spread, min, max }: SampleSummary, beyond?: number): string[] {
  return [name, ...[fixed(median), `${((spread / 2) * 100).toFixed(1)} %`, fixed(min), fixed(max), beyond === undefined ? '' : fixed(beyond)].map((text) => text.padStart(COLUMN))];
}

/** Three digits that mean something. */
function fixed(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
