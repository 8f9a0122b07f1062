/**
 * How often each instruction of a lab's programs ran, and so each line of C: in a sample of the packets that run, as
 * long as somebody asks. A sample is at most so many runs or instructions in the interpreter; then the programs are
 * the lab's own again, and the next sample comes when nearly all of the time has been theirs.
 */
import type { StepObserver } from '../engine/step-observer.ts';
import type { Program } from '../program/program.ts';
import type { WatchedPrograms } from './watched-programs.ts';

export interface ProgramCounts {
  /** Runs of the program that were counted. */
  readonly runs: number;
  /** Those that ran at all, in the order of their slots. */
  readonly instructions: readonly { readonly slot: number; readonly times: number }[];
  /** Lines of C with such instructions, by file and line. */
  readonly lines: readonly LineCount[];
}

export interface LineCount {
  readonly file: string;
  readonly line: number;
  /** As often as the one of its instructions that ran most. */
  readonly times: number;
  /** All that ran for it. */
  readonly instructions: number;
}

interface Counted {
  runs: number;
  /** By slot. */
  readonly times: Float64Array;
}

/** Of one sample. */
const MOST_RUNS = 256;
const MOST_INSTRUCTIONS = 1 << 16;
/** For each moment that a sample took, so many are without. */
const REST = 20;
const LEAST_REST_MS = 100;
/** Counting goes on for so long after somebody has asked. */
const INTEREST_MS = 5000;

const NOTHING: ProgramCounts = { runs: 0, instructions: [], lines: [] };

export class InstructionCounts implements StepObserver {
  readonly #watched: WatchedPrograms;
  #isOn = false;
  readonly #counted = new Map<Program, Counted>();
  /** Of the functions that run, the innermost last. */
  readonly #running: Counted[] = [];
  #runs = 0;
  #instructions = 0;
  /** Of the sample: what its runs took, and when the one that runs began. */
  #tookMs = 0;
  #begunMs = 0;
  #untilMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(watched: WatchedPrograms) {
    this.#watched = watched;
  }

  /** What was counted so far; and counting begins, or goes on. `program`: undefined where it was never loaded. */
  of(program: Program | undefined): ProgramCounts {
    this.#untilMs = performance.now() + INTEREST_MS;
    if (this.#timer === undefined && !this.#isOn) this.#beginSample();
    const counted = program && this.#counted.get(program);
    return counted === undefined ? NOTHING : readCounts(program!, counted);
  }

  /** Until somebody asks again. To be called before programs are loaded, and before other watchers come. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#leave();
  }

  entered(program: Program): void {
    this.#begunMs = performance.now();
    this.#running.length = 0;
    this.#running.push(this.#begin(program));
  }

  called(program: Program): void {
    this.#running.push(this.#countsOf(program));
  }

  replaced(program: Program): void {
    this.#running[this.#running.length - 1] = this.#begin(program);
  }

  returned(): void {
    this.#running.pop();
  }

  stepping(slot: number): void {
    this.#instructions++;
    this.#running.at(-1)!.times[slot]!++;
  }

  exited(): void {
    this.#tookMs += performance.now() - this.#begunMs;
    this.#runs++;
    // The stretch of packets that runs is counted to its end.
    if (this.#isOn && (this.#runs >= MOST_RUNS || this.#instructions >= MOST_INSTRUCTIONS)) {
      this.#leave();
      this.#timer = setTimeout(() => this.#rest(), 0);
    }
  }

  faulted(): void {
    this.exited();
  }

  #beginSample(): void {
    this.#timer = undefined;
    if (performance.now() >= this.#untilMs) return;
    this.#runs = 0;
    this.#instructions = 0;
    this.#tookMs = 0;
    this.#isOn = true;
    this.#watched.on(this);
  }

  #leave(): void {
    if (!this.#isOn) return;
    this.#isOn = false;
    this.#watched.off();
  }

  #rest(): void {
    this.#timer = setTimeout(() => this.#beginSample(), Math.max(LEAST_REST_MS, this.#tookMs * REST)).unref();
  }

  #begin(program: Program): Counted {
    const counted = this.#countsOf(program);
    counted.runs++;
    return counted;
  }

  #countsOf(program: Program): Counted {
    let counted = this.#counted.get(program);
    if (counted === undefined) this.#counted.set(program, (counted = { runs: 0, times: new Float64Array(program.spec.instructions.length) }));
    return counted;
  }
}

function readCounts({ spec }: Program, { runs, times }: Counted): ProgramCounts {
  const instructions = Array.from(times, (count, slot) => ({ slot, times: count })).filter((one) => one.times > 0);
  const lines = new Map<string, LineCount>();
  spec.lines.forEach(({ file, line, slot }, index) => {
    const own = times.subarray(slot, spec.lines[index + 1]?.slot);
    const key = `${line} ${file}`;
    const { times: most, instructions: sum } = lines.get(key) ?? { times: 0, instructions: 0 };
    lines.set(key, { file, line, times: Math.max(most, ...own), instructions: own.reduce((total, count) => total + count, sum) });
  });
  return { runs, instructions, lines: [...lines.values()].filter((line) => line.instructions > 0) };
}
