/**
 * Numbers of which some bits are known, exhaustively for a few bits where a number changes its sign, its width or its
 * byte: every result of members is a member, and where Linux follows bits exactly, so is what is said of them.
 */
import { describe, expect, test } from 'vitest';
import { ALU_OPS, BRANCH_OPS } from '../../dataplane/bpf/isa.ts';
import { swapBytes } from '../../dataplane/engine/interpreter-arithmetic.ts';
import { joinScalars } from '../../dataplane/verifier/join.ts';
import { coerceToBytes, constant, contains, of, sync, u64, UNKNOWN, zeroExtend32 } from '../../dataplane/verifier/scalar.ts';
import { alu, apart, byteSwap, negate, signExtend } from '../../dataplane/verifier/scalar-arithmetic.ts';
import { calculate } from '../domains/concrete.ts';
import { allAround, expectResults, expectWays, hasAll, WIDTHS, type Known } from './scalar-members.ts';

/** All numbers of which so many bits from `at` on are 0, 1 or unknown, and the others 0. */
function ofBits(bits: number, at: bigint): Known[] {
  const found: Known[] = [];
  for (let mask = 0; mask < 1 << bits; mask++) {
    for (let value = 0; value < 1 << bits; value++) {
      if ((value & mask) !== 0) continue;
      const members: bigint[] = [];
      for (let some = mask; ; some = (some - 1) & mask) {
        members.push(BigInt(value | some) << at);
        if (some === 0) break;
      }
      found.push({ scalar: of(BigInt(value) << at, BigInt(mask) << at), members });
    }
  }
  return found;
}

const text = ({ members }: Known): string => members.join(' ');

describe.each([['the lowest', 0n], ['the sign of 32', 30n], ['the highest', 61n]] as const)('three bits, %s', (_, at) => {
  const all = ofBits(3, at);
  const others = at === 0n ? all : [...all, ...ofBits(3, 0n)];

  describe.each(WIDTHS)('%s bits', (width) => {
    test.each(ALU_OPS)('%s of members is a member', (op) => expectResults(op, width, all, others, text));

    test.each(BRANCH_OPS)('%s is decided where all members agree, and leaves those that go that way', (op) => expectWays(op, width, all, others, text));
  });

  test('either of two numbers is a member of their union', () => {
    for (const a of all) for (const b of others) hasAll(joinScalars(a.scalar, b.scalar), [...a.members, ...b.members], () => `${text(a)} or ${text(b)}`);
  });
});

test('a union says nothing new where one number covers the other', () => {
  const wide = of(0n, 0xffn);
  expect(joinScalars(wide, constant(7n))).toBe(wide);
  expect(joinScalars(constant(2n), constant(6n))).toMatchObject({ value: 2n, mask: 4n, umin: 2n, umax: 6n });
});

/** Where an extension changes what it says, and where none of its widths ends. */
const SIGNS = [0n, 0x80n, 0x100n, 0x8000n, 0x1_0000n, 1n << 31n, 1n << 32n, (1n << 32n) + 0x80n, 1n << 63n];

describe.each(SIGNS)('intervals around %i', (place) => {
  const all = allAround(place, 6n);

  test.each(WIDTHS)('are extended by their sign to %i bits', (width) => {
    for (const bits of [8, 16, 32] as const) {
      for (const a of all) hasAll(signExtend(width, bits, a.scalar), a.members.map((x) => BigInt.asUintN(width, BigInt.asIntN(bits, x))), () => `${bits} bits of ${text(a)}`);
    }
  });

  test('are extended exactly, where all have one sign and the same bits above', () => {
    for (const bits of [8, 16, 32] as const) {
      for (const a of all) {
        const extended = a.members.map((x) => BigInt.asIntN(bits, x));
        const isFollowed = a.scalar.smin >> BigInt(bits) === a.scalar.smax >> BigInt(bits) && new Set(extended.map((x) => x < 0n)).size === 1;
        if (isFollowed) expect(signExtend(64, bits, a.scalar), `${bits} bits of ${text(a)}`).toMatchObject({ smin: extended[0], smax: extended.at(-1) });
      }
    }
  });

  test('are cut to bytes, and to their low half', () => {
    for (const a of all) {
      for (const bytes of [1, 2, 4, 8] as const) hasAll(coerceToBytes(a.scalar, bytes), a.members.map((x) => BigInt.asUintN(8 * bytes, x)), () => `${bytes} bytes of ${text(a)}`);
      hasAll(zeroExtend32(a.scalar), a.members.map((x) => x & 0xffff_ffffn), () => `the low half of ${text(a)}`);
    }
  });

  test.each(WIDTHS)('are negated in %i bits', (width) => {
    for (const a of all) hasAll(negate(width, a.scalar), a.members.map((x) => BigInt.asUintN(width, -x)), () => text(a));
  });

  test.each(WIDTHS)('are shifted by every count of %i bits', (width) => {
    for (const a of allAround(place, 2n)) {
      for (let count = 0; count < width; count++) {
        for (const op of ['lsh', 'rsh', 'arsh'] as const) {
          const results = a.members.map((x) => calculate(op, width, x, BigInt(count)));
          hasAll(alu(op, width, a.scalar, constant(BigInt(count))), results, () => `${text(a)} ${op} ${count}`);
        }
      }
    }
  });
});

test.each([16, 32, 64] as const)('six bits that are in two bytes are swapped exactly in %i bits', (bits) => {
  const all = ofBits(6, 5n);
  const swapped = new Map(Array.from({ length: 64 }, (_, value) => [BigInt(value) << 5n, swapBytes(BigInt(value) << 5n, bits)]));
  for (const a of all) {
    const expected = exact(a.members.map((x) => swapped.get(x)!));
    for (const op of ['be', 'bswap'] as const) {
      const { value, mask } = byteSwap(op, bits, a.scalar);
      if (value !== expected.value || mask !== expected.mask) expect.fail(`${op}${bits} of ${text(a)}: found (${value}; ${mask})`);
    }
    const { value, mask } = byteSwap('le', bits, a.scalar);
    if (value !== a.scalar.value || mask !== a.scalar.mask) expect.fail(`le${bits} of ${text(a)}: found (${value}; ${mask})`);
  }
});

/** The most that known bits can say of all these numbers. */
function exact(numbers: readonly bigint[]): { readonly value: bigint; readonly mask: bigint } {
  let [all, any] = [numbers[0]!, numbers[0]!];
  for (const number of numbers) {
    all &= number;
    any |= number;
  }
  return { value: all, mask: any & ~all };
}

test('what is looked at apart is all there was', () => {
  const spread = [alu('arsh', 64, UNKNOWN, constant(63n)), alu('arsh', 32, UNKNOWN, constant(31n)), sync({ ...UNKNOWN, s32min: -1, s32max: 0 })];
  for (const a of spread) {
    for (const op of ['and', 'or'] as const) {
      const { first, later } = apart(op, a, constant(6n))!;
      for (const value of [0n, u64(-1n), 0xffff_ffffn, 0xffff_ffff_0000_0000n, 0x1234_0000_0000n, 0x1234_ffff_ffffn]) {
        if (contains(a, value)) expect(contains(first, value) || contains(later, value), `${value} of ${JSON.stringify([a.smin, a.s32min], (_, x: unknown) => String(x))}`).toBe(true);
      }
    }
  }
});
