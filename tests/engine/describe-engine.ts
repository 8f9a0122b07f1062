/** The suite that every engine runs: the case table, and what needs maps, helpers or several programs. */
import { describe, expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import { MAY_GOTO_LIMIT } from '../../dataplane/bpf/isa.ts';
import type { MapSpec } from '../../dataplane/bpf/spec.ts';
import type { EngineFactory } from '../../dataplane/engine/engine.ts';
import { CPU_BLOCK, FRAME_BYTES, MAX_TAIL_CALLS } from '../../dataplane/machine/cpu.ts';
import { createMap } from '../../dataplane/maps/bpf-map.ts';
import type { Program } from '../../dataplane/program/program.ts';
import { BenchMachine } from './bench-machine.ts';
import { CASE_TABLE } from './cases/index.ts';

const ARRAY = 2;
const HASH = 1;
const PROG_ARRAY = 3;

function mapSpec(name: string, type: number, keyBytes: number, valueBytes: number): MapSpec {
  return { name, type, keyBytes, valueBytes, maxEntries: 4, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false };
}

/** Calls into the map `programs`; what follows runs where that fails. */
function tailCall(slot: number): string {
  return `r2 = map[programs]\nr3 = ${slot}\ncall bpf_tail_call\n`;
}

/** `differences`: cases that the engine is known to answer otherwise, and why. */
export function describeEngine(name: string, factory: EngineFactory, differences: Readonly<Record<string, string>> = {}): void {
  const testUnlessDifferent = (sentence: string, run: () => void): void => {
    const difference = differences[sentence];
    test.skipIf(difference !== undefined)(difference === undefined ? sentence : `${sentence}: ${difference}`, run);
  };

  describe(name, () => {
    const bench = new BenchMachine(factory);
    /** Calls the function `f` of a program as a helper would. */
    const callBack = (code: string, ...args: [bigint, bigint, bigint, bigint, bigint]): bigint => {
      const program = bench.load(`*(u64 *)(r10 -8) = 1\nr0 = subprog[f]\nexit\nf:\n${code}`);
      const callback = bench.machine.callback(Number(bench.run(program)))!;
      bench.machine.setCell(CPU_BLOCK.framePointer, bench.machine.stackTop - FRAME_BYTES);
      bench.machine.setCell(CPU_BLOCK.budget, 10);
      return BigInt.asUintN(64, callback(...args));
    };

    describe.each(Object.entries(CASE_TABLE))('%s', (_, cases) => {
      for (const { name: sentence, runs, type } of cases) {
        testUnlessDifferent(sentence, () => {
          for (const { label, code, expected, packet } of runs) {
            const program = bench.load(code, type === undefined ? {} : { type });
            expect(bench.run(program, packet), label || code).toEqual(expected);
          }
        });
      }
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

      test('is shared by a program and its subprograms, whose calls cost 1 each', () => {
        const program = bench.load('call f\ncall f\nexit\nf: r0 = 0\nagain: r0 += 1\nif r0 != 4 goto again\nexit');
        bench.run(program);
        expect(bench.machine.cell(CPU_BLOCK.budget)).toBe(bench.machine.instructionBudget - 2 * (1 + 3 * 2));
      });

      test('stops calls that fan out without a loop', () => {
        const level = (label: string, next: string): string => `${label}: ${`call ${next}\n`.repeat(40)}exit`;
        const program = bench.load(`call a\nexit\n${level('a', 'b')}\n${level('b', 'c')}\n${level('c', 'd')}\n${level('d', 'e')}\ne: r0 = 1\nexit`);
        expect(bench.run(program)).toEqual({ fault: 'budget' });
      });

      test('a program that was stopped runs again with a new budget', () => {
        const program = bench.load('r0 = 0\nr2 = *(u32 *)(r1 +0)\nr2 = *(u8 *)(r2 +0)\nagain: if r2 == 1 goto again\nexit');
        expect(bench.run(program, Uint8Array.of(1))).toEqual({ fault: 'budget' });
        expect(bench.run(program, Uint8Array.of(2))).toBe(0n);
      });
    });

    test('may_goto ends loops that would not end; every function has a count of its own', () => {
      const patient = new BenchMachine(factory, { instructionBudget: 1 << 27 });
      const program = patient.load('r6 = 0\nagain: may_goto end\nr6 += 1\ngoto again\nend: may_goto two\ntwo: call f\nr0 += r6\nexit\nf: r0 = 0\nonce: may_goto out\nr0 += 1\nif r0 != 3 goto once\nout: exit');
      expect(patient.run(program)).toBe(BigInt(MAY_GOTO_LIMIT) + 3n);
    });

    describe('maps', () => {
      const counters = createMap(bench.machine, mapSpec('counters', ARRAY, 4, 8));
      const flows = createMap(bench.machine, mapSpec('flows', HASH, 8, 4));
      const maps = [counters, flows];

      test('a lookup gives the value, where a program counts', () => {
        const program = bench.load(
          `
            *(u32 *)(r10 -4) = 2
            r2 = r10
            r2 += -4
            r1 = map[counters]
            call bpf_map_lookup_elem
            if r0 == 0 goto end
            r1 = 5
            lock *(u64 *)(r0 +0) += r1
            r0 = *(u64 *)(r0 +0)
            end: exit`,
          { maps },
        );
        expect([bench.run(program), bench.run(program)]).toEqual([5n, 10n]);
        expect(counters.lookup(Uint8Array.of(2, 0, 0, 0))).toEqual(Uint8Array.of(10, 0, 0, 0, 0, 0, 0, 0));
      });

      test('a lookup of what is not there is NULL', () => {
        const program = bench.load('*(u32 *)(r10 -4) = 4\nr2 = r10\nr2 += -4\nr1 = map[counters]\ncall bpf_map_lookup_elem\nexit', { maps });
        expect(bench.run(program)).toBe(0n);
      });

      test('an errno is a negative number of 64 bits', () => {
        const program = bench.load('*(u64 *)(r10 -8) = 4\nr2 = r10\nr2 += -8\nr1 = map[flows]\ncall bpf_map_delete_elem\nexit', { maps });
        expect(bench.run(program)).toBe(BigInt.asUintN(64, -2n));
      });

      test('an update is seen by user space, whichever map it went to at run time', () => {
        const program = bench.load(
          `
            r6 = *(u32 *)(r1 +0)
            r6 = *(u8 *)(r6 +0)
            *(u64 *)(r10 -8) = 1
            *(u64 *)(r10 -16) = 77
            r1 = map[flows]
            if r6 == 0 goto update
            r1 = map[counters]
            update:
            r2 = r10
            r2 += -8
            r3 = r10
            r3 += -16
            r4 = 0
            call bpf_map_update_elem
            exit`,
          { maps },
        );
        expect([bench.run(program, Uint8Array.of(0)), bench.run(program, Uint8Array.of(1))]).toEqual([0n, 0n]);
        expect(flows.lookup(Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))).toEqual(Uint8Array.of(77, 0, 0, 0));
        expect(counters.lookup(Uint8Array.of(1, 0, 0, 0))).toEqual(Uint8Array.of(77, 0, 0, 0, 0, 0, 0, 0));
      });

      test('a value is reached by its address', () => {
        const program = bench.load('r1 = map[counters][0]+24\n*(u64 *)(r1 +0) = 9\nr2 = map[counters][0]+16\nr0 = *(u64 *)(r2 +8)\nexit', { maps });
        expect(bench.run(program)).toBe(9n);
        expect(counters.lookup(Uint8Array.of(3, 0, 0, 0))?.[0]).toBe(9);
      });
    });

    describe('helpers', () => {
      test('an answer of 64 bits', () => {
        bench.machine.nowNs = 0xfedc_ba98_7654_3210n;
        expect(bench.run(bench.load('call bpf_ktime_get_ns\nexit'))).toBe(0xfedc_ba98_7654_3210n);
      });

      test('an answer of 32 bits is zero-extended', () => {
        bench.machine.seed(7);
        const program = bench.load('call bpf_get_prandom_u32\nexit');
        const answers = Array.from({ length: 64 }, () => bench.run(program) as bigint);
        expect(answers.every((answer) => answer < 1n << 32n)).toBe(true);
        expect(answers.some((answer) => answer >= 1n << 31n)).toBe(true);
      });

      test('r6 to r9 and the stack stay over a call', () => {
        const program = bench.load('r6 = 6\nr9 = 9\n*(u64 *)(r10 -8) = 8\ncall bpf_ktime_get_ns\nr0 = *(u64 *)(r10 -8)\nr0 += r6\nr0 += r9\nexit');
        expect(bench.run(program)).toBe(23n);
      });

      test('a helper that changes the packet', () => {
        const program = bench.load('r6 = r1\nr2 = -10\ncall bpf_xdp_adjust_tail\nr2 = *(u32 *)(r6 +0)\nr0 = *(u32 *)(r6 +4)\nr0 -= r2\nexit');
        expect(bench.run(program)).toBe(54n);
      });
    });

    describe('tail calls', () => {
      const { machine } = bench;
      const programs = createMap(machine, { ...mapSpec('programs', PROG_ARRAY, 4, 4), maxEntries: 8 });
      const load = (code: string): Program => bench.load(code, { maps: [programs] });
      const put = (slot: number, code: string): number => {
        const program = load(code);
        programs.setProgram(slot, program);
        return program.id;
      };

      test('the successor answers, and gets the context', () => {
        put(0, 'r0 = *(u32 *)(r1 +4)\nr2 = *(u32 *)(r1 +0)\nr0 -= r2\nexit');
        expect(bench.run(load(`${tailCall(0)}r0 = 1\nexit`))).toBe(64n);
      });

      test('the running program is known by its id', () => {
        const id = put(0, 'r0 = 0\nexit');
        bench.run(load(`${tailCall(0)}r0 = 1\nexit`));
        expect(machine.cell(CPU_BLOCK.programId)).toBe(id);
      });

      test.each([
        ['an empty slot', 7],
        ['an index past the end', 8],
        ['an index of -1', -1],
      ])('%s falls through', (_, slot) => {
        expect(bench.run(load(`${tailCall(slot)}r0 = 5\nexit`))).toBe(5n);
      });

      test('only the low half of the index counts', () => {
        put(1, 'r0 = 11\nexit');
        expect(bench.run(load(`r2 = map[programs]\nr3 = 0x100000001\ncall bpf_tail_call\nr0 = 1\nexit`))).toBe(11n);
      });

      test('a program that calls itself runs 34 times, then falls through', () => {
        const count = 'r6 = *(u32 *)(r1 +0)\nr7 = *(u8 *)(r6 +0)\nr7 += 1\n*(u8 *)(r6 +0) = r7\n';
        put(2, `${count}${tailCall(2)}r6 = *(u32 *)(r1 +0)\nr0 = r7\nexit`);
        expect(bench.run(load(`${tailCall(2)}r0 = 0\nexit`), Uint8Array.of(0))).toBe(BigInt(MAX_TAIL_CALLS));
      });

      test('calls of empty slots are not counted', () => {
        put(3, 'r0 = 42\nexit');
        const program = load(`r6 = r1\nr7 = 0\nagain:\nr1 = r6\n${tailCall(7)}r7 += 1\nif r7 != 40 goto again\nr1 = r6\n${tailCall(3)}r0 = 7\nexit`);
        expect(bench.run(program)).toBe(42n);
      });

      test('the budget is shared with the successor', () => {
        put(4, 'r0 = 0\nagain: goto again');
        expect(bench.run(load(`${tailCall(4)}r0 = 0\nexit`))).toEqual({ fault: 'budget' });
      });

      test("a subprogram's tail call ends the subprogram only", () => {
        put(5, 'r0 = 20\n*(u64 *)(r10 -8) = 99\nexit');
        const program = load(`*(u64 *)(r10 -8) = 2\ncall f\nr1 = *(u64 *)(r10 -8)\nr0 += r1\nexit\nf:\n${tailCall(5)}r0 = 0\nexit`);
        expect(bench.run(program)).toBe(22n);
      });
    });

    describe('callbacks', () => {
      test("a subprogram's address is something that helpers can call", () => {
        expect(callBack('r0 = r1\nr0 *= r5\nexit', 6n, 0n, 0n, 0n, 7n)).toBe(42n);
      });

      test('a callback has a frame below the one that passed it on', () => {
        expect(callBack('*(u64 *)(r10 -8) = 7\nr0 = r10\nexit', 0n, 0n, 0n, 0n, 0n)).toBe(BigInt(bench.machine.stackTop - FRAME_BYTES));
      });

      testUnlessDifferent('a callback costs one instruction of the budget', () => {
        callBack('r0 = 0\nexit', 0n, 0n, 0n, 0n, 0n);
        expect(bench.machine.cell(CPU_BLOCK.budget)).toBe(9);
      });
    });

    test('instructions are loaded as they come from the decoder', () => {
      const { instructions } = assemble('r0 = 3\nexit');
      expect(bench.run(bench.loadInstructions(instructions))).toBe(3n);
    });
  });
}
