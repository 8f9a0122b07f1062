/** What a measurement says, as plain data: what `xdplab bench --json` prints, and `bench compare` reads. */
import type { Cost } from '../insight/cost.ts';
import type { Balance } from '../insight/balance.ts';
import type { Change } from './change.ts';
import type { MachineFacts } from './machine-facts.ts';
import type { Noise } from './noise.ts';
import type { TurnSummary } from './sample-summary.ts';

export const BENCH_ENGINES = ['wasm', 'interpreter', 'kernel'] as const;
export type BenchEngine = (typeof BENCH_ENGINES)[number];

/** What can have a time: engines, and a program as native code where a yardstick is at hand. */
export const TIMED = [...BENCH_ENGINES, 'native'] as const;
export type Timed = (typeof TIMED)[number];

/** What was timed: a program on an engine with all that it takes to run it there, or an empty program there. */
export type SeriesName = Timed | `${Timed}Empty`;

/** Nanoseconds per packet, medians. `…Net`: less what an empty program takes on the same engine. */
export type Nanoseconds = { readonly [Name in Timed | `${Timed}Net`]?: number };

export interface ProgramFigures {
  readonly name: string;
  /** Where it is attached; undefined for the lab's programs one after the other. */
  readonly hook: string | undefined;
  readonly nsPerPacket: Nanoseconds;
  readonly packetsPerSecond: { readonly [Name in Timed]?: number };
  /** The kernel's time net of an empty program, over all that a packet takes here: packet loop and counters included. */
  readonly speedupVsKernelNet?: number;
  /** The same with both sides net of an empty program. */
  readonly speedupNetVsNet?: number;
  /** Native time over ours, with all that a packet takes on either side. */
  readonly shareOfNative?: number;
  readonly series: { readonly [Name in SeriesName]?: TurnSummary };
  /** What became of the packets. */
  readonly fates: string;
  readonly cost?: Cost;
  /** Against the object given with `--vs`: on the first engine, and what the other costs. */
  readonly versus?: { readonly object: string; readonly engine: BenchEngine; readonly nsPerPacket: number; readonly change: Change; readonly cost?: Cost };
  /** Engines that did not run it, and why. */
  readonly missing: readonly { readonly engine: BenchEngine; readonly why: string }[];
}

export interface BenchReport {
  readonly kind: 'xdplab bench';
  readonly measuredAt: string;
  /** False where somebody wanted the programs to run without; reports of before do not say. */
  readonly verified?: boolean;
  readonly machine: MachineFacts;
  /** The compiler that made what ran, by engine. */
  readonly tiers: { readonly [Name in Timed]?: string };
  readonly workload: { readonly text: string; readonly packets: number; readonly opening: number; readonly meanBytes: number };
  readonly settings: { readonly runs: number; readonly durationSeconds: number; readonly warmupSeconds: number; readonly freshMaps: boolean };
  readonly programs: readonly ProgramFigures[];
  readonly balance?: Balance;
  readonly noise: Noise;
}
