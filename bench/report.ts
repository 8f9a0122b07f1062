/** What the suite found, as text for people, and as JSON for whoever compares it later. */
import { reportText } from '../dataplane/cli/bench-table.ts';
import { table } from '../dataplane/cli/terminal.ts';
import type { BenchReport } from '../dataplane/measure/bench-report.ts';
import { fixed } from '../dataplane/measure/digits.ts';
import type { MachineFacts } from '../dataplane/measure/machine-facts.ts';
import type { Noise } from '../dataplane/measure/noise.ts';
import type { Measurement } from '../dataplane/measure/rounds.ts';
import { summarizeTurns, type SampleSummary, type TurnSummary } from '../dataplane/measure/sample-summary.ts';
import { growthSteps, type GrowthRow, type GrowthStep } from './growth.ts';
import type { MapMemory, UpdateRate } from './maps.ts';
import type { SuiteTime } from './programs.ts';
import { beyondNodeMs, type StartTime } from './starting.ts';
import type { Workload } from './workloads.ts';

const ROW_HEADING = ['', 'ns/packet', '± quartiles', 'min', 'max', 'M packets/s', ''];
const START_HEADING = ['', 'ms', '± quartiles', 'min', 'max', 'beyond Node'];

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

export function resultRow({ benchmark: { name }, turns, note }: Measurement): ResultRow {
  const nsPerPacket = summarizeTurns(turns);
  return { name, nsPerPacket, packetsPerSecond: Math.round(1e9 / nsPerPacket.median), note };
}

/** A part of the report: a table whose first row is its heading, and what is to be said. */
export interface SuiteTable {
  readonly heading: string;
  readonly before?: string;
  /** Columns without a name are words, the others figures. */
  readonly rows: readonly (readonly string[])[];
  readonly lines: readonly string[];
}

export function formatSuite(results: SuiteResults): string {
  const sections = Object.entries(results.programs).map(([label, report]) => [`== ${label}`, reportText(report)]);
  return `${[...sections, ...suiteTables(results).map(tableLines)].map((lines) => lines.join('\n')).join('\n\n')}\n`;
}

export function promisedLines(promises: readonly Promised[]): string[] {
  return tableLines(promisedTable(promises));
}

function tableLines({ heading, before, rows, lines }: SuiteTable): string[] {
  const [head = []] = rows;
  const width = (column: number): number => Math.max(...rows.map((row) => (row[column] ?? '').length));
  return [`== ${heading}`, ...(before === undefined ? [] : [before]), ...table(rows.map((row) => row.map((cell, column) => (head[column] === '' ? cell : cell.padStart(width(column)))))), ...lines];
}

/** What there is beside the programs' own reports; what was not measured is left out. */
export function suiteTables({ machine, growth, cpus, maps, starts = [], rows, promises, noise }: SuiteResults): SuiteTable[] {
  const steps = growthSteps(growth);
  const tables: (SuiteTable | false)[] = [
    growth.length > 0 && growthTable(growth),
    steps.length > 0 && stepTable(steps),
    cpus.length > 0 && { heading: 'two CPUs against one', rows: [ROW_HEADING, ...cpus.map(cells)], lines: [] },
    maps !== undefined && {
      heading: 'maps',
      rows: [],
      lines: [
        `hash of ${maps.memory.entries.toLocaleString('en-US')} entries, 16-byte keys, 32-byte values: ${(maps.memory.bytes / 1e6).toFixed(1)} MB${maps.memory.kernelBytes === undefined ? '' : `, in the kernel ${(maps.memory.kernelBytes / 1e6).toFixed(1)} MB`}`,
        `an update from JavaScript: ${fixed(maps.updates.nsPerUpdate)} ns; 500,000 a second slow packets by ${(100 * maps.updates.slowdown).toFixed(1)} %`,
      ],
    },
    starts.length > 0 && {
      heading: 'starting',
      rows: [START_HEADING, ...starts.flatMap((start) => [startCells(`Node, to its ${start.event}`, start.nodeMs), startCells(`xdplab replay, to its ${start.event}`, start.xdplabMs, beyondNodeMs(start))])],
      lines: [],
    },
    rows.length > 0 && { heading: 'reading and replaying a capture', before: `${machine.system} · Node ${machine.node} · load ${machine.load}`, rows: [ROW_HEADING, ...rows.map(cells)], lines: noise?.warnings ?? [] },
    promises.length > 0 && promisedTable(promises),
  ];
  return tables.filter((each) => each !== false);
}

function growthTable(growth: readonly GrowthRow[]): SuiteTable {
  const of = (value: number | undefined): string => (value === undefined ? '' : fixed(value));
  return {
    heading: 'growth, ns per packet and memory of the table',
    rows: [
      ['', 'wasm', '± ns', 'net', 'kernel net', 'kernel net / wasm', 'kB', 'bytes each', 'kernel kB', 'bytes each', 'ns to add one'],
      ...growth.map(({ label, wasm, uncertainNs, wasmNet, kernelNet, speedupVsKernelNet, table: found }) => [
        label,
        ...[wasm, uncertainNs, wasmNet, kernelNet, speedupVsKernelNet].map(of),
        ...(found === undefined ? [] : [found.bytes, found.kernelBytes].flatMap((bytes) => (bytes === undefined ? ['', ''] : [fixed(bytes / 1000), fixed(bytes / found.entries)]))),
        ...(found === undefined ? [] : [fixed(found.nsToAdd)]),
      ]),
    ],
    lines: growth.some(({ table: found }) => found !== undefined) ? ['Memory: pages that hold something; of the kernel what it says of a map that is declared for as many (of a trie without its inner nodes).'] : [],
  };
}

function stepTable(steps: readonly GrowthStep[]): SuiteTable {
  const strangers = steps.filter(({ isExplained }) => !isExplained).map(({ step }) => step);
  return {
    heading: 'steps of growth, and what caches explain of them',
    rows: [
      ['', 'ns more, net', 'kB before', 'after', 'ns a read before', 'after', 'reads before', 'after', 'explain ns', ''],
      ...steps.map(({ step, moreNs, bytes, nsPerRead, reads, explainedNs, isExplained }) => [step, moreNs.toFixed(1), ...bytes.map((each) => fixed(each / 1000)), ...nsPerRead.map(fixed), ...reads.map(fixed), explainedNs.toFixed(1), isExplained ? 'explained' : 'NOT EXPLAINED']),
    ],
    lines: [strangers.length === 0 ? 'No step is worse than the caches explain.' : `Worse than the caches explain: ${strangers.join('; ')}.`],
  };
}

function promisedTable(promises: readonly Promised[]): SuiteTable {
  const body = promises.map(({ what, atLeast, atMost, found }) => {
    const met = (atLeast === undefined || found >= atLeast) && (atMost === undefined || found <= atMost);
    return [what, `${atLeast === undefined ? 'at most' : 'at least'} ${atLeast ?? atMost}`, fixed(found), met ? 'met' : 'MISSED'];
  });
  return { heading: 'promised', rows: [['', '', 'found', ''], ...body], lines: [] };
}

function cells({ name, nsPerPacket: { median, spread, min, max }, packetsPerSecond, note }: ResultRow): string[] {
  return [name, fixed(median), `${((spread / 2) * 100).toFixed(1)} %`, fixed(min), fixed(max), fixed(packetsPerSecond / 1e6), note];
}

function startCells(name: string, { median, spread, min, max }: SampleSummary, beyond?: number): string[] {
  return [name, fixed(median), `${((spread / 2) * 100).toFixed(1)} %`, fixed(min), fixed(max), beyond === undefined ? '' : fixed(beyond)];
}
