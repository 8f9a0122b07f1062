import { expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import type { FunctionSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { verifyProgram } from '../../dataplane/verifier/verify.ts';

const MOST_BYTES = 32 * 2 ** 20;

/** Each call is a chain of calls of its own; of the function, a handful of instructions runs. */
function callsOfLongFunction(calls: number, length: number): ProgramSpec {
  const call = ['r1 = 1', 'r2 = r10', 'r2 += -8', 'call long'];
  const { instructions, labels } = assemble([
    '*(u64 *)(r10 -8) = 0', ...Array.from({ length: calls }, () => call).flat(), 'r0 = 2', 'exit',
    'long: r3 = *(u64 *)(r2 +0)', '*(u64 *)(r10 -8) = r1', '*(u64 *)(r2 +0) = 7', 'if r1 == 1 goto out', ...Array<string>(length).fill('r0 = 0'),
    'out: r0 = 0', 'exit',
  ].join('\n'));
  const functions = [0, labels.get('long')!].map((slot): FunctionSpec => ({ name: `f${slot}`, slot, typeId: 0, linkage: 'static' }));
  return { name: 'calls', section: 'xdp', type: 'xdp', frags: false, instructions, functions, lines: [], license: 'GPL' };
}

test('what is known of the stack of a long function takes memory for the instructions that ran, however often it is called', () => {
  const nothing = (): void => {};
  let [visited, most] = [0, 0];
  const before = process.memoryUsage().arrayBuffers;
  const sample = (): void => void (++visited % 100 === 0 && (most = Math.max(most, process.memoryUsage().arrayBuffers - before)));
  const report = verifyProgram(callsOfLongFunction(500, 5000), { maps: new Map(), observer: { visited: sample, forked: nothing, kept: nothing, covered: nothing } });
  expect(report.accepted).toBe(true);
  expect(most).toBeLessThan(MOST_BYTES);
});
