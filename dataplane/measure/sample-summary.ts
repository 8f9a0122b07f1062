/**
 * What samples say: median and spread. Medians, because on a shared machine the slow samples say more about the
 * neighbours than about the code. The figure of a benchmark is the median of its turns, each of which is the median of
 * its batches; the percentiles are those of all batches.
 */

export interface SampleSummary {
  readonly median: number;
  readonly lowerQuartile: number;
  readonly upperQuartile: number;
  readonly min: number;
  readonly max: number;
  /** Distance between the quartiles as a part of the median: half of the samples lie within it. */
  readonly spread: number;
}

export interface TurnSummary extends SampleSummary {
  /** Of single batches. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly batches: number;
  /** The median of each turn, in the order they were taken: turns of one place were measured side by side. */
  readonly turns: readonly number[];
}

/** Throws RangeError without samples. */
export function summarize(samples: readonly number[]): SampleSummary {
  if (samples.length === 0) throw new RangeError('no samples to summarize');
  const sorted = samples.toSorted((a, b) => a - b);
  const median = quantile(sorted, 0.5);
  const lowerQuartile = quantile(sorted, 0.25);
  const upperQuartile = quantile(sorted, 0.75);
  return { median, lowerQuartile, upperQuartile, min: sorted[0]!, max: sorted.at(-1)!, spread: (upperQuartile - lowerQuartile) / median };
}

export function summarizeTurns(turns: readonly (readonly number[])[]): TurnSummary {
  const medians = turns.map(median);
  const all = turns.flat().toSorted((a, b) => a - b);
  return { ...summarize(medians), p50: quantile(all, 0.5), p99: quantile(all, 0.99), p999: quantile(all, 0.999), batches: all.length, turns: medians };
}

export function median(samples: readonly number[]): number {
  return quantile(samples.toSorted((a, b) => a - b), 0.5);
}

/** Of sorted numbers, by linear interpolation between the two that surround it. */
export function quantile(sorted: readonly number[], part: number): number {
  const place = (sorted.length - 1) * part;
  const below = Math.floor(place);
  const lower = sorted[below]!;
  const upper = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return lower + (upper - lower) * (place - below);
}
