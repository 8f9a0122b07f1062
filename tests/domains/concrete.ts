/** What operators do to numbers that are known, and intervals as programs make them: by comparisons. */
import type { AluOp, BranchOp } from '../../dataplane/bpf/isa.ts';
import { ALU32, ALU64, BRANCH32, BRANCH64 } from '../../dataplane/engine/interpreter-arithmetic.ts';
import { s64, sync, u64, UNKNOWN, type Scalar } from '../../dataplane/verifier/scalar.ts';

export type Width = 32 | 64;

/** From `least` to `most`, as unsigned bounds where they do not wrap around, else as signed ones. */
export function intervalScalar(least: bigint, most: bigint): Scalar {
  const [first, last] = [u64(least), u64(most)];
  return sync({ ...UNKNOWN, ...(first <= last ? { umin: first, umax: last } : { smin: s64(least), smax: s64(most) }) });
}

const low = (value: bigint): number => Number(value & 0xffff_ffffn);

/** As a processor does. */
export const calculate = (op: AluOp, width: Width, x: bigint, y: bigint): bigint => (width === 64 ? u64(ALU64[op](x, y)) : BigInt(ALU32[op](low(x), low(y)) >>> 0));
export const goes = (op: BranchOp, width: Width, x: bigint, y: bigint): boolean => (width === 64 ? BRANCH64[op](x, y) : BRANCH32[op](low(x), low(y)));
