/**
 * Programs that our verifier accepts, run in the interpreter that compares every instruction with what the verifier found.
 * Nobody is asked, so what a program does may depend on the time, on chance and on addresses.
 */
import { assemble } from '../../dataplane/bpf/assemble.ts';
import type { MapSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { TestBench } from '../../dataplane/engine/test-run.ts';
import { XdplabError } from '../../dataplane/errors.ts';
import { Machine } from '../../dataplane/machine/machine.ts';
import { createMap, type BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { createCheckingInterpreter, type CheckingInterpreter, type CheckingOptions } from '../../dataplane/soundness/checking-interpreter.ts';
import { packetOf, resetMaps } from './executions.ts';
import { FIXED_MAPS, PROGRAM_MAPS } from './fixed-maps.ts';
import type { Random } from './random.ts';

/** Programs after which the machine is made anew. */
const PROGRAMS_A_MACHINE = 100;
const RUNS = 3;
/** Enough to come around a loop some times. */
const BUDGET = 2000;
const CPUS = 2;
const SUCCESSOR = 'r0 = 1\nexit';

class CheckedBench {
  readonly #machine = new Machine({ cpus: CPUS, instructionBudget: BUDGET });
  readonly #bench = new TestBench(this.#machine);
  readonly #engine: CheckingInterpreter;
  readonly #maps = new Map<string, BpfMap>(Array.from(FIXED_MAPS.values(), (spec) => [spec.name, createMap(this.#machine, spec)]));

  constructor(options: CheckingOptions) {
    this.#engine = createCheckingInterpreter(this.#machine, options);
    // So that some tail calls succeed.
    for (const [type, { name }] of PROGRAM_MAPS) {
      const { instructions } = assemble(SUCCESSOR);
      const spec: ProgramSpec = { name: 'successor', section: type, type, frags: false, instructions, functions: [], lines: [], license: 'GPL' };
      this.#maps.get(name)!.setProgram(1, this.#load(spec));
    }
  }

  run(spec: ProgramSpec, declared: ReadonlyMap<string, MapSpec>, random: Random): void {
    for (const each of spec.instructions) {
      if (each.kind !== 'load_imm64' || !('map' in each.value) || this.#maps.has(each.value.map)) continue;
      this.#maps.set(each.value.map, createMap(this.#machine, declared.get(each.value.map)!));
    }
    const program = this.#load(spec);
    for (let left = RUNS; left > 0; left--) {
      resetMaps(new Map([...this.#maps].filter(([name]) => FIXED_MAPS.has(name))), random.bytes(64), CPUS);
      try {
        this.#bench.run(program, { packet: packetOf(random) });
      } catch (error) {
        // The budget is spent, or a helper is not there.
        if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      }
    }
  }

  #load(spec: ProgramSpec): ReturnType<CheckingInterpreter['admit']> {
    const program = this.#engine.admit({ id: this.#machine.allocateProgramId(), spec, type: spec.type!, maps: this.#maps });
    this.#engine.load(program);
    return program;
  }
}

export class CheckedRuns {
  readonly #declared: ReadonlyMap<string, MapSpec>;
  readonly #options: CheckingOptions;
  /** With states where Linux keeps them, and everywhere. */
  readonly #benches: { bench: CheckedBench | undefined; programs: number }[] = [{ bench: undefined, programs: 0 }, { bench: undefined, programs: 0 }];

  constructor(declared: ReadonlyMap<string, MapSpec>, options: CheckingOptions = {}) {
    this.#declared = declared;
    this.#options = options;
  }

  /** What a run did that the verifier had ruled out; undefined where nothing. */
  violation(spec: ProgramSpec, random: Random): string | undefined {
    const stateFrequency = random.chance(0.5);
    const place = this.#benches[Number(stateFrequency)]!;
    if (place.programs++ % PROGRAMS_A_MACHINE === 0) place.bench = undefined;
    place.bench ??= new CheckedBench({ ...this.#options, stateFrequency });
    try {
      place.bench.run(spec, this.#declared, random);
      return undefined;
    } catch (error) {
      // The machine was left in the middle of a run.
      place.bench = undefined;
      if (!(error instanceof Error)) throw error;
      if (!(error instanceof XdplabError)) return error.stack ?? error.message;
      return error.code === 'ERR_SOUNDNESS' ? error.message : undefined;
    }
  }
}
