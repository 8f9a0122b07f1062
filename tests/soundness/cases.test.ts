/** The case tables of verifier and engines, run: what the verifier accepts does nothing that it has ruled out. */
import { describe, expect, test } from 'vitest';
import type { Btf } from '../../dataplane/bpf/btf.ts';
import { disassemble } from '../../dataplane/bpf/disassemble.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { TestBench } from '../../dataplane/engine/test-run.ts';
import { XdplabError } from '../../dataplane/errors.ts';
import { Machine } from '../../dataplane/machine/machine.ts';
import { createMap, type BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { createCheckingInterpreter } from '../../dataplane/soundness/checking-interpreter.ts';
import { BenchMachine } from '../engine/bench-machine.ts';
import { CASE_TABLE } from '../engine/cases/index.ts';
import { CASE_FILES, programOf, readCases } from '../verifier/case-file.ts';
import { CASE_MAPS } from '../verifier/case-maps.ts';
import { typesOf } from '../verifier/case-types.ts';

const CPUS = 2;
const BUDGET = 10_000;
/** Short ones and long ones, IPv4 and nothing; bytes count up, so that loads give different numbers. */
const PACKETS = [14, 60, 200].map((length) => Uint8Array.from({ length }, (_, index) => (index === 12 ? 8 : index === 13 ? 0 : index)));

/** Whether it could be run: the verifier accepts it, and its maps and helpers are there. */
function runs(spec: ProgramSpec, btf: Btf | undefined): boolean {
  const machine = new Machine({ cpus: CPUS, instructionBudget: BUDGET });
  const maps = new Map<string, BpfMap>();
  try {
    for (const each of spec.instructions) if (each.kind === 'load_imm64' && 'map' in each.value && !maps.has(each.value.map)) maps.set(each.value.map, createMap(machine, CASE_MAPS.get(each.value.map)!));
  } catch (error) {
    if (error instanceof XdplabError) return false;
    throw error;
  }
  const engine = createCheckingInterpreter(machine);
  const bench = new TestBench(machine);
  const program = { id: machine.allocateProgramId(), spec, type: spec.type!, maps };
  try {
    engine.load(engine.admit(program, btf));
  } catch (error) {
    if (error instanceof XdplabError && error.code === 'ERR_PROGRAM') return false;
    throw error;
  }
  for (const packet of PACKETS) {
    try {
      bench.run(program, { packet });
    } catch (error) {
      // A helper that is not there, or a budget that is spent.
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    }
  }
  return engine.checked > 0;
}

let ran = 0;
let wanted = 0;

describe.each(CASE_FILES)('%s', (file) => {
  const accepted = readCases(file).filter(({ answer }) => answer === 'accepted');
  test(`${accepted.length} accepted programs do what the verifier says`, () => {
    wanted += accepted.length;
    for (const each of accepted) {
      const spec = programOf(each);
      try {
        if (runs(spec, typesOf(each))) ran++;
      } catch (error) {
        expect.soft(`${each.sentence}\n${String(error)}\n${disassemble(spec.instructions).join('\n')}`).toBe('');
      }
    }
  });
});

test('most of them ran', () => {
  expect(ran).toBeGreaterThan(wanted / 2);
});

test.each(Object.entries(CASE_TABLE))('the cases of %s do what the verifier says', (_, cases) => {
  const bench = new BenchMachine(createCheckingInterpreter);
  let ran = 0;
  for (const { name, runs: all, type } of cases) {
    for (const { label, code, expected, packet } of all) {
      // Rounds and rounds of the same.
      if (typeof expected === 'object' && expected.fault === 'budget') continue;
      try {
        const program = bench.load(code, type === undefined ? {} : { type });
        expect(bench.run(program, packet), label).toEqual(expected);
        ran++;
      } catch (error) {
        // The engines also run what the verifier refuses.
        if (!(error instanceof XdplabError && error.code === 'ERR_PROGRAM')) expect.soft(`${name} ${label}\n${String(error)}\n${code}`).toBe('');
      }
    }
  }
  expect(ran).toBeGreaterThan(0);
});
