/** How deep a program's stack gets, all its functions together (Linux: check_max_stack_depth). */
import type { Instruction } from '../bpf/isa.ts';

export interface StackDepthInput {
  readonly instructions: readonly Instruction[];
  readonly functions: readonly { readonly start: number; readonly end: number }[];
  /** Of each function, the deepest byte it touched. */
  readonly stackBytes: readonly number[];
  /** Functions that run later, on a stack of their own: timers. */
  readonly asynchronous: ReadonlySet<number>;
}

const MAX_STACK_BYTES = 512;
const MAX_FRAMES = 8;
/** What may lie below a function that makes a tail call, which starts over with a whole frame. */
const MAX_BELOW_TAIL_CALL_BYTES = 256;
const TAIL_CALL = 12;
/** The JIT of x86-64 aligns frames so. */
const FRAME_ALIGNMENT = 16;

export function checkStackDepth({ instructions, functions, stackBytes, asynchronous }: StackDepthInput): { readonly error?: string; readonly depth: number } {
  const indexAt = new Map(functions.map(({ start }, index) => [start, index]));
  let error: string | undefined;
  let deepest = 0;
  const enter = (index: number, before: number, frames: number): void => {
    const { start, end } = functions[index]!;
    const tailCalls = index > 0 && instructions.slice(start, end).some((one) => one.kind === 'call' && one.target.kind === 'helper' && one.target.id === TAIL_CALL);
    if (tailCalls && before >= MAX_BELOW_TAIL_CALL_BYTES) error ??= `tail_calls are not allowed when call stack of previous frames is ${before} bytes. Too large`;
    const depth = before + Math.ceil(stackBytes[index]! / FRAME_ALIGNMENT) * FRAME_ALIGNMENT;
    deepest = Math.max(deepest, depth);
    if (depth > MAX_STACK_BYTES) error ??= `combined stack size of ${frames} calls is ${depth}. Too large`;
    if (frames > MAX_FRAMES) error ??= `the call stack of ${frames} frames is too deep !`;
    if (error !== undefined) return;
    for (let slot = start; slot < end; slot++) {
      const instruction = instructions[slot]!;
      const callee = calleeOf(instruction);
      const called = callee === undefined ? undefined : indexAt.get(callee);
      if (called !== undefined && !asynchronous.has(called)) enter(called, depth, frames + 1);
    }
  };
  enter(0, 0, 1);
  for (const index of asynchronous) enter(index, 0, 1);
  return { ...(error === undefined ? {} : { error }), depth: deepest };
}

/** The function that runs below the one with this instruction: called, or passed to a helper that calls it. */
function calleeOf(instruction: Instruction): number | undefined {
  if (instruction.kind === 'call' && instruction.target.kind === 'subprogram') return instruction.target.slot;
  return instruction.kind === 'load_imm64' && instruction.value.kind === 'function' ? instruction.value.slot : undefined;
}
