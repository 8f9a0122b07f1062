/** Objects whose programs throw, from the file to what every engine makes of them. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadObject } from '../../dataplane/bpf/object.ts';
import type { EngineName } from '../../dataplane/engine/engine.ts';
import { compareEngines } from '../../dataplane/pipeline/compare-engines.ts';
import { Lab } from '../../dataplane/pipeline/lab.ts';
import { verifyProgram } from '../../dataplane/verifier/verify.ts';

const spec = loadObject(readFileSync(new URL('../bpf/objects/exceptions.bpf.o', import.meta.url)), { name: 'exceptions.bpf.o' });

function open(engine: EngineName): Lab {
  const lab = new Lab({ engine });
  lab.load(spec, 'exceptions.bpf.o');
  return lab;
}

const LENGTHS = [40, 62, 64, 65, 100];
const inputs = LENGTHS.map((bytes) => ({ packet: Uint8Array.from({ length: bytes }, (_, index) => (index * 7) % 251) }));

/** By program, the verdict of each length. */
const VERDICTS: Readonly<Record<string, readonly number[]>> = {
  thrower: [4, 4, 4, 4, 4],
  without_callback: [40, 62, 64, 2, 2],
  with_callback: [1, 1, 1, 2, 2],
  global_function: [20, 31, 32, 3, 50],
  around_tail_call: [12, 12, 12, 12, 12],
  of_tc: [-40, -62, -64, -3, -100],
};

test.each([...spec.programs.values()])('$name is accepted', (program) => {
  expect(verifyProgram(program, { maps: spec.maps, btf: spec.btf }).refusal).toBeUndefined();
});

describe.each(Object.entries(VERDICTS))('%s', (program, verdicts) => {
  test('all engines of this machine agree on verdicts and maps', async () => {
    const { runs, differences } = await compareEngines({ open, program, inputs });
    expect(differences).toEqual([]);
    expect(runs.map(([first]) => first!.fault)).toEqual(inputs.map(() => undefined));
    expect(runs.map(([first]) => first!.code)).toEqual(verdicts);
  });
});

test('a callback sees what was thrown', async () => {
  const lab = open('wasm');
  await compareEngines({ open: () => lab, program: 'with_callback', inputs, engines: ['wasm'] });
  expect([0, 1].map((key) => lab.map('thrown').get(key))).toEqual([65 + 65 - 129 + 1 + 100 + 100 - 129 + 1, 40 + 62 + 64 + 3]);
});

test('a callback is the last of its program, and only of the program whose tag names it', () => {
  const { functions, exceptionCallback } = spec.programs.get('with_callback')!;
  expect(functions.map(({ name }) => name)).toEqual(['with_callback', 'check_twice', 'check', 'count', 'too_short']);
  expect(exceptionCallback).toBe(functions.at(-1)!.slot);
  expect(spec.programs.get('without_callback')!.exceptionCallback).toBeUndefined();
});
