/**
 * Calls of helpers as calls of functions that are appended to the program. A call takes the place of a call, so no
 * instruction moves.
 */
import { assemble } from '../../bpf/assemble.ts';
import type { Instruction } from '../../bpf/isa.ts';
import type { FunctionSpec, ProgramSpec } from '../../bpf/spec.ts';

export interface Replacement {
  /** Of the function: one of a name is enough. */
  readonly name: string;
  /** Without its `exit`. */
  readonly code: string;
}

/** The same program where nothing is replaced. `replacement` gets the helper's id and the slot of its call. */
export function replaceCalls(spec: ProgramSpec, replacement: (id: number, slot: number) => Replacement | undefined): ProgramSpec {
  const instructions: Instruction[] = [...spec.instructions];
  const functions: FunctionSpec[] = [...spec.functions];
  const slots = new Map<string, number>();
  for (const [slot, instruction] of spec.instructions.entries()) {
    if (instruction.kind !== 'call' || instruction.target.kind !== 'helper') continue;
    const found = replacement(instruction.target.id, slot);
    if (found === undefined) continue;
    let target = slots.get(found.name);
    if (target === undefined) {
      target = instructions.length;
      slots.set(found.name, target);
      functions.push({ name: found.name, slot: target, typeId: 0, linkage: 'static' });
      instructions.push(...assemble(`${found.code}\nexit`).instructions);
    }
    instructions[slot] = { kind: 'call', target: { kind: 'subprogram', slot: target } };
  }
  return functions.length === spec.functions.length ? spec : { ...spec, instructions, functions };
}
