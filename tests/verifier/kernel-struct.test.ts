/** What the kernel has behind a map pointer may be read field by field, as its BTF says. */
import { describe, expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import { Btf } from '../../dataplane/bpf/btf.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { verifyProgram } from '../../dataplane/verifier/verify.ts';
import { buildBtf, int } from '../bpf/btf-builder.ts';
import { CASE_MAPS } from './case-maps.ts';

/** struct bpf_map { void *ops; u32 max_entries; }, four bytes of nothing, and { void *security; }; a ring buffer's begins with it. */
const KERNEL = Btf.parse(
  buildBtf([
    int('u32', 4, 0),
    { kind: 'ptr', word: 0 },
    { kind: 'struct', name: 'bpf_map', word: 24, words: ['ops', 2, 0, 'max_entries', 1, 64, 'security', 2, 128] },
    { kind: 'struct', name: 'bpf_ringbuf_map', word: 32, words: ['map', 3, 0] },
  ]),
  'kernel',
);

function answer(load: string, map = 'ringbuf'): string {
  const { instructions } = assemble(`r1 = map[${map}]\n${load}\nr0 = 0\nexit`);
  const program: ProgramSpec = { name: 'case', section: 'xdp', type: 'xdp', frags: false, instructions, functions: [{ name: 'case', slot: 0, typeId: 0, linkage: 'static' }], lines: [], license: 'GPL' };
  const { refusal } = verifyProgram(program, { maps: CASE_MAPS, kernelBtf: KERNEL });
  return refusal === undefined ? 'accepted' : `${refusal.errno}: ${refusal.message}`;
}

describe('behind a map pointer', () => {
  test.each([
    ['a number is read', 'r2 = *(u32 *)(r1 +8)', 'accepted'],
    ['a pointer is read as a whole', 'r2 = *(u64 *)(r1 +16)', 'accepted'],
    ['a part of a pointer is refused', 'r2 = *(u16 *)(r1 +16)', 'EACCES: cannot access ptr member security with moff 16 in struct bpf_map with off 16 size 2'],
    ['what is no field is refused', 'r2 = *(u32 *)(r1 +12)', "EINVAL: struct bpf_map doesn't have field at offset 12"],
    ['what is behind the struct is refused', 'r2 = *(u32 *)(r1 +4000)', 'EACCES: access beyond struct bpf_ringbuf_map at off 4000 size 4'],
    ['what is in front of it is refused', 'r2 = *(u32 *)(r1 -4)', 'EACCES: R1 is bpf_ringbuf_map invalid negative access: off=-4'],
  ])('%s', (_, load, expected) => {
    expect(answer(load)).toBe(expected);
  });

  test('where the BTF at hand does not have the struct, a read gives a number', () => {
    expect(answer('r2 = *(u16 *)(r1 +16)', 'array')).toBe('accepted');
  });
});
