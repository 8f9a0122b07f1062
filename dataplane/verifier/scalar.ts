import type { AluOp, BranchOp } from '../bpf/isa.ts';

export interface Scalar {
  readonly value: bigint; readonly mask: bigint;
  readonly smin: bigint; readonly smax: bigint; readonly umin: bigint; readonly umax: bigint;
  readonly s32min: number; readonly s32max: number; readonly u32min: number; readonly u32max: number;
}
const u64 = (x: bigint): bigint => BigInt.asUintN(64, x);
const s64 = (x: bigint): bigint => BigInt.asIntN(64, x);
const U64 = (1n << 64n) - 1n, SMIN = -(1n << 63n), SMAX = (1n << 63n) - 1n, U32 = 0xffff_ffffn;
export const UNKNOWN: Scalar = { value: 0n, mask: U64, smin: SMIN, smax: SMAX, umin: 0n, umax: U64, s32min: -0x8000_0000, s32max: 0x7fff_ffff, u32min: 0, u32max: 0xffff_ffff };
export function constant(v: bigint): Scalar {
  const u = u64(v), s = s64(v), lo = Number(u & U32);
  return { value: u, mask: 0n, smin: s, smax: s, umin: u, umax: u, s32min: lo | 0, s32max: lo | 0, u32min: lo, u32max: lo };
}
export const isConstant = (s: Scalar): boolean => s.mask === 0n;
export const isSubregConstant = (s: Scalar): boolean => (s.mask & U32) === 0n;
interface M { value: bigint; mask: bigint; smin: bigint; smax: bigint; umin: bigint; umax: bigint; s32min: number; s32max: number; u32min: number; u32max: number }
const big = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const small = (a: bigint, b: bigint): bigint => (a < b ? a : b);
function fromTnum(r: M): void {
  r.smin = big(r.smin, s64(r.value | (r.mask & (1n << 63n)))); r.smax = small(r.smax, s64(r.value | (r.mask & SMAX)));
  r.umin = big(r.umin, r.value); r.umax = small(r.umax, u64(r.value | r.mask));
  const v = Number(r.value & U32), m = Number(r.mask & U32);
  r.s32min = Math.max(r.s32min, (v | (m & 0x8000_0000)) | 0); r.s32max = Math.min(r.s32max, (v | (m & 0x7fff_ffff)) | 0);
  r.u32min = Math.max(r.u32min, v); r.u32max = Math.min(r.u32max, (v | m) >>> 0);
}
function deduce32(r: M): void {
  if (r.umin >> 32n === r.umax >> 32n) { r.u32min = Math.max(r.u32min, Number(r.umin & U32)); r.u32max = Math.min(r.u32max, Number(r.umax & U32));
    const a = Number(r.umin & U32) | 0, b = Number(r.umax & U32) | 0; if (a <= b) { r.s32min = Math.max(r.s32min, a); r.s32max = Math.min(r.s32max, b); } }
  if (r.smin >> 32n === r.smax >> 32n) { const ua = Number(r.smin & U32), ub = Number(r.smax & U32); if (ua <= ub) { r.u32min = Math.max(r.u32min, ua); r.u32max = Math.min(r.u32max, ub); }
    const a = ua | 0, b = ub | 0; if (a <= b) { r.s32min = Math.max(r.s32min, a); r.s32max = Math.min(r.s32max, b); } }
  if ((r.umin >> 32n) + 1n === r.umax >> 32n && (Number(r.umin & U32) | 0) < 0 && (Number(r.umax & U32) | 0) >= 0) { r.s32min = Math.max(r.s32min, Number(r.umin & U32) | 0); r.s32max = Math.min(r.s32max, Number(r.umax & U32) | 0); }
  if ((r.smin >> 32n) + 1n === r.smax >> 32n && (Number(r.smin & U32) | 0) < 0 && (Number(r.smax & U32) | 0) >= 0) { r.s32min = Math.max(r.s32min, Number(r.smin & U32) | 0); r.s32max = Math.min(r.s32max, Number(r.smax & U32) | 0); }
  if ((r.u32min | 0) <= (r.u32max | 0)) { r.s32min = Math.max(r.s32min, r.u32min | 0); r.s32max = Math.min(r.s32max, r.u32max | 0); }
  if (r.s32min >>> 0 <= r.s32max >>> 0) { r.u32min = Math.max(r.u32min, r.s32min >>> 0); r.u32max = Math.min(r.u32max, r.s32max >>> 0); }
}
function deduce64(r: M): void {
  if (s64(r.umin) <= s64(r.umax)) { r.smin = big(r.smin, s64(r.umin)); r.smax = small(r.smax, s64(r.umax)); }
  if (u64(r.smin) <= u64(r.smax)) { r.umin = big(r.umin, u64(r.smin)); r.umax = small(r.umax, u64(r.smax)); }
  else if (r.umax < u64(r.smin)) { r.smin = 0n > r.smin ? 0n : r.smin; r.umax = small(r.umax, u64(r.smax)); }
  else if (u64(r.smax) < r.umin) { r.smax = r.smax > -1n ? -1n : r.smax; r.umin = big(r.umin, u64(r.smin)); }
}
function mixed(r: M): void {
  r.umin = big(r.umin, (r.umin & ~U32) | BigInt(r.u32min)); r.umax = small(r.umax, u64((r.umax & ~U32) | BigInt(r.u32max)));
  r.smin = big(r.smin, s64((r.smin & ~U32) | BigInt(r.u32min))); r.smax = small(r.smax, s64((r.smax & ~U32) | BigInt(r.u32max)));
  if (r.s32min >= 0 && r.smin >= -0x8000_0000n && r.smax <= 0x7fff_ffffn) { r.umin = BigInt(r.s32min); r.umax = BigInt(r.s32max); r.smin = r.umin; r.smax = r.umax; }
  if (r.s32min === r.s32max) { /* covered by tnum */ }
}
function tnumIntersect(av: bigint, am: bigint, bv: bigint, bm: bigint): [bigint, bigint] { const m = am & bm; return [u64((av | bv) & ~m), m]; }
function bitLength(value: bigint): number {
  const high = Number(value >> 32n);
  return high === 0 ? 32 - Math.clz32(Number(value)) : 64 - Math.clz32(high);
}

/** Lowest bits that differ between two bounds, all ones. */
const LOW_BITS: readonly bigint[] = Array.from({ length: 65 }, (_, bits) => (1n << BigInt(bits)) - 1n);

function tnumRange(min: bigint, max: bigint): [bigint, bigint] {
  const bits = bitLength(u64(min ^ max));
  if (bits > 63) return [0n, U64];
  const delta = LOW_BITS[bits]!;
  return [u64(min & ~delta), delta];
}
function boundTnum(r: M): void {
  const [rv, rm] = tnumRange(r.umin, r.umax); const [v, m] = tnumIntersect(r.value, r.mask, rv, rm);
  const [sv, sm] = tnumRange(BigInt(r.u32min), BigInt(r.u32max)); const [lv, lm] = tnumIntersect(v & U32, m & U32, sv, sm);
  r.value = u64((v & ~U32) | (lv & U32)); r.mask = (m & ~U32) | (lm & U32);
}
function same(a: M, b: Scalar): boolean { return a.value === b.value && a.mask === b.mask && a.smin === b.smin && a.smax === b.smax && a.umin === b.umin && a.umax === b.umax && a.s32min === b.s32min && a.s32max === b.s32max && a.u32min === b.u32min && a.u32max === b.u32max; }
export function sync(given: Scalar): Scalar {
  // Nothing to deduce about a number that is known, as long as its bounds allow it.
  if (given.mask === 0n && contains(given, given.value)) {
    const known = constant(given.value);
    return same(known, given) ? given : known;
  }
  const r: M = { value: given.value, mask: given.mask, smin: given.smin, smax: given.smax, umin: given.umin, umax: given.umax, s32min: given.s32min, s32max: given.s32max, u32min: given.u32min, u32max: given.u32max };
  fromTnum(r); for (let i = 0; i < 3; i++) { deduce32(r); deduce64(r); mixed(r); } boundTnum(r); fromTnum(r);
  return same(r, given) ? given : r;
}
export function isBroken(s: Scalar): boolean { return s.umin > s.umax || s.smin > s.smax || s.u32min > s.u32max || s.s32min > s.s32max; }
export function resetIfBroken(s: Scalar): Scalar { return isBroken(s) ? UNKNOWN : s; }
const of = (value: bigint, mask: bigint): Scalar => sync({ ...UNKNOWN, value, mask });
export function unknownOfBytes(b: 1 | 2 | 4 | 8): Scalar { return b === 8 ? UNKNOWN : of(0n, (1n << BigInt(8 * b)) - 1n); }
export function signedOfBytes(b: 1 | 2 | 4): Scalar { const h = 1n << BigInt(8 * b - 1); return sync({ ...UNKNOWN, smin: -h, smax: h - 1n }); }
export function zeroExtend32(a: Scalar): Scalar {
  if (a.umax <= U32) return a;
  return sync({ ...UNKNOWN, value: a.value & U32, mask: a.mask & U32, umin: BigInt(a.u32min), umax: BigInt(a.u32max), smin: 0n, smax: U32, s32min: a.s32min, s32max: a.s32max, u32min: a.u32min, u32max: a.u32max });
}
export function coerceToBytes(a: Scalar, b: 1 | 2 | 4 | 8): Scalar {
  if (b === 8) return a; if (b === 4) return zeroExtend32(a);
  const mask = (1n << BigInt(8 * b)) - 1n; if (a.umax <= mask) return a;
  const high = (a.umin & ~mask) === (a.umax & ~mask);
  return sync({ ...UNKNOWN, value: a.value & mask, mask: a.mask & mask, umin: high ? a.umin & mask : 0n, umax: high ? a.umax & mask : mask });
}
export function signExtend(width: 32 | 64, bits: 8 | 16 | 32, a: Scalar): Scalar {
  const h = 1n << BigInt(bits - 1);
  const trim = width === 64 ? (x: Scalar): Scalar => x : zeroExtend32;
  if ((a.mask & ((1n << BigInt(bits)) - 1n)) === 0n) return trim(constant(BigInt.asIntN(bits, a.value)));
  if (a.umax < h) return trim(a);
  if (a.smin >= -h && a.smax < h) return trim(a);
  const low = (1n << BigInt(bits)) - 1n;
  const sign = (a.mask & h) !== 0n; const value = sign ? a.value & low : u64(BigInt.asIntN(bits, a.value)); const mask = sign ? u64(BigInt.asIntN(bits, a.mask | h)) : a.mask & low;
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

export function negate(width: 32 | 64, a: Scalar): Scalar { return alu('sub', width, constant(0n), a); }
const tadd = (a: Scalar, b: Scalar): [bigint, bigint] => { const sm = u64(a.mask + b.mask), sv = u64(a.value + b.value), sg = u64(sm + sv), mu = (sg ^ sv) | a.mask | b.mask; return [u64(sv & ~mu), mu]; };
const tsub = (a: Scalar, b: Scalar): [bigint, bigint] => { const dv = u64(a.value - b.value), al = u64(dv + a.mask), be = u64(dv - b.mask), mu = (al ^ be) | a.mask | b.mask; return [u64(dv & ~mu), mu]; };
function tmul(a: Scalar, b: Scalar): [bigint, bigint] {
  const acc = u64(a.value * b.value); let m: Scalar = constant(0n); let av = a.value, am = a.mask, bm = b.mask, bv = b.value;
  while (av !== 0n || am !== 0n) { if (av & 1n) { const [v, k] = tadd(m, { ...UNKNOWN, value: 0n, mask: bm }); m = { ...UNKNOWN, value: v, mask: k }; } else if (am & 1n) { const [v, k] = tadd(m, { ...UNKNOWN, value: 0n, mask: bv | bm }); m = { ...UNKNOWN, value: v, mask: k }; } av >>= 1n; am >>= 1n; bv = u64(bv << 1n); bm = u64(bm << 1n); }
  return tadd(constant(acc), m);
}
const UNFOLLOWED: ReadonlySet<AluOp> = new Set(['div', 'sdiv', 'mod', 'smod']);
/** Divisions and shifts by unknown counts are not followed, not even in their upper halves, as in Linux. */
const followed = (op: AluOp, width: 32 | 64, b: Scalar): boolean => !UNFOLLOWED.has(op) && !((op === 'lsh' || op === 'rsh' || op === 'arsh') && (!isConstant(b) || b.umax >= BigInt(width)));
export function alu(op: AluOp, width: 32 | 64, a0: Scalar, b0: Scalar): Scalar {
  if (!followed(op, width, width === 32 ? zeroExtend32(b0) : b0)) return UNKNOWN;
  const a = width === 32 ? zeroExtend32(a0) : a0, b = width === 32 ? zeroExtend32(b0) : b0;
  const r = alu64(op, width, a, b);
  return width === 32 ? zeroExtend32(r) : r;
}
function alu64(op: AluOp, width: 32 | 64, a: Scalar, b: Scalar): Scalar {
  const U = UNKNOWN;
  switch (op) {
    case 'mov': return b;
    case 'add': { const [value, mask] = tadd(a, b); const r: M = { ...U, value, mask };
      const lo = a.smin + b.smin, hi = a.smax + b.smax; if (lo >= SMIN && hi <= SMAX) { r.smin = lo; r.smax = hi; }
      const ul = a.umin + b.umin, uh = a.umax + b.umax; if (uh <= U64 || ul > U64) { r.umin = u64(ul); r.umax = u64(uh); }
      const l3 = a.s32min + b.s32min, h3 = a.s32max + b.s32max; if (l3 >= -0x8000_0000 && h3 <= 0x7fff_ffff) { r.s32min = l3; r.s32max = h3; }
      const a3 = a.u32min + b.u32min, b3 = a.u32max + b.u32max; if (b3 <= 0xffff_ffff || a3 > 0xffff_ffff) { r.u32min = a3 >>> 0; r.u32max = b3 >>> 0; }
      return sync(r); }
    case 'sub': { const [value, mask] = tsub(a, b); const r: M = { ...U, value, mask };
      const lo = a.smin - b.smax, hi = a.smax - b.smin; if (lo >= SMIN && hi <= SMAX) { r.smin = lo; r.smax = hi; }
      const ul = a.umin - b.umax, uh = a.umax - b.umin; if (ul >= 0n || uh < 0n) { r.umin = u64(ul); r.umax = u64(uh); }
      const l3 = a.s32min - b.s32max, h3 = a.s32max - b.s32min; if (l3 >= -0x8000_0000 && h3 <= 0x7fff_ffff) { r.s32min = l3; r.s32max = h3; }
      const a3 = a.u32min - b.u32max, b3 = a.u32max - b.u32min; if (a3 >= 0 || b3 < 0) { r.u32min = a3 >>> 0; r.u32max = b3 >>> 0; }
      return sync(r); }
    case 'mul': { const [value, mask] = tmul(a, b); const r: M = { ...U, value, mask };
      if (a.umax * b.umax <= U64) { r.umin = a.umin * b.umin; r.umax = a.umax * b.umax; }
      const p = [a.smin * b.smin, a.smin * b.smax, a.smax * b.smin, a.smax * b.smax]; const lo = p.reduce(small), hi = p.reduce(big); if (lo >= SMIN && hi <= SMAX) { r.smin = lo; r.smax = hi; }
      return sync(r); }
    case 'and': { const al = a.value | a.mask, be = b.value | b.mask, v = a.value & b.value; const r: M = { ...U, value: v, mask: al & be & ~v }; r.umin = r.value; r.umax = small(a.umax, b.umax); return sync(r); }
    case 'or': { const v = a.value | b.value; const r: M = { ...U, value: v, mask: (a.mask | b.mask) & ~v }; r.umin = big(a.umin, b.umin); r.umax = r.value | r.mask; return sync(r); }
    case 'xor': { const v = a.value ^ b.value, mu = a.mask | b.mask; const r: M = { ...U, value: v & ~mu, mask: mu }; r.umin = r.value; r.umax = r.value | r.mask; return sync(r); }
    case 'lsh': case 'rsh': case 'arsh': {
      if (!isConstant(b) || b.umax >= BigInt(width)) { if (b.umax >= BigInt(width) || !isConstant(b)) { return U; } }
      const n = b.value;
      if (op === 'lsh') { const r: M = { ...U, value: u64(a.value << n), mask: u64(a.mask << n) }; if (a.umax << n <= U64) { r.umin = a.umin << n; r.umax = a.umax << n; } return sync(r); }
      if (op === 'rsh') return sync({ ...U, value: a.value >> n, mask: a.mask >> n, umin: a.umin >> n, umax: a.umax >> n });
      if (width === 32) return sync({ ...U, value: u64(BigInt(Number(a.value & U32) | 0) >> n) & U32, mask: u64(BigInt(Number(a.mask & U32) | 0) >> n) & U32, umax: U32, s32min: a.s32min >> Number(n), s32max: a.s32max >> Number(n) });
      return sync({ ...U, value: u64(s64(a.value) >> n), mask: u64(s64(a.mask) >> n), smin: a.smin >> n, smax: a.smax >> n }); }
    default: return U;
  }
}
const SIGNED: ReadonlySet<BranchOp> = new Set(['jsgt', 'jsge', 'jslt', 'jsle']);
interface V { lo: bigint; hi: bigint }
const range = (op: BranchOp, width: 32 | 64, s: Scalar): V => SIGNED.has(op) ? (width === 64 ? { lo: s.smin, hi: s.smax } : { lo: BigInt(s.s32min), hi: BigInt(s.s32max) }) : width === 64 ? { lo: s.umin, hi: s.umax } : { lo: BigInt(s.u32min), hi: BigInt(s.u32max) };
export function branchTaken(op: BranchOp, width: 32 | 64, a: Scalar, b: Scalar): boolean | undefined {
  const w = width === 64 ? U64 : U32;
  const [x, y] = [range(op, width, a), range(op, width, b)];
  switch (op) {
    case 'jeq': case 'jne': {
      const conflict = ((a.value ^ b.value) & ~(a.mask | b.mask) & w) !== 0n;
      const sx = range('jsgt', width, a), sy = range('jsgt', width, b);
      const ac = (a.mask & w) === 0n, bc = (b.mask & w) === 0n;
      const eq = ac && bc ? (a.value & w) === (b.value & w) : conflict || x.lo > y.hi || x.hi < y.lo || sx.lo > sy.hi || sx.hi < sy.lo ? false : undefined;
      return eq === undefined ? undefined : op === 'jeq' ? eq : !eq; }
    case 'jset': if (((b.mask) & w) !== 0n) return undefined; if ((a.value & b.value & w) !== 0n) return true; if (((a.value | a.mask) & b.value & w) === 0n) return false; return undefined;
    case 'jgt': case 'jsgt': return x.lo > y.hi ? true : x.hi <= y.lo ? false : undefined;
    case 'jge': case 'jsge': return x.lo >= y.hi ? true : x.hi < y.lo ? false : undefined;
    case 'jlt': case 'jslt': return x.hi < y.lo ? true : x.lo >= y.hi ? false : undefined;
    case 'jle': case 'jsle': return x.hi <= y.lo ? true : x.lo > y.hi ? false : undefined;
  }
}
const NOT: Record<BranchOp, BranchOp | 'nset'> = { jeq: 'jne', jne: 'jeq', jset: 'nset', jgt: 'jle', jge: 'jlt', jlt: 'jge', jle: 'jgt', jsgt: 'jsle', jsge: 'jslt', jslt: 'jsge', jsle: 'jsgt' };
export function refine(op0: BranchOp, width: 32 | 64, taken: boolean, a0: Scalar, b0: Scalar): readonly [Scalar, Scalar] {
  const op = taken ? op0 : NOT[op0];
  const a: M = { ...a0 }, b: M = { ...b0 };
  const w = width === 64 ? U64 : U32;
  const cut = (r: M, o: 'u' | 's', lo: bigint, hi: bigint): void => {
    if (o === 'u') { if (width === 64) { r.umin = big(r.umin, lo); r.umax = small(r.umax, hi); } else { r.u32min = Math.max(r.u32min, Number(lo)); r.u32max = Math.min(r.u32max, Number(hi)); } }
    else if (width === 64) { r.smin = big(r.smin, lo); r.smax = small(r.smax, hi); } else { r.s32min = Math.max(r.s32min, Number(lo)); r.s32max = Math.min(r.s32max, Number(hi)); }
  };
  const less = (x: M, y: M, o: 'u' | 's', strict: boolean): void => { const k: BranchOp = o === 'u' ? 'jgt' : 'jsgt'; const X = range(k, width, x), Y = range(k, width, y); const d = strict ? 1n : 0n; cut(x, o, X.lo, Y.hi - d); cut(y, o, X.lo + d, Y.hi); };
  switch (op) {
    case 'jeq': {
      for (const o of ['u', 's'] as const) { const k: BranchOp = o === 'u' ? 'jgt' : 'jsgt'; const X = range(k, width, a), Y = range(k, width, b); const lo = big(X.lo, Y.lo), hi = small(X.hi, Y.hi); cut(a, o, lo, hi); cut(b, o, lo, hi); }
      if (width === 64) { const [v, m] = tnumIntersect(a.value, a.mask, b.value, b.mask); a.value = b.value = v; a.mask = b.mask = m; }
      else { const [v, m] = tnumIntersect(a.value & U32, a.mask & U32, b.value & U32, b.mask & U32); for (const r of [a, b]) { r.value = u64((r.value & ~U32) | (v & U32)); r.mask = (r.mask & ~U32) | (m & U32); } }
      break; }
    case 'jne': { const shave = (r: M, c: Scalar): void => { if ((c.mask & w) !== 0n) return; const v = c.value & w; const sv = width === 64 ? s64(v) : BigInt(Number(v) | 0);
        if (width === 64) { if (r.umin === v) r.umin++; if (r.umax === v) r.umax--; if (r.smin === sv) r.smin++; if (r.smax === sv) r.smax--; }
        else { if (BigInt(r.u32min) === v) r.u32min++; if (BigInt(r.u32max) === v) r.u32max--; if (BigInt(r.s32min) === sv) r.s32min++; if (BigInt(r.s32max) === sv) r.s32max--; } };
      if ((b0.mask & w) === 0n) shave(a, b0); else shave(b, a0); break; }
    case 'jset': { const [r, c] = (b0.mask & w) === 0n ? [a, b0] : [b, a0]; if ((c.mask & w) !== 0n) break; const v = c.value & w; if (v !== 0n && (v & (v - 1n)) === 0n) { r.value |= v; r.mask &= ~v; } break; }
    case 'nset': { const [r, c] = (b0.mask & w) === 0n ? [a, b0] : [b, a0]; if ((c.mask & w) !== 0n) break; const v = c.value & w; r.value &= ~v; r.mask &= ~v; break; }
    case 'jle': less(a, b, 'u', false); break; case 'jlt': less(a, b, 'u', true); break; case 'jge': less(b, a, 'u', false); break; case 'jgt': less(b, a, 'u', true); break;
    case 'jsle': less(a, b, 's', false); break; case 'jslt': less(a, b, 's', true); break; case 'jsge': less(b, a, 's', false); break; case 'jsgt': less(b, a, 's', true); break;
  }
  const fin = (r: M, was: Scalar): Scalar => (same(r, was) ? was : resetIfBroken(sync(r)));
  return [fin(a, a0), fin(b, b0)];
}
export function rangeWithin(o: Scalar, i: Scalar): boolean { return o.umin <= i.umin && o.umax >= i.umax && o.smin <= i.smin && o.smax >= i.smax && o.u32min <= i.u32min && o.u32max >= i.u32max && o.s32min <= i.s32min && o.s32max >= i.s32max; }
export function tnumIn(o: Scalar, i: Scalar): boolean { return (i.mask & ~o.mask) === 0n && o.value === u64(i.value & ~o.mask); }
export function scalarsEqual(a: Scalar, b: Scalar): boolean { return a === b || same(a, b); }
export function contains(s: Scalar, c: bigint): boolean { const u = u64(c), g = s64(c), l = Number(u & U32); return (u & ~s.mask) === s.value && u >= s.umin && u <= s.umax && g >= s.smin && g <= s.smax && l >= s.u32min && l <= s.u32max && (l | 0) >= s.s32min && (l | 0) <= s.s32max; }
