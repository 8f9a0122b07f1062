/**
 * How deep a program's stack gets, all its functions together (Linux 6.18: check_max_stack_depth). Every chain of calls
 * counts, also one that no path went: what paths say is only how much of its own frame each function uses.
 *
 *   main ─ 48 ─► parse ─ 16 ─► hash        a chain's depth is the sum of its frames, each rounded up
 *     └───────── 48 ─► callback            a callback runs below whoever takes its address
 *   timer callback                         except one that runs later, on a stack of its own
 *
 * Linux finds on the same way what throws below a callback, and what calls the exception callback.
 */
import type { FunctionRange } from '../bpf/check.ts';
import type { Instruction } from '../bpf/isa.ts';
import { referencedFunction } from '../bpf/check.ts';
import { THROW } from '../helpers/exception.ts';
import { MAX_FRAMES } from '../machine/cpu.ts';
import { isTailCall } from './control-flow.ts';
import { Refused, refuse, type RefusalErrno } from './refusal.ts';

export interface StackDepthInput {
  readonly instructions: readonly Instruction[];
  /** In order, the entry function first. */
  readonly functions: readonly FunctionRange[];
  /** Of each function, the deepest byte it touched. */
  readonly stackBytes: readonly number[];
  /** Functions that helpers call back, by their number; and those of them that run later, callbacks of timers. */
  readonly callbacks?: ReadonlySet<number>;
  readonly asynchronous: ReadonlySet<number>;
  /** It runs when nothing else does any more. */
  readonly exceptionCallback?: number;
}

export interface StackDepth {
  readonly refused?: { readonly errno: RefusalErrno; /** As Linux spells it. */ readonly message: string };
  /** In bytes, of the deepest chain that was met. */
  readonly depth: number;
}

const MAX_STACK_BYTES = 512;
/** What may lie below a function that makes a tail call, which begins a whole stack anew, up to 33 times. */
const TAIL_CALL_LIMIT_BYTES = 256;
/** As the JIT of x86-64 aligns frames. */
const FRAME_ALIGNMENT = 16;

const throws = (instruction: Instruction): boolean => instruction.kind === 'call' && instruction.target.kind === 'kfunc' && instruction.target.name === THROW;

export function checkStackDepth(input: StackDepthInput): StackDepth {
  return new DepthCheck(input).run();
}

/** What matters of a function's instructions. */
interface Event {
  readonly slot: number;
  /** A function that is entered: called, rather than its address taken. */
  readonly callee?: number;
  readonly called?: boolean;
}

interface FunctionFacts {
  readonly frameBytes: number;
  readonly tailCalls: boolean;
  /** Calls, and where without a callee, throws, in the order of instructions. */
  readonly events: readonly Event[];
}

/** A function that is entered. */
interface Entered {
  readonly index: number;
  /** Bytes of those that called it. */
  readonly below: number;
  /** This one counts. */
  readonly frames: number;
  /** It, or one that called it, is a callback. */
  readonly calledBack: boolean;
}

class DepthCheck {
  readonly #functions: readonly FunctionFacts[];
  readonly #callbacks: ReadonlySet<number>;
  readonly #asynchronous: ReadonlySet<number>;
  readonly #exceptionCallback: number | undefined;
  /** What was entered at which depth: a function that many call is followed once for each. */
  readonly #entered = new Set<string>();
  #deepest = 0;

  constructor({ instructions, functions, stackBytes, callbacks = new Set(), asynchronous, exceptionCallback }: StackDepthInput) {
    const indexAt = new Map(functions.map(({ start }, index) => [start, index]));
    const apart = exceptionCallback === undefined ? [] : [exceptionCallback];
    this.#callbacks = new Set([...callbacks, ...asynchronous, ...apart]);
    this.#asynchronous = new Set([...asynchronous, ...apart]);
    this.#exceptionCallback = exceptionCallback;
    this.#functions = functions.map(({ start, end }, index) => {
      const events: Event[] = [];
      let tailCalls = false;
      for (let slot = start; slot < end; slot++) {
        const instruction = instructions[slot]!;
        const target = referencedFunction(instruction);
        const callee = target === undefined ? undefined : indexAt.get(target);
        if (callee !== undefined) events.push({ slot, callee, called: instruction.kind === 'call' });
        if (throws(instruction)) events.push({ slot });
        if (isTailCall(instruction)) tailCalls = true;
      }
      return { frameBytes: Math.ceil(stackBytes[index]! / FRAME_ALIGNMENT) * FRAME_ALIGNMENT, tailCalls, events };
    });
  }

  /** Linux begins with the last function, so that its error is the one that is told. */
  run(): StackDepth {
    try {
      for (let index = this.#functions.length - 1; index >= 0; index--) {
        if (index === 0 || this.#asynchronous.has(index)) this.#enter({ index, below: 0, frames: 1, calledBack: this.#callbacks.has(index) });
      }
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return { refused: { errno: error.errno, message: error.message }, depth: this.#deepest };
    }
    return { depth: this.#deepest };
  }

  #enter({ index, below, frames, calledBack }: Entered): void {
    const key = `${index} ${below} ${frames} ${calledBack}`;
    if (this.#entered.has(key)) return;
    this.#entered.add(key);
    const { frameBytes, tailCalls, events } = this.#functions[index]!;
    if (index !== 0 && tailCalls && below >= TAIL_CALL_LIMIT_BYTES) refuse('EACCES', `tail_calls are not allowed when call stack of previous frames is ${below} bytes. Too large`);
    const depth = below + frameBytes;
    this.#deepest = Math.max(this.#deepest, depth);
    if (depth > MAX_STACK_BYTES) refuse('EACCES', `combined stack size of ${frames} calls is ${depth}. Too large`);
    for (const { slot, callee, called } of events) {
      if (callee === undefined) {
        if (calledBack) refuse('EINVAL', `bpf_throw kfunc (insn ${slot}) cannot be called from callback subprog ${index}`);
        continue;
      }
      if (this.#asynchronous.has(callee) && called !== true) continue;
      if (callee === this.#exceptionCallback) refuse('EINVAL', `insn ${slot} cannot call exception cb directly`);
      if (frames === MAX_FRAMES) refuse('E2BIG', `the call stack of ${frames} frames is too deep !`);
      this.#enter({ index: callee, below: depth, frames: frames + 1, calledBack: calledBack || this.#callbacks.has(callee) });
    }
  }
}
