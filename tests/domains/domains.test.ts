/** The operators of the verifier's numbers, exhaustively for a few bits; `npm run domains` does the same for more. */
import { describe, expect, test } from 'vitest';
import { constant, sync, UNKNOWN, type Scalar } from '../../dataplane/verifier/scalar.ts';
import { alu } from '../../dataplane/verifier/scalar-arithmetic.ts';
import { tnumAdd, tnumIntersect, type Tnum } from '../../dataplane/verifier/tnum.ts';
import { checkBranchOf } from './branches.ts';
import { calculate } from './concrete.ts';
import { checkDeductions } from './deductions.ts';
import { checkBinaryIntervals } from './intervals.ts';
import { allKnownBits, BINARY, checkBinary, checkSets, SETS } from './known-bits.ts';
import { checkClasses, checkEachPair } from './pairs.ts';
import { SMALL, stepsFor } from './plan.ts';
import { isGood, type Row } from './row.ts';
import { runFrom } from './runs.ts';

describe('nothing is lost, and where Linux says all that can be said, so does the verifier', () => {
  test.each(['bits', 'intervals', 'deductions', 'branches'] as const)('by %s', (part) => {
    const rows = stepsFor(SMALL).filter((step) => step.part === part).map(({ run }) => run());
    expect(rows.filter((row) => !isGood(row))).toEqual([]);
    expect(rows.filter(({ looked }) => looked === 0)).toEqual([]);
  }, 120_000);
});

// Of the multiplication of 6.18, its author counts 432,406 of the 531,441 pairs of 6 bits for which it is optimal.
test.each([[4, 6_561, 615], [5, 59_049, 8_491], [6, 531_441, 531_441 - 432_406]])('products of %i bits are sound, and of %i pairs inexact for %i', (bits, looked, inexact) => {
  expect(checkBinary(BINARY.find(({ name }) => name === 'mul')!, bits, [0, 0, 0])).toMatchObject({ looked, inexact });
});

test('partly known numbers stand behind their halves, and all are there', () => {
  const { values, masks, zero, one } = allKnownBits(4);
  expect(new Set(values.map((value, index) => value | (masks[index]! << 4))).size).toBe(81);
  for (let index = 0; index < 81; index++) {
    expect(values[index]! & masks[index]!).toBe(0);
    if (masks[index] === 0) continue;
    const bit = masks[index]! & -masks[index]!;
    expect([values[zero[index]!], masks[zero[index]!], values[one[index]!], masks[one[index]!]]).toEqual([values[index], masks[index]! & ~bit, values[index]! | bit, masks[index]! & ~bit]);
    expect(Math.max(zero[index]!, one[index]!)).toBeLessThan(index);
  }
});

describe('what is wrong is found:', () => {
  const add = BINARY.find(({ name }) => name === 'add')!;

  test('a sum that forgets the carry', () => {
    const tnum = (a: Tnum, b: Tnum): Tnum => ({ value: (a.value + b.value) & ~(a.mask | b.mask), mask: a.mask | b.mask });
    expect(checkBinary({ ...add, tnum }, 3, [0, 0, 0]).wrong).toMatch(/^\(0x1; 0x0\) add \(0x0; 0x1\) is/);
  });

  test('a sum that says too little', () => {
    const tnum = (a: Tnum, b: Tnum): Tnum => (a.mask === 5n ? { value: 0n, mask: 15n } : tnumAdd(a, b));
    const row = checkBinary({ ...add, tnum }, 3, [0, 0, 0]);
    expect(row.wrong).toBeUndefined();
    expect(isGood(row)).toBe(false);
  });

  test('an intersection that is a union', () => {
    expect(checkSets(3, { ...SETS, intersect: SETS.union }).wrong).toMatch(/^the intersection/);
  });

  test('an interval whose end is not moved, and one that is moved too far', () => {
    const run = runFrom(0n, 8);
    const check = (more: bigint): ReturnType<typeof checkBinaryIntervals> => checkBinaryIntervals('sums', run, run, (a, b) => ({ ...alu('add', 64, a, b), umax: a.umax + b.umax + more }), (x, y) => calculate('add', 64, x, y), ['unsigned']);
    expect(check(-1n).wrong).toBe('0..0 and 0..0');
    expect(check(1n)).toMatchObject({ looked: 36 * 36, inexact: 36 * 36 });
    expect(check(0n)).toMatchObject({ inexact: 0 });
  });

  test('an answer that leaves out what some pair of its class gives, and one that says too little', () => {
    const run = runFrom(0n, 8);
    const check = (umax: (a: Scalar, b: Scalar) => bigint): Row => checkClasses('bits', 'or', run, run, ['unsigned'], { abstract: (op, width, a, b) => ({ ...alu(op, width, a, b), umax: umax(a, b) }) });
    expect(check((a, b) => (a.umax > b.umax ? a.umax : b.umax)).wrong).toMatch(/ and .* in 64 bits$/);
    expect(check(() => 7n)).not.toHaveProperty('wrong');
    expect(isGood(check(() => 7n))).toBe(false);
  });

  test('a product of some pairs, in the part that their class is in', () => {
    const run = runFrom(0n, 8);
    const zero: typeof alu = (op, width, a, b) => (a.umin === 5n && b.umin === 6n ? constant(0n) : alu(op, width, a, b));
    const parts = [0, 1, 2, 3].map((number) => checkClasses('products', 'mul', run, run, [], { part: { number, of: 4 }, abstract: zero }));
    expect(parts.filter(({ wrong }) => wrong !== undefined)).not.toEqual([]);
    expect(parts.reduce((sum, { looked }) => sum + looked, 0)).toBe(36 * 36);
    expect(parts.filter(({ looked }) => looked === 0)).toEqual([]);
  });

  test('pairs of a class that are not answered alike', () => {
    const run = runFrom(0n, 8);
    const uneven: typeof alu = (op, width, a, b) => (a.umin === 3n && b.umin === 2n ? UNKNOWN : alu(op, width, a, b));
    expect(checkEachPair('sums', 'add', run, run, [], uneven).wrong).toMatch(/: not answered as others of its class$/);
  });

  test('bits that are cut off where bounds and bits are put together', () => {
    const deduce: typeof sync = (said) => ({ ...said, ...tnumIntersect(said, { value: said.umin & ~7n, mask: 7n }) });
    expect(checkDeductions('bits', 0n, 3, ['unsigned', 'bits'], deduce).wrong).toBeDefined();
    expect(checkDeductions('bits', 0n, 3, ['unsigned', 'bits']).wrong).toBeUndefined();
  });

  test('a branch that is decided where not all members agree', () => {
    const known = { scalar: constant(1n), members: [0, 1], text: 'one' };
    expect(checkBranchOf('bits', 'jeq', 64, [0n, 1n], [known]).wrong).toBe('one jeq one: decided');
  });
});
