/**
 * Sets of 64-bit numbers, as far as the verifier can say anything of them: where they begin and end in the four orders
 * that bounds are in, and which bits are 1 in all of them, or in some.
 */
import type { Scalar } from '../../dataplane/verifier/scalar.ts';

type Bound = bigint | number;

/** Each bound of a Scalar by what it bounds: the least and the greatest, of the whole and of the low half. */
const ORDERS: readonly { readonly of: (value: bigint) => Bound; readonly least: (s: Scalar) => Bound; readonly greatest: (s: Scalar) => Bound }[] = [
  { of: (value) => value, least: (s) => s.umin, greatest: (s) => s.umax },
  { of: (value) => BigInt.asIntN(64, value), least: (s) => s.smin, greatest: (s) => s.smax },
  { of: (value) => Number(BigInt.asUintN(32, value)), least: (s) => s.u32min, greatest: (s) => s.u32max },
  { of: (value) => Number(BigInt.asIntN(32, value)), least: (s) => s.s32min, greatest: (s) => s.s32max },
];

export type Order = 'unsigned' | 'signed' | 'unsigned32' | 'signed32';
const AT: Readonly<Record<Order, number>> = { unsigned: 0, signed: 1, unsigned32: 2, signed32: 3 };

/** A hull is so many integers: the least rank in each order, the greatest, then bits of every and of some number, low and high. */
export const HULL = 12;
const EVERY = 8;
const SOME = 10;
const NOTHING = [...Array<number>(4).fill(0x7fff_ffff), ...Array<number>(4).fill(-1), -1, -1, 0, 0];

export const noHulls = (count: number): Int32Array => new Int32Array(count * HULL);

export function clear(hulls: Int32Array, at: number): void {
  for (let index = 0; index < HULL; index++) hulls[at + index] = NOTHING[index]!;
}

export const isEmpty = (hulls: Int32Array, at: number): boolean => hulls[at + 4] === -1;

/** Adds what is at `from` to what is at `to`. Written out, as nothing else takes as long. */
export function join(to: Int32Array, at: number, hulls: Int32Array, from: number): void {
  if (hulls[from]! < to[at]!) to[at] = hulls[from]!;
  if (hulls[from + 1]! < to[at + 1]!) to[at + 1] = hulls[from + 1]!;
  if (hulls[from + 2]! < to[at + 2]!) to[at + 2] = hulls[from + 2]!;
  if (hulls[from + 3]! < to[at + 3]!) to[at + 3] = hulls[from + 3]!;
  if (hulls[from + 4]! > to[at + 4]!) to[at + 4] = hulls[from + 4]!;
  if (hulls[from + 5]! > to[at + 5]!) to[at + 5] = hulls[from + 5]!;
  if (hulls[from + 6]! > to[at + 6]!) to[at + 6] = hulls[from + 6]!;
  if (hulls[from + 7]! > to[at + 7]!) to[at + 7] = hulls[from + 7]!;
  to[at + 8]! &= hulls[from + 8]!;
  to[at + 9]! &= hulls[from + 9]!;
  to[at + 10]! |= hulls[from + 10]!;
  to[at + 11]! |= hulls[from + 11]!;
}

/** Of all numbers of a hull the low halves, with zeroes above. Their ranks in the other orders are those of the low halves. */
export function lowHalf(to: Int32Array, at: number, hulls: Int32Array, from: number): void {
  for (const end of [0, 4]) {
    to.fill(hulls[from + end + AT.unsigned32]!, at + end, at + end + AT.signed32);
    to[at + end + AT.signed32] = hulls[from + end + AT.signed32]!;
  }
  for (const bits of [EVERY, SOME]) {
    to[at + bits] = hulls[from + bits]!;
    to[at + bits + 1] = 0;
  }
}

/** Whether two hulls have the same ends in an order. */
export function isAlikeIn(order: Order, left: Int32Array, at: number, right: Int32Array, from: number): boolean {
  const index = AT[order];
  return left[at + index] === right[from + index] && left[at + 4 + index] === right[from + 4 + index];
}

const BIGS = new BigUint64Array(2);
const WORDS = new Int32Array(BIGS.buffer);

/** Numbers, each with its own hull: at `HULL` times its place. */
export class Numbers {
  readonly hulls: Int32Array;
  /** By order and rank. */
  readonly #sorted: readonly (readonly Bound[])[];

  constructor(values: readonly bigint[]) {
    this.hulls = noHulls(values.length);
    this.#sorted = ORDERS.map(({ of }, order) => {
      const sorted = [...new Set(values.map(of))].toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
      const ranks = new Map(sorted.map((value, rank) => [value, rank]));
      for (const [at, value] of values.entries()) this.hulls[at * HULL + order] = this.hulls[at * HULL + 4 + order] = ranks.get(of(value))!;
      return sorted;
    });
    for (const [at, value] of values.entries()) {
      BIGS[0] = value;
      for (const bits of [EVERY, SOME]) this.hulls.set(WORDS.subarray(0, 2), at * HULL + bits);
    }
  }

  /** Whether all bounds and bits allow for all that is in the hull, which is not empty. */
  isWithin(hulls: Int32Array, at: number, scalar: Scalar): boolean {
    for (let order = 0; order < 4; order++) {
      const { least, greatest } = ORDERS[order]!;
      const sorted = this.#sorted[order]!;
      if (sorted[hulls[at + order]!]! < least(scalar) || sorted[hulls[at + 4 + order]!]! > greatest(scalar)) return false;
    }
    BIGS[0] = scalar.value;
    BIGS[1] = scalar.mask;
    for (let half = 0; half < 2; half++) {
      const known = ~WORDS[2 + half]!;
      if (((hulls[at + EVERY + half]! ^ WORDS[half]!) & known) !== 0 || ((hulls[at + SOME + half]! ^ WORDS[half]!) & known) !== 0) return false;
    }
    return true;
  }

  /** Whether the bounds of one order are those of the hull. */
  isTight(hulls: Int32Array, at: number, scalar: Scalar, order: Order): boolean {
    const index = AT[order];
    const sorted = this.#sorted[index]!;
    return sorted[hulls[at + index]!] === ORDERS[index]!.least(scalar) && sorted[hulls[at + 4 + index]!] === ORDERS[index]!.greatest(scalar);
  }
}
