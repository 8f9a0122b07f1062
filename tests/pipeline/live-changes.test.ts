/** A lab that changes while packets run: programs come and go, an object is replaced by another version of itself. */
import { expect, test } from 'vitest';
import type { CollectionSpec } from '../../dataplane/bpf/spec.ts';
import type { Lab } from '../../dataplane/pipeline/lab.ts';
import { ENGINE_NAMES, frame, mapSpec, programSpec, smallLab } from './small-lab.ts';

const [DROP, PASS] = [1, 2];
const answer = (verdict: number): string => `r0 = ${verdict}\nexit`;
const COUNT = `*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[counters]\ncall bpf_map_lookup_elem\nif r0 == 0 goto +3\nr1 = *(u64 *)(r0 +0)\nr1 += 1\n*(u64 *)(r0 +0) = r1\n`;

function objectOf(programs: Readonly<Record<string, string>>, maps: CollectionSpec['maps'] = new Map()): CollectionSpec {
  return { programs: new Map(Object.entries(programs).map(([name, source]) => [name, programSpec(name, 'xdp', source)])), maps, btf: undefined, license: 'GPL' };
}

const counters = mapSpec({ name: 'counters', type: 2, keyBytes: 4, valueBytes: 8, maxEntries: 1 });
const fateOf = (lab: Lab): string => lab.run(frame()).fate;
const counted = (lab: Lab): unknown => lab.map('counters').map.lookup(new Uint8Array(4))![0];

test.each(ENGINE_NAMES)('%s: a program that is attached between two packets judges the second, and one that is detached no more', (engine) => {
  const lab = smallLab(engine, [{ hook: 'xdp', source: answer(PASS) }]);
  expect(fateOf(lab)).toBe('stack');
  const dropper = lab.load(objectOf({ dropper: answer(DROP) }), 'dropper.bpf.o');
  lab.attach(dropper.program(), { hook: 'xdp' });
  expect(fateOf(lab)).toBe('dropped');
  lab.detach(lab.pipeline.attached[1]!);
  expect(fateOf(lab)).toBe('stack');
  const { hooks, programs, packets } = lab.statistics();
  expect(packets).toBe(3);
  expect(hooks).toMatchObject([{ packets: 3, verdicts: [{ verdict: 'XDP_PASS', packets: 2 }, { verdict: 'XDP_DROP', packets: 1 }] }]);
  expect(programs.map(({ program, packets: seen }) => [program, seen])).toEqual([['program_0', 3], ['dropper', 1]]);
});

test('a hook that does not change keeps its attachments, and records call programs of a changed one by new numbers', () => {
  const lab = smallLab('wasm', [{ hook: 'xdp', source: answer(PASS) }, { hook: 'tc-ingress', source: answer(0) }]);
  fateOf(lab);
  lab.attach(lab.load(objectOf({ other: answer(PASS) }), 'other.bpf.o').program(), { hook: 'xdp' });
  expect(lab.pipeline.attached.map(({ index, hook, program }) => [index, hook, program.spec.name])).toEqual([[2, 'xdp', 'program_0'], [3, 'xdp', 'other'], [1, 'tc-ingress', 'program_1']]);
  expect(lab.run(frame()).verdicts.map(({ program }) => program)).toEqual(['program_0', 'other', 'program_1']);
  expect(lab.statistics().programs.map(({ attachments, packets }) => [attachments, packets])).toEqual([[[0, 2], 2], [[1], 2], [[3], 1]]);
});

test.each(ENGINE_NAMES)('%s: a replaced object goes on with the map contents of the one before', (engine) => {
  const lab = smallLab(engine, []);
  const first = lab.load(objectOf({ judge: COUNT + answer(PASS) }, new Map([['counters', counters]])), 'judge.bpf.o');
  lab.attach(first.program(), { hook: 'xdp' });
  expect([fateOf(lab), fateOf(lab)]).toEqual(['stack', 'stack']);
  const { kept, fresh } = lab.replace(first, objectOf({ judge: COUNT + answer(DROP) }, new Map([['counters', counters]])), 'judge.bpf.o');
  expect(fateOf(lab)).toBe('dropped');
  expect(counted(lab)).toBe(3);
  expect([kept.map(({ name }) => name), fresh]).toEqual([['counters'], []]);
});

test('a map that the new version declares otherwise begins empty, and is named', () => {
  const lab = smallLab('wasm', []);
  const first = lab.load(objectOf({ judge: COUNT + answer(PASS) }, new Map([['counters', counters]])), 'judge.bpf.o');
  lab.attach(first.program(), { hook: 'xdp' });
  fateOf(lab);
  const { fresh } = lab.replace(first, objectOf({ judge: COUNT + answer(PASS) }, new Map([['counters', { ...counters, maxEntries: 2 }]])), 'judge.bpf.o');
  fateOf(lab);
  expect(fresh.map(({ name }) => name)).toEqual(['counters']);
  expect([lab.maps.length, counted(lab)]).toEqual([1, 1]);
});

test('a version without a program that is attached is refused, and the old one goes on', () => {
  const lab = smallLab('wasm', []);
  const first = lab.load(objectOf({ judge: answer(DROP) }), 'judge.bpf.o');
  lab.attach(first.program(), { hook: 'xdp' });
  expect(() => lab.replace(first, objectOf({ other: answer(PASS) }), 'other.bpf.o')).toThrow("other.bpf.o: found no program 'judge', expected one of other");
  expect(fateOf(lab)).toBe('dropped');
});

test('programs in slots of program arrays are replaced too', () => {
  const slots = mapSpec({ name: 'slots', type: 3, valueBytes: 4, slots: new Map([[0, 'callee']]) });
  const version = (verdict: number): CollectionSpec => objectOf({ caller: `r2 = map[slots]\nr3 = 0\ncall bpf_tail_call\n${answer(PASS)}`, callee: answer(verdict) }, new Map([['slots', slots]]));
  const lab = smallLab('wasm', []);
  const first = lab.load(version(PASS), 'calls.bpf.o');
  lab.attach(first.program('caller'), { hook: 'xdp' });
  expect(fateOf(lab)).toBe('stack');
  lab.replace(first, version(DROP), 'calls.bpf.o');
  expect(fateOf(lab)).toBe('dropped');
});

test('an object whose program is attached is not unloaded', () => {
  const lab = smallLab('wasm', [{ hook: 'xdp', source: answer(PASS) }]);
  const [object] = lab.collections;
  expect(() => lab.unload(object!)).toThrow("small.bpf.o: its program 'program_0' is attached to xdp of eth0; detach it first");
  fateOf(lab);
  lab.detach(lab.pipeline.attached[0]!);
  lab.unload(object!);
  expect(lab.collections).toEqual([]);
});

test('a hook takes at most sixteen programs once packets have run', () => {
  const lab = smallLab('wasm', Array.from({ length: 16 }, () => ({ hook: 'xdp' as const, source: answer(PASS) })));
  fateOf(lab);
  const more = lab.load(objectOf({ more: answer(PASS) }), 'more.bpf.o');
  expect(() => lab.attach(more.program(), { hook: 'xdp' })).toThrow('a hook has 17 programs, expected at most 16 once packets have run');
  expect(fateOf(lab)).toBe('stack');
});
