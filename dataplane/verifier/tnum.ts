/**
 * Numbers of which some bits are known: a bit of `mask` is not known, the others are as in `value`; no bit is in both.
 * 64 bits each, unsigned. The operators are Linux's (kernel/bpf/tnum.c; Vishwanathan et al., "Sound, Precise, and Fast
 * Abstract Interpretation with Tristate Numbers", CGO 2022). All but the product are as exact as such numbers allow.
 */

export interface Tnum {
  readonly value: bigint;
  readonly mask: bigint;
}

const U64 = 0xffff_ffff_ffff_ffffn;
const U32 = 0xffff_ffffn;
const u64 = (x: bigint): bigint => BigInt.asUintN(64, x);

/** The bits that both bounds share in front of the first that differs. */
export function tnumRange(min: bigint, max: bigint): Tnum {
  const differs = u64(min ^ max);
  const high = Number(differs >> 32n);
  const bits = high === 0 ? 32 - Math.clz32(Number(differs)) : 64 - Math.clz32(high);
  if (bits > 63) return { value: 0n, mask: U64 };
  const mask = (1n << BigInt(bits)) - 1n;
  return { value: u64(min) & ~mask, mask };
}

/** A bit is unknown where a carry into it may be. */
export function tnumAdd(a: Tnum, b: Tnum): Tnum {
  const least = u64(a.value + b.value);
  const most = u64(least + a.mask + b.mask);
  const mask = (least ^ most) | a.mask | b.mask;
  return { value: least & ~mask, mask };
}

export function tnumSub(a: Tnum, b: Tnum): Tnum {
  const difference = u64(a.value - b.value);
  const mask = u64(difference + a.mask) ^ u64(difference - b.mask) | a.mask | b.mask;
  return { value: difference & ~mask, mask };
}

export function tnumAnd(a: Tnum, b: Tnum): Tnum {
  const value = a.value & b.value;
  return { value, mask: (a.value | a.mask) & (b.value | b.mask) & ~value };
}

export function tnumOr(a: Tnum, b: Tnum): Tnum {
  const value = a.value | b.value;
  return { value, mask: (a.mask | b.mask) & ~value };
}

export function tnumXor(a: Tnum, b: Tnum): Tnum {
  const mask = a.mask | b.mask;
  return { value: (a.value ^ b.value) & ~mask, mask };
}

/** What either may be. */
export function tnumUnion(a: Tnum, b: Tnum): Tnum {
  const mask = (a.value ^ b.value) | a.mask | b.mask;
  return { value: a.value & ~mask, mask };
}

/** What both may be; where they disagree, a known 1. */
export function tnumIntersect(a: Tnum, b: Tnum): Tnum {
  const mask = a.mask & b.mask;
  return { value: (a.value | b.value) & ~mask, mask };
}

/** Long multiplication: a known 1 adds the other factor, an unknown bit adds it or does not (Linux 6.18). */
export function tnumMul(a: Tnum, b: Tnum): Tnum {
  let { value, mask } = a;
  let shifted = b;
  let sum: Tnum = { value: 0n, mask: 0n };
  while (value !== 0n || mask !== 0n) {
    if ((value & 1n) !== 0n) sum = tnumAdd(sum, shifted);
    else if ((mask & 1n) !== 0n) sum = tnumUnion(sum, tnumAdd(sum, shifted));
    value >>= 1n;
    mask >>= 1n;
    shifted = tnumLsh(shifted, 1n);
  }
  return sum;
}

export function tnumLsh(a: Tnum, count: bigint): Tnum {
  return { value: u64(a.value << count), mask: u64(a.mask << count) };
}

export function tnumRsh(a: Tnum, count: bigint): Tnum {
  return { value: a.value >> count, mask: a.mask >> count };
}

/** An unknown sign is copied as unknown. For 32 bits, of the low half. */
export function tnumArsh(a: Tnum, count: bigint, width: 32 | 64): Tnum {
  if (width === 64) return { value: u64(BigInt.asIntN(64, a.value) >> count), mask: u64(BigInt.asIntN(64, a.mask) >> count) };
  return { value: BigInt.asUintN(32, BigInt.asIntN(32, a.value) >> count), mask: BigInt.asUintN(32, BigInt.asIntN(32, a.mask) >> count) };
}

/** The low half, zeroes above. */
export function tnumLow(a: Tnum): Tnum {
  return { value: a.value & U32, mask: a.mask & U32 };
}

/** The upper half of `a` above the low half of `low`. */
export function tnumWithLow(a: Tnum, low: Tnum): Tnum {
  return { value: (a.value & ~U32) | (low.value & U32), mask: (a.mask & ~U32) | (low.mask & U32) };
}

/** Whether some number is both. */
export function tnumOverlap(a: Tnum, b: Tnum): boolean {
  return ((a.value ^ b.value) & ~(a.mask | b.mask)) === 0n;
}

/** Whether all that `outer` says holds for `inner`. */
export function tnumContains(outer: Tnum, inner: Tnum): boolean {
  return (inner.mask & ~outer.mask) === 0n && outer.value === (inner.value & ~outer.mask);
}

/** The least member above `from`; the greatest member where none is. */
export function tnumNext({ value, mask }: Tnum, from: bigint): bigint {
  if (from >= (value | mask)) return value | mask;
  const alike = value | (from & mask);
  // In front of the first known bit that differs, the next member is as `from` is, or one more.
  const differs = alike ^ from;
  const high = Number(differs >> 32n);
  const below = (1n << BigInt(high === 0 ? 32 - Math.clz32(Number(differs)) : 64 - Math.clz32(high))) - 1n;
  return value | (mask & (alike > from ? alike & ~below : u64((alike | below | ~mask) + 1n)));
}
