/**
 * The programs of a lab in the interpreter for a while, so that somebody sees every instruction: between two packets
 * their entries in the machine's table are exchanged, and put back. Memory, maps and helpers are the same, so what
 * programs do is too. While nobody watches, nothing is different.
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
  #observer: StepObserver | undefined;

  constructor(lab: Lab) {
    this.#lab = lab;
    this.#interpreter = new Interpreter(lab.machine, {
      entered: (program, registers) => this.#observer?.entered(program, registers),
      called: (program, slot, registers) => this.#observer?.called(program, slot, registers),
      stepping: (slot, registers) => this.#observer?.stepping(slot, registers),
      replaced: (program, registers) => this.#observer?.replaced(program, registers),
      returned: (registers) => this.#observer?.returned(registers),
      exited: (result) => this.#observer?.exited(result),
      faulted: (fault) => this.#observer?.faulted(fault),
    });
  }

  /** In place of whoever watches now. */
  on(observer: StepObserver): void {
    this.#observer = observer;
    const { programs, machine, pipeline } = this.#lab;
    pipeline.entries = 'watched';
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

  /** From the next stretch of packets on. */
  off(): void {
    this.#lab.pipeline.entries = 'engine';
    for (const [id, { own }] of this.#entries) this.#lab.machine.programTable.set(id, own);
  }
}
