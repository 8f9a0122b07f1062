/** Sets of numbers with what the verifier knows of them, and what has to hold of operators: no member is lost. */
import { expect } from 'vitest';
import type { AluOp, BranchOp } from '../../dataplane/bpf/isa.ts';
import { contains, u64, type Scalar } from '../../dataplane/verifier/scalar.ts';
import { alu } from '../../dataplane/verifier/scalar-arithmetic.ts';
import { branchTaken, refine } from '../../dataplane/verifier/scalar-branch.ts';
import { calculate, goes, intervalScalar, type Width } from '../domains/concrete.ts';

export const WIDTHS = [32, 64] as const;

export interface Known {
  readonly scalar: Scalar;
  readonly members: readonly bigint[];
}

export function interval(least: bigint, most: bigint): Known {
  return { scalar: intervalScalar(least, most), members: Array.from({ length: Number(most - least) + 1 }, (_, index) => u64(least + BigInt(index))) };
}

/** All intervals within `reach` of a place, as numbers that wrap around. */
export function allAround(place: bigint, reach: bigint): Known[] {
  const found: Known[] = [];
  for (let least = -reach; least < reach; least++) for (let most = least; most < reach; most++) found.push(interval(place + least, place + most));
  return found;
}

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
