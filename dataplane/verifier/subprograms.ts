/**
 * How deep a program's stack gets, all its functions together (Linux 6.18: check_max_stack_depth). Every chain of calls
 * counts, also one that no path went: what paths say is only how much of its own frame each function uses.
 *
 *   main ─ 48 ─► parse ─ 16 ─► hash        a chain's depth is the sum of its frames, each rounded up
 *     └───────── 48 ─► callback            a callback runs below whoever takes its address
 *   timer callback                         except one that runs later, on a stack of its own
 */
import type { FunctionRange } from '../bpf/check.ts';
import type { Instruction } from '../bpf/isa.ts';
import { MAX_FRAMES } from '../machine/cpu.ts';
import { referencedFunction } from '../bpf/check.ts';
import { isTailCall } from './control-flow.ts';

export interface StackDepthInput {
  readonly instructions: readonly Instruction[];
  /** In order, the entry function first. */
  readonly functions: readonly FunctionRange[];
  /** Of each function, the deepest byte it touched. */
  readonly stackBytes: readonly number[];
  /** Functions that run later, by their number: callbacks of timers. */
  readonly asynchronous: ReadonlySet<number>;
}

export interface StackDepth {
  /** As Linux spells it. */
  readonly error?: string;
  /** In bytes, of the deepest chain that was met. */
  readonly depth: number;
}

const MAX_STACK_BYTES = 512;
/** What may lie below a function that makes a tail call, which begins a whole stack anew, up to 33 times. */
const TAIL_CALL_LIMIT_BYTES = 256;
/** As the JIT of x86-64 aligns frames. */
const FRAME_ALIGNMENT = 16;

export function checkStackDepth(input: StackDepthInput): StackDepth {
  return new DepthCheck(input).run();
}

interface Callee {
  readonly index: number;
  /** By a call, rather than by taking its address. */
  readonly called: boolean;
}

interface FunctionFacts {
  readonly frameBytes: number;
  readonly tailCalls: boolean;
  /** In the order of instructions. */
  readonly callees: readonly Callee[];
}

class DepthCheck {
  readonly #functions: readonly FunctionFacts[];
  readonly #asynchronous: ReadonlySet<number>;
  /** What was entered at which depth: a function that many call is followed once for each. */
  readonly #entered = new Set<string>();
  #deepest = 0;

  constructor({ instructions, functions, stackBytes, asynchronous }: StackDepthInput) {
    const indexAt = new Map(functions.map(({ start }, index) => [start, index]));
    this.#asynchronous = asynchronous;
    this.#functions = functions.map(({ start, end }, index) => {
      const callees: Callee[] = [];
      let tailCalls = false;
      for (let slot = start; slot < end; slot++) {
        const instruction = instructions[slot]!;
        const called = referencedFunction(instruction);
        const callee = called === undefined ? undefined : indexAt.get(called);
        if (callee !== undefined) callees.push({ index: callee, called: instruction.kind === 'call' });
        if (isTailCall(instruction)) tailCalls = true;
      }
      return { frameBytes: Math.ceil(stackBytes[index]! / FRAME_ALIGNMENT) * FRAME_ALIGNMENT, tailCalls, callees };
    });
  }

  /** Linux begins with the last function, so that its error is the one that is told. */
  run(): StackDepth {
    for (let index = this.#functions.length - 1; index >= 0; index--) {
      if (index !== 0 && !this.#asynchronous.has(index)) continue;
      const error = this.#enter(index, 0, 1);
      if (error !== undefined) return { error, depth: this.#deepest };
    }
    return { depth: this.#deepest };
  }

  /** `frames` counts this one. */
  #enter(index: number, below: number, frames: number): string | undefined {
    const key = `${index} ${below} ${frames}`;
    if (this.#entered.has(key)) return undefined;
    this.#entered.add(key);
    const { frameBytes, tailCalls, callees } = this.#functions[index]!;
    if (index !== 0 && tailCalls && below >= TAIL_CALL_LIMIT_BYTES) return `tail_calls are not allowed when call stack of previous frames is ${below} bytes. Too large`;
    const depth = below + frameBytes;
    this.#deepest = Math.max(this.#deepest, depth);
    if (depth > MAX_STACK_BYTES) return `combined stack size of ${frames} calls is ${depth}. Too large`;
    for (const { index: callee, called } of callees) {
      if (this.#asynchronous.has(callee) && !called) continue;
      if (frames === MAX_FRAMES) return `the call stack of ${frames} frames is too deep !`;
      const error = this.#enter(callee, depth, frames + 1);
      if (error !== undefined) return error;
    }
    return undefined;
  }
}
