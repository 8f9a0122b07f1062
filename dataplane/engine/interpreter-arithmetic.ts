/**
 * What each operation computes (RFC 9669 §4), one row an operation, for both operand widths.
 *
 * 64-bit rows take and give unsigned BigInts, 32-bit rows unsigned numbers; results may be any integer, since storing
 * them in a register keeps the low bits only. Division by zero is 0, and the remainder the dividend; the quotient of
 * the smallest number and −1 overflows to itself. Shift counts are taken modulo the width.
 */
import type { AluOp, AtomicOp, BranchOp } from '../bpf/isa.ts';

export const ALU64: Readonly<Record<AluOp, (a: bigint, b: bigint) => bigint>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => (b === 0n ? 0n : a / b),
  sdiv: (a, b) => (b === 0n ? 0n : signed64(a) / signed64(b)),
  or: (a, b) => a | b,
  and: (a, b) => a & b,
  lsh: (a, b) => a << (b & 63n),
  rsh: (a, b) => a >> (b & 63n),
  mod: (a, b) => (b === 0n ? a : a % b),
  smod: (a, b) => (b === 0n ? a : signed64(a) % signed64(b)),
  xor: (a, b) => a ^ b,
  mov: (_, b) => b,
  arsh: (a, b) => signed64(a) >> (b & 63n),
};

export const ALU32: Readonly<Record<AluOp, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => Math.imul(a, b),
  div: (a, b) => (b === 0 ? 0 : Math.floor(a / b)),
  sdiv: (a, b) => (b === 0 ? 0 : Math.trunc((a | 0) / (b | 0))),
  or: (a, b) => a | b,
  and: (a, b) => a & b,
  lsh: (a, b) => a << (b & 31),
  rsh: (a, b) => a >>> (b & 31),
  mod: (a, b) => (b === 0 ? a : a % b),
  smod: (a, b) => (b === 0 ? a : (a | 0) % (b | 0)),
  xor: (a, b) => a ^ b,
  mov: (_, b) => b,
  arsh: (a, b) => (a | 0) >> (b & 31),
};

export const BRANCH64: Readonly<Record<BranchOp, (a: bigint, b: bigint) => boolean>> = {
  jeq: (a, b) => a === b,
  jne: (a, b) => a !== b,
  jset: (a, b) => (a & b) !== 0n,
  jgt: (a, b) => a > b,
  jge: (a, b) => a >= b,
  jlt: (a, b) => a < b,
  jle: (a, b) => a <= b,
  jsgt: (a, b) => signed64(a) > signed64(b),
  jsge: (a, b) => signed64(a) >= signed64(b),
  jslt: (a, b) => signed64(a) < signed64(b),
  jsle: (a, b) => signed64(a) <= signed64(b),
};

export const BRANCH32: Readonly<Record<BranchOp, (a: number, b: number) => boolean>> = {
  jeq: (a, b) => a === b,
  jne: (a, b) => a !== b,
  jset: (a, b) => (a & b) !== 0,
  jgt: (a, b) => a > b,
  jge: (a, b) => a >= b,
  jlt: (a, b) => a < b,
  jle: (a, b) => a <= b,
  jsgt: (a, b) => (a | 0) > (b | 0),
  jsge: (a, b) => (a | 0) >= (b | 0),
  jslt: (a, b) => (a | 0) < (b | 0),
  jsle: (a, b) => (a | 0) <= (b | 0),
};

/**
 * What an atomic read-modify-write leaves in memory, whatever its width: operands are zero-extended. `expected` is
 * r0, which only cmpxchg looks at.
 */
export const READ_MODIFY_WRITE: Readonly<Record<Exclude<AtomicOp, 'load_acquire' | 'store_release'>, (old: bigint, operand: bigint, expected: bigint) => bigint>> = {
  add: (old, operand) => old + operand,
  or: (old, operand) => old | operand,
  and: (old, operand) => old & operand,
  xor: (old, operand) => old ^ operand,
  xchg: (_, operand) => operand,
  cmpxchg: (old, operand, expected) => (old === expected ? operand : old),
};

/** The low `bits` of `value` with their bytes in opposite order, and zeroes above. */
export function swapBytes(value: bigint, bits: 16 | 32 | 64): bigint {
  let rest = BigInt.asUintN(bits, value);
  let swapped = 0n;
  for (let byte = 0; byte < bits; byte += 8) {
    swapped = (swapped << 8n) | (rest & 0xffn);
    rest >>= 8n;
  }
  return swapped;
}

function signed64(value: bigint): bigint {
  return BigInt.asIntN(64, value);
}
