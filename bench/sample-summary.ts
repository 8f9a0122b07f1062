/**
 * What a row of samples says: median and spread. Medians, because on a shared machine the slow samples say more
 * about the neighbours than about the code.
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

/** Throws RangeError without samples. */
export function summarize(samples: readonly number[]): SampleSummary {
  if (samples.length === 0) throw new RangeError('no samples to summarize');
  const sorted = samples.toSorted((a, b) => a - b);
  const median = quantile(sorted, 0.5);
  const lowerQuartile = quantile(sorted, 0.25);
  const upperQuartile = quantile(sorted, 0.75);
  return { median, lowerQuartile, upperQuartile, min: sorted[0]!, max: sorted.at(-1)!, spread: (upperQuartile - lowerQuartile) / median };
}

/** Of sorted numbers, by linear interpolation between the two that surround it. */
function quantile(sorted: readonly number[], part: number): number {
  const place = (sorted.length - 1) * part;
  const below = Math.floor(place);
  const lower = sorted[below]!;
  const upper = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return lower + (upper - lower) * (place - below);
}
