/**
 * How much slower one thing is than another, with a bound: `3.1 % ± 0.8 % slower`.
 *
 * Reports of two runs are compared by the distribution-free confidence interval of a median: it lies between two of the
 * sorted turns, chosen so that the true median is outside with a probability of at most 5 %.
 */
import { quantile } from './sample-summary.ts';

export interface Change {
  /** Relative: 0.031 is 3.1 % slower, -0.2 a fifth faster. */
  readonly median: number;
  readonly lower: number;
  readonly upper: number;
  /** Whether the interval leaves out 0. */
  readonly significant: boolean;
}

const MOST_OUTSIDE = 0.05;

/** Instances of each side for `changeOfInstances`, and Student's t for the 95 % of its degrees of freedom. */
export const INSTANCES = 5;
const STUDENT_T = 2.306;

/**
 * Of several instances of `after` against as many of `before`, INSTANCES each, measured in the same rounds. Where code and
 * data happen to lie in memory makes one instance of a program faster than another of the same, by more than turns of
 * one instance differ: so it is instances that are compared, and their spread is the bound.
 */
export function changeOfInstances(before: readonly number[], after: readonly number[]): Change {
  const [old, now] = [meanAndVariance(before), meanAndVariance(after)];
  const middle = now.mean / old.mean - 1;
  const bound = (STUDENT_T * Math.sqrt(old.variance / before.length + now.variance / after.length)) / old.mean;
  return interval(middle, middle - bound, middle + bound);
}

function meanAndVariance(values: readonly number[]): { readonly mean: number; readonly variance: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean, variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1) };
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
