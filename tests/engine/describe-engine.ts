/** The suite that every engine runs: the case table, and what needs maps, helpers or several programs. */
import { describe, expect, test } from 'vitest';
import type { EngineFactory } from '../../dataplane/engine/engine.ts';
import { CPU_BLOCK } from '../../dataplane/machine/cpu.ts';
import { BenchMachine } from './bench-machine.ts';
import { CASE_TABLE } from './cases/index.ts';

export function describeEngine(name: string, factory: EngineFactory): void {
  describe(name, () => {
    const bench = new BenchMachine(factory);

    describe.each(Object.entries(CASE_TABLE))('%s', (_, cases) => {
      test.each(cases)('$name', ({ runs, type }) => {
        for (const { label, code, expected, packet } of runs) {
          const program = bench.load(code, type === undefined ? {} : { type });
          expect(bench.run(program, packet), label || code).toEqual(expected);
        }
      });
    });

    describe('the instruction budget', () => {
      // Each turn of the loop jumps from slot 3 back to slot 1: three instructions.
      const loop = 'r0 = 0\nagain: r0 += 1\nr1 = 0\nif r0 != 10 goto again\nexit';

      test('is charged at backward jumps, by what is run again', () => {
        const program = bench.load(loop);
        bench.run(program);
        expect(bench.machine.cell(CPU_BLOCK.budget)).toBe(bench.machine.instructionBudget - 9 * 3);
      });

      test('suffices to the last instruction', () => {
        const exact = new BenchMachine(factory, { instructionBudget: 27 });
        expect(exact.run(exact.load(loop))).toBe(10n);
        const short = new BenchMachine(factory, { instructionBudget: 26 });
        expect(short.run(short.load(loop))).toEqual({ fault: 'budget' });
      });

      test('is shared by a program and its subprograms', () => {
        const program = bench.load('call f\ncall f\nexit\nf: r0 = 0\nagain: r0 += 1\nif r0 != 4 goto again\nexit');
        bench.run(program);
        expect(bench.machine.cell(CPU_BLOCK.budget)).toBe(bench.machine.instructionBudget - 2 * 3 * 2);
      });
    });
  });
}
