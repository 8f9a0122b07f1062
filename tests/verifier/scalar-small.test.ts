/**
 * Intervals, exhaustively where they are small: every result of members is a member; where Linux's operators are as
 * exact as intervals allow, so are ours. Small intervals are looked at where numbers change their sign or their width.
 */
import { describe, expect, test } from 'vitest';
import { ALU_OPS, BRANCH_OPS, type BranchOp } from '../../dataplane/bpf/isa.ts';
import { ALU32, ALU64, BRANCH32, BRANCH64 } from '../../dataplane/engine/interpreter-arithmetic.ts';
import { contains, s64, sync, u64, UNKNOWN, type Scalar } from '../../dataplane/verifier/scalar.ts';
import { alu } from '../../dataplane/verifier/scalar-arithmetic.ts';
import { branchTaken, refine } from '../../dataplane/verifier/scalar-branch.ts';

const WIDTHS = [32, 64] as const;
const PLACES = [['zero', 0n], ['the sign of 32 bits', 1n << 31n], ['the end of 32 bits', 1n << 32n], ['the sign of 64 bits', 1n << 63n]] as const;

interface Interval {
  readonly scalar: Scalar;
  readonly members: readonly bigint[];
}

/** From `least` to `most`, as unsigned bounds where they do not wrap around, else as signed ones. */
function interval(least: bigint, most: bigint): Interval {
  const members = Array.from({ length: Number(most - least) + 1 }, (_, index) => u64(least + BigInt(index)));
  const [first, last] = [u64(least), u64(most)];
  const bounds = first <= last ? { umin: first, umax: last } : { smin: s64(least), smax: s64(most) };
  return { scalar: sync({ ...UNKNOWN, ...bounds }), members };
}

function allAround(place: bigint, reach: bigint): Interval[] {
  const found: Interval[] = [];
  for (let least = -reach; least < reach; least++) for (let most = least; most < reach; most++) found.push(interval(place + least, place + most));
  return found;
}

const text = ({ members }: Interval): string => `${members[0]}..${members.at(-1)}`;

describe.each(PLACES)('around %s', (_, place) => {
  const intervals = allAround(place, 3n);
  const others = [...new Set([...intervals, ...allAround(0n, 3n)])];

  describe.each(WIDTHS)('%s bits', (width) => {
    test.each(ALU_OPS)('%s of members is a member', (op) => {
      for (const a of intervals) {
        for (const b of others) {
          const result = alu(op, width, a.scalar, b.scalar);
          for (const x of a.members) {
            for (const y of b.members) {
              const value = width === 64 ? u64(ALU64[op](x, y)) : BigInt(ALU32[op](Number(x & 0xffff_ffffn), Number(y & 0xffff_ffffn)) >>> 0);
              if (!contains(result, value)) expect.fail(`${text(a)} ${op} ${text(b)}: ${value} is missing`);
            }
          }
        }
      }
    });

    test.each(BRANCH_OPS)('%s is decided where all members agree, and leaves those that go that way', (op) => {
      for (const a of intervals) {
        for (const b of others) {
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
    });
  });

  test.each(['jeq', 'jne', ...(place === 0n ? (['jsgt', 'jsge', 'jslt', 'jsle'] as const) : (['jgt', 'jge', 'jlt', 'jle'] as const))] as const)('%s of 64 bits is decided wherever all members agree', (op) => {
    for (const a of intervals) {
      for (const b of intervals) {
        const ways = new Set(a.members.flatMap((x) => b.members.map((y) => goes(op, 64, x, y))));
        expect(branchTaken(op, 64, a.scalar, b.scalar), `${text(a)} ${op} ${text(b)}`).toBe(ways.size === 1 ? [...ways][0] : undefined);
      }
    }
  });
});

function goes(op: BranchOp, width: 32 | 64, x: bigint, y: bigint): boolean {
  return width === 64 ? BRANCH64[op](x, y) : BRANCH32[op](Number(x & 0xffff_ffffn), Number(y & 0xffff_ffffn));
}

describe('of eight bits', () => {
  test.each(['add', 'sub'] as const)('%s of any interval and a constant is exactly the interval moved', (op) => {
    for (let least = 0n; least < 256n; least++) {
      for (let most = least; most < 256n; most++) {
        for (const by of [1n, 100n, 255n]) {
          const { umin, umax, smin, smax } = alu(op, 64, interval(least, most).scalar, interval(by, by).scalar);
          const [first, last] = op === 'add' ? [least + by, most + by] : [least - by, most - by];
          if (smin !== first || smax !== last || (first >= 0n && (umin !== first || umax !== last))) expect.fail(`${least}..${most} ${op} ${by}: found ${smin}..${smax}, ${umin}..${umax}`);
        }
      }
    }
  });

  test('shifts by constants are exactly the interval shifted', () => {
    for (let least = 0n; least < 256n; least++) {
      for (let most = least; most < 256n; most++) {
        for (const by of [1n, 3n, 7n]) {
          const left = alu('lsh', 64, interval(least, most).scalar, interval(by, by).scalar);
          const right = alu('rsh', 64, interval(least, most).scalar, interval(by, by).scalar);
          if (left.umin !== least << by || left.umax !== most << by || right.umin !== least >> by || right.umax !== most >> by) expect.fail(`${least}..${most} shifted by ${by}: found ${left.umin}..${left.umax}, ${right.umin}..${right.umax}`);
        }
      }
    }
  });

  test('products of intervals are exactly from the least to the greatest', () => {
    for (let least = 0n; least < 256n; least += 5n) {
      for (let most = least; most < 256n; most += 3n) {
        for (let other = 0n; other < 256n; other += 17n) {
          const { umin, umax } = alu('mul', 64, interval(least, most).scalar, interval(other, other + 9n).scalar);
          if (umin !== least * other || umax !== most * (other + 9n)) expect.fail(`${least}..${most} times ${other}..${other + 9n}: found ${umin}..${umax}`);
        }
      }
    }
  });
});
