/**
 * Time and memory as what a program looks up grows. A step is explained where the reads of one packet in the table, one
 * after the other, take as much longer by themselves: by caches that no longer hold what goes through them until a flow's
 * next packet. What is looked for ahead, or read at once, takes less than that.
 */
import type { BenchEngine } from '../dataplane/measure/bench-report.ts';
import type { TurnSummary } from '../dataplane/measure/sample-summary.ts';
import { measure } from '../dataplane/measure/rounds.ts';
import { median } from '../dataplane/measure/sample-summary.ts';
import { makeTrace } from '../dataplane/measure/workload.ts';
import { ResidentTrace } from '../dataplane/packet/resident-trace.ts';
import { openLab } from '../dataplane/pipeline/open-lab.ts';
import { mapMemory, type MapMemory } from './maps.ts';
import { runProgramBench, SERVICE, type GrowthBench, type SuiteTime } from './programs.ts';
import { LINE_BYTES, readBenchmark } from './reads.ts';

/** What the table of a step is like. */
export interface GrowthTable extends MapMemory {
  /** `flows`, `prefixes`, and how many were asked for; the lab may have some of its own. */
  readonly of: string;
  readonly count: number;
  readonly map: string;
  /** Lines of memory that one packet reads in it. */
  readonly reads: number;
  /** What goes through the caches between two packets of a flow: what all flows read of the table, and a line of each packet. */
  readonly passingBytes: number;
  /** What one read takes in so much memory that waits for the one before. */
  readonly nsPerRead: number;
}

export interface GrowthRow {
  readonly label: string;
  readonly wasm: number;
  readonly kernelNet: number | undefined;
  readonly speedupVsKernelNet: number | undefined;
  /** Net of an empty program over the same packets. */
  readonly wasmNet?: number;
  /** Half of the distance between the quartiles, of `wasm`. */
  readonly uncertainNs?: number;
  /** Results of the past do not have it. */
  readonly table?: GrowthTable;
}

type Unread = Omit<GrowthTable, 'nsPerRead'>;

export async function measureGrowth(benches: readonly GrowthBench[], scratch: string, time: SuiteTime, engines: readonly BenchEngine[], onProgress: (text: string) => void): Promise<GrowthRow[]> {
  const rows: (Omit<GrowthRow, 'table'> & { readonly table: Unread })[] = [];
  for (const bench of benches) {
    const { label } = bench;
    const report = await runProgramBench(bench, scratch, time, engines.filter((engine) => engine !== 'interpreter'), undefined, (text) => onProgress(`${label}: ${text}`));
    const { nsPerPacket, speedupVsKernelNet, series } = report.programs[0]!;
    onProgress(`${label}: memory`);
    rows.push({ label, wasm: nsPerPacket.wasm!, kernelNet: nsPerPacket.kernelNet, speedupVsKernelNet, wasmNet: nsPerPacket.wasmNet!, uncertainNs: halfDistance(series.wasm!), table: await growthTable(bench, scratch) });
  }
  onProgress('reads in as much memory');
  const turnNs = (time.durationSeconds * 1e9) / time.runs;
  const measured = await measure(rows.map(({ label, table }) => readBenchmark(label, table.passingBytes)), { warmup: { rounds: 1, turnNs: 0 }, counted: { rounds: Math.max(time.runs, LEAST_ROUNDS), turnNs } });
  return rows.map((row, place) => ({ ...row, table: { ...row.table, nsPerRead: median(measured[place]!.turns.map(median)) } }));
}

/** Of reads: they are quick, and everything is held against them. */
const LEAST_ROUNDS = 7;
const CLIENT_AT = 26;

function halfDistance({ median: middle, spread }: TurnSummary): number {
  return (middle * spread) / 2;
}

/** The table as it is when the flows are open, its entries in a map of their own. */
async function growthTable({ program, sources, workload, of, count, map, reads }: GrowthBench, scratch: string): Promise<Unread> {
  const { lab } = await openLab({ ...sources(scratch), only: program });
  const trace = makeTrace({ ...SERVICE, ...workload });
  const flows = trace.opening;
  const { batch } = new ResidentTrace(lab.machine.memory, trace, flows);
  lab.pipeline.setInterface(0, lab.devices[0]);
  lab.pipeline.run(batch);
  const table = lab.map(map).map;
  const packets = new DataView(trace.bytes.buffer, trace.bytes.byteOffset);
  const clients = Array.from({ length: flows }, (_, flow) => packets.getUint32(trace.offsets[flow]! + CLIENT_AT));
  const readsOfPacket = reads(table, clients);
  const memory = mapMemory(table.spec, [...table.entries()]);
  const passingBytes = Math.ceil(Math.min(memory.bytes, flows * readsOfPacket * LINE_BYTES) + flows * LINE_BYTES);
  return { ...memory, of, count, map, reads: readsOfPacket, passingBytes };
}

/** From one row to the next. */
export interface GrowthStep {
  readonly step: string;
  readonly moreNs: number;
  readonly reads: readonly [before: number, after: number];
  /** What goes through the caches between two packets of a flow. */
  readonly bytes: readonly [before: number, after: number];
  readonly nsPerRead: readonly [before: number, after: number];
  /** How much longer the reads take. */
  readonly explainedNs: number;
  readonly isExplained: boolean;
}

/** Another instance of the same program takes so much more or less, as code and data happen to lie. */
const INSTANCES_DIFFER = 0.05;

/** Of the rows that tell what their table is like. */
export function growthSteps(rows: readonly GrowthRow[]): GrowthStep[] {
  return rows.flatMap((after, place) => {
    const before = rows[place - 1];
    if (before?.table === undefined || after.table === undefined || before.table.map !== after.table.map) return [];
    const [one, other] = [before.table, after.table];
    const moreNs = after.wasmNet! - before.wasmNet!;
    const explainedNs = Math.max(0, other.reads * other.nsPerRead - one.reads * one.nsPerRead);
    const uncertainNs = before.uncertainNs! + after.uncertainNs! + INSTANCES_DIFFER * before.wasm;
    return [
      {
        step: `${before.label} → ${other.count.toLocaleString('en-US')}`,
        moreNs,
        reads: [one.reads, other.reads],
        bytes: [one.passingBytes, other.passingBytes],
        nsPerRead: [one.nsPerRead, other.nsPerRead],
        explainedNs,
        isExplained: moreNs <= explainedNs + uncertainNs,
      },
    ];
  });
}
