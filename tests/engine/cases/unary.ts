/** Operations on one register: negation, sign extension, byte order. Each is run on a known and on an unknown number. */
import { hex, single, unknownNumbers, withUnknown, type Case } from './case.ts';

const MIXED = 0x8182_8384_8586_8788n;
const PLAIN = 0x0102_0304_0506_0708n;

/** r0 before and after an instruction. */
const ROWS: readonly (readonly [name: string, instruction: string, before: bigint, after: bigint])[] = [
  ['negation', 'r0 = -r0', 7n, 0xffff_ffff_ffff_fff9n],
  ['negation of a negative number', 'r0 = -r0', -7n, 7n],
  ['negation of 0', 'r0 = -r0', 0n, 0n],
  ['negation of the smallest number is itself', 'r0 = -r0', 0x8000_0000_0000_0000n, 0x8000_0000_0000_0000n],
  ['32-bit negation zero-extends', 'w0 = -w0', 7n, 0xffff_fff9n],
  ['32-bit negation does not see the upper half', 'w0 = -w0', 0xaaaa_aaaa_ffff_fff9n, 7n],
  ['32-bit negation of 0 clears the upper half', 'w0 = -w0', 0xaaaa_aaaa_0000_0000n, 0n],
  ['32-bit negation of the smallest number is itself', 'w0 = -w0', 0x8000_0000n, 0x8000_0000n],

  ['a 32-bit move of a register to itself clears the upper half', 'w0 = w0', MIXED, 0x8586_8788n],
  ['a 64-bit move of a register to itself changes nothing', 'r0 = r0', MIXED, MIXED],
  ['a move sign-extends 8 bits', 'r0 = (s8)r0', MIXED, 0xffff_ffff_ffff_ff88n],
  ['a move sign-extends 8 positive bits', 'r0 = (s8)r0', 0x8182_8384_8586_8778n, 0x78n],
  ['a move sign-extends 16 bits', 'r0 = (s16)r0', MIXED, 0xffff_ffff_ffff_8788n],
  ['a move sign-extends 16 positive bits', 'r0 = (s16)r0', 0x8182_8384_8586_7788n, 0x7788n],
  ['a move sign-extends 32 bits', 'r0 = (s32)r0', MIXED, 0xffff_ffff_8586_8788n],
  ['a move sign-extends 32 positive bits', 'r0 = (s32)r0', 0x8182_8384_7586_8788n, 0x7586_8788n],
  ['a 32-bit move sign-extends 8 bits to 32 and zero-extends', 'w0 = (s8)w0', MIXED, 0xffff_ff88n],
  ['a 32-bit move sign-extends 8 positive bits', 'w0 = (s8)w0', 0x8182_8384_8586_8778n, 0x78n],
  ['a 32-bit move sign-extends 16 bits to 32 and zero-extends', 'w0 = (s16)w0', MIXED, 0xffff_8788n],
  ['a 32-bit move sign-extends 16 positive bits', 'w0 = (s16)w0', 0x8182_8384_8586_7788n, 0x7788n],

  ['le16 keeps 16 bits', 'r0 = le16 r0', MIXED, 0x8788n],
  ['le32 keeps 32 bits', 'r0 = le32 r0', MIXED, 0x8586_8788n],
  ['le64 changes nothing', 'r0 = le64 r0', MIXED, MIXED],
  ['be16 swaps 16 bits and clears the others', 'r0 = be16 r0', MIXED, 0x8887n],
  ['be32 swaps 32 bits and clears the others', 'r0 = be32 r0', MIXED, 0x8887_8685n],
  ['be64 swaps all bytes', 'r0 = be64 r0', MIXED, 0x8887_8685_8483_8281n],
  ['bswap16 swaps 16 bits and clears the others', 'r0 = bswap16 r0', MIXED, 0x8887n],
  ['bswap32 swaps 32 bits and clears the others', 'r0 = bswap32 r0', MIXED, 0x8887_8685n],
  ['bswap64 swaps all bytes', 'r0 = bswap64 r0', PLAIN, 0x0807_0605_0403_0201n],
  ['be16 of a byte', 'r0 = be16 r0', 0x12n, 0x1200n],
  ['be32 of a byte', 'r0 = be32 r0', 0x12n, 0x1200_0000n],
  ['be64 of a byte', 'r0 = be64 r0', 0x12n, 0x1200_0000_0000_0000n],
];

const TWO_REGISTERS: readonly Case[] = [
  single('a sign-extending move leaves its source alone', 'r1 = 0x80\nr0 = (s8)r1\nr0 += r1\nexit', 0n),
  single('a 64-bit immediate load fills all bits', 'r0 = 0xfedcba9876543210\nexit', 0xfedc_ba98_7654_3210n),
  single('a 64-bit immediate load does not sign-extend its low half', 'r0 = 0x00000000ffffffff\nexit', 0xffff_ffffn),
  single('a swap twice is the number itself', 'r0 = 0x0102030405060708\nr0 = be64 r0\nr0 = bswap64 r0\nexit', PLAIN),
];

export const UNARY_CASES: readonly Case[] = [
  ...ROWS.map(([name, instruction, before, after]) => ({
    name,
    runs: [
      { label: 'known', code: `r0 = ${hex(before)}\n${instruction}\nexit`, expected: after },
      { label: 'unknown', code: withUnknown(['r0', 'r4'], `${instruction}\nexit`), expected: after, packet: unknownNumbers(before, 0n) },
    ],
  })),
  ...TWO_REGISTERS,
];
