/**
 * A program from an entry function and all it calls, in one row of slots, in libbpf's order: a function is appended when
 * the first call to it is met, then its own calls are followed before those that come after. What nothing calls, an
 * exception callback, comes last, and what it calls behind it.
 *
 *   ┌────────────┬──────────────┬──────────────┬─────
 *   │ entry      │ first called │ called by it │ …
 *   └────────────┴──────────────┴──────────────┴─────
 */
import type { CodeFunction } from './code-function.ts';
import type { Instruction } from './isa.ts';
import type { ProgramSpec, UnresolvedReference } from './spec.ts';

export type LinkedCode = Pick<ProgramSpec, 'instructions' | 'functions' | 'lines' | 'exceptionCallback'> & { readonly unresolved: readonly UnresolvedReference[] };

/** The functions of a program in their order, with the slot each begins at. */
function layOut(roots: readonly CodeFunction[]): Map<CodeFunction, number> {
  const slots = new Map<CodeFunction, number>();
  let end = 0;
  const pending = [roots.values()];
  while (pending.length > 0) {
    const next = pending.at(-1)!.next();
    if (next.done) pending.pop();
    else if (!slots.has(next.value)) {
      slots.set(next.value, end);
      end += next.value.instructions.length;
      pending.push(next.value.calls.values());
    }
  }
  return slots;
}

function retarget(instruction: Instruction, slot: number): Instruction {
  if (instruction.kind === 'load_imm64') return { ...instruction, value: { kind: 'function', slot } };
  return { kind: 'call', target: { kind: 'subprogram', slot } };
}

export function linkProgram(entry: CodeFunction, exceptionCallback?: CodeFunction): LinkedCode {
  const layout = layOut(exceptionCallback === undefined ? [entry] : [entry, exceptionCallback]);
  const instructions: Instruction[] = [];
  for (const code of layout.keys()) {
    code.instructions.forEach((instruction, slot) => {
      const callee = code.calls.get(slot);
      instructions.push(callee === undefined ? instruction : retarget(instruction, layout.get(callee)!));
    });
  }
  const placed = [...layout];
  return {
    instructions,
    ...(exceptionCallback === undefined ? {} : { exceptionCallback: layout.get(exceptionCallback)! }),
    functions: placed.map(([code, slot]) => ({ name: code.name, slot, typeId: code.typeId, linkage: code.linkage })),
    lines: placed.flatMap(([code, slot]) => code.lines.map((line) => ({ ...line, slot: line.slot + slot }))),
    unresolved: placed.flatMap(([code, slot]) => code.unresolved.map((one) => ({ ...one, slot: one.slot + slot }))),
  };
}
