/** Branches on numbers: which way they go, and what each way says of the operands. */
import type { BranchOp } from '../bpf/isa.ts';
import { big, resetIfBroken, s64, scalarsEqual, small, sync, tnumIntersect, U32, u64, U64, type Draft, type Scalar } from './scalar.ts';

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
/** Which way a branch goes, where that is certain. */
export function branchTaken(op: BranchOp, width: 32 | 64, a: Scalar, b: Scalar): boolean | undefined {
  const w = width === 64 ? U64 : U32;
  const [x, y] = [range(op, width, a), range(op, width, b)];
  switch (op) {
    case 'jeq':
    case 'jne': {
      const conflict = ((a.value ^ b.value) & ~(a.mask | b.mask) & w) !== 0n;
      const sx = range('jsgt', width, a),
        sy = range('jsgt', width, b);
      const ac = (a.mask & w) === 0n,
        bc = (b.mask & w) === 0n;
      const eq = ac && bc ? (a.value & w) === (b.value & w) : conflict || x.lo > y.hi || x.hi < y.lo || sx.lo > sy.hi || sx.hi < sy.lo ? false : undefined;
      return eq === undefined ? undefined : op === 'jeq' ? eq : !eq;
    }
    case 'jset':
      if ((b.mask & w) !== 0n) return undefined;
      if ((a.value & b.value & w) !== 0n) return true;
      if (((a.value | a.mask) & b.value & w) === 0n) return false;
      return undefined;
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
/** What a branch that was taken, or was not, says of both operands (reg_set_min_max). */
export function refine(op0: BranchOp, width: 32 | 64, taken: boolean, a0: Scalar, b0: Scalar): readonly [Scalar, Scalar] {
  const op = taken ? op0 : NOT[op0];
  const a: Draft = { ...a0 },
    b: Draft = { ...b0 };
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
      if (width === 64) {
        const [v, m] = tnumIntersect(a.value, a.mask, b.value, b.mask);
        a.value = b.value = v;
        a.mask = b.mask = m;
      } else {
        const [v, m] = tnumIntersect(a.value & U32, a.mask & U32, b.value & U32, b.mask & U32);
        for (const r of [a, b]) {
          r.value = u64((r.value & ~U32) | (v & U32));
          r.mask = (r.mask & ~U32) | (m & U32);
        }
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
  const fin = (r: Draft, was: Scalar): Scalar => (scalarsEqual(r, was) ? was : resetIfBroken(sync(r)));
  return [fin(a, a0), fin(b, b0)];
}
