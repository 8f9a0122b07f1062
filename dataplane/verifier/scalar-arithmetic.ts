/** ALU operations on numbers of which bits and bounds are known (Linux: adjust_scalar_min_max_vals). */
import type { AluOp } from '../bpf/isa.ts';
import { big, constant, isConstant, of, s64, small, SMAX, SMIN, sync, U32, u64, U64, UNKNOWN, zeroExtend32, type Draft, type Scalar } from './scalar.ts';

export function signExtend(width: 32 | 64, bits: 8 | 16 | 32, a: Scalar): Scalar {
  const h = 1n << BigInt(bits - 1);
  const trim = width === 64 ? (x: Scalar): Scalar => x : zeroExtend32;
  if ((a.mask & ((1n << BigInt(bits)) - 1n)) === 0n) return trim(constant(BigInt.asIntN(bits, a.value)));
  if (a.umax < h) return trim(a);
  if (a.smin >= -h && a.smax < h) return trim(a);
  const low = (1n << BigInt(bits)) - 1n;
  const sign = (a.mask & h) !== 0n;
  const value = sign ? a.value & low : u64(BigInt.asIntN(bits, a.value));
  const mask = sign ? u64(BigInt.asIntN(bits, a.mask | h)) : a.mask & low;
  return trim(sync({ ...UNKNOWN, value: u64(value & ~mask), mask, smin: -h, smax: h - 1n }));
}
function swapped(op: 'le' | 'be' | 'bswap', bits: 16 | 32 | 64, value: bigint): bigint {
  let rest = BigInt.asUintN(bits, value);
  if (op === 'le') return rest;
  let out = 0n;
  for (let byte = 0; byte < bits; byte += 8) {
    out = (out << 8n) | (rest & 0xffn);
    rest >>= 8n;
  }
  return out;
}

export function byteSwap(op: 'le' | 'be' | 'bswap', bits: 16 | 32 | 64, a: Scalar): Scalar {
  return op === 'le' && bits === 64 ? a : of(swapped(op, bits, a.value), swapped(op, bits, a.mask));
}

export function negate(width: 32 | 64, a: Scalar): Scalar {
  return alu('sub', width, constant(0n), a);
}
/** Sums of numbers of which bits are known: a carry that is not known makes its bit unknown (Vishwanathan et al., CGO 2022). */
const tadd = (a: Scalar, b: Scalar): [bigint, bigint] => {
  const sm = u64(a.mask + b.mask),
    sv = u64(a.value + b.value),
    sg = u64(sm + sv),
    mu = (sg ^ sv) | a.mask | b.mask;
  return [u64(sv & ~mu), mu];
};
const tsub = (a: Scalar, b: Scalar): [bigint, bigint] => {
  const dv = u64(a.value - b.value),
    al = u64(dv + a.mask),
    be = u64(dv - b.mask),
    mu = (al ^ be) | a.mask | b.mask;
  return [u64(dv & ~mu), mu];
};
/** Products: the known parts are multiplied, and each unknown bit adds what it may. */
function tmul(a: Scalar, b: Scalar): [bigint, bigint] {
  const acc = u64(a.value * b.value);
  let m: Scalar = constant(0n);
  let av = a.value,
    am = a.mask,
    bm = b.mask,
    bv = b.value;
  while (av !== 0n || am !== 0n) {
    if (av & 1n) {
      const [v, k] = tadd(m, { ...UNKNOWN, value: 0n, mask: bm });
      m = { ...UNKNOWN, value: v, mask: k };
    } else if (am & 1n) {
      const [v, k] = tadd(m, { ...UNKNOWN, value: 0n, mask: bv | bm });
      m = { ...UNKNOWN, value: v, mask: k };
    }
    av >>= 1n;
    am >>= 1n;
    bv = u64(bv << 1n);
    bm = u64(bm << 1n);
  }
  return tadd(constant(acc), m);
}
const UNFOLLOWED: ReadonlySet<AluOp> = new Set(['div', 'sdiv', 'mod', 'smod']);
/** Divisions and shifts by unknown counts are not followed, not even in their upper halves, as in Linux. */
const followed = (op: AluOp, width: 32 | 64, b: Scalar): boolean =>
  !UNFOLLOWED.has(op) && !((op === 'lsh' || op === 'rsh' || op === 'arsh') && (!isConstant(b) || b.umax >= BigInt(width)));
/** What an operation gives; for 32 bits on the low halves, zero-extended. */
export function alu(op: AluOp, width: 32 | 64, a0: Scalar, b0: Scalar): Scalar {
  if (!followed(op, width, width === 32 ? zeroExtend32(b0) : b0)) return UNKNOWN;
  const a = width === 32 ? zeroExtend32(a0) : a0,
    b = width === 32 ? zeroExtend32(b0) : b0;
  const r = alu64(op, width, a, b);
  return width === 32 ? zeroExtend32(r) : r;
}
function alu64(op: AluOp, width: 32 | 64, a: Scalar, b: Scalar): Scalar {
  const U = UNKNOWN;
  switch (op) {
    case 'mov':
      return b;
    case 'add': {
      const [value, mask] = tadd(a, b);
      const r: Draft = { ...U, value, mask };
      const lo = a.smin + b.smin,
        hi = a.smax + b.smax;
      if (lo >= SMIN && hi <= SMAX) {
        r.smin = lo;
        r.smax = hi;
      }
      const ul = a.umin + b.umin,
        uh = a.umax + b.umax;
      if (uh <= U64 || ul > U64) {
        r.umin = u64(ul);
        r.umax = u64(uh);
      }
      const l3 = a.s32min + b.s32min,
        h3 = a.s32max + b.s32max;
      if (l3 >= -0x8000_0000 && h3 <= 0x7fff_ffff) {
        r.s32min = l3;
        r.s32max = h3;
      }
      const a3 = a.u32min + b.u32min,
        b3 = a.u32max + b.u32max;
      if (b3 <= 0xffff_ffff || a3 > 0xffff_ffff) {
        r.u32min = a3 >>> 0;
        r.u32max = b3 >>> 0;
      }
      return sync(r);
    }
    case 'sub': {
      const [value, mask] = tsub(a, b);
      const r: Draft = { ...U, value, mask };
      const lo = a.smin - b.smax,
        hi = a.smax - b.smin;
      if (lo >= SMIN && hi <= SMAX) {
        r.smin = lo;
        r.smax = hi;
      }
      const ul = a.umin - b.umax,
        uh = a.umax - b.umin;
      if (ul >= 0n || uh < 0n) {
        r.umin = u64(ul);
        r.umax = u64(uh);
      }
      const l3 = a.s32min - b.s32max,
        h3 = a.s32max - b.s32min;
      if (l3 >= -0x8000_0000 && h3 <= 0x7fff_ffff) {
        r.s32min = l3;
        r.s32max = h3;
      }
      const a3 = a.u32min - b.u32max,
        b3 = a.u32max - b.u32min;
      if (a3 >= 0 || b3 < 0) {
        r.u32min = a3 >>> 0;
        r.u32max = b3 >>> 0;
      }
      return sync(r);
    }
    case 'mul': {
      const [value, mask] = tmul(a, b);
      const r: Draft = { ...U, value, mask };
      if (a.umax * b.umax <= U64) {
        r.umin = a.umin * b.umin;
        r.umax = a.umax * b.umax;
      }
      const p = [a.smin * b.smin, a.smin * b.smax, a.smax * b.smin, a.smax * b.smax];
      const lo = p.reduce(small),
        hi = p.reduce(big);
      if (lo >= SMIN && hi <= SMAX) {
        r.smin = lo;
        r.smax = hi;
      }
      return sync(r);
    }
    case 'and': {
      const al = a.value | a.mask,
        be = b.value | b.mask,
        v = a.value & b.value;
      const r: Draft = { ...U, value: v, mask: al & be & ~v };
      r.umin = r.value;
      r.umax = small(a.umax, b.umax);
      return sync(r);
    }
    case 'or': {
      const v = a.value | b.value;
      const r: Draft = { ...U, value: v, mask: (a.mask | b.mask) & ~v };
      r.umin = big(a.umin, b.umin);
      r.umax = r.value | r.mask;
      return sync(r);
    }
    case 'xor': {
      const v = a.value ^ b.value,
        mu = a.mask | b.mask;
      const r: Draft = { ...U, value: v & ~mu, mask: mu };
      r.umin = r.value;
      r.umax = r.value | r.mask;
      return sync(r);
    }
    case 'lsh':
    case 'rsh':
    case 'arsh': {
      if (!isConstant(b) || b.umax >= BigInt(width)) {
        if (b.umax >= BigInt(width) || !isConstant(b)) {
          return U;
        }
      }
      const n = b.value;
      if (op === 'lsh') {
        const r: Draft = { ...U, value: u64(a.value << n), mask: u64(a.mask << n) };
        if (a.umax << n <= U64) {
          r.umin = a.umin << n;
          r.umax = a.umax << n;
        }
        return sync(r);
      }
      if (op === 'rsh') return sync({ ...U, value: a.value >> n, mask: a.mask >> n, umin: a.umin >> n, umax: a.umax >> n });
      if (width === 32)
        return sync({
          ...U,
          value: u64(BigInt(Number(a.value & U32) | 0) >> n) & U32,
          mask: u64(BigInt(Number(a.mask & U32) | 0) >> n) & U32,
          umax: U32,
          s32min: a.s32min >> Number(n),
          s32max: a.s32max >> Number(n),
        });
      return sync({ ...U, value: u64(s64(a.value) >> n), mask: u64(s64(a.mask) >> n), smin: a.smin >> n, smax: a.smax >> n });
    }
    default:
      return U;
  }
}
