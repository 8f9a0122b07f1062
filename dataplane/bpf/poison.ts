/**
 * Instructions that must never be reached, numbered as libbpf numbers them: calls of helpers that do not exist. What is
 * guarded by a question the kernel answers with no stays in the program, and the verifier sees that it is dead.
 */
import type { Instruction } from './isa.ts';

/** For what CO-RE could not relocate, and for kernel symbols that do not exist. */
export const POISON_HELPER = 0xbad2310;
/** For weak kernel functions that do not exist. */
export const MISSING_KFUNC_HELPER = 2_002_000_000;

export function helperCall(id: number): Instruction {
  return { kind: 'call', target: { kind: 'helper', id } };
}

/** A 64-bit immediate load becomes two. */
export function poison(instructions: Instruction[], slot: number): void {
  if (instructions[slot]?.kind === 'load_imm64') instructions[slot + 1] = helperCall(POISON_HELPER);
  instructions[slot] = helperCall(POISON_HELPER);
}
