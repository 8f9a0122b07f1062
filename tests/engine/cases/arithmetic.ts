/**
 * Arithmetic: each row is run in both widths, with the second operand in a register whose value can be known
 * beforehand, in one whose value cannot, and as an immediate where it can be one.
 */
import type { AluOp } from '../../../dataplane/bpf/isa.ts';
import { ALU_TEXT } from '../../../dataplane/bpf/syntax.ts';
import { asImmediate, hex, unknownNumbers, withUnknown, type Case, type Run } from './case.ts';

/** `a op b` in 64 and in 32 bits; a 32-bit result is zero-extended. */
const ROWS: readonly (readonly [op: AluOp, does: string, a: bigint, b: bigint, wide: bigint, narrow: bigint])[] = [
  // add
  ['add', 'adds', 7n, 5n, 12n, 12n],
  ['add', 'wraps around at the top', 0xffff_ffff_ffff_ffffn, 1n, 0n, 0n],
  ['add', 'carries into the upper half, or drops the carry', 0xffff_ffffn, 1n, 0x1_0000_0000n, 0n],
  ['add', 'adds a negative number', 5n, -7n, 0xffff_ffff_ffff_fffen, 0xffff_fffen],
  ['add', 'turns negative past the largest positive number', 0x7fff_ffff_7fff_ffffn, 1n, 0x7fff_ffff_8000_0000n, 0x8000_0000n],
  ['add', 'sees low halves only in 32 bits', 0xaaaa_aaaa_0000_0001n, 0xbbbb_bbbb_0000_0002n, 0x6666_6665_0000_0003n, 3n],
  ['add', 'adds nothing, and still zero-extends', 0xaaaa_aaaa_ffff_ffffn, 0n, 0xaaaa_aaaa_ffff_ffffn, 0xffff_ffffn],

  // sub
  ['sub', 'subtracts', 7n, 5n, 2n, 2n],
  ['sub', 'borrows below zero', 0n, 1n, 0xffff_ffff_ffff_ffffn, 0xffff_ffffn],
  ['sub', 'subtracts a negative number', 5n, -7n, 12n, 12n],
  ['sub', 'borrows from the upper half, or does not', 0x1_0000_0000n, 1n, 0xffff_ffffn, 0xffff_ffffn],
  ['sub', 'turns positive below the smallest number', 0x8000_0000_8000_0000n, 1n, 0x8000_0000_7fff_ffffn, 0x7fff_ffffn],
  ['sub', 'sees low halves only in 32 bits', 0xaaaa_aaaa_0000_0001n, 0xbbbb_bbbb_0000_0002n, 0xeeee_eeee_ffff_ffffn, 0xffff_ffffn],

  // mul
  ['mul', 'multiplies', 7n, 6n, 42n, 42n],
  ['mul', 'keeps the low bits of the product', 0x1_2345_6789n, 0x1_0000_0001n, 0x2345_678a_2345_6789n, 0x2345_6789n],
  ['mul', 'multiplies negative numbers', 0xffff_ffff_ffff_fff9n, -6n, 42n, 42n],
  ['mul', 'multiplies signs', 0xffff_ffff_ffff_fff9n, 6n, 0xffff_ffff_ffff_ffd6n, 0xffff_ffd6n],
  ['mul', 'squares the largest', 0xffff_ffff_ffff_ffffn, 0xffff_ffff_ffff_ffffn, 1n, 1n],
  ['mul', 'squares what fits half', 0xffff_ffffn, 0xffff_ffffn, 0xffff_fffe_0000_0001n, 1n],
  ['mul', 'multiplies by zero', 0x1234_5678_9abc_def0n, 0n, 0n, 0n],

  // div
  ['div', 'divides and drops the remainder', 13n, 3n, 4n, 4n],
  ['div', 'gives 0 for division by 0', 13n, 0n, 0n, 0n],
  ['div', 'is unsigned', 0xffff_ffff_ffff_fff3n, 3n, 0x5555_5555_5555_5551n, 0x5555_5551n],
  ['div', 'takes an immediate of -1 as the largest number', 0xffff_ffff_ffff_ffffn, -1n, 1n, 1n],
  ['div', 'gives 0 where the divisor is larger', 12n, -1n, 0n, 0n],
  ['div', 'looks at the low half of the divisor only in 32 bits', 0x7_0000_0009n, 0x5_0000_0002n, 1n, 4n],
  ['div', 'finds zero in the low half of the divisor', 0x7_0000_0009n, 0x1_0000_0000n, 7n, 0n],
  ['div', 'divides the largest by 1', 0xffff_ffff_ffff_ffffn, 1n, 0xffff_ffff_ffff_ffffn, 0xffff_ffffn],

  // mod
  ['mod', 'gives the remainder', 13n, 3n, 1n, 1n],
  ['mod', 'leaves the dividend for a divisor of 0', 0xaaaa_aaaa_0000_000dn, 0n, 0xaaaa_aaaa_0000_000dn, 13n],
  ['mod', 'is unsigned', 0xffff_ffff_ffff_fff3n, 3n, 0n, 0n],
  ['mod', 'takes an immediate of -1 as the largest number', 13n, -1n, 13n, 13n],
  ['mod', 'gives 0 for itself', 0xffff_ffff_ffff_ffffn, -1n, 0n, 0n],
  ['mod', 'looks at low halves only in 32 bits', 0x7_0000_0009n, 0x5_0000_0002n, 0x2_0000_0007n, 1n],
  ['mod', 'finds zero in the low half of the divisor', 0x7_0000_0009n, 0x1_0000_0000n, 9n, 9n],

  // sdiv
  ['sdiv', 'divides', 13n, 3n, 4n, 4n],
  ['sdiv', 'truncates towards zero', 0xffff_ffff_ffff_fff3n, 3n, 0xffff_ffff_ffff_fffcn, 0xffff_fffcn],
  ['sdiv', 'takes the sign of the divisor', 13n, -3n, 0xffff_ffff_ffff_fffcn, 0xffff_fffcn],
  ['sdiv', 'divides two negative numbers', 0xffff_ffff_ffff_fff3n, -3n, 4n, 4n],
  ['sdiv', 'gives 0 for division by 0', 0xffff_ffff_ffff_fff3n, 0n, 0n, 0n],
  ['sdiv', 'overflows to itself at 64 bits', 0x8000_0000_0000_0000n, -1n, 0x8000_0000_0000_0000n, 0n],
  ['sdiv', 'overflows to itself at 32 bits', 0x8000_0000n, -1n, 0xffff_ffff_8000_0000n, 0x8000_0000n],
  ['sdiv', 'negates by -1', 13n, -1n, 0xffff_ffff_ffff_fff3n, 0xffff_fff3n],
  ['sdiv', 'looks at low halves only in 32 bits', 0x7_ffff_fff7n, 0x5_0000_0002n, 1n, 0xffff_fffcn],
  ['sdiv', 'finds zero in the low half of the divisor', 0x7_0000_0009n, 0x1_0000_0000n, 7n, 0n],

  // smod
  ['smod', 'gives the remainder', 13n, 3n, 1n, 1n],
  ['smod', 'takes the sign of the dividend', 0xffff_ffff_ffff_fff3n, 3n, 0xffff_ffff_ffff_ffffn, 0xffff_ffffn],
  ['smod', 'does not take that of the divisor', 13n, -3n, 1n, 1n],
  ['smod', 'handles two negative numbers', 0xffff_ffff_ffff_fff3n, -3n, 0xffff_ffff_ffff_ffffn, 0xffff_ffffn],
  ['smod', 'leaves the dividend for a divisor of 0', 0xffff_ffff_ffff_fff3n, 0n, 0xffff_ffff_ffff_fff3n, 0xffff_fff3n],
  ['smod', 'is 0 where division overflows at 64 bits', 0x8000_0000_0000_0000n, -1n, 0n, 0n],
  ['smod', 'is 0 where division overflows at 32 bits', 0x8000_0000n, -1n, 0n, 0n],
  ['smod', 'is 0 for a divisor of -1', 13n, -1n, 0n, 0n],
  ['smod', 'looks at low halves only in 32 bits', 0x7_ffff_fff7n, 0x5_0000_0002n, 0x2_ffff_fff5n, 0xffff_ffffn],
  ['smod', 'finds zero in the low half of the divisor', 0x7_0000_0009n, 0x1_0000_0000n, 9n, 9n],

  // or
  ['or', 'sets bits', 15n, 240n, 255n, 255n],
  ['or', 'sign-extends an immediate', 0x1234_0000_0000_0000n, -0x8000_0000n, 0xffff_ffff_8000_0000n, 0x8000_0000n],
  ['or', 'of nothing still zero-extends', 0xaaaa_aaaa_0000_0001n, 0n, 0xaaaa_aaaa_0000_0001n, 1n],
  ['or', 'joins all bits', 0x5555_5555_5555_5555n, 0xaaaa_aaaa_aaaa_aaaan, 0xffff_ffff_ffff_ffffn, 0xffff_ffffn],

  // and
  ['and', 'keeps common bits', 60n, 15n, 12n, 12n],
  ['and', 'sign-extends an immediate', 0xffff_ffff_ffff_ffffn, -256n, 0xffff_ffff_ffff_ff00n, 0xffff_ff00n],
  ['and', 'clears', 0xffff_ffff_ffff_ffffn, 0n, 0n, 0n],
  ['and', 'of all bits still zero-extends', 0xaaaa_aaaa_8000_0001n, -1n, 0xaaaa_aaaa_8000_0001n, 0x8000_0001n],
  ['and', 'keeps nothing of opposites', 0x5555_5555_5555_5555n, 0xaaaa_aaaa_aaaa_aaaan, 0n, 0n],

  // xor
  ['xor', 'flips bits', 60n, 15n, 51n, 51n],
  ['xor', 'inverts', 0x1234_5678_9abc_def0n, -1n, 0xedcb_a987_6543_210fn, 0x6543_210fn],
  ['xor', 'clears itself', 0x1234_5678n, 0x1234_5678n, 0n, 0n],
  ['xor', 'of nothing still zero-extends', 0xaaaa_aaaa_0000_0001n, 0n, 0xaaaa_aaaa_0000_0001n, 1n],

  // lsh
  ['lsh', 'shifts', 1n, 4n, 16n, 16n],
  ['lsh', 'by nothing still zero-extends', 0xaaaa_aaaa_8000_0001n, 0n, 0xaaaa_aaaa_8000_0001n, 0x8000_0001n],
  ['lsh', 'reaches the top bit of 32', 1n, 31n, 0x8000_0000n, 0x8000_0000n],
  ['lsh', 'takes the count modulo the width: 32', 0x1_0000_0003n, 32n, 0x3_0000_0000n, 3n],
  ['lsh', 'reaches the top bit of 64', 1n, 63n, 0x8000_0000_0000_0000n, 0x8000_0000n],
  ['lsh', 'takes the count modulo the width: 64', 3n, 64n, 3n, 3n],
  ['lsh', 'takes the count modulo the width: 65', 3n, 65n, 6n, 6n],
  ['lsh', 'takes a count of -1 as the largest', 3n, -1n, 0x8000_0000_0000_0000n, 0x8000_0000n],
  ['lsh', 'drops what leaves the top', 0xf000_0000_f000_000fn, 4n, 0xf_0000_00f0n, 240n],
  ['lsh', 'looks at the low bits of the count only', 3n, 0xffff_ff00_0000_0001n, 6n, 6n],

  // rsh
  ['rsh', 'shifts', 16n, 4n, 1n, 1n],
  ['rsh', 'by nothing still zero-extends', 0xaaaa_aaaa_8000_0001n, 0n, 0xaaaa_aaaa_8000_0001n, 0x8000_0001n],
  ['rsh', 'fills with zeroes', 0x8000_0000_8000_0000n, 31n, 0x1_0000_0001n, 1n],
  ['rsh', 'takes the count modulo the width: 32', 0x8000_0000_8000_0003n, 32n, 0x8000_0000n, 0x8000_0003n],
  ['rsh', 'leaves the top bit of 64', 0x8000_0000_0000_0000n, 63n, 1n, 0n],
  ['rsh', 'takes the count modulo the width: 64', 48n, 64n, 48n, 48n],
  ['rsh', 'takes the count modulo the width: 65', 48n, 65n, 24n, 24n],
  ['rsh', 'takes a count of -1 as the largest', 0xffff_ffff_ffff_ffffn, -1n, 1n, 1n],
  ['rsh', 'drops what leaves the bottom', 0xf000_0000_f000_000fn, 4n, 0xf00_0000_0f00_0000n, 0xf00_0000n],

  // arsh
  ['arsh', 'shifts', 16n, 4n, 1n, 1n],
  ['arsh', 'by nothing still zero-extends', 0xaaaa_aaaa_8000_0001n, 0n, 0xaaaa_aaaa_8000_0001n, 0x8000_0001n],
  ['arsh', 'fills with the sign', 0x8000_0000_8000_0000n, 31n, 0xffff_ffff_0000_0001n, 0xffff_ffffn],
  ['arsh', 'takes the count modulo the width: 32', 0x8000_0000_8000_0003n, 32n, 0xffff_ffff_8000_0000n, 0x8000_0003n],
  ['arsh', 'leaves the sign alone', 0x8000_0000_0000_0000n, 63n, 0xffff_ffff_ffff_ffffn, 0n],
  ['arsh', 'takes the count modulo the width: 64', 0xffff_ffff_ffff_ffd0n, 64n, 0xffff_ffff_ffff_ffd0n, 0xffff_ffd0n],
  ['arsh', 'takes the count modulo the width: 65', 0xffff_ffff_ffff_ffd0n, 65n, 0xffff_ffff_ffff_ffe8n, 0xffff_ffe8n],
  ['arsh', 'takes a count of -1 as the largest', 0xffff_ffff_ffff_ffd0n, -1n, 0xffff_ffff_ffff_ffffn, 0xffff_ffffn],
  ['arsh', 'fills positive numbers with zeroes', 0x7000_0000_7000_000fn, 4n, 0x700_0000_0700_0000n, 0x700_0000n],
  ['arsh', 'takes the sign of its own width', 0x8000_0000n, 4n, 0x800_0000n, 0xf800_0000n],

  // mov
  ['mov', 'moves', 0n, 7n, 7n, 7n],
  ['mov', 'sign-extends an immediate to 64 bits, zero-extends 32', 5n, -1n, 0xffff_ffff_ffff_ffffn, 0xffff_ffffn],
  ['mov', 'moves the smallest immediate', 5n, -0x8000_0000n, 0xffff_ffff_8000_0000n, 0x8000_0000n],
  ['mov', 'moves the low half of a wide number in 32 bits', 5n, 0x1234_5678_9abc_def0n, 0x1234_5678_9abc_def0n, 0x9abc_def0n],
  ['mov', 'replaces all that was there', 0xffff_ffff_ffff_ffffn, 0n, 0n, 0n],
];

/** Linux refuses to divide by the constant 0 and to shift by a constant that is not narrower than the operand. */
function isRefused(op: AluOp, immediate: number, width: 32 | 64): boolean {
  if (op === 'lsh' || op === 'rsh' || op === 'arsh') return immediate < 0 || immediate >= width;
  return immediate === 0 && (op === 'div' || op === 'mod' || op === 'sdiv' || op === 'smod');
}

export const ARITHMETIC_CASES: readonly Case[] = ROWS.map(([op, does, a, b, wide, narrow]) => {
  const runs: Run[] = [];
  for (const [width, letter, expected] of [[64, 'r', wide], [32, 'w', narrow]] as const) {
    const operation = `${letter}0 ${ALU_TEXT[op]}`;
    runs.push({ label: `${width} bits, register`, code: `r0 = ${hex(a)}\nr1 = ${hex(b)}\n${operation} ${letter}1\nexit`, expected });
    runs.push({
      label: `${width} bits, unknown registers`,
      code: withUnknown(['r0', 'r1'], `${operation} ${letter}1\nexit`),
      expected,
      packet: unknownNumbers(a, b),
    });
    const immediate = asImmediate(b, width);
    if (immediate === undefined || isRefused(op, immediate, width)) continue;
    runs.push({ label: `${width} bits, immediate`, code: `r0 = ${hex(a)}\n${operation} ${immediate}\nexit`, expected });
    runs.push({
      label: `${width} bits, unknown register and immediate`,
      code: withUnknown(['r0', 'r1'], `${operation} ${immediate}\nexit`),
      expected,
      packet: unknownNumbers(a, b),
    });
  }
  return { name: `${op} ${does}`, runs };
});
