/** What all parts of the generator write with: the code so far, the frame, and how careful the program is. */
import type { AluOp, BranchOp, Instruction, Operand, OperandWidth, Register } from '../../dataplane/bpf/isa.ts';
import type { ProgramType } from '../../dataplane/bpf/spec.ts';
import { Code, type Label } from './code.ts';
import { immediate, wideConstant } from './constants.ts';
import { SCALAR, type Frame, type Held, type Memory } from './frame.ts';
import type { Random } from './random.ts';

export interface Subprogram {
  readonly label: Label;
  readonly parameters: readonly Held[];
}

export interface Writer {
  readonly random: Random;
  readonly code: Code;
  readonly type: ProgramType;
  readonly frame: Frame;
  /** What it may call. */
  readonly subprograms: readonly Subprogram[];
  /** Probability that a rule of the verifier is forgotten. */
  readonly careless: number;
  /** What it answers is the same wherever memory is. */
  steady: boolean;
  /** Records that wait to be submitted: no exit until then. */
  owes: number;
}

export const ALU: readonly AluOp[] = ['add', 'sub', 'mul', 'div', 'sdiv', 'or', 'and', 'lsh', 'rsh', 'mod', 'smod', 'xor', 'mov', 'arsh'];
/** The verifier knows more of these. */
const FOLLOWED: readonly AluOp[] = ['add', 'sub', 'mul', 'or', 'and', 'lsh', 'rsh', 'xor', 'mov', 'arsh'];
const BRANCHES: readonly BranchOp[] = ['jeq', 'jgt', 'jge', 'jset', 'jne', 'jsgt', 'jsge', 'jlt', 'jle', 'jslt', 'jsle'];

export const reg = (register: Register): Operand => ({ kind: 'register', register });
export const imm = (value: number): Operand => ({ kind: 'immediate', value });
export const alu = (op: AluOp, dst: Register, source: Operand, width: OperandWidth = 64): Instruction => ({ kind: 'alu', op, width, dst, source });
export const mov = (dst: Register, source: Operand): Instruction => alu('mov', dst, source);

export function isCareless(writer: Writer): boolean {
  const forgets = writer.random.chance(writer.careless);
  // What is read then may be an address, or what another program left on the stack.
  if (forgets) writer.steady = false;
  return forgets;
}

export function anyWidth(writer: Writer): OperandWidth {
  return writer.random.chance(0.4) ? 32 : 64;
}

/** A register that may be overwritten; rather one that holds nothing of worth. */
export function target(writer: Writer): Register {
  const { frame, random } = writer;
  const free = frame.writable();
  const cheap = free.filter((register) => frame.get(register).kind === 'nothing' || (frame.get(register).kind === 'scalar' && random.chance(0.5)));
  return random.pick(cheap.length === 0 ? free : cheap);
}

/** A scalar to compute with; a constant is made where there is none. */
export function scalar(writer: Writer, among?: (register: Register) => boolean): Register {
  const { frame, random } = writer;
  const found = frame.scalars().filter((register) => among?.(register) !== false);
  if (found.length > 0) return random.pick(found);
  const free = frame.writable().filter((register) => among?.(register) !== false);
  const register = random.pick(free.filter((each) => frame.get(each).kind === 'nothing').length > 0 ? free.filter((each) => frame.get(each).kind === 'nothing') : free);
  constant(writer, register);
  return register;
}

/** One that may be changed. */
export function ownScalar(writer: Writer): Register {
  const { reserved } = writer.frame;
  return scalar(writer, (register) => !reserved.has(register));
}

export function constant(writer: Writer, register: Register): void {
  const { code, random, frame } = writer;
  if (random.chance(0.3)) code.loadWide(register, { kind: 'constant', value: wideConstant(random) });
  else code.emit(alu('mov', register, imm(immediate(random)), anyWidth(writer)));
  frame.set(register, SCALAR);
}

export function operandFor(writer: Writer, op: AluOp | BranchOp, bits: OperandWidth): Operand {
  const { random, frame } = writer;
  const scalars = frame.scalars();
  if (scalars.length > 0 && random.chance(0.45)) return reg(random.pick(scalars));
  let value = immediate(random);
  if (op === 'lsh' || op === 'rsh' || op === 'arsh') value &= bits - 1;
  if (/div|mod/.test(op) && value === 0) value = 3;
  return imm(value);
}

/** One step of arithmetic on `register`. */
export function arithmetic(writer: Writer, register: Register): void {
  const { random, code, frame } = writer;
  const bits = anyWidth(writer);
  const kind = random.below(12);
  if (kind === 0) code.emit({ kind: 'neg', width: bits, dst: register });
  else if (kind === 1) code.emit({ kind: 'movsx', width: bits, bits: bits === 32 ? random.pick([8, 16] as const) : random.pick([8, 16, 32] as const), dst: register, src: scalar(writer) });
  else if (kind === 2 && random.chance(0.6)) code.emit({ kind: 'endian', op: random.pick(['le', 'be', 'bswap'] as const), bits: random.pick([16, 32, 64] as const), dst: register });
  else {
    const op = random.pick(random.chance(0.8) ? FOLLOWED : ALU);
    code.emit(alu(op, register, operandFor(writer, op, bits), bits));
  }
  frame.set(register, SCALAR);
}

/** A comparison of a scalar, to a label. */
export function compare(writer: Writer, label: Label, register: Register = scalar(writer)): void {
  const { random, code } = writer;
  const bits = anyWidth(writer);
  const op = random.pick(BRANCHES);
  code.branch(op, bits, register, operandFor(writer, op, bits), label);
}

/** Leaves the program, or the function. Only where nothing is owed. */
export function leave(writer: Writer): void {
  const { code, random } = writer;
  code.emit(mov(0, imm(random.below(4))), { kind: 'exit' });
}

/** Makes `register` at most `max`, in one of the ways that compilers have. */
export function bound(writer: Writer, register: Register, max: number): void {
  const { random, code, frame } = writer;
  const limit = isCareless(writer) ? max + random.pick([1, 7, 8, 64]) : max;
  const power = 2 ** Math.floor(Math.log2(max + 1)) - 1;
  const way = writer.owes > 0 ? 0 : random.pick([0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 5]);
  const inside = code.label();
  switch (way) {
    case 1:
      code.branch('jle', anyWidth(writer), register, imm(limit), inside);
      zeroUpper(writer, inside, register);
      break;
    case 2:
      code.branch('jlt', 64, register, imm(limit + 1), inside);
      leave(writer);
      code.place(inside);
      break;
    case 3: {
      const outside = code.label();
      code.branch('jslt', 64, register, imm(0), outside);
      code.branch('jsle', 64, register, imm(limit), inside);
      code.place(outside);
      leave(writer);
      code.place(inside);
      break;
    }
    case 4:
      code.emit(alu('mod', register, imm(limit + 1), anyWidth(writer)));
      break;
    case 5: {
      const shift = 64 - Math.floor(Math.log2(max + 1));
      code.emit(alu('lsh', register, imm(Math.min(63, shift))), alu('rsh', register, imm(Math.min(63, shift))));
      break;
    }
    default:
      code.emit(alu('and', register, imm(limit === max ? power : limit), anyWidth(writer)));
  }
  frame.set(register, { kind: 'scalar', max });
}

/** The rest of a comparison in either width: out where it fails, and where it is met the upper half is cleared. */
function zeroUpper(writer: Writer, inside: Label, register: Register): void {
  leave(writer);
  writer.code.place(inside);
  writer.code.emit(alu('mov', register, reg(register), 32));
}

/** A place in what `memory` reaches, or slightly beside it. */
export function place(writer: Writer, memory: Memory, bytes: number, aligned: boolean): number | undefined {
  const { random } = writer;
  const { low, high } = memory;
  if (isCareless(writer)) return random.pick([low - 1, low - bytes, high - bytes + 1, high, random.between(low, high)]);
  if (high - low < bytes) return undefined;
  const offset = random.between(low, high - bytes);
  if (!aligned) return offset;
  const down = offset - (((offset % bytes) + bytes) % bytes);
  return down >= low ? down : down + bytes <= high - bytes ? down + bytes : undefined;
}
