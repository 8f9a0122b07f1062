/** Branches on numbers: which way they go, and what each way says of the operands. */
import type { BranchOp } from '../bpf/isa.ts';
import { big, draft, forgetLow, forgetWhole, isKnown, resetIfBroken, s64, scalarsEqual, small, sync, U32, U64, type Draft, type Scalar } from './scalar.ts';
import { tnumIntersect, tnumWithLow } from './tnum.ts';

const SIGNED: ReadonlySet<BranchOp> = new Set(['jsgt', 'jsge', 'jslt', 'jsle']);
interface V {
  lo: bigint;
  hi: bigint;
}
const range = (op: BranchOp, width: 32 | 64, s: Scalar): V =>
  SIGNED.has(op)
    ? width === 64
      ? { lo: s.smin, hi: s.smax }
      : { lo: BigInt(s.s32min), hi: BigInt(s.s32max) }
    : width === 64
      ? { lo: s.umin, hi: s.umax }
      : { lo: BigInt(s.u32min), hi: BigInt(s.u32max) };
const apart = (x: V, y: V): boolean => x.lo > y.hi || x.hi < y.lo;
/** Whether the numbers, or their low halves, are equal: known bits decide, and bounds; for the whole those of the low half too. */
function areEqual(width: 32 | 64, a: Scalar, b: Scalar): boolean | undefined {
  const w = width === 64 ? U64 : U32;
  const differ = (a.value ^ b.value) & w;
  if (((a.mask | b.mask) & w) === 0n) return differ === 0n;
  if ((differ & ~(a.mask | b.mask)) !== 0n) return false;
  for (const op of ['jgt', 'jsgt'] as const) {
    if (apart(range(op, width, a), range(op, width, b)) || apart(range(op, 32, a), range(op, 32, b))) return false;
  }
  return undefined;
}
/** Which way a branch goes, where that is certain. */
export function branchTaken(op: BranchOp, width: 32 | 64, a: Scalar, b: Scalar): boolean | undefined {
  const w = width === 64 ? U64 : U32;
  const [x, y] = [range(op, width, a), range(op, width, b)];
  switch (op) {
    case 'jeq':
    case 'jne': {
      const equal = areEqual(width, a, b);
      return equal === undefined ? undefined : op === 'jeq' ? equal : !equal;
    }
    case 'jset': {
      const [c, r] = (b.mask & w) === 0n ? [b, a] : [a, b];
      if ((c.mask & w) !== 0n) return undefined;
      if ((r.value & c.value & w) !== 0n) return true;
      return ((r.value | r.mask) & c.value & w) === 0n ? false : undefined;
    }
    case 'jgt':
    case 'jsgt':
      return x.lo > y.hi ? true : x.hi <= y.lo ? false : undefined;
    case 'jge':
    case 'jsge':
      return x.lo >= y.hi ? true : x.hi < y.lo ? false : undefined;
    case 'jlt':
    case 'jslt':
      return x.hi < y.lo ? true : x.lo >= y.hi ? false : undefined;
    case 'jle':
    case 'jsle':
      return x.hi <= y.lo ? true : x.lo > y.hi ? false : undefined;
  }
}
const NOT: Record<BranchOp, BranchOp | 'nset'> = {
  jeq: 'jne',
  jne: 'jeq',
  jset: 'nset',
  jgt: 'jle',
  jge: 'jlt',
  jlt: 'jge',
  jle: 'jgt',
  jsgt: 'jsle',
  jsge: 'jslt',
  jslt: 'jsge',
  jsle: 'jsgt',
};
/**
 * What a branch that was taken, or was not, says of both operands (reg_set_min_max). Of a register that is compared with
 * itself Linux cuts both ends; `itself` is for that.
 */
export function refine(op0: BranchOp, width: 32 | 64, taken: boolean, a0: Scalar, b0: Scalar, itself = false): readonly [Scalar, Scalar] {
  const op = taken ? op0 : NOT[op0];
  const a = draft(a0),
    b = itself ? a : draft(b0);
  const w = width === 64 ? U64 : U32;
  const cut = (r: Draft, o: 'u' | 's', lo: bigint, hi: bigint): void => {
    if (o === 'u') {
      if (width === 64) {
        r.umin = big(r.umin, lo);
        r.umax = small(r.umax, hi);
      } else {
        r.u32min = Math.max(r.u32min, Number(lo));
        r.u32max = Math.min(r.u32max, Number(hi));
      }
    } else if (width === 64) {
      r.smin = big(r.smin, lo);
      r.smax = small(r.smax, hi);
    } else {
      r.s32min = Math.max(r.s32min, Number(lo));
      r.s32max = Math.min(r.s32max, Number(hi));
    }
  };
  const less = (x: Draft, y: Draft, o: 'u' | 's', strict: boolean): void => {
    const k: BranchOp = o === 'u' ? 'jgt' : 'jsgt';
    const X = range(k, width, x),
      Y = range(k, width, y);
    const d = strict ? 1n : 0n;
    cut(x, o, X.lo, Y.hi - d);
    cut(y, o, X.lo + d, Y.hi);
  };
  switch (op) {
    case 'jeq': {
      for (const o of ['u', 's'] as const) {
        const k: BranchOp = o === 'u' ? 'jgt' : 'jsgt';
        const X = range(k, width, a),
          Y = range(k, width, b);
        const lo = big(X.lo, Y.lo),
          hi = small(X.hi, Y.hi);
        cut(a, o, lo, hi);
        cut(b, o, lo, hi);
      }
      const both = tnumIntersect(a, b);
      for (const r of [a, b]) {
        const { value, mask } = width === 64 ? both : tnumWithLow(r, both);
        r.value = value;
        r.mask = mask;
      }
      break;
    }
    case 'jne': {
      const shave = (r: Draft, c: Scalar): void => {
        if ((c.mask & w) !== 0n) return;
        const v = c.value & w;
        const sv = width === 64 ? s64(v) : BigInt(Number(v) | 0);
        if (width === 64) {
          if (r.umin === v) r.umin++;
          if (r.umax === v) r.umax--;
          if (r.smin === sv) r.smin++;
          if (r.smax === sv) r.smax--;
        } else {
          if (BigInt(r.u32min) === v) r.u32min++;
          if (BigInt(r.u32max) === v) r.u32max--;
          if (BigInt(r.s32min) === sv) r.s32min++;
          if (BigInt(r.s32max) === sv) r.s32max--;
        }
      };
      if ((b0.mask & w) === 0n) shave(a, b0);
      else shave(b, a0);
      break;
    }
    case 'jset': {
      const [r, c] = (b0.mask & w) === 0n ? [a, b0] : [b, a0];
      if ((c.mask & w) !== 0n) break;
      const v = c.value & w;
      if (v !== 0n && (v & (v - 1n)) === 0n) {
        r.value |= v;
        r.mask &= ~v;
      }
      break;
    }
    case 'nset': {
      const [r, c] = (b0.mask & w) === 0n ? [a, b0] : [b, a0];
      if ((c.mask & w) !== 0n) break;
      const v = c.value & w;
      r.value &= ~v;
      r.mask &= ~v;
      forgetWhole(r);
      forgetLow(r);
      break;
    }
    case 'jle':
      less(a, b, 'u', false);
      break;
    case 'jlt':
      less(a, b, 'u', true);
      break;
    case 'jge':
      less(b, a, 'u', false);
      break;
    case 'jgt':
      less(b, a, 'u', true);
      break;
    case 'jsle':
      less(a, b, 's', false);
      break;
    case 'jslt':
      less(a, b, 's', true);
      break;
    case 'jsge':
      less(b, a, 's', false);
      break;
    case 'jsgt':
      less(b, a, 's', true);
      break;
  }
  // Where nothing was cut, too: what is said of a number may still say more of its other parts.
  const fin = (r: Draft, was: Scalar): Scalar => {
    if (isKnown(was) && scalarsEqual(r, was)) return was;
    const known = resetIfBroken(sync(r));
    return scalarsEqual(known, was) ? was : known;
  };
  return [fin(a, a0), fin(b, b0)];
}
