/** Runs instructions through the compiler, on a machine of their own. */
import { assemble } from '../../dataplane/bpf/assemble.ts';
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import type { ProgramSpec, ProgramType } from '../../dataplane/bpf/spec.ts';
import { createWasmEngine } from '../../dataplane/engine/wasm-engine.ts';
import { HELPER_NAMES, kfuncNamed } from '../../dataplane/helpers/index.ts';
import { CPU_BLOCK, FAULT, type Fault } from '../../dataplane/machine/cpu.ts';
import { Machine } from '../../dataplane/machine/machine.ts';
import type { BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { unverified, type Program } from '../../dataplane/program/program.ts';

export type Source = string | readonly Instruction[];

export interface RunResult {
  readonly r0: bigint | undefined;
  readonly fault: Fault;
  /** Of the budget. */
  readonly charged: number;
}

export function instructionsOf(source: Source): readonly Instruction[] {
  return typeof source === 'string' ? assemble(source, { helper: (name) => (HELPER_NAMES.includes(name) ? HELPER_NAMES.indexOf(name) : undefined), kfunc: (name) => kfuncNamed(name) !== undefined }).instructions : source;
}

export class Bench {
  readonly machine: Machine;
  readonly #engine;

  constructor(machine = new Machine({ instructionBudget: 1 << 20, tier: 'quick' })) {
    this.machine = machine;
    this.#engine = createWasmEngine(machine);
  }

  program(source: Source, { maps = [], type = 'xdp', spec = {} }: { maps?: readonly BpfMap[]; type?: ProgramType; spec?: Partial<ProgramSpec> } = {}): Program {
    return {
      id: this.machine.allocateProgramId(),
      type,
      maps: new Map(maps.map((map) => [map.name, map])),
      spec: { name: 'test', section: type, type, frags: false, functions: [], lines: [], license: 'GPL', ...spec, instructions: instructionsOf(source) },
    };
  }

  load(source: Source, options: Parameters<Bench['program']>[1] = {}): Program {
    const program = this.program(source, options);
    this.#engine.load(unverified(program));
    return program;
  }

  wat(program: Program): Promise<string> {
    return this.#engine.wat(program);
  }

  run(program: Program, context = 0): RunResult {
    const { machine } = this;
    machine.beginRun(program.id);
    let r0: bigint | undefined;
    try {
      r0 = BigInt.asUintN(64, machine.programTable.get(program.id)(context));
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      if (machine.cell(CPU_BLOCK.fault) === FAULT.none) machine.setCell(CPU_BLOCK.fault, FAULT.memory);
    }
    return { r0, fault: machine.cell(CPU_BLOCK.fault) as Fault, charged: machine.instructionBudget - (machine.cell(CPU_BLOCK.budget) | 0) };
  }
}

/** r0 of a program that needs nothing around it. */
export function evaluate(source: Source): bigint | undefined {
  const bench = new Bench();
  return bench.run(bench.load(source)).r0;
}
