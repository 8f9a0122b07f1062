/**
 * Measures benchmarks against each other: in rounds, one sample of each benchmark after the other (A B C A B C …),
 * so that what the machine does meanwhile falls on all of them alike.
 *
 * Invariant: before every sample the benchmark's `restore` has put back what samples change (packets, contexts, maps,
 * files), and garbage of the sample before has been collected; neither is in the time.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface Benchmark {
  readonly name: string;
  /** Benchmarks that are shown together, and may be compared: `reading`, `programs`, `replay`. */
  readonly group: string;
  /** Packets that one sample handles. */
  readonly packets: number;
  /** Puts back what a sample changes. */
  restore?(): void | Promise<void>;
  /** Runs once and returns the nanoseconds it took; `timed` measures what is not measured elsewhere. */
  sample(): number | Promise<number>;
  /** After the last sample: what the programs did, for a reader to see that it was the work meant. */
  describe?(): string;
  /** Gives back what the benchmark holds. */
  close?(): void | Promise<void>;
}

export interface Rounds {
  /** Samples of each benchmark before those that count. */
  readonly warmup: number;
  readonly counted: number;
}

export interface Measurement {
  readonly benchmark: Benchmark;
  /** Nanoseconds per packet, in the order they were taken. */
  readonly nsPerPacket: readonly number[];
  readonly note: string;
}

/** Called before each round: `round` counts from 0, warm-up included. */
export type RoundObserver = (round: number, total: number) => void;

export async function measure(benchmarks: readonly Benchmark[], rounds: Rounds, onRound: RoundObserver = () => {}): Promise<Measurement[]> {
  const samples = benchmarks.map((): number[] => []);
  const total = rounds.warmup + rounds.counted;
  for (let round = 0; round < total; round++) {
    onRound(round, total);
    for (const [index, benchmark] of benchmarks.entries()) {
      await benchmark.restore?.();
      collectGarbage();
      const elapsedNs = await benchmark.sample();
      if (round >= rounds.warmup) samples[index]!.push(elapsedNs / benchmark.packets);
    }
  }
  const measurements = benchmarks.map((benchmark, index) => ({ benchmark, nsPerPacket: samples[index]!, note: benchmark.describe?.() ?? '' }));
  for (const benchmark of benchmarks) await benchmark.close?.();
  return measurements;
}

/** Nanoseconds that `work` takes. */
export function timed(work: () => void): number {
  const begun = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - begun);
}

export async function timedAsync(work: () => Promise<void>): Promise<number> {
  const begun = process.hrtime.bigint();
  await work();
  return Number(process.hrtime.bigint() - begun);
}

let gc: (() => void) | undefined;

function collectGarbage(): void {
  if (gc === undefined) {
    setFlagsFromString('--expose-gc');
    gc = runInNewContext('gc') as () => void;
  }
  gc();
}
