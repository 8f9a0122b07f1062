import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import { decodeInstructions } from '../../dataplane/bpf/decode.ts';
import { disassemble, disassembleInstruction } from '../../dataplane/bpf/disassemble.ts';
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import { instructions } from './arbitrary-instruction.ts';

/** Bytes and the text that Linux 6.18 printed for them in the verifier's log. */
const LINUX: readonly (readonly [bytes: string, text: string])[] = [
  ['b700000001000000', '(b7) r0 = 1'],
  ['b4030000ffffffff', '(b4) w3 = -1'],
  ['0f21000000000000', '(0f) r1 += r2'],
  ['0c21000000000000', '(0c) w1 += w2'],
  ['3f43000000000000', '(3f) r3 /= r4'],
  ['3f43010000000000', '(3f) r3 s/= r4'],
  ['9403010005000000', '(94) w3 s%= 5'],
  ['c70100003f000000', '(c7) r1 s>>= 63'],
  ['6402000005000000', '(64) w2 <<= 5'],
  ['8700000000000000', '(87) r0 = -r0'],
  ['8402000000000000', '(84) w2 = -w2'],
  ['bf12080000000000', '(bf) r2 = (s8)r1'],
  ['bf12200000000000', '(bf) r2 = (s32)r1'],
  ['bc12100000000000', '(bc) w2 = (s16)w1'],
  ['dc03000040000000', '(dc) r3 = be64 r3'],
  ['d402000010000000', '(d4) r2 = le16 r2'],
  ['d702000020000000', '(d7) r2 = bswap32 r2'],
  ['18030000785634120000000000ffffff', '(18) r3 = 0xffffff0012345678'],
  ['7121000000000000', '(71) r1 = *(u8 *)(r2 +0)'],
  ['7961f8ff00000000', '(79) r1 = *(u64 *)(r6 -8)'],
  ['8921040000000000', '(89) r1 = *(s16 *)(r2 +4)'],
  ['631afcff00000000', '(63) *(u32 *)(r10 -4) = r1'],
  ['7a0af8fffeffffff', '(7a) *(u64 *)(r10 -8) = -2'],
  ['db10000000000000', '(db) lock *(u64 *)(r0 +0) += r1'],
  ['c310040050000000', '(c3) lock *(u32 *)(r0 +4) &= r1'],
  ['db10000001000000', '(db) r1 = atomic64_fetch_add((u64 *)(r0 +0), r1)'],
  ['c3100000a1000000', '(c3) r1 = atomic_fetch_xor((u32 *)(r0 +0), r1)'],
  ['db10f8ffe1000000', '(db) r1 = atomic64_xchg((u64 *)(r0 -8), r1)'],
  ['c321f8fff1000000', '(c3) r0 = atomic_cmpxchg((u32 *)(r1 -8), r0, r2)'],
  ['d331070000010000', '(d3) r1 = load_acquire((u8 *)(r3 +7))'],
  ['db31070010010000', '(db) store_release((u64 *)(r1 +7), r3)'],
  ['280000000c000000', '(28) r0 = *(u16 *)skb[12]'],
  ['50600000fcffffff', '(50) r0 = *(u8 *)skb[r6 + -4]'],
  ['0500070000000000', '(05) goto pc+7'],
  ['06000000fbffffff', '(06) gotol pc-5'],
  ['2d23070000000000', '(2d) if r3 > r2 goto pc+7'],
  ['65010500f6ffffff', '(65) if r1 s> 0xfffffff6 goto pc+5'],
  ['4e21000000000000', '(4e) if w1 & w2 goto pc+0'],
  ['8500000001000000', '(85) call bpf_map_lookup_elem#1'],
  ['850000000f270000', '(85) call unknown#9999'],
  ['8510000003000000', '(85) call pc+3'],
  ['9500000000000000', '(95) exit'],
];

const names = { helper: (id: number): string | undefined => (id === 1 ? 'map_lookup_elem' : undefined) };

describe('text is spelled as Linux spells it', () => {
  test.each(LINUX)('%s is %s', (bytes, text) => {
    const list = decodeInstructions(Buffer.from(bytes, 'hex'), 'test');
    expect(disassemble(list, names)).toEqual([`   0: ${text}`]);
  });

  test.each<[Instruction, string]>([
    [{ kind: 'load_imm64', dst: 1, value: { kind: 'map', map: 'counters' } }, 'r1 = map[counters]'],
    [{ kind: 'load_imm64', dst: 1, value: { kind: 'map_value', map: '.bss', offset: 8 } }, 'r1 = map[.bss][0]+8'],
    [{ kind: 'load_imm64', dst: 1, value: { kind: 'function', slot: 12 } }, 'r1 = subprog[+8]'],
    [{ kind: 'call', target: { kind: 'subprogram', slot: 12 } }, 'call pc+8#parse'],
    [{ kind: 'call', target: { kind: 'kfunc', btfId: 77, module: 0, name: 'bpf_xdp_ct_lookup' } }, 'call bpf_xdp_ct_lookup#77'],
    [{ kind: 'call', target: { kind: 'kfunc', btfId: 77, module: 0 } }, 'call kernel-function#77'],
  ])('%o', (instruction, text) => {
    expect(disassembleInstruction(instruction, 3, { subprogram: () => 'parse' })).toBe(text);
  });

  test('a 64-bit immediate load is one line, and slots count on', () => {
    const { instructions: list } = assemble('r1 = 0x1\nexit');
    expect(disassemble(list)).toEqual(['   0: (18) r1 = 0x1', '   2: (95) exit']);
  });
});

describe('the assembler reads what the disassembler prints', () => {
  test('every instruction comes back from its text', () => {
    fc.assert(
      fc.property(instructions, (list) => {
        // Jumps reach anywhere here, and a kernel function's module is not in the text.
        const printable = list.map((instruction): Instruction =>
          instruction.kind === 'call' && instruction.target.kind === 'kfunc' ? { kind: 'call', target: { ...instruction.target, module: 0 } } : instruction,
        );
        expect(assemble(disassemble(printable).join('\n')).instructions).toEqual(printable);
      }),
    );
  });
});
