/** Numbers at which comparisons, sign extension and 32-bit halves change their minds. */
import type { Random } from './random.ts';

const EDGES_32: readonly number[] = [
  0, 1, -1, 2, -2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, -128, -129, 255, 256, 1000, 0x7fff, -0x8000, 0xffff, 0x1_0000, 0x7fff_ffff, 0x7fff_fffe, -0x8000_0000, -0x7fff_ffff,
  0x4000_0000, -0x4000_0000,
];
const EDGES_64: readonly bigint[] = [
  0x7fff_ffffn, 0x8000_0000n, 0x8000_0001n, 0xffff_fffen, 0xffff_ffffn, 0x1_0000_0000n, 0x1_0000_0001n, 0x7fff_ffff_ffff_ffffn, 0x8000_0000_0000_0000n, 0x8000_0000_0000_0001n,
  0xffff_ffff_0000_0000n, 0xffff_ffff_7fff_ffffn, 0xffff_ffff_8000_0000n, 0xffff_ffff_ffff_ffffn, 0x7fff_ffff_0000_0000n, 0x7_ffff_ffffn,
];

export function immediate(random: Random): number {
  if (random.chance(0.15)) return random.u32() | 0;
  if (random.chance(0.3)) return random.below(256);
  return Math.max(-0x8000_0000, Math.min(0x7fff_ffff, random.pick(EDGES_32) + (random.chance(0.2) ? random.between(-1, 1) : 0)));
}

/** Unsigned. */
export function wideConstant(random: Random): bigint {
  if (random.chance(0.2)) return (BigInt(random.u32()) << 32n) | BigInt(random.u32());
  return BigInt.asUintN(64, random.chance(0.5) ? random.pick(EDGES_64) : BigInt(immediate(random)));
}
