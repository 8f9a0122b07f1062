/**
 * The interpreter that believes nothing: a program is verified when it is loaded, and each instruction it runs is compared
 * with what the verifier found there: the states of the way it came, and what is said to hold on all ways (run-check.ts). The first that differs is thrown, ERR_SOUNDNESS.
 *
 * It stands above verifier and engine, which do not know of each other.
 */
import type { Btf } from '../bpf/btf.ts';
import { XdplabError } from '../errors.ts';
import type { Engine } from '../engine/engine.ts';
import { Interpreter } from '../engine/interpreter.ts';
import type { Machine } from '../machine/machine.ts';
import type { Program, VerifiedProgram } from '../program/program.ts';
import { FactCollector } from '../verifier/facts.ts';
import { bothObserve, type VerificationObserver } from '../verifier/observer.ts';
import { verifyProgram, type VerifyOptions } from '../verifier/verify.ts';
import { Exploration } from './exploration.ts';
import { RunCheck, type Found } from './run-check.ts';

export interface CheckingInterpreter extends Engine {
  readonly name: 'interpreter';
  /** Verifies it, and keeps what was found; throws ERR_PROGRAM for what the verifier refuses. It runs as it was verified, dead code and all. */
  admit(program: Program, btf?: Btf): VerifiedProgram;
  /** Instructions that were run, and found to be as the verifier says. */
  readonly checked: number;
}

export interface CheckingOptions {
  /** Stands between the verifier and what is kept of it: tests say wrong things here, to see that they are found. */
  readonly through?: (exploration: VerificationObserver) => VerificationObserver;
  /** States wherever paths may meet: more of them end at an earlier one, and more is checked of that. */
  readonly stateFrequency?: boolean;
}

export function createCheckingInterpreter(machine: Machine, { through = (exploration) => exploration, stateFrequency = false }: CheckingOptions = {}): CheckingInterpreter {
  /** By the program's id. */
  const found = new Map<number, Found>();
  const check = new RunCheck(machine, ({ id }) => found.get(id)!);
  const interpreter = new Interpreter(machine, check);
  return {
    name: 'interpreter',
    get checked() {
      return check.checked;
    },
    get remarks() {
      return [`checked: ${check.checked.toLocaleString('en')} instructions did what the verifier had proven`];
    },
    admit(program, btf) {
      const exploration = new Exploration();
      const facts = new FactCollector(program.spec.instructions);
      verify(program, { btf, cpus: machine.cpus, stateFrequency, observer: through(bothObserve(exploration, facts)) });
      found.set(program.id, { exploration, facts: facts.facts() });
      return { ...program, proof: 'verified' };
    },
    load(program) {
      if (!found.has(program.id)) this.admit(program);
      interpreter.load(program);
    },
  };
}

function verify({ spec, type, maps }: Program, options: Omit<VerifyOptions, 'maps' | 'type'>): void {
  const declared = new Map(Array.from(maps, ([name, map]) => [name, map.spec]));
  const { refusal } = verifyProgram(spec, { ...options, maps: declared, type });
  if (refusal !== undefined) throw new XdplabError('ERR_PROGRAM', `program '${spec.name}': cannot be checked, since the verifier refuses it at instruction ${refusal.slot}: ${refusal.message}; xdplab verify says why`);
}
