/** Consecutive numbers, and all intervals of them as the verifier knows them. */
import type { Scalar } from '../../dataplane/verifier/scalar.ts';
import { intervalScalar } from './concrete.ts';

/** Numbers `first` to `first + count - 1`, which wrap around. An interval of them is that between two indices. */
export interface Run {
  readonly first: bigint;
  readonly count: number;
  /** By index. */
  readonly values: readonly bigint[];
  /** Indices at which intervals begin and end. */
  readonly ends: readonly number[];
  /** By first and last index: `first * count + last`. */
  readonly scalars: readonly (Scalar | undefined)[];
}

/** With `ends`, only intervals between these. */
export function runFrom(first: bigint, count: number, ends: readonly number[] = Array.from({ length: count }, (_, index) => index)): Run {
  const values = Array.from({ length: count }, (_, index) => BigInt.asUintN(64, first + BigInt(index)));
  const scalars: (Scalar | undefined)[] = Array.from({ length: count * count });
  for (const least of ends) for (const most of ends) if (least <= most) scalars[least * count + most] = intervalScalar(first + BigInt(least), first + BigInt(most));
  return { first, count, values, ends, scalars };
}

export const textOf = ({ first }: Run, least: number, most: number): string => `${first + BigInt(least)}..${first + BigInt(most)}`;
