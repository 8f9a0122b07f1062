/**
 * What arithmetic on intervals goes on with, once ends and bits of both operands are put together: the ends of the
 * result, in either order, and its bits. Pairs of intervals that agree in it are answered alike.
 */
import type { Scalar } from '../../dataplane/verifier/scalar.ts';
import { tnumAdd, tnumAnd, tnumMul, tnumOr, tnumSub, tnumXor, type Tnum } from '../../dataplane/verifier/tnum.ts';
import type { Run } from './runs.ts';

/** Signed ends, unsigned ends, the number of the bits. */
export type Digest = Int32Array;
export const DIGEST = 5;

export const OPERATORS = ['add', 'sub', 'mul', 'and', 'or', 'xor'] as const;
export type Operator = (typeof OPERATORS)[number];

/**
 * 2^17 stands for 2^64 and 2^32. Of numbers from 0 to 255, and of those from -128 on as unsigned ones, sums and
 * products are below it where they are below those, and wrap around as often.
 */
const WHOLE_BITS = 17;
const WHOLE = 2 ** WHOLE_BITS;
const GREATEST = WHOLE - 1;

/** Ends of all intervals of a run by their places, and the number of their bits. */
interface Ends {
  readonly smin: Int32Array;
  readonly smax: Int32Array;
  readonly umin: Int32Array;
  readonly umax: Int32Array;
  readonly bits: Int32Array;
  /** By number. */
  readonly tnums: readonly Tnum[];
}

/** Numbers tnums as they come. */
class Tnums {
  readonly all: Tnum[] = [];
  readonly #numbers = new Map<string, number>();

  numberOf({ value, mask }: Tnum): number {
    const key = `${value} ${mask}`;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    this.#numbers.set(key, this.all.length);
    return this.all.push({ value, mask }) - 1;
  }
}

function endsOf({ scalars }: Run): Ends {
  const tnums = new Tnums();
  const column = (of: (scalar: Scalar) => number): Int32Array => Int32Array.from(scalars, (scalar) => (scalar === undefined ? 0 : of(scalar)));
  const unsigned = (end: bigint): number => Number(BigInt.asUintN(WHOLE_BITS, end));
  return {
    smin: column(({ smin }) => Number(smin)), smax: column(({ smax }) => Number(smax)),
    umin: column(({ umin }) => unsigned(umin)), umax: column(({ umax }) => unsigned(umax)),
    bits: column((scalar) => tnums.numberOf(scalar)), tnums: tnums.all,
  };
}

function setEnds(digest: Digest, smin: number, smax: number, umin: number, umax: number, areUnsigned = true): void {
  digest[0] = smin;
  digest[1] = smax;
  digest[2] = areUnsigned ? umin & GREATEST : 0;
  digest[3] = areUnsigned ? umax & GREATEST : GREATEST;
}

const wrapAlike = (umin: number, umax: number): boolean => umin >> WHOLE_BITS === umax >> WHOLE_BITS;

interface Rule {
  readonly tnum: (a: Tnum, b: Tnum) => Tnum;
  readonly ends: (digest: Digest, a: Ends, i: number, b: Ends, j: number) => void;
}

const RULES: Readonly<Record<Operator, Rule>> = {
  add: {
    tnum: tnumAdd,
    ends(digest, a, i, b, j) {
      const umin = a.umin[i]! + b.umin[j]!;
      const umax = a.umax[i]! + b.umax[j]!;
      setEnds(digest, a.smin[i]! + b.smin[j]!, a.smax[i]! + b.smax[j]!, umin, umax, wrapAlike(umin, umax));
    },
  },
  sub: {
    tnum: tnumSub,
    ends(digest, a, i, b, j) {
      const umin = a.umin[i]! - b.umax[j]!;
      const umax = a.umax[i]! - b.umin[j]!;
      setEnds(digest, a.smin[i]! - b.smax[j]!, a.smax[i]! - b.smin[j]!, umin, umax, wrapAlike(umin, umax));
    },
  },
  mul: {
    tnum: tnumMul,
    ends(digest, a, i, b, j) {
      const p = a.smin[i]! * b.smin[j]!;
      const q = a.smin[i]! * b.smax[j]!;
      const s = a.smax[i]! * b.smin[j]!;
      const t = a.smax[i]! * b.smax[j]!;
      const umax = a.umax[i]! * b.umax[j]!;
      setEnds(digest, Math.min(p, q, s, t), Math.max(p, q, s, t), a.umin[i]! * b.umin[j]!, umax, umax < WHOLE);
    },
  },
  and: { tnum: tnumAnd, ends: (digest, a, i, b, j) => setEnds(digest, 0, 0, 0, Math.min(a.umax[i]!, b.umax[j]!)) },
  or: { tnum: tnumOr, ends: (digest, a, i, b, j) => setEnds(digest, 0, 0, Math.max(a.umin[i]!, b.umin[j]!), 0) },
  xor: { tnum: tnumXor, ends: (digest) => setEnds(digest, 0, 0, 0, 0) },
};

/** Gives the digest of intervals by their places in their runs, always in the same array. */
export function digestsOf(op: Operator, lefts: Run, rights: Run): (i: number, j: number) => Digest {
  const { tnum, ends } = RULES[op];
  const [a, b] = [endsOf(lefts), endsOf(rights)];
  const tnums = new Tnums();
  const bits = Int32Array.from({ length: a.tnums.length * b.tnums.length }, (_, index) => tnums.numberOf(tnum(a.tnums[Math.floor(index / b.tnums.length)]!, b.tnums[index % b.tnums.length]!)));
  const digest = new Int32Array(DIGEST);
  return (i, j) => {
    ends(digest, a, i, b, j);
    digest[4] = bits[a.bits[i]! * b.tnums.length + b.bits[j]!]!;
    return digest;
  };
}
