/** Partly known numbers, exhaustively where they are small: every member's result is a member, and no bit is unknown without need. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { of } from '../../dataplane/verifier/scalar.ts';
import { alu } from '../../dataplane/verifier/scalar-arithmetic.ts';
import {
  tnumAdd, tnumAnd, tnumArsh, tnumContains, tnumIntersect, tnumLow, tnumLsh, tnumMul, tnumNext, tnumOr, tnumOverlap, tnumRange, tnumRsh, tnumSub, tnumUnion, tnumWithLow, tnumXor,
  type Tnum,
} from '../../dataplane/verifier/tnum.ts';

const u64 = (x: bigint): bigint => BigInt.asUintN(64, x);

/** All partly known numbers of so many bits, at a place in the 64. */
function all(bits: number, at = 0n): Tnum[] {
  const found: Tnum[] = [];
  for (let mask = 0; mask < 1 << bits; mask++) {
    for (let value = 0; value < 1 << bits; value++) if ((value & mask) === 0) found.push({ value: BigInt(value) << at, mask: BigInt(mask) << at });
  }
  return found;
}

function members({ value, mask }: Tnum): bigint[] {
  const found: bigint[] = [];
  let some = mask;
  for (;;) {
    found.push(value | some);
    if (some === 0n) return found;
    some = (some - 1n) & mask;
  }
}

const has = ({ value, mask }: Tnum, number: bigint): boolean => (number & ~mask) === value;

/** The most that can be said of all these numbers. */
function exact(numbers: readonly bigint[]): Tnum {
  const mask = numbers.reduce((sum, number) => sum | (number ^ numbers[0]!), 0n);
  return { value: numbers[0]! & ~mask, mask };
}

const OPERATORS: readonly (readonly [string, (a: Tnum, b: Tnum) => Tnum, (a: bigint, b: bigint) => bigint])[] = [
  ['add', tnumAdd, (a, b) => a + b],
  ['sub', tnumSub, (a, b) => a - b],
  ['and', tnumAnd, (a, b) => a & b],
  ['or', tnumOr, (a, b) => a | b],
  ['xor', tnumXor, (a, b) => a ^ b],
];

describe.each([['the lowest', 0n], ['the highest', 60n]] as const)('of %s four bits', (_, at) => {
  const numbers = all(4, at);

  test.each(OPERATORS)('%s says exactly what its operands say', (_name, operator, concrete) => {
    for (const a of numbers) {
      for (const b of numbers) {
        const results = members(a).flatMap((x) => members(b).map((y) => u64(concrete(x, y))));
        expect(operator(a, b)).toEqual(exact(results));
      }
    }
  });
});

test('products of four bits are members', () => {
  for (const a of all(4)) {
    for (const b of all(4)) {
      const product = tnumMul(a, b);
      expect(product.value & product.mask).toBe(0n);
      for (const x of members(a)) for (const y of members(b)) if (!has(product, x * y)) expect.fail(`${x} * ${y} is not in (${product.value}; ${product.mask})`);
    }
  }
});

test('a product with a known number keeps the trailing zeroes of both', () => {
  expect(tnumMul({ value: 0n, mask: 0xf0n }, { value: 6n, mask: 0n })).toEqual({ value: 0n, mask: 0x7e0n });
});

test('shifts by known counts are exact, on any sign', () => {
  for (const at of [0n, 24n, 28n, 56n]) {
    for (const a of all(6, at)) {
      for (const count of [0n, 1n, 3n, 5n]) {
        expect(tnumLsh(a, count)).toEqual(exact(members(a).map((x) => u64(x << count))));
        expect(tnumRsh(a, count)).toEqual(exact(members(a).map((x) => x >> count)));
        expect(tnumArsh(a, count, 64)).toEqual(exact(members(a).map((x) => u64(BigInt.asIntN(64, x) >> count))));
        expect(tnumArsh(a, count, 32)).toEqual(exact(members(a).map((x) => BigInt.asUintN(32, BigInt.asIntN(32, x) >> count))));
      }
    }
  }
});

test('a range shares the bits in front of the first that differs', () => {
  for (let min = 0n; min < 64n; min++) {
    for (let max = min; max < 64n; max++) {
      const numbers = Array.from({ length: Number(max - min) + 1 }, (_, index) => min + BigInt(index));
      expect(tnumRange(min, max)).toEqual(exact(numbers));
    }
  }
  expect(tnumRange(0n, 1n << 63n)).toEqual({ value: 0n, mask: u64(-1n) });
  expect(tnumRange(u64(-2n), u64(-1n))).toEqual({ value: u64(-2n), mask: 1n });
});

test('union, intersection, overlap and containment are those of the members', () => {
  const numbers = all(4);
  for (const a of numbers) {
    const inA = new Set(members(a));
    for (const b of numbers) {
      const inB = members(b);
      const both = inB.filter((each) => inA.has(each));
      expect(tnumUnion(a, b)).toEqual(exact([...inA, ...inB]));
      expect(tnumOverlap(a, b)).toBe(both.length > 0);
      if (both.length > 0) expect(tnumIntersect(a, b)).toEqual(exact(both));
      expect(tnumContains(a, b)).toBe(both.length === inB.length);
    }
  }
});

test('the next member is the least one above', () => {
  for (const a of all(6)) {
    const sorted = members(a).toSorted((x, y) => Number(x - y));
    for (let from = 0n; from < 70n; from++) expect(tnumNext(a, from)).toBe(sorted.find((each) => each > from) ?? sorted.at(-1));
  }
  const high = { value: 1n << 63n, mask: 0xffn << 40n };
  expect(tnumNext(high, 5n)).toBe(1n << 63n);
  expect(tnumNext(high, 1n << 63n)).toBe((1n << 63n) | (1n << 40n));
});

test('halves are taken and put together', () => {
  const a = { value: 0x1234_5678_0000_0001n, mask: 0xf0n };
  expect(tnumLow(a)).toEqual({ value: 1n, mask: 0xf0n });
  expect(tnumWithLow(a, { value: 0xffff_ffff_0000_0002n, mask: 0xffff_ffff_0000_0f00n })).toEqual({ value: 0x1234_5678_0000_0002n, mask: 0xf00n });
});

/** Anywhere in 64 bits, so many of which are not known. */
const sparse = (unknown: number): fc.Arbitrary<Tnum> =>
  fc.tuple(fc.bigInt({ min: 0n, max: u64(-1n) }), fc.array(fc.integer({ min: 0, max: 63 }), { maxLength: unknown })).map(([value, bits]) => {
    const mask = bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
    return { value: value & ~mask, mask };
  });

/** Of which any bits are not known, with one of its members. */
const anyKnown = fc.tuple(fc.bigInt({ min: 0n, max: u64(-1n) }), fc.bigInt({ min: 0n, max: u64(-1n) })).map(([member, mask]) => ({ tnum: { value: member & ~mask, mask }, member }));

describe('of 64 bits and of 32', () => {
  test.each(OPERATORS)('%s says exactly what operands of few unknown bits say', (name, operator, concrete) => {
    fc.assert(
      fc.property(sparse(4), sparse(4), (a, b) => {
        const results = members(a).flatMap((x) => members(b).map((y) => u64(concrete(x, y))));
        expect(operator(a, b)).toEqual(exact(results));
        // Bounds may say more of bits that are known to be different together, and never less.
        const { value, mask } = alu(name as 'add', 32, of(a.value, a.mask), of(b.value, b.mask));
        expect({ value, mask }).toEqual(exact(results.map((each) => BigInt.asUintN(32, each))));
      }),
      { numRuns: 500 },
    );
  });

  test.each([...OPERATORS, ['mul', tnumMul, (x: bigint, y: bigint): bigint => x * y] as const])('%s of members is a member', (name, operator, concrete) => {
    fc.assert(
      fc.property(anyKnown, anyKnown, (a, b) => {
        const result = operator(a.tnum, b.tnum);
        expect(result.value & result.mask).toBe(0n);
        expect(has(result, u64(concrete(a.member, b.member)))).toBe(true);
        expect(has(alu(name as 'add', 32, of(a.tnum.value, a.tnum.mask), of(b.tnum.value, b.tnum.mask)), BigInt.asUintN(32, concrete(a.member, b.member)))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test('shifts by every count are exact', () => {
    fc.assert(
      fc.property(sparse(5), fc.bigInt({ min: 0n, max: 63n }), (a, count) => {
        expect(tnumLsh(a, count)).toEqual(exact(members(a).map((x) => u64(x << count))));
        expect(tnumRsh(a, count)).toEqual(exact(members(a).map((x) => x >> count)));
        expect(tnumArsh(a, count, 64)).toEqual(exact(members(a).map((x) => u64(BigInt.asIntN(64, x) >> count))));
        expect(tnumArsh(a, count & 31n, 32)).toEqual(exact(members(a).map((x) => BigInt.asUintN(32, BigInt.asIntN(32, x) >> (count & 31n)))));
      }),
      { numRuns: 500 },
    );
  });

  test('a range of few numbers, and union and intersection, are exact', () => {
    fc.assert(
      fc.property(sparse(5), sparse(5), fc.bigInt({ min: 0n, max: u64(-1n) }), fc.bigInt({ min: 0n, max: 40n }), (a, b, min, length) => {
        const max = min + length > u64(-1n) ? u64(-1n) : min + length;
        expect(tnumRange(min, max)).toEqual(exact(Array.from({ length: Number(max - min) + 1 }, (_, index) => min + BigInt(index))));
        expect(tnumUnion(a, b)).toEqual(exact([...members(a), ...members(b)]));
        const wider = { value: a.value & ~b.mask, mask: a.mask | b.mask };
        expect(tnumIntersect(a, wider)).toEqual(a);
        expect(tnumContains(wider, a) && tnumOverlap(a, wider)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
