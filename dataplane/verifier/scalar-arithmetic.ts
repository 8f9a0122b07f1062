/**
 * Arithmetic on numbers of which bits and bounds are known. Each operation says what it says in Linux
 * (adjust_scalar_min_max_vals, 6.18), no more and no less: whole and low half are worked out side by side, and a
 * 32-bit operation then forgets the whole.
 */
import type { AluOp } from '../bpf/isa.ts';
import {
  big, boundsOfBits, boundsOfLowBits, coerceToBytes, constant, draft, forgetLow, forgetWhole, isConstant, isKnown, isSubregConstant, of, resetIfBroken, small, sync, U32, u64, U64, UNKNOWN, zeroExtend32, zeroUpper,
  s64, SMAX, SMIN, type Draft, type Scalar,
} from './scalar.ts';
import { tnumAdd, tnumAnd, tnumArsh, tnumLow, tnumLsh, tnumMul, tnumOr, tnumRange, tnumRsh, tnumSub, tnumWithLow, tnumXor, type Tnum } from './tnum.ts';

const S32_MIN = -0x8000_0000;
const S32_MAX = 0x7fff_ffff;
const U32_MAX = 0xffff_ffff;

function setBits(r: Draft, { value, mask }: Tnum): void {
  r.value = value;
  r.mask = mask;
}

function setSigned(r: Draft, min: bigint, max: bigint): void {
  const fits = min >= SMIN && max <= SMAX;
  r.smin = fits ? min : SMIN;
  r.smax = fits ? max : SMAX;
}

function setSigned32(r: Draft, min: number, max: number): void {
  const fits = min >= S32_MIN && max <= S32_MAX;
  r.s32min = fits ? min : S32_MIN;
  r.s32max = fits ? max : S32_MAX;
}

/** Bounds that wrap around both, or neither, stay bounds. */
function setUnsigned(r: Draft, min: bigint, max: bigint): void {
  const wrapsAlike = min >> 64n === max >> 64n;
  r.umin = wrapsAlike ? u64(min) : 0n;
  r.umax = wrapsAlike ? u64(max) : U64;
}

function setUnsigned32(r: Draft, min: number, max: number): void {
  const wrapsAlike = Math.floor(min / 0x1_0000_0000) === Math.floor(max / 0x1_0000_0000);
  r.u32min = wrapsAlike ? min >>> 0 : 0;
  r.u32max = wrapsAlike ? max >>> 0 : U32_MAX;
}

/** Signed bounds are the unsigned ones where these do not cross the sign. */
function signedAsUnsigned(r: Draft): void {
  const crosses = s64(r.umin) > s64(r.umax);
  r.smin = crosses ? SMIN : s64(r.umin);
  r.smax = crosses ? SMAX : s64(r.umax);
  const crosses32 = (r.u32min | 0) > (r.u32max | 0);
  r.s32min = crosses32 ? S32_MIN : r.u32min | 0;
  r.s32max = crosses32 ? S32_MAX : r.u32max | 0;
}

const low = (bits: bigint): number => Number(bits & U32);

function add(r: Draft, b: Scalar): void {
  setSigned32(r, r.s32min + b.s32min, r.s32max + b.s32max);
  setUnsigned32(r, r.u32min + b.u32min, r.u32max + b.u32max);
  setSigned(r, r.smin + b.smin, r.smax + b.smax);
  setUnsigned(r, r.umin + b.umin, r.umax + b.umax);
  setBits(r, tnumAdd(r, b));
}

function sub(r: Draft, b: Scalar): void {
  setSigned32(r, r.s32min - b.s32max, r.s32max - b.s32min);
  setUnsigned32(r, r.u32min - b.u32max, r.u32max - b.u32min);
  setSigned(r, r.smin - b.smax, r.smax - b.smin);
  setUnsigned(r, r.umin - b.umax, r.umax - b.umin);
  setBits(r, tnumSub(r, b));
}

/** The least and the greatest of the products of bounds, unless one does not fit. */
function mul(r: Draft, b: Scalar): void {
  setBits(r, tnumMul(r, b));
  const [least32, most32] = [BigInt(r.u32min) * BigInt(b.u32min), BigInt(r.u32max) * BigInt(b.u32max)];
  r.u32min = most32 <= U32 ? Number(least32) : 0;
  r.u32max = most32 <= U32 ? Number(most32) : U32_MAX;
  const [amin, amax, bmin, bmax] = [BigInt(r.s32min), BigInt(r.s32max), BigInt(b.s32min), BigInt(b.s32max)];
  const [p, q, s, t] = [amin * bmin, amin * bmax, amax * bmin, amax * bmax];
  const [min32, max32] = [small(small(p, q), small(s, t)), big(big(p, q), big(s, t))];
  const fits32 = min32 >= BigInt(S32_MIN) && max32 <= BigInt(S32_MAX);
  r.s32min = fits32 ? Number(min32) : S32_MIN;
  r.s32max = fits32 ? Number(max32) : S32_MAX;

  const [least, most] = [r.umin * b.umin, r.umax * b.umax];
  r.umin = most <= U64 ? least : 0n;
  r.umax = most <= U64 ? most : U64;
  const [w, x, y, z] = [r.smin * b.smin, r.smin * b.smax, r.smax * b.smin, r.smax * b.smax];
  setSigned(r, small(small(w, x), small(y, z)), big(big(w, x), big(y, z)));
}

function and(r: Draft, b: Scalar): void {
  setBits(r, tnumAnd(r, b));
  r.u32min = low(r.value);
  r.u32max = Math.min(r.u32max, b.u32max);
  r.umin = r.value;
  r.umax = small(r.umax, b.umax);
}

function or(r: Draft, b: Scalar): void {
  setBits(r, tnumOr(r, b));
  r.u32min = Math.max(r.u32min, b.u32min);
  r.u32max = low(r.value | r.mask);
  r.umin = big(r.umin, b.umin);
  r.umax = r.value | r.mask;
}

function xor(r: Draft, b: Scalar): void {
  setBits(r, tnumXor(r, b));
  r.u32min = low(r.value);
  r.u32max = low(r.value | r.mask);
  r.umin = r.value;
  r.umax = r.value | r.mask;
}

function bitwise(op: 'and' | 'or' | 'xor', r: Draft, b: Scalar): void {
  if (op === 'and') and(r, b);
  else if (op === 'or') or(r, b);
  else xor(r, b);
  // Bits that are known whatever the bounds are.
  if (isSubregConstant(b) && isSubregConstant(r)) r.u32min = r.u32max = low(r.value);
  if (isConstant(b) && isConstant(r)) r.umin = r.umax = r.value;
  signedAsUnsigned(r);
}

function shiftLowLeft(r: Draft, count: number): void {
  r.s32min = S32_MIN;
  r.s32max = S32_MAX;
  const fits = count <= 31 && r.u32max <= 2 ** (31 - count);
  r.u32min = fits ? (r.u32min << count) >>> 0 : 0;
  r.u32max = fits ? (r.u32max << count) >>> 0 : U32_MAX;
}

function lsh(width: 32 | 64, r: Draft, b: Scalar): void {
  const count = b.value & 63n;
  if (width === 32) {
    shiftLowLeft(r, b.u32min);
    setBits(r, tnumLow(tnumLsh(tnumLow(r), BigInt(b.u32min))));
    forgetWhole(r);
    boundsOfLowBits(r);
    return;
  }
  // Compilers extend the sign of the low half by << 32 and s>> 32.
  r.smin = count === 32n ? BigInt(r.s32min) << 32n : SMIN;
  r.smax = count === 32n ? BigInt(r.s32max) << 32n : SMAX;
  const fits = r.umax <= 1n << (63n - count);
  r.umin = fits ? r.umin << count : 0n;
  r.umax = fits ? r.umax << count : U64;
  shiftLowLeft(r, Number(count));
  setBits(r, tnumLsh(r, count));
  boundsOfBits(r);
}

function rsh(width: 32 | 64, r: Draft, b: Scalar): void {
  if (width === 32) {
    setBits(r, tnumRsh(tnumLow(r), BigInt(b.u32min)));
    r.s32min = S32_MIN;
    r.s32max = S32_MAX;
    r.u32min >>>= b.u32min;
    r.u32max >>>= b.u32min;
    forgetWhole(r);
    boundsOfLowBits(r);
    return;
  }
  setBits(r, tnumRsh(r, b.umin));
  r.smin = SMIN;
  r.smax = SMAX;
  r.umin >>= b.umin;
  r.umax >>= b.umin;
  forgetLow(r);
  boundsOfBits(r);
}

function arsh(width: 32 | 64, r: Draft, b: Scalar): void {
  if (width === 32) {
    r.s32min >>= b.u32min;
    r.s32max >>= b.u32min;
    r.u32min = 0;
    r.u32max = U32_MAX;
    setBits(r, tnumArsh(r, BigInt(b.u32min), 32));
    forgetWhole(r);
    boundsOfLowBits(r);
    return;
  }
  r.smin >>= b.umin;
  r.smax >>= b.umin;
  r.umin = 0n;
  r.umax = U64;
  setBits(r, tnumArsh(r, b.umin, 64));
  forgetLow(r);
  boundsOfBits(r);
}

/** Divisions, and shifts by counts that are unknown or too large, are not followed, not even in their upper halves. The count is looked at whole. */
function isFollowed(op: AluOp, width: 32 | 64, b: Scalar): boolean {
  switch (op) {
    case 'lsh':
    case 'rsh':
    case 'arsh':
      return (width === 64 ? isConstant(b) : isSubregConstant(b)) && b.umax < BigInt(width);
    case 'div':
    case 'sdiv':
    case 'mod':
    case 'smod':
      return false;
    default:
      return true;
  }
}

/** What is followed, of two known numbers. */
function ofKnown(op: AluOp, width: 32 | 64, a: bigint, b: bigint): bigint {
  switch (op) {
    case 'add':
      return a + b;
    case 'sub':
      return a - b;
    case 'mul':
      return a * b;
    case 'and':
      return a & b;
    case 'or':
      return a | b;
    case 'xor':
      return a ^ b;
    case 'lsh':
      return a << b;
    case 'rsh':
      return (width === 64 ? a : a & U32) >> b;
    case 'arsh':
      return (width === 64 ? s64(a) : BigInt.asIntN(32, a)) >> b;
    default:
      return b;
  }
}

/** What an operation gives; for 32 bits on the low halves, zero-extended. */
export function alu(op: AluOp, width: 32 | 64, a: Scalar, b: Scalar): Scalar {
  if (op === 'mov') return width === 64 ? b : zeroExtend32(b);
  if (!isFollowed(op, width, b)) return UNKNOWN;
  if (isKnown(a) && isKnown(b)) {
    const result = ofKnown(op, width, a.value, b.value);
    return constant(width === 64 ? result : result & U32);
  }
  const r = draft(a);
  switch (op) {
    case 'add':
      add(r, b);
      break;
    case 'sub':
      sub(r, b);
      break;
    case 'mul':
      mul(r, b);
      break;
    case 'and':
    case 'or':
    case 'xor':
      bitwise(op, r, b);
      break;
    case 'lsh':
      lsh(width, r, b);
      break;
    case 'rsh':
      rsh(width, r, b);
      break;
    case 'arsh':
      arsh(width, r, b);
      break;
  }
  if (width === 32) zeroUpper(r);
  return resetIfBroken(sync(r));
}

const ZERO = constant(0n);
const MINUS_ONE = constant(-1n);

/**
 * Compilers choose without a branch by AND or OR of a spread sign and a constant. Where the first operand is -1 or 0,
 * or its low half is, Linux looks at both apart: first at -1, later again at the same instruction with 0.
 */
export function apart(op: AluOp, a: Scalar, b: Scalar): { readonly first: Scalar; readonly later: Scalar } | undefined {
  if ((op !== 'and' && op !== 'or') || !isConstant(b)) return undefined;
  if (a.smin === -1n && a.smax === 0n) return { first: MINUS_ONE, later: ZERO };
  if (a.s32min === -1 && a.s32max === 0) return { first: withKnownLow(a, MINUS_ONE), later: withKnownLow(a, ZERO) };
  return undefined;
}

function withKnownLow(a: Scalar, known: Scalar): Scalar {
  const { s32min, s32max, u32min, u32max } = known;
  return { ...a, ...tnumWithLow(a, known), s32min, s32max, u32min, u32max };
}

export function negate(width: 32 | 64, a: Scalar): Scalar {
  return alu('sub', width, ZERO, a);
}

/** All numbers of so many bits, signed; nothing is said of unsigned bounds and of bits. */
const SIGNED: Readonly<Record<8 | 16 | 32, Scalar>> = {
  8: { ...UNKNOWN, smin: -0x80n, smax: 0x7fn, s32min: -0x80, s32max: 0x7f },
  16: { ...UNKNOWN, smin: -0x8000n, smax: 0x7fffn, s32min: -0x8000, s32max: 0x7fff },
  32: { ...UNKNOWN, smin: -0x8000_0000n, smax: 0x7fff_ffffn },
};

/** Bounds are followed where they have the same bits above those that stay, and where both then have one sign. */
export function signExtend(width: 32 | 64, bits: 8 | 16 | 32, a: Scalar): Scalar {
  return width === 64 ? signExtend64(bits, a) : zeroExtend32(signExtend32(bits, a));
}

const extended = (bits: 8 | 16 | 32, value: bigint): bigint => (bits === 8 ? BigInt.asIntN(8, value) : bits === 16 ? BigInt.asIntN(16, value) : BigInt.asIntN(32, value));

function signExtend64(bits: 8 | 16 | 32, a: Scalar): Scalar {
  if (isConstant(a)) return constant(extended(bits, a.value));
  const above = BigInt(bits);
  const x = extended(bits, a.smin);
  const y = extended(bits, a.smax);
  if (a.smin >> above !== a.smax >> above || x < 0n !== y < 0n) return SIGNED[bits];
  const smin = small(x, y);
  const smax = big(x, y);
  return {
    ...tnumRange(u64(smin), u64(smax)), smin, smax, umin: u64(smin), umax: u64(smax),
    s32min: low(smin) | 0, s32max: low(smax) | 0, u32min: low(smin), u32max: low(smax),
  };
}

/** The low half; what is left above it is for zeroExtend32 to clear. */
function signExtend32(bits: 8 | 16 | 32, a: Scalar): Scalar {
  if (bits === 32) return a;
  if (isConstant(a)) return constant(extended(bits, a.value));
  const x = (a.s32min << (32 - bits)) >> (32 - bits);
  const y = (a.s32max << (32 - bits)) >> (32 - bits);
  if (a.s32min >> bits !== a.s32max >> bits || x < 0 !== y < 0) return { ...SIGNED[bits], smin: a.smin, smax: a.smax, umin: a.umin, umax: a.umax, mask: U32 };
  const s32min = Math.min(x, y);
  const s32max = Math.max(x, y);
  return { ...a, ...tnumLow(tnumRange(BigInt(s32min), BigInt(s32max))), s32min, s32max, u32min: s32min >>> 0, u32max: s32max >>> 0 };
}

function swapped(bits: 16 | 32 | 64, value: bigint): bigint {
  let rest = value;
  let out = 0n;
  for (let byte = 0; byte < bits; byte += 8) {
    out = (out << 8n) | (rest & 0xffn);
    rest >>= 8n;
  }
  return out;
}

/** Of swapped bytes the bits are followed, the bounds are not. */
export function byteSwap(op: 'le' | 'be' | 'bswap', bits: 16 | 32 | 64, a: Scalar): Scalar {
  if (op === 'le') return coerceToBytes(a, bits === 64 ? 8 : bits === 32 ? 4 : 2);
  return of(swapped(bits, a.value), swapped(bits, a.mask));
}
