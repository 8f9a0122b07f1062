/**
 * What is known at every instruction of every register, and of every word of the stack frame that registers are
 * spilled to: constants, addresses on the stack and widths, carried forward over the control flow until nothing
 * changes. An edge whose condition constants settle is not followed and is taken out, so code behind
 * `if (!CONFIGURED)` is not compiled at all.
 */
import type { Immediate64, Instruction, Operand, Register } from '../../bpf/isa.ts';
import { FRAME_BYTES } from '../../machine/cpu.ts';
import { exitEdges, reversePostOrder, type Block } from './control-flow.ts';
import {
  ANYTHING,
  bits,
  bitsOf,
  constant,
  FRAME_POINTER,
  foldBranch,
  immediate,
  join,
  knownAlu,
  knownEndian,
  knownMovsx,
  knownNeg,
  isOfStack,
  sameKnown,
  SOMEWHERE_ON_STACK,
  stackLowOf,
  type Known,
} from './known-value.ts';

/** r0 to r10, and then, where a State is asked for, the words of the frame that are followed. */
export type Registers = Known[];
export type State = Known[];

const REGISTERS = 11;
export const WORD_BYTES = 8;

/** Index in a State of each word of the frame, from the lowest; 0 for words that are not followed. */
export type FollowedWords = Uint8Array;

export const NO_WORDS: FollowedWords = new Uint8Array(FRAME_BYTES / WORD_BYTES);

/** Words that registers are spilled to. Where an address on the stack gets away they may change at any time: NO_WORDS is for that. */
export function followedWords(instructions: readonly Instruction[], blocks: readonly Block[]): FollowedWords {
  const words = NO_WORDS.slice();
  let next = REGISTERS;
  for (const { start, end } of blocks) {
    for (let slot = start; slot < end; slot++) {
      const instruction = instructions[slot]!;
      if (instruction.kind !== 'store' || instruction.dst !== 10 || instruction.bytes !== WORD_BYTES) continue;
      const from = FRAME_BYTES + instruction.offset;
      if (from >= 0 && from < FRAME_BYTES && from % WORD_BYTES === 0) words[from / WORD_BYTES] ||= next++;
    }
  }
  return words;
}

/** Bytes `from` to `to`, exclusive, from the lowest byte of the frame. */
export interface StackRange {
  readonly from: number;
  readonly to: number;
}

/** What the flow must be told about the program's surroundings. */
export interface Surroundings {
  readonly words: FollowedWords;
  immediate64(value: Immediate64): bigint;
  /** What r0 is after a call. */
  callResult(instruction: Extract<Instruction, { kind: 'call' }>): Known;
  /** The parts of the frame that a call may write. */
  callWrites(instruction: Extract<Instruction, { kind: 'call' }>, before: State): readonly StackRange[];
  /** Bytes that can never change, as a number; undefined where there are none. */
  frozen(address: number, bytes: number): bigint | undefined;
}

export function operandValue(operand: Operand, registers: Registers): Known {
  return operand.kind === 'register' ? registers[operand.register]! : immediate(operand.value);
}

/** The constant address that an access with this base and offset has, if it is one. */
function constantAddress(base: Known, offset: number): number | undefined {
  return base.kind === 'constant' ? Number(BigInt.asUintN(32, base.value)) + offset : undefined;
}

function clobber(registers: Registers): void {
  for (let register = 1; register <= 5; register++) registers[register] = ANYTHING;
}

export function copyRegisters(from: readonly Known[], to: Registers): void {
  for (let register = 0; register < REGISTERS; register++) to[register] = from[register]!;
}

export function copyState(from: readonly Known[], to: State): void {
  for (let index = 0; index < from.length; index++) to[index] = from[index]!;
}

/** Whether a word of the frame may hold an address on the stack. */
export function holdsStackAddress(state: State): boolean {
  for (let index = REGISTERS; index < state.length; index++) if (isOfStack(state[index]!)) return true;
  return false;
}

/** Applies one instruction to `registers`, which is a whole state. */
export function transfer(instruction: Instruction, registers: State, surroundings: Surroundings): void {
  switch (instruction.kind) {
    case 'alu':
      registers[instruction.dst] = knownAlu(instruction.op, instruction.width, registers[instruction.dst]!, operandValue(instruction.source, registers));
      break;
    case 'neg':
      registers[instruction.dst] = knownNeg(instruction.width, registers[instruction.dst]!);
      break;
    case 'movsx':
      registers[instruction.dst] = knownMovsx(instruction.width, instruction.bits, registers[instruction.src]!);
      break;
    case 'endian':
      registers[instruction.dst] = knownEndian(instruction.op, instruction.bits, registers[instruction.dst]!);
      break;
    case 'load_imm64':
      registers[instruction.dst] = constant(surroundings.immediate64(instruction.value));
      break;
    case 'load':
      registers[instruction.dst] = loaded(instruction, registers, surroundings);
      break;
    case 'atomic':
      if (instruction.op !== 'load_acquire') forget(reachOf(registers[instruction.dst]!, instruction.offset, instruction.bytes), registers, surroundings.words);
      if (instruction.op === 'cmpxchg') registers[0] = bits(instruction.bytes * 8);
      else if (instruction.op === 'load_acquire') registers[instruction.dst] = bits(instruction.bytes * 8);
      else if (instruction.fetch) registers[instruction.src] = bits(instruction.bytes * 8);
      break;
    case 'load_packet':
      registers[0] = bits(instruction.bytes * 8);
      clobber(registers);
      break;
    case 'call':
      forgetWritten(instruction, registers, surroundings);
      registers[0] = surroundings.callResult(instruction);
      clobber(registers);
      break;
    case 'store':
      keep(instruction, registers, surroundings);
      break;
    case 'upper':
    case 'jump':
    case 'branch':
    case 'may_goto':
    case 'exit':
      break;
  }
}

function loaded(load: Extract<Instruction, { kind: 'load' }>, state: State, surroundings: Surroundings): Known {
  const base = state[load.src]!;
  const address = constantAddress(base, load.offset);
  const value = address === undefined ? undefined : surroundings.frozen(address, load.bytes);
  if (value !== undefined) return constant(load.signed ? BigInt.asIntN(load.bytes * 8, value) : value);
  if (load.bytes === WORD_BYTES && isOfStack(base)) {
    const word = base.kind === 'frame' ? followedWord(base.offset + load.offset, surroundings.words) : 0;
    if (word !== 0) return state[word]!;
    if (holdsStackAddress(state)) return SOMEWHERE_ON_STACK;
  }
  return load.signed ? ANYTHING : bits(load.bytes * 8);
}

/** A function that is called may copy addresses that it finds in the frame. */
function forgetWritten(instruction: Extract<Instruction, { kind: 'call' }>, state: State, surroundings: Surroundings): void {
  const written = surroundings.callWrites(instruction, state);
  if (written.length === 0) return;
  const instead = instruction.target.kind === 'subprogram' && holdsStackAddress(state) ? SOMEWHERE_ON_STACK : ANYTHING;
  for (const range of written) forget(range, state, surroundings.words, instead);
}

/** Index in a State of the word at an offset from r10, 0 if none is followed there. */
export function followedWord(offset: number, words: FollowedWords): number {
  const from = FRAME_BYTES + offset;
  return from >= 0 && from < FRAME_BYTES && from % WORD_BYTES === 0 ? words[from / WORD_BYTES]! : 0;
}

function keep(store: Extract<Instruction, { kind: 'store' }>, state: State, { words }: Surroundings): void {
  const base = state[store.dst]!;
  const word = base.kind === 'frame' && store.bytes === WORD_BYTES ? followedWord(base.offset + store.offset, words) : 0;
  if (word !== 0) state[word] = operandValue(store.source, state);
  else forget(reachOf(base, store.offset, store.bytes), state, words);
}

const NOTHING: StackRange = { from: 0, to: 0 };

/** The part of the frame that an access may be to. */
export function reachOf(base: Known, offset: number, bytes: number): StackRange {
  const low = stackLowOf(base);
  if (low === undefined) return NOTHING;
  const from = Math.max(0, FRAME_BYTES + low + offset);
  return { from, to: base.kind === 'frame' ? Math.min(from + bytes, FRAME_BYTES) : FRAME_BYTES };
}

/** Something else may be there now; an address on the stack may still be, or be there `instead`. */
function forget({ from, to }: StackRange, state: State, words: FollowedWords, instead = ANYTHING): void {
  for (let word = Math.floor(from / WORD_BYTES); word * WORD_BYTES < to; word++) {
    const index = words[word]!;
    if (index !== 0) state[index] = isOfStack(state[index]!) ? SOMEWHERE_ON_STACK : instead;
  }
}

/** What the branch that ends a block is known to do. */
function outcome(branch: Extract<Instruction, { kind: 'branch' }>, registers: Registers): boolean | undefined {
  const left = registers[branch.dst]!;
  const right = operandValue(branch.source, registers);
  return left.kind === 'constant' && right.kind === 'constant' ? foldBranch(branch.op, branch.width, left.value, right.value) : undefined;
}

/** What `branch` says of its left register where it was taken or not: equality with a constant is one. */
function refined(branch: Extract<Instruction, { kind: 'branch' }>, taken: boolean, registers: Registers): Known {
  const left = registers[branch.dst]!;
  if (branch.op !== (taken ? 'jeq' : 'jne') || branch.dst === 10) return left;
  const right = operandValue(branch.source, registers);
  if (right.kind !== 'constant' || (branch.width === 32 && bitsOf(left) > 32)) return left;
  return branch.width === 64 ? right : constant(BigInt.asUintN(32, right.value));
}

/** At the start of a function. */
export function entryState(parameters: Partial<Record<Register, Known>>, words: FollowedWords): State {
  return Array.from({ length: Math.max(REGISTERS, ...words.map((index) => index + 1)) }, (_, index) => (index === 10 ? FRAME_POINTER : (parameters[index as Register] ?? ANYTHING)));
}

export interface ValueFlow {
  /** What can run, in reverse post-order, without edges that are never taken. */
  readonly blocks: readonly Block[];
  /** What is known where a block begins. */
  at(block: Block): readonly Known[];
}

export function analyseValues(instructions: readonly Instruction[], entry: Block, atEntry: State, surroundings: Surroundings): ValueFlow {
  const ordered = reversePostOrder(entry);
  const known = new Map<Block, State>([[entry, atEntry.slice()]]);
  const dirty = new Uint8Array(ordered.length);
  dirty[0] = 1;
  /** The least order that is dirty. */
  let next = 0;
  /** What a branch always does, as far as is known yet. */
  const settled = new Map<Block, boolean>();

  const arrive = (target: Block, registers: State): void => {
    const before = known.get(target);
    if (before === undefined) known.set(target, registers.slice());
    else {
      let changed = false;
      for (let register = 0; register < registers.length; register++) {
        if (before[register] === registers[register]) continue;
        const joined = join(before[register]!, registers[register]!);
        if (sameKnown(joined, before[register]!)) continue;
        before[register] = joined;
        changed = true;
      }
      if (!changed) return;
    }
    dirty[target.order] = 1;
    next = Math.min(next, target.order);
  };

  const registers: State = [];
  while (next < ordered.length) {
    const order = next++;
    if (dirty[order] === 0) continue;
    dirty[order] = 0;
    const block = ordered[order]!;
    copyState(known.get(block)!, registers);
    for (let slot = block.start; slot < block.end; slot++) transfer(instructions[slot]!, registers, surroundings);
    const { exit } = block;
    const branch = instructions[block.end - 1];
    if (exit.kind === 'branch' && branch?.kind === 'branch') {
      const decided = outcome(branch, registers);
      if (decided === undefined) settled.delete(block);
      else settled.set(block, decided);
      const left = registers[branch.dst]!;
      if (decided !== false) {
        registers[branch.dst] = refined(branch, true, registers);
        arrive(exit.taken.target, registers);
        registers[branch.dst] = left;
      }
      if (decided !== true) {
        registers[branch.dst] = refined(branch, false, registers);
        arrive(exit.fallthrough.target, registers);
      }
    } else {
      for (const { target } of exitEdges(exit)) arrive(target, registers);
    }
  }

  for (const [block, taken] of settled) {
    if (block.exit.kind === 'branch') block.exit = { kind: 'goto', to: taken ? block.exit.taken : block.exit.fallthrough };
  }
  return { blocks: reversePostOrder(entry), at: (block) => known.get(block)! };
}
