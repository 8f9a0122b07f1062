/** What programs did to one packet, instruction by instruction: which C lines ran, and by which of them it was left. */
import type { LineInfo } from '../bpf/spec.ts';
import type { StepObserver } from '../engine/step-observer.ts';
import type { Program } from '../program/program.ts';
import { ValueOrigins, type Place } from './value-origin.ts';

export interface TracedRun {
  /** The one that was entered; after a tail call another has answered. */
  readonly program: Program;
  readonly instructions: number;
  /** Undefined where it was stopped. */
  readonly returned?: Returned;
  /** The C lines in the order they ran, each where it begins after another. */
  readonly lines: readonly TracedLine[];
  /** Lines that ran after those. */
  readonly more: number;
}

export interface Returned {
  /** The instruction that made the value which was returned, wherever it was moved to since. */
  readonly program: Program;
  readonly slot: number;
  /** The C line that the program was left by, as far as can be told, and what it is: see `RunTracer.#lineOf`. */
  readonly line?: LineInfo;
  readonly lineIs?: LineKind;
}

/** That of a variable's `return` need not be where the variable got its value. */
export const LINE_KINDS = ['return', 'condition', 'value'] as const;
export type LineKind = (typeof LINE_KINDS)[number];

export interface TracedLine {
  readonly program: Program;
  readonly line: LineInfo;
}

const MOST_LINES = 2000;
const RETURN = /\breturn\b/;

export class RunTracer implements StepObserver {
  readonly #origins = new ValueOrigins();
  readonly #lineTables = new Map<Program, readonly (LineInfo | undefined)[]>();
  #runs: TracedRun[] = [];
  /** Of the functions that run, the innermost last. */
  readonly #running: Program[] = [];
  #program!: Program;
  #instructions = 0;
  #lines: TracedLine[] = [];
  #more = 0;
  #line: LineInfo | undefined;
  /** Lines that say `return`, and after how many instructions they began. */
  #returns: { readonly step: number; readonly line: LineInfo }[] = [];
  /** Of the last condition. */
  #decision: LineInfo | undefined;

  /** Those that ended since the last time. */
  take(): readonly TracedRun[] {
    const runs = this.#runs;
    this.#runs = [];
    return runs;
  }

  entered(program: Program): void {
    this.#program = program;
    this.#running.length = 0;
    this.#running.push(program);
    this.#instructions = 0;
    this.#lines = [];
    this.#more = 0;
    this.#line = undefined;
    this.#returns = [];
    this.#decision = undefined;
    this.#origins.begin();
  }

  called(program: Program): void {
    this.#running.push(program);
    this.#origins.called();
  }

  replaced(program: Program): void {
    this.#running[this.#running.length - 1] = program;
  }

  returned(): void {
    this.#running.pop();
    this.#origins.returned();
  }

  stepping(slot: number, registers: BigUint64Array): void {
    const program = this.#running.at(-1)!;
    const instruction = program.spec.instructions[slot]!;
    const step = this.#instructions++;
    this.#origins.stepping(instruction, { program, slot, step }, Number(registers[10]! & 0xffff_ffffn));
    const line = this.#linesOf(program)[slot];
    if (line === undefined) return;
    if (instruction.kind === 'branch') this.#decision = line;
    if (line.line !== this.#line?.line || line.file !== this.#line.file) this.#lineBegins(program, line, step);
  }

  exited(): void {
    this.#end(this.#origins.result);
  }

  faulted(): void {
    this.#end(undefined);
  }

  #lineBegins(program: Program, line: LineInfo, step: number): void {
    this.#line = line;
    if (RETURN.test(line.text)) this.#returns.push({ step, line });
    if (this.#lines.length < MOST_LINES) this.#lines.push({ program, line });
    else this.#more++;
  }

  #end(place: Place | undefined): void {
    const returned = place === undefined ? undefined : this.#returned(place);
    this.#runs.push({ program: this.#program, instructions: this.#instructions, ...(returned === undefined ? {} : { returned }), lines: this.#lines, more: this.#more });
  }

  #returned(place: Place): Returned {
    return { program: place.program, slot: place.slot, ...this.#lineOf(place) };
  }

  /**
   * Compilers make a value earlier than where it is returned, on lines that have nothing to do with it, and join what
   * several `return`s have in common: the value's own line if that says `return`, else the first that did so afterwards,
   * else the last condition before the end.
   */
  #lineOf({ program, slot, step }: Place): Pick<Returned, 'line' | 'lineIs'> {
    const own = this.#linesOf(program)[slot];
    const left = own !== undefined && RETURN.test(own.text) ? own : this.#returns.find((one) => one.step > step)?.line;
    if (left !== undefined) return { line: left, lineIs: 'return' };
    if (this.#decision !== undefined) return { line: this.#decision, lineIs: 'condition' };
    return own === undefined ? {} : { line: own, lineIs: 'value' };
  }

  /** By slot. */
  #linesOf(program: Program): readonly (LineInfo | undefined)[] {
    let table = this.#lineTables.get(program);
    if (table === undefined) {
      const { instructions, lines } = program.spec;
      let begun = 0;
      table = instructions.map((_, slot) => {
        while (begun < lines.length && lines[begun]!.slot <= slot) begun++;
        return lines[begun - 1];
      });
      this.#lineTables.set(program, table);
    }
    return table;
  }
}
