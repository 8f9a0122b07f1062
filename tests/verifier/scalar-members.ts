/** Sets of numbers with what the verifier knows of them, and what has to hold of operators: no member is lost. */
import { expect } from 'vitest';
import type { AluOp, BranchOp } from '../../dataplane/bpf/isa.ts';
import { ALU32, ALU64, BRANCH32, BRANCH64 } from '../../dataplane/engine/interpreter-arithmetic.ts';
import { contains, s64, sync, u64, UNKNOWN, type Scalar } from '../../dataplane/verifier/scalar.ts';
import { alu } from '../../dataplane/verifier/scalar-arithmetic.ts';
import { branchTaken, refine } from '../../dataplane/verifier/scalar-branch.ts';

export const WIDTHS = [32, 64] as const;
type Width = (typeof WIDTHS)[number];

export interface Known {
  readonly scalar: Scalar;
  readonly members: readonly bigint[];
}

/** From `least` to `most`, as unsigned bounds where they do not wrap around, else as signed ones. */
export function interval(least: bigint, most: bigint): Known {
  const members = Array.from({ length: Number(most - least) + 1 }, (_, index) => u64(least + BigInt(index)));
  const [first, last] = [u64(least), u64(most)];
  const bounds = first <= last ? { umin: first, umax: last } : { smin: s64(least), smax: s64(most) };
  return { scalar: sync({ ...UNKNOWN, ...bounds }), members };
}

/** All intervals within `reach` of a place, as numbers that wrap around. */
export function allAround(place: bigint, reach: bigint): Known[] {
  const found: Known[] = [];
  for (let least = -reach; least < reach; least++) for (let most = least; most < reach; most++) found.push(interval(place + least, place + most));
  return found;
}

const low = (value: bigint): number => Number(value & 0xffff_ffffn);

/** As a processor does. */
export const calculate = (op: AluOp, width: Width, x: bigint, y: bigint): bigint => (width === 64 ? u64(ALU64[op](x, y)) : BigInt(ALU32[op](low(x), low(y)) >>> 0));
export const goes = (op: BranchOp, width: Width, x: bigint, y: bigint): boolean => (width === 64 ? BRANCH64[op](x, y) : BRANCH32[op](low(x), low(y)));

export function hasAll(result: Scalar, numbers: readonly bigint[], what: () => string): void {
  for (const value of numbers) if (!contains(result, value)) expect.fail(`${what()}: ${value} is missing`);
}

type Text = (known: Known) => string;

export function expectResults(op: AluOp, width: Width, lefts: readonly Known[], rights: readonly Known[], text: Text): void {
  for (const a of lefts) {
    for (const b of rights) {
      const results = a.members.flatMap((x) => b.members.map((y) => calculate(op, width, x, y)));
      hasAll(alu(op, width, a.scalar, b.scalar), results, () => `${text(a)} ${op} ${text(b)}`);
    }
  }
}

export function expectWays(op: BranchOp, width: Width, lefts: readonly Known[], rights: readonly Known[], text: Text): void {
  for (const a of lefts) {
    for (const b of rights) {
      const taken = branchTaken(op, width, a.scalar, b.scalar);
      for (const way of [true, false]) {
        const [left, right] = refine(op, width, way, a.scalar, b.scalar);
        for (const x of a.members) {
          for (const y of b.members) {
            if (goes(op, width, x, y) !== way) continue;
            if ((taken ?? way) !== way || !contains(left, x) || !contains(right, y)) expect.fail(`${text(a)} ${op} ${text(b)}, ${way ? 'taken' : 'not taken'}: ${x} and ${y} are missing`);
          }
        }
      }
    }
  }
}
