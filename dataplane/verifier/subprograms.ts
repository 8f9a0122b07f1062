/** How deep a program's stack gets, all its functions together (Linux: check_max_stack_depth). */
import type { Instruction } from '../bpf/isa.ts';

export interface StackDepthInput {
  readonly instructions: readonly Instruction[];
  readonly functions: readonly { readonly start: number; readonly end: number }[];
  /** Of each function, the deepest byte it touched. */
  readonly stackBytes: readonly number[];
}

const MAX_STACK_BYTES = 512;
const MAX_FRAMES = 8;
/** The JIT of x86-64 aligns frames so. */
const FRAME_ALIGNMENT = 16;

export function checkStackDepth({ instructions, functions, stackBytes }: StackDepthInput): { readonly error?: string; readonly depth: number } {
  const indexAt = new Map(functions.map(({ start }, index) => [start, index]));
  let error: string | undefined;
  let deepest = 0;
  const enter = (index: number, before: number, frames: number): void => {
    const depth = before + Math.ceil(Math.max(stackBytes[index]!, 1) / FRAME_ALIGNMENT) * FRAME_ALIGNMENT;
    deepest = Math.max(deepest, depth);
    if (depth > MAX_STACK_BYTES) error ??= `combined stack size of ${frames} calls is ${depth}. Too large`;
    if (frames > MAX_FRAMES) error ??= `the call stack of ${frames} frames is too deep !`;
    if (error !== undefined) return;
    const { start, end } = functions[index]!;
    for (let slot = start; slot < end; slot++) {
      const instruction = instructions[slot]!;
      const callee = instruction.kind === 'call' && instruction.target.kind === 'subprogram' ? indexAt.get(instruction.target.slot) : undefined;
      if (callee !== undefined) enter(callee, depth, frames + 1);
    }
  };
  enter(0, 0, 1);
  return { ...(error === undefined ? {} : { error }), depth: deepest };
}
