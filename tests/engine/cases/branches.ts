/** Branches: each row is run in both widths, with known and unknown registers, and with an immediate where it can be one. */
import type { BranchOp } from '../../../dataplane/bpf/isa.ts';
import { BRANCH_TEXT } from '../../../dataplane/bpf/syntax.ts';
import { asImmediate, hex, unknownNumbers, withUnknown, type Case, type Run } from './case.ts';

/** Whether the branch is taken in 64 and in 32 bits. */
const ROWS: readonly (readonly [op: BranchOp, a: bigint, b: bigint, wide: boolean, narrow: boolean])[] = [
  ['jeq', 5n, 5n, true, true],
  ['jeq', 5n, 6n, false, false],
  ['jeq', 0xffff_ffffn, -1n, false, true],
  ['jeq', 0xffff_ffff_ffff_ffffn, -1n, true, true],
  ['jeq', 0x1_0000_0005n, 5n, false, true],
  ['jeq', 0n, 0n, true, true],
  ['jne', 5n, 5n, false, false],
  ['jne', 5n, 6n, true, true],
  ['jne', 0xffff_ffffn, -1n, true, false],
  ['jne', 0xffff_ffff_ffff_ffffn, -1n, false, false],
  ['jne', 0x1_0000_0005n, 5n, true, false],
  ['jne', 0n, 1n, true, true],
  ['jgt', 6n, 5n, true, true],
  ['jgt', 5n, 5n, false, false],
  ['jgt', 5n, 6n, false, false],
  ['jgt', 0xffff_ffff_ffff_ffffn, 1n, true, true],
  ['jgt', 0xffff_ffff_ffff_ffffn, -1n, false, false],
  ['jgt', 0x1_0000_0000n, 1n, true, false],
  ['jgt', 0xffff_ffffn, -2n, false, true],
  ['jgt', 0n, -1n, false, false],
  ['jge', 6n, 5n, true, true],
  ['jge', 5n, 5n, true, true],
  ['jge', 5n, 6n, false, false],
  ['jge', 0xffff_ffff_ffff_ffffn, 1n, true, true],
  ['jge', 0xffff_ffff_ffff_ffffn, -1n, true, true],
  ['jge', 0x1_0000_0000n, 1n, true, false],
  ['jge', 0xffff_ffffn, -1n, false, true],
  ['jge', 0n, 0n, true, true],
  ['jlt', 6n, 5n, false, false],
  ['jlt', 5n, 5n, false, false],
  ['jlt', 5n, 6n, true, true],
  ['jlt', 1n, -1n, true, true],
  ['jlt', 0xffff_ffff_ffff_ffffn, -1n, false, false],
  ['jlt', 0x1_0000_0000n, 1n, false, true],
  ['jlt', 0xffff_ffffn, -1n, true, false],
  ['jlt', 0n, -1n, true, true],
  ['jle', 6n, 5n, false, false],
  ['jle', 5n, 5n, true, true],
  ['jle', 5n, 6n, true, true],
  ['jle', 1n, -1n, true, true],
  ['jle', 0xffff_ffff_ffff_ffffn, -1n, true, true],
  ['jle', 0x1_0000_0000n, 1n, false, true],
  ['jle', 0xffff_ffffn, -2n, true, false],
  ['jle', 0n, 0n, true, true],
  ['jset', 6n, 2n, true, true],
  ['jset', 6n, 1n, false, false],
  ['jset', 0x8000_0000_0000_0000n, -1n, true, false],
  ['jset', 0x8000_0000_0000_0000n, -0x8000_0000n, true, false],
  ['jset', 0x8000_0000n, -0x8000_0000n, true, true],
  ['jset', 0n, -1n, false, false],
  ['jset', 0xffff_ffff_ffff_ffffn, 0n, false, false],
  ['jset', 0x1_0000_0000n, 0xff_0000_0000n, true, false],
  ['jsgt', 6n, 5n, true, true],
  ['jsgt', 5n, 5n, false, false],
  ['jsgt', -5n, 5n, false, false],
  ['jsgt', 5n, -5n, true, true],
  ['jsgt', -5n, -6n, true, true],
  ['jsgt', 0x8000_0000n, 0n, true, false],
  ['jsgt', 0x8000_0000_0000_0000n, 0x7fff_ffffn, false, false],
  ['jsgt', 0x7fff_ffff_ffff_ffffn, -1n, true, false],
  ['jsge', 6n, 5n, true, true],
  ['jsge', 5n, 5n, true, true],
  ['jsge', -5n, 5n, false, false],
  ['jsge', 5n, -5n, true, true],
  ['jsge', -6n, -5n, false, false],
  ['jsge', 0x8000_0000n, 0n, true, false],
  ['jsge', 0x8000_0000_0000_0000n, 0x7fff_ffffn, false, false],
  ['jsge', -1n, -1n, true, true],
  ['jslt', 6n, 5n, false, false],
  ['jslt', 5n, 5n, false, false],
  ['jslt', -5n, 5n, true, true],
  ['jslt', 5n, -5n, false, false],
  ['jslt', -6n, -5n, true, true],
  ['jslt', 0x8000_0000n, 0n, false, true],
  ['jslt', 0x8000_0000_0000_0000n, 0x7fff_ffffn, true, true],
  ['jslt', 0x7fff_ffff_ffff_ffffn, -1n, false, false],
  ['jsle', 6n, 5n, false, false],
  ['jsle', 5n, 5n, true, true],
  ['jsle', -5n, 5n, true, true],
  ['jsle', 5n, -5n, false, false],
  ['jsle', -5n, -6n, false, false],
  ['jsle', 0x8000_0000n, 0n, false, true],
  ['jsle', 0x8000_0000_0000_0000n, 0x7fff_ffffn, true, true],
  ['jsle', -1n, -1n, true, true],
];

export const BRANCH_CASES: readonly Case[] = ROWS.map(([op, a, b, wide, narrow]) => {
  const runs: Run[] = [];
  for (const [width, letter, taken] of [[64, 'r', wide], [32, 'w', narrow]] as const) {
    const expected = taken ? 1n : 0n;
    const body = (right: string): string => `
      r0 = 1
      if ${letter}4 ${BRANCH_TEXT[op]} ${right} goto taken
      r0 = 0
      taken:
      exit`;
    const known = `r4 = ${hex(a)}\nr5 = ${hex(b)}\n`;
    const packet = unknownNumbers(a, b);
    runs.push({ label: `${width} bits, register`, code: known + body(`${letter}5`), expected });
    runs.push({ label: `${width} bits, unknown registers`, code: withUnknown(['r4', 'r5'], body(`${letter}5`)), expected, packet });
    const immediate = asImmediate(b, width);
    if (immediate === undefined) continue;
    runs.push({ label: `${width} bits, immediate`, code: known + body(String(immediate)), expected });
    runs.push({ label: `${width} bits, unknown register and immediate`, code: withUnknown(['r4', 'r5'], body(String(immediate))), expected, packet });
  }
  return { name: `${op} of ${hex(a)} and ${hex(b)} is ${wide ? 'taken' : 'not taken'} in 64 bits, ${narrow ? 'taken' : 'not taken'} in 32`, runs };
});
