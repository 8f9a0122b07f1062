/**
 * Measures benchmarks against each other: in rounds, a turn of each benchmark after the other, there and back again
 * (A B C, C B A, …), so that what the machine does meanwhile falls on all of them alike.
 *
 * Invariant: before every turn the benchmark's `restore` has put back what samples change (packets, contexts, maps,
 * files), and garbage of the turn before has been collected; neither is in the time.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface Benchmark {
  readonly name: string;
  /** Puts back what samples change. */
  restore?(): void | Promise<void>;
  /** Runs a batch of packets and returns the nanoseconds that one packet took; `timed` measures what is not measured elsewhere. */
  sample(): number | Promise<number>;
  /** After the last sample: what the programs did, for a reader to see that it was the work meant. */
  describe?(): string;
  /** Gives back what the benchmark holds. */
  close?(): void | Promise<void>;
}

/** A turn takes one sample, and more until that many nanoseconds have gone by. */
export interface Turns {
  readonly rounds: number;
  readonly turnNs: number;
}

export interface Measurement {
  readonly benchmark: Benchmark;
  /** Nanoseconds per packet: the samples of each turn that counts, in the order they were taken. */
  readonly turns: readonly (readonly number[])[];
  readonly note: string;
}

export interface MeasureOptions {
  readonly warmup: Turns;
  readonly counted: Turns;
  /** Called before each round: `round` counts from 0, warm-up included. */
  readonly onRound?: (round: number, total: number) => void;
  /** Ends the measurement before the next turn; rounds that were finished count. */
  readonly signal?: AbortSignal;
}

export async function measure(benchmarks: readonly Benchmark[], { warmup, counted, onRound, signal }: MeasureOptions): Promise<Measurement[]> {
  const turns = benchmarks.map((): number[][] => []);
  const total = warmup.rounds + counted.rounds;
  const places = benchmarks.map((_, place) => place);
  const stopped = (): boolean => signal?.aborted === true;
  try {
    for (let round = 0; round < total && !stopped(); round++) {
      onRound?.(round, total);
      const { turnNs } = round < warmup.rounds ? warmup : counted;
      const taken: number[][] = [];
      for (const place of round % 2 === 0 ? places : places.toReversed()) {
        if (stopped()) break;
        taken[place] = await turn(benchmarks[place]!, turnNs);
      }
      if (round >= warmup.rounds && !stopped()) places.forEach((place) => turns[place]!.push(taken[place]!));
    }
    return benchmarks.map((benchmark, place) => ({ benchmark, turns: turns[place]!, note: benchmark.describe?.() ?? '' }));
  } finally {
    for (const benchmark of benchmarks) await benchmark.close?.();
  }
}

async function turn(benchmark: Benchmark, turnNs: number): Promise<number[]> {
  await benchmark.restore?.();
  collectGarbage();
  const samples: number[] = [];
  const endMs = performance.now() + turnNs / 1e6;
  do {
    const sample = benchmark.sample();
    samples.push(typeof sample === 'number' ? sample : await sample);
  } while (performance.now() < endMs);
  return samples;
}

/** Nanoseconds that `work` takes. */
export function timed(work: () => void): number {
  const begunMs = performance.now();
  work();
  return (performance.now() - begunMs) * 1e6;
}

export async function timedAsync(work: () => Promise<void>): Promise<number> {
  const begunMs = performance.now();
  await work();
  return (performance.now() - begunMs) * 1e6;
}

let gc: (() => void) | undefined;

function collectGarbage(): void {
  if (gc === undefined) {
    setFlagsFromString('--expose-gc');
    gc = runInNewContext('gc') as () => void;
  }
  gc();
}
