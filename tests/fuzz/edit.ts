/** Programs with instructions left out or put in: branches, calls and functions keep what they aim at. */
import { jumpTarget, type Instruction } from '../../dataplane/bpf/isa.ts';
import type { FunctionSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';

export function functionRanges(functions: readonly FunctionSpec[], length: number): { readonly start: number; readonly end: number }[] {
  const starts = functions.map(({ slot }) => slot).toSorted((a, b) => a - b);
  return starts.map((start, at) => ({ start, end: starts[at + 1] ?? length }));
}

/** A wide load goes with its second slot; a function whose last slot goes is no function any more. */
export function deleteSlots(spec: ProgramSpec, slots: Iterable<number>): ProgramSpec {
  const asked = Array.from(slots);
  const gone = new Set(asked);
  for (const slot of asked) {
    if (spec.instructions[slot]?.kind === 'load_imm64') gone.add(slot + 1);
    if (spec.instructions[slot]?.kind === 'upper') gone.add(slot - 1);
  }
  const moved: number[] = [];
  let kept = 0;
  for (let slot = 0; slot <= spec.instructions.length; slot++) {
    moved.push(kept);
    if (!gone.has(slot)) kept++;
  }
  const ranges = functionRanges(spec.functions, spec.instructions.length);
  const empty = new Set(ranges.filter(({ start, end }) => moved[start] === moved[end]).map(({ start }) => start));
  return {
    ...spec,
    instructions: spec.instructions.flatMap((instruction, slot) => (gone.has(slot) ? [] : [aimed(instruction, slot, moved)])),
    functions: spec.functions.filter(({ slot }) => !empty.has(slot)).map((each) => ({ ...each, slot: moved[each.slot]! })),
    lines: [],
  };
}

/** Puts instructions in front of `slot`; what jumped there jumps to them. */
export function insertAt(spec: ProgramSpec, slot: number, added: readonly Instruction[]): ProgramSpec {
  const moved = Array.from({ length: spec.instructions.length + 1 }, (_, at) => (at > slot ? at + added.length : at));
  const place = (at: number): number => (at >= slot ? at + added.length : at);
  const instructions = spec.instructions.map((instruction, at) => aimed(instruction, at, moved, place(at)));
  return { ...spec, instructions: [...instructions.slice(0, slot), ...added, ...instructions.slice(slot)], functions: spec.functions.map((each) => ({ ...each, slot: moved[each.slot]! })), lines: [] };
}

/** Every function begins with writing 0 to all of the stack that it uses, as far as its constants say, so that nobody reads what others left there. */
export function withZeroedStack(spec: ProgramSpec): ProgramSpec {
  return functionRanges(spec.functions, spec.instructions.length)
    .toReversed()
    .reduce((zeroed, { start, end }) => {
      const deepest = Math.min(0, ...spec.instructions.slice(start, end).map(depth));
      const stores = Array.from({ length: Math.ceil(-deepest / 8) }, (_, at): Instruction => ({ kind: 'store', bytes: 8, dst: 10, offset: -8 * (at + 1), source: { kind: 'immediate', value: 0 } }));
      return insertAt(zeroed, start, stores);
    }, spec);
}

const MOST_STACK_BYTES = 512;

function depth(instruction: Instruction): number {
  const offset =
    instruction.kind === 'alu' && instruction.op === 'add' && instruction.source.kind === 'immediate' ? instruction.source.value
    : instruction.kind === 'load' || instruction.kind === 'store' || instruction.kind === 'atomic' ? instruction.offset
    : 0;
  return offset >= -MOST_STACK_BYTES ? offset : 0;
}

function aimed(instruction: Instruction, slot: number, moved: readonly number[], place = moved[slot]!): Instruction {
  const to = (target: number): number => moved[Math.max(0, Math.min(moved.length - 1, target))]!;
  switch (instruction.kind) {
    case 'jump':
    case 'branch':
      return { ...instruction, offset: to(jumpTarget(slot, instruction.offset)) - place - 1 };
    case 'call':
      return instruction.target.kind === 'subprogram' ? { kind: 'call', target: { kind: 'subprogram', slot: to(instruction.target.slot) } } : instruction;
    case 'load_imm64':
      return instruction.value.kind === 'function' ? { ...instruction, value: { kind: 'function', slot: to(instruction.value.slot) } } : instruction;
    default:
      return instruction;
  }
}
