/**
 * The programs of a lab in the interpreter for a while, so that an observer sees every instruction: between two
 * packets their entries in the machine's table are exchanged, and put back. Memory, maps and helpers are the same, so
 * what programs do is too. While nobody watches, nothing is different.
 *
 * Programs that are loaded while it is on would not be found by tail calls: it has to be off then.
 */
import { Interpreter } from '../engine/interpreter.ts';
import type { StepObserver } from '../engine/step-observer.ts';
import type { Lab } from '../pipeline/lab.ts';

interface Entries {
  readonly own: unknown;
  readonly watched: unknown;
}

export class WatchedPrograms {
  readonly #lab: Lab;
  readonly #interpreter: Interpreter;
  /** By program id. */
  readonly #entries = new Map<number, Entries>();
  #isOn = false;

  constructor(lab: Lab, observer: StepObserver) {
    this.#lab = lab;
    this.#interpreter = new Interpreter(lab.machine, observer);
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  on(): void {
    if (this.#isOn) return;
    this.#isOn = true;
    const { programs, machine } = this.#lab;
    for (const program of programs) {
      const known = this.#entries.get(program.id);
      if (known !== undefined) {
        machine.programTable.set(program.id, known.watched);
        continue;
      }
      const own: unknown = machine.programTable.get(program.id);
      this.#interpreter.load(program);
      this.#entries.set(program.id, { own, watched: machine.programTable.get(program.id) });
    }
  }

  /** Also while a packet runs: the next program is the lab's own again. */
  off(): void {
    if (!this.#isOn) return;
    this.#isOn = false;
    for (const [id, { own }] of this.#entries) this.#lab.machine.programTable.set(id, own);
  }
}
