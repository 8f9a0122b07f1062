/**
 * The domain of numbers is sound: whatever values of the operands give is among what the operator says. Operands are
 * made the way programs make them, by comparisons, and each comes with a number that is in it.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ALU_OPS, BRANCH_OPS } from '../../dataplane/bpf/isa.ts';
import { ALU32, ALU64, BRANCH32, BRANCH64, swapBytes } from '../../dataplane/engine/interpreter-arithmetic.ts';
import { coerceToBytes, constant, contains, isBroken, rangeWithin, resetIfBroken, scalarsEqual, sync, tnumIn, UNKNOWN, zeroExtend32, type Scalar } from '../../dataplane/verifier/scalar.ts';
import { alu, apart, byteSwap, negate, signExtend } from '../../dataplane/verifier/scalar-arithmetic.ts';
import { branchTaken, refine } from '../../dataplane/verifier/scalar-branch.ts';

const WIDTHS = [32, 64] as const;
const EDGES = [0n, 1n, 2n, 7n, 8n, 0x7fn, 0x80n, 0xffn, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, 0x1_0000_0000n, (1n << 63n) - 1n, 1n << 63n, (1n << 64n) - 1n, (1n << 64n) - 2n];
const number = fc.oneof(fc.constantFrom(...EDGES), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), fc.bigInt({ min: 0n, max: 300n }));

function compare(op: (typeof BRANCH_OPS)[number], width: 32 | 64, a: bigint, b: bigint): boolean {
  return width === 64 ? BRANCH64[op](a, b) : BRANCH32[op](Number(a & 0xffff_ffffn), Number(b & 0xffff_ffffn));
}

interface Known {
  readonly scalar: Scalar;
  readonly value: bigint;
}

/** A number, and what some comparisons with constants and a mask say of it. */
const known: fc.Arbitrary<Known> = fc
  .tuple(number, fc.option(number), fc.array(fc.tuple(fc.constantFrom(...BRANCH_OPS), fc.constantFrom(...WIDTHS), number), { maxLength: 3 }))
  .map(([start, mask, comparisons]) => {
    const value = mask === null ? start : start & mask;
    let scalar = mask === null ? UNKNOWN : alu('and', 64, UNKNOWN, constant(mask));
    for (const [op, width, other] of comparisons) {
      if (branchTaken(op, width, scalar, constant(other)) !== undefined) continue;
      [scalar] = refine(op, width, compare(op, width, value, other), scalar, constant(other));
    }
    return { scalar, value };
  });

function sound(scalar: Scalar, value: bigint): void {
  if (!contains(scalar, value)) expect.fail(`${value} is not in ${JSON.stringify(scalar, (_, each: unknown) => (typeof each === 'bigint' ? each.toString() : each))}`);
}

test('what comparisons say of a number holds for the number', () => {
  fc.assert(fc.property(known, ({ scalar, value }) => sound(scalar, value)), { numRuns: 3000 });
});

describe.each(WIDTHS)('%s bits', (width) => {
  test.each(ALU_OPS)('%s', (op) => {
    fc.assert(
      fc.property(known, known, (a, b) => {
        const result = width === 64 ? BigInt.asUintN(64, ALU64[op](a.value, b.value)) : BigInt(ALU32[op](Number(a.value & 0xffff_ffffn), Number(b.value & 0xffff_ffffn)) >>> 0);
        sound(alu(op, width, a.scalar, b.scalar), result);
      }),
      { numRuns: 1500 },
    );
  });

  test.each(BRANCH_OPS)('a branch by %s is decided only where it always goes that way, and says what is true', (op) => {
    fc.assert(
      fc.property(known, known, (a, b) => {
        const taken = compare(op, width, a.value, b.value);
        expect(branchTaken(op, width, a.scalar, b.scalar) ?? taken).toBe(taken);
        const [left, right] = refine(op, width, taken, a.scalar, b.scalar);
        sound(left, a.value);
        sound(right, b.value);
      }),
      { numRuns: 1500 },
    );
  });

  test('negation', () => {
    fc.assert(fc.property(known, ({ scalar, value }) => sound(negate(width, scalar), BigInt.asUintN(width, -value))), { numRuns: 1500 });
  });

  test('sign extension', () => {
    fc.assert(fc.property(known, fc.constantFrom(8, 16, 32), ({ scalar, value }, bits) => sound(signExtend(width, bits as 8, scalar), BigInt.asUintN(width, BigInt.asIntN(bits, value)))), { numRuns: 1500 });
  });
});

test('narrowing', () => {
  fc.assert(
    fc.property(known, fc.constantFrom(1, 2, 4, 8), ({ scalar, value }, bytes) => {
      sound(coerceToBytes(scalar, bytes as 1), BigInt.asUintN(8 * bytes, value));
      sound(zeroExtend32(scalar), value & 0xffff_ffffn);
    }),
    { numRuns: 1500 },
  );
});

test('byte swaps', () => {
  fc.assert(
    fc.property(known, fc.constantFrom(16, 32, 64), fc.constantFrom('le', 'be', 'bswap'), ({ scalar, value }, bits, op) => {
      sound(byteSwap(op as 'le', bits as 16, scalar), op === 'le' ? BigInt.asUintN(bits, value) : swapBytes(value, bits as 16));
    }),
    { numRuns: 1500 },
  );
});

test('deducing bounds from bounds loses no value, and is done after a few times', () => {
  fc.assert(
    fc.property(known, ({ scalar, value }) => {
      const once = sync(scalar);
      sound(once, value);
      expect(rangeWithin(scalar, once) && tnumIn(scalar, once)).toBe(true);
      expect(scalarsEqual(sync(sync(once)), sync(sync(sync(once))))).toBe(true);
    }),
    { numRuns: 1500 },
  );
});

describe('as Linux has it', () => {
  const between = (min: bigint, max: bigint): Scalar => sync({ ...UNKNOWN, umin: min, umax: max });
  const low32 = zeroExtend32(UNKNOWN);

  test('bounds that both wrap around stay bounds', () => {
    expect(alu('add', 64, between((1n << 64n) - 8n, (1n << 64n) - 4n), constant(16n))).toMatchObject({ umin: 8n, umax: 12n });
    expect(alu('sub', 64, between(4n, 8n), constant(16n))).toMatchObject({ smin: -12n, smax: -8n, umin: (1n << 64n) - 12n });
  });

  test('a shift by a register whose upper half is unknown is not followed, even in 32 bits', () => {
    const count = alu('or', 64, alu('lsh', 64, UNKNOWN, constant(32n)), constant(3n));
    expect(alu('lsh', 32, low32, count)).toBe(UNKNOWN);
  });

  test('a division forgets even that a 32-bit result has no upper half', () => {
    expect(alu('div', 32, low32, constant(2n))).toBe(UNKNOWN);
  });

  test('a sign is spread by << 32 and s>> 32', () => {
    const byte = alu('sub', 32, alu('and', 32, UNKNOWN, constant(0xffn)), constant(128n));
    expect(alu('arsh', 64, alu('lsh', 64, byte, constant(32n)), constant(32n))).toMatchObject({ smin: -128n, smax: 127n });
  });

  test('sign extension follows bounds, not bits', () => {
    expect(signExtend(64, 8, alu('and', 64, UNKNOWN, constant(0x80n)))).toMatchObject({ smin: -128n, smax: 127n, mask: (1n << 64n) - 1n });
    expect(signExtend(64, 8, between(3n, 5n))).toMatchObject({ smin: 3n, smax: 5n, mask: 7n });
  });

  test('le keeps bounds, be does not', () => {
    expect(byteSwap('le', 32, between(8n, 100n))).toMatchObject({ umin: 8n, umax: 100n });
    expect(byteSwap('be', 16, between(8n, 100n))).toMatchObject({ umin: 0n, umax: 0x7f00n });
  });

  test('where one member of the bits is within the bounds, it is known', () => {
    const [bit] = refine('jne', 64, true, alu('and', 64, UNKNOWN, constant(8n)), constant(0n));
    expect(bit).toEqual(constant(8n));
  });

  test('a test of bits that fails forgets the bounds', () => {
    const [even] = refine('jset', 64, false, between(16n, 100n), constant(1n));
    expect(even).toMatchObject({ umin: 0n, umax: 126n });
  });

  test('a test of bits is decided with the known operand on either side', () => {
    expect(branchTaken('jset', 64, constant(0n), UNKNOWN)).toBe(false);
    expect(branchTaken('jset', 32, constant(4n), alu('or', 64, UNKNOWN, constant(4n)))).toBe(true);
  });

  test('low halves that differ decide that the whole is not equal', () => {
    const [low] = refine('jlt', 32, true, UNKNOWN, constant(100n));
    expect(branchTaken('jeq', 64, low, constant(0x1_0000_0064n))).toBe(false);
  });

  test('bounds without a number are forgotten, known bits are not', () => {
    const broken = { ...UNKNOWN, mask: 0xffn, umin: 9n, umax: 8n };
    expect(isBroken(broken)).toBe(true);
    expect(resetIfBroken(broken)).toEqual({ ...UNKNOWN, mask: 0xffn });
  });

  test('AND and OR of a spread sign and a constant are looked at apart', () => {
    const sign = alu('arsh', 64, UNKNOWN, constant(63n));
    expect(apart('and', sign, constant(6n))).toEqual({ first: constant(-1n), later: constant(0n) });
    expect(apart('xor', sign, constant(6n))).toBeUndefined();
    expect(apart('or', sign, UNKNOWN)).toBeUndefined();
    const half = apart('or', alu('arsh', 32, UNKNOWN, constant(31n)), constant(6n));
    expect(half).toMatchObject({ first: { value: 0xffff_ffffn, mask: 0n, s32max: -1 }, later: { value: 0n, mask: 0n, u32max: 0 } });
  });
});
