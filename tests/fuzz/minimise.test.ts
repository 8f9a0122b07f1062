import { expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import { programText } from './case-text.ts';
import { deleteSlots, insertAt } from './edit.ts';
import { programSpecOf } from './generate.ts';
import { minimise } from './minimise.ts';

const PROGRAM = `
       r6 = r1
       r1 = 7
       if r1 == 7 goto on
       r2 = 0x100000001
  on:  call sub
       exit
  sub: r0 = r1
       r0 ^= 5
       exit`;
const { instructions, labels } = assemble(PROGRAM.replace('call sub', 'call pc+1'));
const SPEC = programSpecOf(instructions, 'xdp', [0, labels.get('sub')!].map((slot) => ({ name: `f${slot}`, slot, typeId: 0, linkage: 'static' })));

const text = (spec: typeof SPEC): string[] => programText(spec);

test('what is left out takes branches, calls and functions with it', () => {
  const shorter = deleteSlots(SPEC, [3]);
  expect(text(shorter)).toEqual(['r6 = r1', 'r1 = 7', 'if r1 == 0x7 goto pc+0', 'call pc+1', 'exit', 'r0 = r1', 'r0 ^= 5', 'exit']);
  expect(shorter.functions.map(({ slot }) => slot)).toEqual([0, 5]);
});

test('what is put in moves branches, calls and functions', () => {
  const longer = insertAt(SPEC, 3, [{ kind: 'neg', width: 64, dst: 1 }]);
  expect(text(longer)).toEqual(['r6 = r1', 'r1 = 7', 'if r1 == 0x7 goto pc+3', 'r1 = -r1', 'r2 = 0x100000001', 'call pc+1', 'exit', 'r0 = r1', 'r0 ^= 5', 'exit']);
  expect(longer.functions.map(({ slot }) => slot)).toEqual([0, 8]);
});

test('a program is made as small as shows the same', () => {
  const small = minimise(SPEC, (spec) => spec.instructions.some((each) => each.kind === 'alu' && each.op === 'xor') && spec.instructions.at(-1)?.kind === 'exit', { mostTries: 200 });
  expect(text(small)).toEqual(['r0 ^= 1', 'exit']);
});
