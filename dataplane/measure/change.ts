/**
 * How much slower one thing is than another, with a bound: `3.1 % ± 0.8 % slower`.
 *
 * Turns of one place were measured side by side, so their ratio is what counts: what slowed the machine slowed both.
 * The figure is the median of the ratios; the bound is the distribution-free confidence interval of a median, between
 * two of the sorted ratios, chosen so that the true median lies outside with a probability of at most 5 %.
 */
import { median, quantile } from './sample-summary.ts';

export interface Change {
  /** Relative: 0.031 is 3.1 % slower, -0.2 a fifth faster. */
  readonly median: number;
  readonly lower: number;
  readonly upper: number;
  /** Whether the interval leaves out 0. */
  readonly significant: boolean;
}

const MOST_OUTSIDE = 0.05;

/** Of `after` against `before`, turn by turn. */
export function changeOf(before: readonly number[], after: readonly number[]): Change {
  const pairs = Math.min(before.length, after.length);
  const ratios = Array.from({ length: pairs }, (_, turn) => after[turn]! / before[turn]! - 1).toSorted((a, b) => a - b);
  const rank = medianRank(pairs);
  return interval(median(ratios), ratios[rank]!, ratios[pairs - 1 - rank]!);
}

/** Of two measurements that were not made side by side: the intervals of both count. */
export function changeApart(before: readonly number[], after: readonly number[]): Change {
  const [old, now] = [before, after].map((turns) => {
    const sorted = turns.toSorted((a, b) => a - b);
    const rank = medianRank(sorted.length);
    return { median: quantile(sorted, 0.5), lower: sorted[rank]!, upper: sorted.at(-1 - rank)! };
  }) as [{ median: number; lower: number; upper: number }, { median: number; lower: number; upper: number }];
  return interval(now.median / old.median - 1, now.lower / old.upper - 1, now.upper / old.lower - 1);
}

function interval(middle: number, lower: number, upper: number): Change {
  return { median: middle, lower, upper, significant: lower > 0 || upper < 0 };
}

/** How many of the smallest, and of the largest, of `count` sorted samples lie outside of the interval. */
function medianRank(count: number): number {
  let outside = 0;
  let term = 0.5 ** count;
  for (let rank = 0; ; rank++) {
    outside += 2 * term;
    if (outside > MOST_OUTSIDE || rank > count / 2) return Math.max(0, rank - 1);
    term *= (count - rank) / (rank + 1);
  }
}

/** `3.1 % ± 0.8 % slower`. */
export function describeChange({ median: middle, lower, upper, significant }: Change): string {
  const bound = (upper - lower) / 2;
  const text = `${percent(Math.abs(middle))} ± ${percent(bound)}`;
  return significant ? `${text} ${middle > 0 ? 'slower' : 'faster'}` : `${text}: no difference that this run could show`;
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`;
}
