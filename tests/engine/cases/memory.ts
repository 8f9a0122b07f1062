/** Loads, stores and atomic operations, on the stack, the packet and the context. */
import { hex, single, type Case } from './case.ts';

const UNALIGNED_STACK = "Linux's verifier wants stack accesses aligned";

/** Fills r10 - 16 to r10 - 1 with 0x11, 0x22, … 0xff, 0x00 from the lowest address. */
const FILLED = `
  r1 = 0x8877665544332211
  *(u64 *)(r10 -16) = r1
  r1 = 0x00ffeeddccbbaa99
  *(u64 *)(r10 -8) = r1
`;

const LOADS: readonly (readonly [name: string, load: string, expected: bigint])[] = [
  ['a load of 1 byte zero-extends', 'r0 = *(u8 *)(r10 -8)', 0x99n],
  ['a load of 2 bytes zero-extends', 'r0 = *(u16 *)(r10 -8)', 0xaa99n],
  ['a load of 4 bytes zero-extends', 'r0 = *(u32 *)(r10 -8)', 0xccbb_aa99n],
  ['a load of 8 bytes', 'r0 = *(u64 *)(r10 -8)', 0x00ff_eedd_ccbb_aa99n],
  ['a load of a byte within a word', 'r0 = *(u8 *)(r10 -3)', 0xeen],
  ['a load of 2 bytes within a word', 'r0 = *(u16 *)(r10 -12)', 0x6655n],
  ['a load of 4 bytes, upper half of a word', 'r0 = *(u32 *)(r10 -4)', 0x00ff_eeddn],
  ['a sign-extending load of 1 byte', 'r0 = *(s8 *)(r10 -8)', 0xffff_ffff_ffff_ff99n],
  ['a sign-extending load of a positive byte', 'r0 = *(s8 *)(r10 -16)', 0x11n],
  ['a sign-extending load of 2 bytes', 'r0 = *(s16 *)(r10 -8)', 0xffff_ffff_ffff_aa99n],
  ['a sign-extending load of 2 positive bytes', 'r0 = *(s16 *)(r10 -16)', 0x2211n],
  ['a sign-extending load of 4 bytes', 'r0 = *(s32 *)(r10 -8)', 0xffff_ffff_ccbb_aa99n],
  ['a sign-extending load of 4 positive bytes', 'r0 = *(s32 *)(r10 -16)', 0x4433_2211n],
  ['a load replaces its own base', 'r0 = r10\nr0 = *(u16 *)(r0 -16)', 0x2211n],
  ['an address computed with a positive offset', 'r2 = r10\nr2 += -16\nr0 = *(u8 *)(r2 +15)', 0n],
  ['an address computed with two negative offsets', 'r2 = r10\nr2 += -8\nr0 = *(u8 *)(r2 -8)', 0x11n],
];

/** `r0` is what the 8 bytes at r10 - 8 are afterwards. */
const STORES: readonly (readonly [name: string, store: string, expected: bigint])[] = [
  ['a store of 1 byte leaves the others', '*(u8 *)(r10 -8) = r2', 0x00ff_eedd_ccbb_aa08n],
  ['a store of 2 bytes leaves the others', '*(u16 *)(r10 -8) = r2', 0x00ff_eedd_ccbb_0708n],
  ['a store of 4 bytes leaves the others', '*(u32 *)(r10 -8) = r2', 0x00ff_eedd_0506_0708n],
  ['a store of 8 bytes', '*(u64 *)(r10 -8) = r2', 0x0102_0304_0506_0708n],
  ['a store of 1 byte of a number', '*(u8 *)(r10 -7) = 511', 0x00ff_eedd_ccbb_ff99n],
  ['a store of 2 bytes of a negative number', '*(u16 *)(r10 -6) = -2', 0x00ff_eedd_fffe_aa99n],
  ['a store of 4 bytes of a negative number', '*(u32 *)(r10 -4) = -2', 0xffff_fffe_ccbb_aa99n],
  ['a store of 8 bytes sign-extends its number', '*(u64 *)(r10 -8) = -2', 0xffff_ffff_ffff_fffen],
  ['a store of 8 bytes of a positive number', '*(u64 *)(r10 -8) = 2147483647', 0x7fff_ffffn],
  ['a store of 1 byte into the upper half', '*(u8 *)(r10 -1) = r2', 0x08ff_eedd_ccbb_aa99n],
];

const PACKET = `
  r9 = *(u32 *)(r1 +0)
  r2 = *(u32 *)(r1 +4)
  r3 = r9
  r3 += 64
  r0 = 0
  if r3 > r2 goto short
`;
const packet = (body: string): string => `${PACKET}${body}\nshort:\nexit`;

const PACKET_CASES: readonly Case[] = [
  single('a packet begins at data', packet('r0 = *(u64 *)(r9 +0)'), 0x0706_0504_0302_0100n),
  single('a packet ends before data_end', packet('r0 = *(u8 *)(r9 +63)'), 63n),
  single('an unaligned load of 2 bytes', packet('r0 = *(u16 *)(r9 +1)'), 0x0201n),
  single('an unaligned load of 4 bytes', packet('r0 = *(u32 *)(r9 +3)'), 0x0605_0403n),
  single('an unaligned load of 8 bytes', packet('r0 = *(u64 *)(r9 +5)'), 0x0c0b_0a09_0807_0605n),
  single('an unaligned sign-extending load', packet('*(u8 *)(r9 +6) = 0x80\nr0 = *(s16 *)(r9 +5)'), 0xffff_ffff_ffff_8005n),
  single('an unaligned store of 8 bytes', packet('r2 = 0x1122334455667788\n*(u64 *)(r9 +3) = r2\nr0 = *(u32 *)(r9 +5)'), 0x3344_5566n),
  single('an unaligned store of 2 bytes of a number', packet('*(u16 *)(r9 +1) = 0x1234\nr0 = *(u32 *)(r9 +0)'), 0x0312_3400n),
  single('data_end less data is the length', 'r0 = *(u32 *)(r1 +4)\nr2 = *(u32 *)(r1 +0)\nr0 -= r2\nexit', 64n),
  single('an address reached with a register', packet('r4 = *(u8 *)(r9 +7)\nr9 += r4\nr3 = r9\nr3 += 3\nif r3 > r2 goto short\nr0 = *(u8 *)(r9 +2)'), 9n),
  single('a byte-swapped field', packet('r0 = *(u16 *)(r9 +12)\nr0 = be16 r0'), 0x0c0dn),
  single('a field of 8 bits, swapped as 64', packet('r0 = *(u8 *)(r9 +12)\nr0 = be64 r0'), 0x0c00_0000_0000_0000n),
  single('a field of 16 bits, swapped as 64', packet('r0 = *(u16 *)(r9 +12)\nr0 = be64 r0'), 0x0c0d_0000_0000_0000n),
  single('a field of 32 bits, swapped as 64', packet('r0 = *(u32 *)(r9 +12)\nr0 = bswap64 r0'), 0x0c0d_0e0f_0000_0000n),
  single('a field of 64 bits, swapped', packet('r0 = *(u64 *)(r9 +8)\nr0 = be64 r0'), 0x0809_0a0b_0c0d_0e0fn),
  single('a number of 33 bits, swapped as 64', packet('r0 = *(u32 *)(r9 +12)\nr0 += r0\nr0 = be64 r0'), 0x181a_1c1e_0000_0000n),
];

const atomicName = { 32: 'u32', 64: 'u64' } as const;
const OLD = 0x1111_1111_2222_2222n;
const OPERAND = 0x0f0f_0f0f_f00f_0ff3n;

/** Memory is OLD, r2 is OPERAND; what memory is afterwards in 64 bits and, of its low half, in 32. */
const MODIFY: readonly (readonly [op: string, assignment: string | undefined, wide: bigint, narrow: bigint])[] = [
  ['fetch_add', '+=', 0x2020_2021_1231_3215n, 0x1111_1111_1231_3215n],
  ['fetch_or', '|=', 0x1f1f_1f1f_f22f_2ff3n, 0x1111_1111_f22f_2ff3n],
  ['fetch_and', '&=', 0x0101_0101_2002_0222n, 0x1111_1111_2002_0222n],
  ['fetch_xor', '^=', 0x1e1e_1e1e_d22d_2dd1n, 0x1111_1111_d22d_2dd1n],
  ['xchg', undefined, OPERAND, 0x1111_1111_f00f_0ff3n],
];

function modifyCases(): Case[] {
  const cases: Case[] = [];
  for (const [op, assignment, wide, narrow] of MODIFY) {
    for (const [bits, memory, old] of [[64, wide, OLD], [32, narrow, OLD & 0xffff_ffffn]] as const) {
      const start = `r1 = ${hex(OLD)}\n*(u64 *)(r10 -8) = r1\nr2 = ${hex(OPERAND)}\n`;
      const type = atomicName[bits];
      const fetching = `${start}r2 = atomic${bits === 64 ? '64' : ''}_${op}((${type} *)(r10 -8), r2)\n`;
      const label = `${bits}-bit ${op}`;
      cases.push(single(`${label} leaves its result in memory`, `${fetching}r0 = *(u64 *)(r10 -8)\nexit`, memory));
      cases.push(single(`${label} gives the old value, zero-extended`, `${fetching}r0 = r2\nexit`, old));
      if (assignment === undefined) continue;
      const plain = `${start}lock *(${type} *)(r10 -8) ${assignment} r2\n`;
      cases.push(single(`${label.replace('fetch_', 'atomic ')} without fetching leaves its result in memory`, `${plain}r0 = *(u64 *)(r10 -8)\nexit`, memory));
      cases.push(single(`${label.replace('fetch_', 'atomic ')} without fetching leaves its operand alone`, `${plain}r0 = r2\nexit`, OPERAND));
    }
  }
  return cases;
}

const COMPARE: readonly Case[] = (
  [
    ['64-bit cmpxchg writes when r0 is what memory holds', 64, OLD, OPERAND, OLD],
    ['64-bit cmpxchg does not write when r0 differs', 64, OLD + 1n, OLD, OLD],
    ['64-bit cmpxchg compares the upper half too', 64, OLD & 0xffff_ffffn, OLD, OLD],
    ['32-bit cmpxchg writes when the low half of r0 is what memory holds', 32, OLD & 0xffff_ffffn, 0x1111_1111_f00f_0ff3n, OLD & 0xffff_ffffn],
    ['32-bit cmpxchg does not look at the upper half of r0', 32, 0xaaaa_aaaa_2222_2222n, 0x1111_1111_f00f_0ff3n, OLD & 0xffff_ffffn],
    ['32-bit cmpxchg does not write when r0 differs', 32, 0x2222_2223n, OLD, OLD & 0xffff_ffffn],
  ] as const
).map(([name, bits, r0, memory, old]) => {
  const start = `
    r1 = ${hex(OLD)}
    *(u64 *)(r10 -8) = r1
    r2 = ${hex(OPERAND)}
    r0 = ${hex(r0)}
    r0 = atomic${bits === 64 ? '64' : ''}_cmpxchg((${atomicName[bits]} *)(r10 -8), r0, r2)
  `;
  return {
    name,
    runs: [
      { label: 'r0 is the old value, zero-extended', code: `${start}exit`, expected: old },
      { label: 'memory', code: `${start}r0 = *(u64 *)(r10 -8)\nexit`, expected: memory },
      { label: 'the operand stays', code: `${start}r0 = r2\nexit`, expected: OPERAND },
    ],
  };
});

const ORDERED: readonly Case[] = [
  single('load_acquire of 1 byte zero-extends', `${FILLED}r0 = load_acquire((u8 *)(r10 -8))\nexit`, 0x99n),
  single('load_acquire of 2 bytes zero-extends', `${FILLED}r0 = load_acquire((u16 *)(r10 -8))\nexit`, 0xaa99n),
  single('load_acquire of 4 bytes zero-extends', `${FILLED}r0 = load_acquire((u32 *)(r10 -8))\nexit`, 0xccbb_aa99n),
  single('load_acquire of 8 bytes', `${FILLED}r0 = load_acquire((u64 *)(r10 -8))\nexit`, 0x00ff_eedd_ccbb_aa99n),
  single('store_release of 1 byte', `${FILLED}r2 = 0x0102030405060708\nstore_release((u8 *)(r10 -8), r2)\nr0 = *(u64 *)(r10 -8)\nexit`, 0x00ff_eedd_ccbb_aa08n),
  single('store_release of 2 bytes', `${FILLED}r2 = 0x0102030405060708\nstore_release((u16 *)(r10 -8), r2)\nr0 = *(u64 *)(r10 -8)\nexit`, 0x00ff_eedd_ccbb_0708n),
  single('store_release of 4 bytes', `${FILLED}r2 = 0x0102030405060708\nstore_release((u32 *)(r10 -8), r2)\nr0 = *(u64 *)(r10 -8)\nexit`, 0x00ff_eedd_0506_0708n),
  single('store_release of 8 bytes', `${FILLED}r2 = 0x0102030405060708\nstore_release((u64 *)(r10 -8), r2)\nr0 = *(u64 *)(r10 -8)\nexit`, 0x0102_0304_0506_0708n),
];

const STACK_CASES: readonly Case[] = [
  single('an unaligned stack access', `${FILLED}r0 = *(u64 *)(r10 -13)\nexit`, 0xbbaa_9988_7766_5544n, { notOnLinux: UNALIGNED_STACK }),
  single('the whole frame of 512 bytes', '*(u64 *)(r10 -512) = 7\nr0 = *(u64 *)(r10 -512)\nexit', 7n),
  single('a store through a copy of r10 is seen through r10', 'r2 = r10\nr2 += -8\n*(u64 *)(r2 +0) = 5\nr0 = *(u64 *)(r10 -8)\nexit', 5n),
  single('a store through r10 is seen through a copy', 'r2 = r10\nr2 += -8\n*(u64 *)(r10 -8) = 6\nr0 = *(u64 *)(r2 +0)\nexit', 6n),
  single('a small store into a word is seen by a wide load', '*(u64 *)(r10 -8) = 0\n*(u8 *)(r10 -6) = 1\nr0 = *(u64 *)(r10 -8)\nexit', 0x1_0000n),
  single('two halves are one word', '*(u32 *)(r10 -8) = 1\n*(u32 *)(r10 -4) = 2\nr0 = *(u64 *)(r10 -8)\nexit', 0x2_0000_0001n),
  single(
    'stack that is written on one path only',
    '*(u64 *)(r10 -8) = 1\nr2 = *(u32 *)(r1 +12)\nif r2 == 99 goto skip\n*(u32 *)(r10 -8) = 9\nskip:\nr0 = *(u64 *)(r10 -8)\nexit',
    9n,
  ),
  single('a register spilled and filled', 'r6 = r1\n*(u64 *)(r10 -8) = r6\nr7 = *(u64 *)(r10 -8)\nr0 = *(u32 *)(r7 +4)\nr2 = *(u32 *)(r7 +0)\nr0 -= r2\nexit', 64n),
  single('a frame is zero where nothing has been written', 'r0 = *(u64 *)(r10 -256)\nr1 = *(u32 *)(r10 -512)\nr0 |= r1\nexit', 0n, {
    notOnLinux: 'there it is whatever the stack held',
  }),
];

const FAULTS: readonly Case[] = (
  [
    ['a load past the end of memory', 'r2 = 0xfffffff0\nr0 = *(u64 *)(r2 +8)\nexit'],
    ['a load that begins in memory and ends past it', 'r2 = 0xfffffffc\nr0 = *(u64 *)(r2 +0)\nexit'],
    ['a store past the end of memory', 'r2 = 0xfffffff0\n*(u8 *)(r2 +0) = 1\nr0 = 0\nexit'],
    ['an atomic operation past the end of memory', 'r2 = 0xfffffff0\nr0 = 1\nlock *(u64 *)(r2 +0) += r0\nexit'],
    ['an offset that leads past the end of 32 bits', 'r2 = 0xffffffff\nr0 = *(u8 *)(r2 +2)\nexit'],
  ] as const
).map(([name, code]) => single(`${name} stops the program`, code, { fault: 'memory' }, { notOnLinux: "Linux's verifier refuses it" }));

export const MEMORY_CASES: readonly Case[] = [
  ...LOADS.map(([name, load, expected]) => single(name, `${FILLED}${load}\nexit`, expected)),
  ...STORES.map(([name, store, expected]) => single(name, `${FILLED}r2 = 0x0102030405060708\n${store}\nr0 = *(u64 *)(r10 -8)\nexit`, expected)),
  ...PACKET_CASES,
  ...STACK_CASES,
  ...modifyCases(),
  ...COMPARE,
  ...ORDERED,
  ...FAULTS,
];
