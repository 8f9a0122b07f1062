/** Objects that call kernel functions, from the file to what every engine makes of them. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadObject } from '../../dataplane/bpf/object.ts';
import type { EngineName } from '../../dataplane/engine/engine.ts';
import { compareEngines } from '../../dataplane/pipeline/compare-engines.ts';
import { Lab } from '../../dataplane/pipeline/lab.ts';
import { verifyProgram } from '../../dataplane/verifier/verify.ts';

const spec = loadObject(readFileSync(new URL('../bpf/objects/kernel-functions.bpf.o', import.meta.url)), { name: 'kernel-functions.bpf.o' });

function open(engine: EngineName): Lab {
  const lab = new Lab({ engine });
  lab.load(spec, 'kernel-functions.bpf.o');
  return lab;
}

const inputs = [60, 64, 65, 100, 128, 1000].map((bytes) => ({ packet: Uint8Array.from({ length: bytes }, (_, index) => (index * 7) % 251) }));

test.each([...spec.programs.values()])('$name is accepted', (program) => {
  expect(verifyProgram(program, { maps: spec.maps, btf: spec.btf }).refusal).toBeUndefined();
});

test.each(['sum_packet', 'copy_packet', 'ask_connection', 'take_task'])('%s: all engines of this machine agree on verdicts, records and maps', async (program) => {
  const { runs, differences } = await compareEngines({ open, program, inputs });
  expect(differences).toEqual([]);
  expect(runs.map(([first]) => first!.fault)).toEqual(inputs.map(() => undefined));
});

test('a packet is copied to a record as far as it fills pieces', async () => {
  const { runs } = await compareEngines({ open, program: 'copy_packet', inputs, engines: ['wasm'] });
  for (const [index, [run]] of runs.entries()) {
    const { packet } = inputs[index]!;
    const whole = packet.length - (packet.length % 16);
    const record = Buffer.from(packet.subarray(0, whole)).toString('hex').padEnd(2 * packet.length, '0');
    expect(Object.values(run!.records)).toEqual([[record]]);
  }
});

test('the bytes of a packet are added up, the first 64 of them', async () => {
  const sum = inputs.reduce((all, { packet }) => all + packet.subarray(0, 64).reduce((some, byte) => some + byte, 0), 0);
  const lab = open('wasm');
  await compareEngines({ open: () => lab, program: 'sum_packet', inputs, engines: ['wasm'] });
  expect(lab.map('sums').get(0)).toBe(sum);
});
