/** Facts are asserted of every instruction that runs, and what does not hold on ways that ended at an earlier state is found. */
import { expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { Interpreter } from '../../dataplane/engine/interpreter.ts';
import { Exploration } from '../../dataplane/soundness/exploration.ts';
import { RunCheck } from '../../dataplane/soundness/run-check.ts';
import { FactCollector } from '../../dataplane/verifier/facts.ts';
import { bothObserve } from '../../dataplane/verifier/observer.ts';
import { verifyProgram } from '../../dataplane/verifier/verify.ts';
import { BenchMachine, type Outcome } from '../engine/bench-machine.ts';

/** r7 is 3, or 200 where the first byte of the packet is 0; it ends with `rest`. */
const WAYS_MEET = `
  r2 = *(u32 *)(r1 +0)
  r3 = *(u32 *)(r1 +4)
  r4 = r2
  r4 += 2
  if r4 > r3 goto short
  r6 = *(u8 *)(r2 +0)
  r8 = *(u8 *)(r2 +1)
  r7 = 200
  if r6 == 0 goto join
  r7 = 3
  join: `;
const SHORT = `
  short: r0 = 0
  exit`;

/** What it answers to a packet of these bytes, with every state and every fact checked; `ends` is false where the facts are not told that paths end at earlier states. */
function run(rest: string, bytes: readonly number[], ends = true): Outcome {
  const { instructions } = assemble(WAYS_MEET + rest + SHORT);
  const spec: ProgramSpec = { name: 'case', section: 'xdp', type: 'xdp', frags: false, functions: [], lines: [], license: 'GPL', instructions };
  const [exploration, facts] = [new Exploration(), new FactCollector(instructions)];
  const told = ends ? facts : Object.assign(new FactCollector(instructions), { covered: () => {} });
  expect(verifyProgram(spec, { maps: new Map(), observer: bothObserve(exploration, told), stateFrequency: true }).refusal).toBeUndefined();
  const found = { exploration, facts: told.facts() };
  const bench = new BenchMachine((machine) => new Interpreter(machine, new RunCheck(machine, () => found)));
  return bench.run(bench.loadInstructions(instructions), Uint8Array.from({ length: 64 }, (_, index) => bytes[index] ?? 0));
}

test('a number that no state has is among the facts', () => {
  expect(run('r0 = r7\n r0 += 1\n exit', [0, 0])).toBe(201n);
  expect(run('r0 = r7\n r0 += 1\n exit', [1, 0])).toBe(4n);
});

test('facts of states alone would not hold', () => {
  expect(() => run('r0 = r7\n r0 += 1\n exit', [0, 0], false)).toThrow('r0 is 200, but the facts say 3');
});

test('what is learnt from a comparison with such a number is of the run, not of the state', () => {
  expect(run('if r8 > r7 goto short\n r0 = r8\n exit', [0, 100])).toBe(100n);
  expect(run('if r7 > r8 goto short\n r0 = r8\n exit', [0, 201])).toBe(201n);
});

test('also of a number that matters elsewhere', () => {
  expect(run('r5 = r2\n r5 += r8\n if r8 > r7 goto short\n r0 = r8\n exit', [0, 100])).toBe(100n);
  expect(run('r5 = r2\n r5 += r8\n r9 = r8\n if r8 > r7 goto short\n r0 = r9\n exit', [0, 100])).toBe(100n);
});

test('so is what is learnt of its relatives', () => {
  expect(run('r9 = r8\n if r8 > r7 goto short\n r0 = r9\n exit', [0, 100])).toBe(100n);
  expect(run('*(u64 *)(r10 -8) = r8\n if r8 > r7 goto short\n r0 = *(u64 *)(r10 -8)\n exit', [0, 100])).toBe(100n);
});

test('a way that never goes is never taken', () => {
  expect(run('if r6 > 255 goto short\n r0 = 7\n exit', [9, 9])).toBe(7n);
});
