/**
 * What the verifier knows of a 64-bit number: bits, and four intervals, which are deduced from each other.
 *
 *   bits       value, mask       a bit of the mask is not known, the others are as in the value
 *   intervals  smin..smax  umin..umax      of all 64 bits, signed and unsigned
 *              s32min..s32max  u32min..u32max      of the low half
 *
 * A Scalar is immutable. BigInts are cut to 64 bits by asUintN and asIntN, which V8 turns into machine integers.
 */
import { tnumContains, tnumIntersect, tnumNext, tnumRange, tnumWithLow } from './tnum.ts';

export interface Scalar {
  /** Bits that are known, and bits that are not (a tnum); unsigned 64 bits. */
  readonly value: bigint;
  readonly mask: bigint;
  readonly smin: bigint;
  readonly smax: bigint;
  readonly umin: bigint;
  readonly umax: bigint;
  readonly s32min: number;
  readonly s32max: number;
  readonly u32min: number;
  readonly u32max: number;
}
export const u64 = (x: bigint): bigint => BigInt.asUintN(64, x);
export const s64 = (x: bigint): bigint => BigInt.asIntN(64, x);
export const U64 = (1n << 64n) - 1n;
export const SMIN = -(1n << 63n);
export const SMAX = (1n << 63n) - 1n;
export const U32 = 0xffff_ffffn;
export const UNKNOWN: Scalar = {
  value: 0n,
  mask: U64,
  smin: SMIN,
  smax: SMAX,
  umin: 0n,
  umax: U64,
  s32min: -0x8000_0000,
  s32max: 0x7fff_ffff,
  u32min: 0,
  u32max: 0xffff_ffff,
};
export function constant(v: bigint): Scalar {
  const u = u64(v),
    s = s64(v),
    lo = Number(u & U32);
  return { value: u, mask: 0n, smin: s, smax: s, umin: u, umax: u, s32min: lo | 0, s32max: lo | 0, u32min: lo, u32max: lo };
}
/** Nothing is known of the low half but what the rest says. */
export function unknownLow(s: Scalar): Scalar {
  return { ...s, s32min: UNKNOWN.s32min, s32max: UNKNOWN.s32max, u32min: UNKNOWN.u32min, u32max: UNKNOWN.u32max };
}
export const isConstant = (s: Scalar): boolean => s.mask === 0n;
export const isSubregConstant = (s: Scalar): boolean => (s.mask & U32) === 0n;
/** Whether bits and bounds of the whole all say the same number. */
export function isKnown(s: Scalar): boolean {
  return s.mask === 0n && s.umin === s.value && s.umax === s.value && s.smin === s.smax;
}
/** A Scalar that is being worked out. */
export interface Draft {
  value: bigint;
  mask: bigint;
  smin: bigint;
  smax: bigint;
  umin: bigint;
  umax: bigint;
  s32min: number;
  s32max: number;
  u32min: number;
  u32max: number;
}
export const big = (a: bigint, b: bigint): bigint => (a > b ? a : b);
export const small = (a: bigint, b: bigint): bigint => (a < b ? a : b);
/** A copy to work on. */
export function draft(a: Scalar): Draft {
  return {
    value: a.value,
    mask: a.mask,
    smin: a.smin,
    smax: a.smax,
    umin: a.umin,
    umax: a.umax,
    s32min: a.s32min,
    s32max: a.s32max,
    u32min: a.u32min,
    u32max: a.u32max,
  };
}
/** Forgets the bounds of the whole. */
export function forgetWhole(r: Draft): void {
  r.smin = SMIN;
  r.smax = SMAX;
  r.umin = 0n;
  r.umax = U64;
}
/** Forgets the bounds of the low half. */
export function forgetLow(r: Draft): void {
  r.s32min = -0x8000_0000;
  r.s32max = 0x7fff_ffff;
  r.u32min = 0;
  r.u32max = 0xffff_ffff;
}
/** Bounds of the low half from known bits. */
export function boundsOfLowBits(r: Draft): void {
  const v = Number(r.value & U32),
    m = Number(r.mask & U32);
  r.s32min = Math.max(r.s32min, v | (m & 0x8000_0000) | 0);
  r.s32max = Math.min(r.s32max, v | (m & 0x7fff_ffff) | 0);
  r.u32min = Math.max(r.u32min, v);
  r.u32max = Math.min(r.u32max, (v | m) >>> 0);
}
/** Bounds from known bits. */
export function boundsOfBits(r: Draft): void {
  boundsOfLowBits(r);
  r.smin = big(r.smin, s64(r.value | (r.mask & (1n << 63n))));
  r.smax = small(r.smax, s64(r.value | (r.mask & SMAX)));
  r.umin = big(r.umin, r.value);
  r.umax = small(r.umax, r.value | r.mask);
  const only = onlyMember(r);
  if (only !== undefined) Object.assign(r, constant(only));
}
/** The number, where one only has the known bits and is within the bounds. Bounds that none is in may seem to hold the greatest, as in Linux. */
function onlyMember(r: Draft): bigint | undefined {
  if (r.umin === r.value && r.umax === (r.value | r.mask)) return undefined;
  const next = tnumNext(r, r.umin);
  if ((r.umin & ~r.mask) === r.value) return next > r.umax ? r.umin : undefined;
  if (next === (r.value | r.mask)) return next;
  return next <= r.umax && tnumNext(r, next) > r.umax ? next : undefined;
}
/** Bounds of the low half from bounds of the whole, where the upper half does not change, or by one; then signed and unsigned from each other. */
function deduce32(r: Draft): void {
  if (r.umin >> 32n === r.umax >> 32n) {
    r.u32min = Math.max(r.u32min, Number(r.umin & U32));
    r.u32max = Math.min(r.u32max, Number(r.umax & U32));
    const a = Number(r.umin & U32) | 0,
      b = Number(r.umax & U32) | 0;
    if (a <= b) {
      r.s32min = Math.max(r.s32min, a);
      r.s32max = Math.min(r.s32max, b);
    }
  }
  if (r.smin >> 32n === r.smax >> 32n) {
    const ua = Number(r.smin & U32),
      ub = Number(r.smax & U32);
    if (ua <= ub) {
      r.u32min = Math.max(r.u32min, ua);
      r.u32max = Math.min(r.u32max, ub);
    }
    const a = ua | 0,
      b = ub | 0;
    if (a <= b) {
      r.s32min = Math.max(r.s32min, a);
      r.s32max = Math.min(r.s32max, b);
    }
  }
  if ((r.umin >> 32n) + 1n === r.umax >> 32n && (Number(r.umin & U32) | 0) < 0 && (Number(r.umax & U32) | 0) >= 0) {
    r.s32min = Math.max(r.s32min, Number(r.umin & U32) | 0);
    r.s32max = Math.min(r.s32max, Number(r.umax & U32) | 0);
  }
  if ((r.smin >> 32n) + 1n === r.smax >> 32n && (Number(r.smin & U32) | 0) < 0 && (Number(r.smax & U32) | 0) >= 0) {
    r.s32min = Math.max(r.s32min, Number(r.smin & U32) | 0);
    r.s32max = Math.min(r.s32max, Number(r.smax & U32) | 0);
  }
  if ((r.u32min | 0) <= (r.u32max | 0)) {
    r.s32min = Math.max(r.s32min, r.u32min | 0);
    r.s32max = Math.min(r.s32max, r.u32max | 0);
  }
  if (r.s32min >>> 0 <= r.s32max >>> 0) {
    r.u32min = Math.max(r.u32min, r.s32min >>> 0);
    r.u32max = Math.min(r.u32max, r.s32max >>> 0);
  } else if (r.u32max < r.s32min >>> 0) {
    r.s32min = r.u32min | 0;
    r.u32max = Math.min(r.u32max, r.s32max >>> 0);
  } else if (r.s32max >>> 0 < r.u32min) {
    r.s32max = r.u32max | 0;
    r.u32min = Math.max(r.u32min, r.s32min >>> 0);
  }
}
/** Signed and unsigned bounds from each other: as they are where they do not cross the sign, and cut where both cross it on one side. */
function deduce64(r: Draft): void {
  if (s64(r.umin) <= s64(r.umax)) {
    r.smin = big(r.smin, s64(r.umin));
    r.smax = small(r.smax, s64(r.umax));
  }
  if (u64(r.smin) <= u64(r.smax)) {
    r.umin = big(r.umin, u64(r.smin));
    r.umax = small(r.umax, u64(r.smax));
  } else if (r.umax < u64(r.smin)) {
    r.smin = s64(r.umin);
    r.umax = small(r.umax, u64(r.smax));
  } else if (u64(r.smax) < r.umin) {
    r.smax = s64(r.umax);
    r.umin = big(r.umin, u64(r.smin));
  }
}
/** Bounds of the whole from bounds of the low half. */
function mixed(r: Draft): void {
  r.umin = big(r.umin, (r.umin & ~U32) | BigInt(r.u32min));
  r.umax = small(r.umax, u64((r.umax & ~U32) | BigInt(r.u32max)));
  r.smin = big(r.smin, s64((r.smin & ~U32) | BigInt(r.u32min)));
  r.smax = small(r.smax, s64((r.smax & ~U32) | BigInt(r.u32max)));
  if (r.s32min >= 0 && r.smin >= -0x8000_0000n && r.smax <= 0x7fff_ffffn) {
    r.smin = BigInt(r.s32min);
    r.smax = BigInt(r.s32max);
    r.umin = r.smin;
    r.umax = u64(r.smax);
  }
}
/** Known bits from bounds: those in front of the first that differs. */
function boundTnum(r: Draft): void {
  const whole = tnumIntersect(r, tnumRange(r.umin, r.umax));
  const { value, mask } = tnumWithLow(whole, tnumIntersect(whole, tnumRange(BigInt(r.u32min), BigInt(r.u32max))));
  r.value = value;
  r.mask = mask;
}
function same(a: Draft, b: Scalar): boolean {
  return (
    a.value === b.value &&
    a.mask === b.mask &&
    a.smin === b.smin &&
    a.smax === b.smax &&
    a.umin === b.umin &&
    a.umax === b.umax &&
    a.s32min === b.s32min &&
    a.s32max === b.s32max &&
    a.u32min === b.u32min &&
    a.u32max === b.u32max
  );
}
/** Says of a number all that its parts say of each other (reg_bounds_sync); the same object where that is nothing new. */
export function sync(given: Scalar): Scalar {
  // Nothing to deduce about a number that is known, as long as its bounds allow it.
  if (given.mask === 0n && contains(given, given.value)) {
    const known = constant(given.value);
    return same(known, given) ? given : known;
  }
  const r = draft(given);
  boundsOfBits(r);
  let rounds = 0;
  for (; rounds < 3; rounds++) {
    const { smin, smax, umin, umax, s32min, s32max, u32min, u32max } = r;
    deduce32(r);
    deduce64(r);
    mixed(r);
    // A round that says nothing new is followed by no other that does.
    if (s32min === r.s32min && s32max === r.s32max && u32min === r.u32min && u32max === r.u32max && smin === r.smin && smax === r.smax && umin === r.umin && umax === r.umax) break;
  }
  const { value, mask } = r;
  boundTnum(r);
  if (rounds > 0 || r.value !== value || r.mask !== mask) boundsOfBits(r);
  return same(r, given) ? given : r;
}
/** Whether the bounds leave no value, or not the one that the bits say: the path is impossible (reg_bounds_sanity_check). */
export function isBroken(s: Scalar): boolean {
  if (s.umin > s.umax || s.smin > s.smax || s.u32min > s.u32max || s.s32min > s.s32max) return true;
  if (!isSubregConstant(s)) return false;
  const low = Number(s.value & U32);
  if (s.u32min !== low || s.u32max !== low || s.s32min !== (low | 0) || s.s32max !== (low | 0)) return true;
  return isConstant(s) && (s.umin !== s.value || s.umax !== s.value || s.smin !== s64(s.value) || s.smax !== s64(s.value));
}
/** Linux then forgets the bounds, and goes on. */
export function resetIfBroken(s: Scalar): Scalar {
  return isBroken(s) ? { ...UNKNOWN, value: s.value, mask: s.mask } : s;
}
/** A number of which only bits are known. */
export const of = (value: bigint, mask: bigint): Scalar => sync({ ...UNKNOWN, value, mask });
/** What a load of so many bytes gives. */
export const UNKNOWN_OF_BYTES: Readonly<Record<1 | 2 | 4 | 8, Scalar>> = { 1: of(0n, 0xffn), 2: of(0n, 0xffffn), 4: of(0n, U32), 8: UNKNOWN };
const signed = (bits: bigint): Scalar => sync({ ...UNKNOWN, smin: -(1n << (bits - 1n)), smax: (1n << (bits - 1n)) - 1n });
export const SIGNED_OF_BYTES: Readonly<Record<1 | 2 | 4, Scalar>> = { 1: signed(8n), 2: signed(16n), 4: signed(32n) };
/** Makes the whole the low half, which is all that is then known of it. */
export function zeroUpper(r: Draft): void {
  r.value &= U32;
  r.mask &= U32;
  r.umin = BigInt(r.u32min);
  r.umax = BigInt(r.u32max);
  const signless = r.s32min >= 0 && r.s32max >= 0;
  r.smin = signless ? BigInt(r.s32min) : 0n;
  r.smax = signless ? BigInt(r.s32max) : U32;
}
/** The low half, zeroes above. */
export function zeroExtend32(a: Scalar): Scalar {
  if (a === UNKNOWN_OF_BYTES[1] || a === UNKNOWN_OF_BYTES[2] || a === UNKNOWN_OF_BYTES[4]) return a;
  const r = draft(a);
  zeroUpper(r);
  const synced = sync(r);
  return same(synced, a) ? a : synced;
}
/** The low bytes, zeroes above (coerce_reg_to_size). */
export function coerceToBytes(a: Scalar, b: 1 | 2 | 4 | 8): Scalar {
  if (a === UNKNOWN_OF_BYTES[b] || b === 8) return a;
  const mask = (1n << BigInt(8 * b)) - 1n;
  const r = draft(a);
  r.value &= mask;
  r.mask &= mask;
  const high = (r.umin & ~mask) === (r.umax & ~mask);
  r.umin = high ? r.umin & mask : 0n;
  r.umax = high ? r.umax & mask : mask;
  r.smin = r.umin;
  r.smax = r.umax;
  if (b < 4) forgetLow(r);
  const synced = sync(r);
  return same(synced, a) ? a : synced;
}

/** Whether all bounds of `i` lie within those of `o`. */
export function rangeWithin(o: Scalar, i: Scalar): boolean {
  return (
    o.umin <= i.umin &&
    o.umax >= i.umax &&
    o.smin <= i.smin &&
    o.smax >= i.smax &&
    o.u32min <= i.u32min &&
    o.u32max >= i.u32max &&
    o.s32min <= i.s32min &&
    o.s32max >= i.s32max
  );
}
/** Whether all that is known of the bits of `o` is known of `i`. */
export function tnumIn(o: Scalar, i: Scalar): boolean {
  return tnumContains(o, i);
}
export function scalarsEqual(a: Scalar, b: Scalar): boolean {
  return a === b || same(a, b);
}
/** Whether the number may have that value. */
export function contains(s: Scalar, c: bigint): boolean {
  const u = u64(c),
    g = s64(c),
    l = Number(u & U32);
  return (
    (u & ~s.mask) === s.value && u >= s.umin && u <= s.umax && g >= s.smin && g <= s.smax && l >= s.u32min && l <= s.u32max && (l | 0) >= s.s32min && (l | 0) <= s.s32max
  );
}
