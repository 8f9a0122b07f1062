import { expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { Machine } from '../../dataplane/machine/machine.ts';
import { Collection } from '../../dataplane/program/collection.ts';
import { unverified } from '../../dataplane/program/program.ts';

function collectionOf(program: Pick<ProgramSpec, 'section' | 'type'>): Collection {
  const spec: ProgramSpec = { name: 'count', frags: false, instructions: assemble('r0 = 0\nexit').instructions, functions: [], lines: [], license: 'GPL', ...program };
  const programs = new Map([[spec.name, spec]]);
  return new Collection(new Machine(), { programs, maps: new Map(), btf: undefined, license: 'GPL' }, { name: 'trace.bpf.o', pinned: new Map(), admit: unverified, load: () => {} });
}

test.each([
  ['a kernel runs alone', 'kprobe/tcp_connect', "trace.bpf.o: program 'count': section 'kprobe/tcp_connect' is for kprobe programs, which xdplab does not run; expected one of xdp, sched_cls, sched_act"],
  ['nobody knows', '7/3', "trace.bpf.o: program 'count': section '7/3' does not say the program's type; say it with --type or in the lab file"],
])('a section whose programs %s is refused when the program is wanted', (_, section, message) => {
  const collection = collectionOf({ section, type: undefined });
  expect(() => collection.program()).toThrow(message);
});

test('a type from outside goes before what the section says', () => {
  expect(collectionOf({ section: 'kprobe/tcp_connect', type: 'xdp' }).program().type).toBe('xdp');
});
