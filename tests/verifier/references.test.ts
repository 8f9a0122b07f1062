import fc from 'fast-check';
import { expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import type { MapSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { hold, inOrder, without, type Held } from '../../dataplane/verifier/references.ts';
import { verifyProgram } from '../../dataplane/verifier/verify.ts';
import { FIXED_MAPS } from '../fuzz/fixed-maps.ts';

const MOST_BYTES = 256 * 2 ** 20;

test('what was acquired and not released is there, in order, and paths that share it do not change each other', () => {
  const act = fc.record({ acquires: fc.boolean(), id: fc.integer({ min: 1, max: 8 }) });
  fc.assert(
    fc.property(fc.array(act), (acts) => {
      let held: Held | undefined;
      let ids: number[] = [];
      const shared: [Held | undefined, readonly number[]][] = [];
      for (const { acquires, id } of acts) {
        if (acquires && !ids.includes(id)) [held, ids] = [hold(held, { id, acquiredAt: 0 }), [...ids, id]];
        else if (!acquires) [held, ids] = [without(held, id), ids.filter((one) => one !== id)];
        shared.push([held, ids]);
      }
      for (const [list, expected] of shared) {
        expect(inOrder(list).map(({ id }) => id)).toEqual(expected);
        expect(list?.count ?? 0).toBe(expected.length);
        expect(without(list, 9)).toBe(list);
      }
    }),
  );
});

test('a loop that acquires in each turn is refused for its length, and takes no more memory for all that it holds', () => {
  const { instructions } = assemble('r6 = 7\nagain: r1 = map[ringbuf]\nr2 = 24\nr3 = 0\ncall bpf_ringbuf_reserve#131\nif r6 != 2 goto again\nr0 = 0\nexit');
  const spec: ProgramSpec = { name: 'holds', section: 'xdp', type: 'xdp', frags: false, instructions, functions: [], lines: [], license: 'GPL' };
  const maps: ReadonlyMap<string, MapSpec> = FIXED_MAPS;
  const nothing = (): void => {};
  let [visited, most] = [0, 0];
  const before = process.memoryUsage().heapUsed;
  const sample = (): void => void (++visited % 10_000 === 0 && (most = Math.max(most, process.memoryUsage().heapUsed - before)));
  const report = verifyProgram(spec, { maps, observer: { visited: sample, forked: nothing, kept: nothing, covered: nothing } });
  expect(report.refusal?.message).toMatch(/^BPF program is too large\. Processed 1000001 insn/);
  expect(most).toBeLessThan(MOST_BYTES);
});
