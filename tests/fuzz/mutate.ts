/** Small changes to a program: what was accepted a moment ago is just inside, or just outside, of what may be. */
import { ALU_OPS, ATOMIC_OPS, BRANCH_OPS, type AccessBytes, type Instruction, type Operand, type Register } from '../../dataplane/bpf/isa.ts';
import type { FunctionSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { immediate, wideConstant } from './constants.ts';
import { deleteSlots, functionRanges, insertAt } from './edit.ts';
import type { Random } from './random.ts';

const SIZES: readonly AccessBytes[] = [1, 2, 4, 8];

/** One to three changes. */
export function mutateProgram(random: Random, spec: ProgramSpec): ProgramSpec {
  let mutated = spec;
  for (let left = random.pick([1, 1, 1, 2, 3]); left > 0; left--) mutated = mutateOnce(random, mutated);
  return mutated;
}

function mutateOnce(random: Random, spec: ProgramSpec): ProgramSpec {
  const { instructions } = spec;
  const slots = [...instructions.keys()].filter((slot) => instructions[slot]!.kind !== 'upper');
  if (slots.length < 2) return spec;
  const slot = random.pick(slots);
  const instruction = instructions[slot]!;
  switch (random.below(10)) {
    case 0:
      return deleteSlots(spec, [slot]);
    case 1:
      return insertAt(spec, random.pick(slots), instruction.kind === 'load_imm64' ? [instruction, { kind: 'upper' }] : [instruction]);
    case 2: {
      const other = random.pick(slots);
      return instruction.kind === 'load_imm64' || instructions[other]!.kind === 'load_imm64' ? spec : replace(spec, [[slot, instructions[other]!], [other, instruction]]);
    }
    case 3:
      return retarget(random, spec);
    default:
      return replace(spec, [[slot, change(random, instruction)]]);
  }
}

function replace(spec: ProgramSpec, changes: readonly (readonly [number, Instruction])[]): ProgramSpec {
  const instructions = [...spec.instructions];
  for (const [slot, instruction] of changes) instructions[slot] = instruction;
  return { ...spec, instructions };
}

function retarget(random: Random, spec: ProgramSpec): ProgramSpec {
  const branches = [...spec.instructions.entries()].filter(([, { kind }]) => kind === 'branch' || kind === 'jump');
  if (branches.length === 0) return spec;
  const [slot, instruction] = random.pick(branches);
  if (instruction.kind !== 'branch' && instruction.kind !== 'jump') return spec;
  const { start, end } = rangeOf(spec.functions, spec.instructions.length, slot);
  const target = random.chance(0.3) ? slot + 1 + instruction.offset + random.pick([-1, 1, 2]) : random.between(random.chance(0.2) ? start : slot + 1, end - 1);
  return replace(spec, [[slot, { ...instruction, offset: target - slot - 1 }]]);
}

function rangeOf(functions: readonly FunctionSpec[], length: number, slot: number): { readonly start: number; readonly end: number } {
  return functionRanges(functions, length).find(({ start, end }) => slot >= start && slot < end)!;
}

const register = (random: Random, other: Register): Register => (random.chance(0.1) ? 10 : random.chance(0.2) ? other : (random.below(10) as Register));

function operand(random: Random, source: Operand): Operand {
  if (random.chance(0.2)) return source.kind === 'register' ? { kind: 'immediate', value: immediate(random) } : { kind: 'register', register: register(random, 0) };
  if (source.kind === 'register') return { kind: 'register', register: register(random, source.register) };
  return { kind: 'immediate', value: random.chance(0.5) ? (source.value + random.pick([-8, -1, 1, 8])) | 0 : random.chance(0.3) ? source.value ^ (1 << random.below(32)) : immediate(random) };
}

const offset = (random: Random, value: number): number => Math.max(-0x8000, Math.min(0x7fff, random.chance(0.7) ? value + random.pick([-8, -4, -2, -1, 1, 2, 4, 8]) : value ^ (1 << random.below(10))));

function change(random: Random, instruction: Instruction): Instruction {
  const way = random.below(4);
  switch (instruction.kind) {
    case 'alu':
      if (way === 0) return { ...instruction, op: random.pick(ALU_OPS) };
      if (way === 1) return { ...instruction, width: instruction.width === 32 ? 64 : 32 };
      if (way === 2) return { ...instruction, dst: register(random, instruction.dst) };
      return { ...instruction, source: operand(random, instruction.source) };
    case 'branch':
      if (way === 0) return { ...instruction, op: random.pick(BRANCH_OPS) };
      if (way === 1) return { ...instruction, width: instruction.width === 32 ? 64 : 32 };
      if (way === 2) return { ...instruction, dst: register(random, instruction.dst) };
      return { ...instruction, source: operand(random, instruction.source) };
    case 'neg':
      return way < 2 ? { ...instruction, width: instruction.width === 32 ? 64 : 32 } : { ...instruction, dst: register(random, instruction.dst) };
    case 'movsx':
      if (way === 0) return { ...instruction, bits: random.pick(instruction.width === 32 ? ([8, 16] as const) : ([8, 16, 32] as const)) };
      return way === 1 ? { ...instruction, dst: register(random, instruction.dst) } : { ...instruction, src: register(random, instruction.src) };
    case 'endian':
      return way < 2 ? { ...instruction, bits: random.pick([16, 32, 64] as const) } : { ...instruction, dst: register(random, instruction.dst) };
    case 'load':
      if (way === 0) return { ...instruction, bytes: random.pick(SIZES), signed: false };
      if (way === 1) return { ...instruction, offset: offset(random, instruction.offset) };
      if (way === 2) return { ...instruction, dst: register(random, instruction.dst) };
      return random.chance(0.5) && instruction.bytes !== 8 ? { ...instruction, signed: !instruction.signed } : { ...instruction, src: register(random, instruction.src) };
    case 'store':
      if (way === 0) return { ...instruction, bytes: random.pick(SIZES) };
      if (way === 1) return { ...instruction, offset: offset(random, instruction.offset) };
      if (way === 2) return { ...instruction, dst: register(random, instruction.dst) };
      return { ...instruction, source: operand(random, instruction.source) };
    case 'atomic':
      if (way === 0) return { ...instruction, offset: offset(random, instruction.offset) };
      if (way === 1) return { ...instruction, dst: register(random, instruction.dst) };
      if (way === 2) return { ...instruction, src: register(random, instruction.src) };
      return otherAtomic(random, instruction);
    case 'load_imm64':
      if (instruction.value.kind === 'constant') return { ...instruction, value: { kind: 'constant', value: wideConstant(random) } };
      if (instruction.value.kind === 'map_value' && way > 1) return { ...instruction, value: { ...instruction.value, offset: instruction.value.offset + random.pick([-1, 1, 8, 120]) } };
      return { ...instruction, dst: register(random, instruction.dst) };
    case 'load_packet':
      return { ...instruction, bytes: random.pick([1, 2, 4] as const) };
    case 'call':
      // Its neighbours take arguments of other kinds.
      return instruction.target.kind === 'helper' ? { kind: 'call', target: { kind: 'helper', id: random.pick([1, 2, 3, 8, 26, 28, 44, 65, 87, 89, 130, 131, 132, 133, 188, 189]) } } : instruction;
    default:
      return instruction;
  }
}

function otherAtomic(random: Random, instruction: Extract<Instruction, { kind: 'atomic' }>): Instruction {
  const op = random.pick(ATOMIC_OPS);
  const fetch = op === 'xchg' || op === 'cmpxchg' || op === 'load_acquire' || (op !== 'store_release' && random.chance(0.5));
  return { ...instruction, op, fetch, bytes: random.pick(random.chance(0.8) ? ([4, 8] as const) : SIZES) };
}
