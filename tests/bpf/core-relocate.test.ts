/**
 * The expected values are what libbpf 1.1 puts into the same object for the same target: all instructions of core.bpf.o
 * were compared once, byte by byte.
 */
import { describe, expect, test } from 'vitest';
import type { Btf } from '../../dataplane/bpf/btf.ts';
import { essentialName } from '../../dataplane/bpf/btf.ts';
import { openObject } from '../../dataplane/bpf/object-file.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { load, objectBytes, programOf } from './test-object.ts';

const target = openObject(objectBytes('core-target'), 'target').btf!;
const core = load('core', { kernelBtf: target });

/** What a straight program stores into its array `answers`: constants, by index. */
function answersOf(program: ProgramSpec): Map<number, bigint> {
  const constants = new Map<number, bigint>();
  const bases = new Map<number, number>();
  const answers = new Map<number, bigint>();
  for (const one of program.instructions) {
    if (one.kind === 'alu' && one.op === 'mov' && one.source.kind === 'immediate') constants.set(one.dst, BigInt(one.source.value));
    if (one.kind === 'load_imm64' && one.value.kind === 'constant') constants.set(one.dst, one.value.value);
    if (one.kind === 'load_imm64' && one.value.kind === 'map_value') bases.set(one.dst, one.value.offset);
    if (one.kind !== 'store' || one.bytes !== 8 || !bases.has(one.dst)) continue;
    const value = one.source.kind === 'immediate' ? BigInt(one.source.value) : constants.get(one.source.register);
    if (value !== undefined) answers.set((bases.get(one.dst)! + one.offset) / 8, value);
  }
  return answers;
}

describe('every kind of relocation', () => {
  const answers = answersOf(programOf(core, 'questions'));

  test.each([
    [0, 'offset of a member that has moved', 20n],
    [1, 'offset of an array element', 40n],
    [2, 'offset of a member of a member', 152n],
    [3, 'offset of a member of an array element', 112n],
    [4, 'size of a field that has grown', 4n],
    [5, 'size of an array that has grown', 32n],
    [6, 'offset of a member that is in an anonymous struct now', 68n],
    [7, 'a field that is there', 1n],
    [8, 'a field that is not', 0n],
    [9, 'a field of a struct that is not there', 0n],
    [10, 'a field that holds something else now', 0n],
    [11, 'sign of a signed field', 1n],
    [12, 'sign of an unsigned field', 0n],
    [13, 'offset to load a bitfield from', 24n],
    [14, 'size to load a bitfield with', 4n],
    [15, 'left shift of a bitfield', 35n],
    [16, 'right shift of a bitfield', 61n],
    [17, 'left shift of a bitfield that has moved to the next word', 55n],
    [18, 'sign of a bitfield', 1n],
    [19, 'offset in the fourth struct of a row', 20n + 3n * 208n],
    [20, 'offset in a flexible array', 208n + 5n],
    [21, 'a type that is there', 1n],
    [22, 'a type that is not', 0n],
    [23, 'size of a type, by a flavour', 208n],
    [24, 'size of a type that is not there', 0n],
    [25, 'a struct whose members are all there', 1n],
    [26, 'a struct with a member of another type', 0n],
    [27, 'the same, asked only by name', 1n],
    [28, 'a function type', 1n],
    [29, 'a typedef', 1n],
    [31, 'id of a type that is not there', 0n],
    [32, 'an enumerator that is there', 1n],
    [33, 'an enumerator that is not', 0n],
    [34, 'value of an enumerator', 20n],
    [35, 'value of an enumerator, by a flavour', 90n],
    [36, 'value of a 64-bit enumerator', 0x2_ffff_ffffn],
    [37, 'an enum with more enumerators than the target', 0n],
    [38, 'size of an enum', 8n],
    [39, 'a function type, down to its parameters', 1n],
  ])('answer %i: %s', (index, _, value) => {
    expect(answers.get(index)).toBe(value);
  });

  test('a type id is the target type', () => {
    expect(target.describe(Number(answers.get(30)))).toBe('struct inner');
    const local = programOf(core, 'local_id').instructions.find((one) => one.kind === 'load_imm64');
    expect(local?.kind === 'load_imm64' && local.value.kind === 'constant' && core.btf?.describe(Number(local.value.value))).toBe('struct inner');
  });
});

describe('instructions', () => {
  test('loads and stores change their offset, and their width where that is safe', () => {
    const accesses = programOf(core, 'accesses').instructions.flatMap((one) => (one.kind === 'load' || one.kind === 'store' ? [`${one.kind} ${one.bytes} at ${one.offset}`] : []));
    // grows has grown from two bytes to four; what is stored is an int either way.
    expect(accesses).toEqual(['store 4 at 20', 'load 4 at 16', 'store 4 at 36', 'load 8 at 176', 'load 4 at 68']);
  });

  test('what is not there becomes poison, with the reason', () => {
    expect(programOf(core, 'unguarded').unresolved).toEqual([{ slot: 0, reason: 'target has no struct absent.x' }]);
    expect(programOf(core, 'unguarded').instructions[0]).toEqual({ kind: 'call', target: { kind: 'helper', id: 0xbad2310 } });
    expect(programOf(core, 'guarded').unresolved).toHaveLength(1);
    expect(programOf(core, 'missing_value').unresolved).toEqual([{ slot: 0, reason: 'target has no BLUE in enum color' }]);
    // Both slots of a 64-bit load.
    expect(programOf(core, 'missing_value').instructions.slice(0, 2).map(({ kind }) => kind)).toEqual(['call', 'call']);
  });

  test('a signed field of another size is poison, not a wrong number', () => {
    expect(programOf(core, 'resized').unresolved).toEqual([{ slot: 0, reason: 'the field has another size in the kernel, and is not an unsigned integer or a pointer' }]);
  });
});

test('the target is asked for only by objects that need it', () => {
  let calls = 0;
  const kernelBtf = (): Btf => {
    calls++;
    return target;
  };
  load('maps', { kernelBtf });
  expect(calls).toBe(0);
  load('core', { kernelBtf });
  expect(calls).toBeGreaterThan(0);
});

test.each([
  ['task_struct', 'task_struct'],
  ['task_struct___old', 'task_struct'],
  ['a___b___c', 'a___b'],
  ['____sk_buff', '____sk_buff'],
  ['trailing___', 'trailing___'],
  ['four____x', 'four____x'],
])('the essential name of %s is %s', (name, essential) => {
  expect(essentialName(name)).toBe(essential);
});
