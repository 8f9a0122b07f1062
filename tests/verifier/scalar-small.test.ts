/**
 * Intervals, exhaustively where they are small: every result of members is a member; where Linux's operators are as
 * exact as intervals allow, so are ours. Small intervals are looked at where numbers change their sign or their width.
 */
import { describe, expect, test } from 'vitest';
import { ALU_OPS, BRANCH_OPS } from '../../dataplane/bpf/isa.ts';
import { alu } from '../../dataplane/verifier/scalar-arithmetic.ts';
import { branchTaken } from '../../dataplane/verifier/scalar-branch.ts';
import { goes } from '../domains/concrete.ts';
import { allAround, expectResults, expectWays, interval, WIDTHS, type Known } from './scalar-members.ts';

const PLACES = [['zero', 0n], ['the sign of 32 bits', 1n << 31n], ['the end of 32 bits', 1n << 32n], ['the sign of 64 bits', 1n << 63n]] as const;

const text = ({ members }: Known): string => `${members[0]}..${members.at(-1)}`;

describe.each(PLACES)('around %s', (_, place) => {
  const intervals = allAround(place, 3n);
  const others = [...new Set([...intervals, ...allAround(0n, 3n)])];

  describe.each(WIDTHS)('%s bits', (width) => {
    test.each(ALU_OPS)('%s of members is a member', (op) => expectResults(op, width, intervals, others, text));

    test.each(BRANCH_OPS)('%s is decided where all members agree, and leaves those that go that way', (op) => expectWays(op, width, intervals, others, text));
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
