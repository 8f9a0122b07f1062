/**
 * Arithmetic on intervals, held against all pairs of members of all pairs of intervals: for each pair, the hull of all
 * results, of which the result has to say nothing less.
 */
import type { AluOp } from '../../dataplane/bpf/isa.ts';
import { swapBytes } from '../../dataplane/engine/interpreter-arithmetic.ts';
import { joinScalars } from '../../dataplane/verifier/join.ts';
import { coerceToBytes, constant, zeroExtend32, type Scalar } from '../../dataplane/verifier/scalar.ts';
import { alu, byteSwap, negate, signExtend } from '../../dataplane/verifier/scalar-arithmetic.ts';
import { calculate, type Width } from './concrete.ts';
import { clear, HULL, join, noHulls, Numbers, type Order } from './numbers.ts';
import { Tally, type Row } from './row.ts';
import { textOf, type Run } from './runs.ts';

/** What has to be said exactly, where that is asked for. */
export type Bounds = readonly Order[];

/** What an operator gives of all pairs of numbers. */
export interface Results {
  readonly values: readonly bigint[];
  readonly numbers: Numbers;
  /** By operands' indices: which number, as the place of its hull. */
  readonly at: Int32Array;
}

export function resultsOf(lefts: readonly bigint[], rights: readonly bigint[], concrete: (x: bigint, y: bigint) => bigint): Results {
  const places = new Map<bigint, number>();
  const at = Int32Array.from({ length: lefts.length * rights.length }, (_, index) => {
    const value = concrete(lefts[Math.floor(index / rights.length)]!, rights[index % rights.length]!);
    let place = places.get(value);
    if (place === undefined) places.set(value, (place = places.size));
    return place * HULL;
  });
  const values = [...places.keys()];
  return { values, numbers: new Numbers(values), at };
}

/**
 * Visits all pairs of intervals of two runs by their places, with the hull of all that their members give: always the
 * same array. `half`: of two pairs that are each other the other way round, one.
 */
export function eachPair(lefts: Run, rights: Run, { numbers, at }: Results, visit: (left: number, right: number, hull: Int32Array) => void, half = false): void {
  // Of the left interval with each right number; then with a right interval.
  const byRight = noHulls(rights.count);
  const all = noHulls(1);
  for (const least of lefts.ends) {
    for (let y = 0; y < rights.count; y++) clear(byRight, y * HULL);
    for (let most = least; most < lefts.count; most++) {
      for (let y = 0; y < rights.count; y++) join(byRight, y * HULL, numbers.hulls, at[most * rights.count + y]!);
      const left = least * lefts.count + most;
      if (lefts.scalars[left] === undefined) continue;
      for (const from of rights.ends) {
        if (half && from < least) continue;
        clear(all, 0);
        for (let to = from; to < rights.count; to++) {
          join(all, 0, byRight, to * HULL);
          const right = from * rights.count + to;
          if (rights.scalars[right] !== undefined && !(half && right < left)) visit(left, right, all);
        }
      }
    }
  }
}

/** All pairs of intervals of two runs. `tight`: bounds that have to be exact. */
export function checkBinaryIntervals(what: string, lefts: Run, rights: Run, abstract: (a: Scalar, b: Scalar) => Scalar, concrete: (x: bigint, y: bigint) => bigint, tight: Bounds = []): Row {
  const results = resultsOf(lefts.values, rights.values, concrete);
  const { numbers } = results;
  const tally = new Tally();
  eachPair(lefts, rights, results, (left, right, all) => {
    const found = abstract(lefts.scalars[left]!, rights.scalars[right]!);
    tally.looked++;
    if (!numbers.isWithin(all, 0, found)) tally.lost(() => `${textOf(lefts, Math.floor(left / lefts.count), left % lefts.count)} and ${textOf(rights, Math.floor(right / rights.count), right % rights.count)}`);
    if (!tight.every((order) => numbers.isTight(all, 0, found, order))) tally.inexact++;
  });
  return tally.row(what, tight.length > 0 ? 'must be exact' : 'not counted');
}

export const checkArithmetic = (what: string, op: AluOp, width: Width, lefts: Run, rights: Run, tight?: Bounds): Row =>
  checkBinaryIntervals(`${what}: ${op}${width}`, lefts, rights, (a, b) => alu(op, width, a, b), (x, y) => calculate(op, width, x, y), tight);

export interface UnaryOperator {
  readonly name: string;
  readonly abstract: (a: Scalar) => Scalar;
  readonly concrete: (x: bigint) => bigint;
}

const shift = (op: 'lsh' | 'rsh' | 'arsh', width: Width, count: number): UnaryOperator => ({
  name: `${op}${width} by ${count}`, abstract: (a) => alu(op, width, a, constant(BigInt(count))), concrete: (x) => calculate(op, width, x, BigInt(count)),
});

/** Shifts by every count. */
export const SHIFTS: readonly UnaryOperator[] = ([32, 64] as const).flatMap((width) => (['lsh', 'rsh', 'arsh'] as const).flatMap((op) => Array.from({ length: width }, (_, count) => shift(op, width, count))));

/** Negation, extension, truncation, byte swaps. */
export const CONVERSIONS: readonly UnaryOperator[] = [
  ...([32, 64] as const).flatMap((width): UnaryOperator[] => [
    { name: `neg${width}`, abstract: (a) => negate(width, a), concrete: (x) => BigInt.asUintN(width, -x) },
    ...([8, 16, 32] as const).map((bits): UnaryOperator => ({ name: `sign extension of ${bits} to ${width}`, abstract: (a) => signExtend(width, bits, a), concrete: (x) => BigInt.asUintN(width, BigInt.asIntN(bits, x)) })),
  ]),
  { name: 'zero extension', abstract: zeroExtend32, concrete: (x) => BigInt.asUintN(32, x) },
  ...([1, 2, 4, 8] as const).map((bytes): UnaryOperator => ({ name: `truncation to ${bytes}`, abstract: (a) => coerceToBytes(a, bytes), concrete: (x) => BigInt.asUintN(8 * bytes, x) })),
  ...([16, 32, 64] as const).flatMap((bits): UnaryOperator[] => [
    { name: `le${bits}`, abstract: (a) => byteSwap('le', bits, a), concrete: (x) => BigInt.asUintN(bits, x) },
    { name: `bswap${bits}`, abstract: (a) => byteSwap('bswap', bits, a), concrete: (x) => swapBytes(x, bits) },
  ]),
];

/** All intervals of a run by all these operators. */
export function checkUnaryIntervals(what: string, run: Run, operators: readonly UnaryOperator[]): Row {
  const tally = new Tally();
  const all = noHulls(1);
  for (const { name, abstract, concrete } of operators) {
    const { numbers, at } = resultsOf(run.values, [0n], concrete);
    for (const least of run.ends) {
      clear(all, 0);
      for (let most = least; most < run.count; most++) {
        join(all, 0, numbers.hulls, at[most]!);
        const a = run.scalars[least * run.count + most];
        if (a === undefined) continue;
        tally.looked++;
        if (!numbers.isWithin(all, 0, abstract(a))) tally.lost(() => `${textOf(run, least, most)} ${name}`);
      }
    }
  }
  return tally.row(what, 'not counted');
}

/** What either of two intervals may be. */
export function checkUnion(what: string, run: Run): Row {
  const numbers = new Numbers(run.values);
  const tally = new Tally();
  const [left, both] = [noHulls(1), noHulls(1)];
  for (const least of run.ends) {
    clear(left, 0);
    for (let most = least; most < run.count; most++) {
      join(left, 0, numbers.hulls, most * HULL);
      for (const from of run.ends) {
        both.set(left);
        for (let to = from; to < run.count; to++) {
          join(both, 0, numbers.hulls, to * HULL);
          tally.looked++;
          if (!numbers.isWithin(both, 0, joinScalars(run.scalars[least * run.count + most]!, run.scalars[from * run.count + to]!))) tally.lost(() => `${textOf(run, least, most)} or ${textOf(run, from, to)}`);
        }
      }
    }
  }
  return tally.row(what, 'not counted');
}
