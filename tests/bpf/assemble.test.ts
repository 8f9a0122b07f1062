import { describe, expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import { disassemble } from '../../dataplane/bpf/disassemble.ts';
import { XdplabError } from '../../dataplane/errors.ts';

const helper = (name: string): number | undefined => new Map([['map_lookup_elem', 1], ['loop', 181]]).get(name);

function text(source: string): string[] {
  return disassemble(assemble(source, { helper }).instructions).map((line) => line.trim());
}

describe('the assembler', () => {
  test('reads labels, comments and helper names', () => {
    const { instructions, labels } = assemble(
      `
             r1 = map[counters]
             call bpf_map_lookup_elem
             if r0 == 0 goto done      ; NULL
             r6 = 1
             lock *(u64 *)(r0 + 0) += r6
      done:  r0 = 2
             exit
      `,
      { helper },
    );
    expect(disassemble(instructions)).toEqual([
      '   0: (18) r1 = map[counters]',
      '   2: (85) call unknown#1',
      '   3: (15) if r0 == 0x0 goto pc+2',
      '   4: (b7) r6 = 1',
      '   5: (db) lock *(u64 *)(r0 +0) += r6',
      '   6: (b7) r0 = 2',
      '   7: (95) exit',
    ]);
    expect(labels).toEqual(new Map([['done', 6]]));
  });

  test('calls and takes the address of subprograms by label', () => {
    expect(text('r2 = subprog[body]\ncall bpf_loop\ncall body\nexit\nbody: r0 = 0\nexit')).toEqual([
      '0: (18) r2 = subprog[+4]',
      '2: (85) call unknown#181',
      '3: (85) call pc+1',
      '4: (95) exit',
      '5: (b7) r0 = 0',
      '6: (95) exit',
    ]);
  });

  test('a listing with slots and opcodes reads as it is', () => {
    const listing = ['0: (b7) r0 = 1', '1: (25) if r0 > 0x5 goto pc-2', '2: (95) exit'];
    expect(text(listing.join('\n'))).toEqual(listing);
  });

  test.each([
    ['a decimal number moves', 'r1 = 10', '(b7) r1 = 10'],
    ['a hexadecimal number is loaded in two slots', 'r1 = 0xa', '(18) r1 = 0xa'],
    ['a decimal number with ll too', 'r1 = -1 ll', '(18) r1 = 0xffffffffffffffff'],
    ['so is one that a move cannot hold', 'r1 = 4294967296', '(18) r1 = 0x100000000'],
    ['32-bit registers take all of 32 bits', 'w1 = 0xffffffff', '(b4) w1 = -1'],
    ['comparisons read what is printed for -10', 'if r1 s> 0xfffffff6 goto pc+0', '(65) if r1 s> 0xfffffff6 goto pc+0'],
    ['stores of a number', '*(u8 *)(r10 - 1) = 0xff', '(72) *(u8 *)(r10 -1) = 255'],
    ['stores of a w register', '*(u32 *)(r10 - 4) = w1', '(63) *(u32 *)(r10 -4) = r1'],
    ['a w register may be loaded as clang writes it', 'w1 = *(u16 *)(r2 + 4)', '(69) r1 = *(u16 *)(r2 +4)'],
  ])('%s', (_, source, expected) => {
    expect(text(source)).toEqual([`0: ${expected}`]);
  });

  test.each([
    ['r1 = = 2', /cannot read "r1 = = 2"/],
    ['r11 = 1', /r11, but registers are r0 to r10/],
    ['if r1 <> 2 goto pc+0', /unknown comparison <>; expected one of ==/],
    ['r1 ?= 2', /unknown operation \?=/],
    ['goto nowhere', /label nowhere is nowhere; labels are start/],
    ['start: exit', /label start is defined twice/],
    ['r1 &= 0xffffffff', /0xffffffff is not within -2147483648 to 2147483647/],
    ['w1 += r2', /r2 does not have 32 bits/],
    ['w1 = *(s8 *)(r2 +0)', /a s8 load fills the whole register; write r1/],
    ['goto pc+40000', /goto reaches 32767, gotol all/],
    ['r1 = *(u32 *)(r2 +40000)', /\+40000 is not within/],
    ['r1 = be16 r2', /in place/],
    ['r2 = atomic_fetch_add((u64 *)(r1 +0), r2)', /atomic takes u32, not u64/],
    ['call bpf_nonsense', /label bpf_nonsense is nowhere/],
  ])('refuses %s in one line that names the line', (source, message) => {
    const run = (): unknown => assemble(`start: r0 = 0\n${source}`, { helper });
    expect(run).toThrow(XdplabError);
    expect(run).toThrow(message);
    expect(run).toThrow(/^assembly line 2: [^\n]+$/);
  });
});
