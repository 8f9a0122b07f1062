/**
 * What is known of every register at every instruction: constants, addresses on the stack and widths, carried
 * forward over the control flow until nothing changes. An edge whose condition constants settle is not followed and
 * is taken out, so code behind `if (!CONFIGURED)` is not compiled at all.
 */
import type { Immediate64, Instruction, Operand, Register } from '../../bpf/isa.ts';
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
  sameKnown,
  type Known,
} from './known-value.ts';

/** r0 to r10. */
export type Registers = Known[];

/** What the flow must be told about the program's surroundings. */
export interface Surroundings {
  immediate64(value: Immediate64): bigint;
  /** What r0 is after a call. */
  callResult(instruction: Extract<Instruction, { kind: 'call' }>, before: Registers): Known;
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
  for (let register = 0; register <= 10; register++) to[register] = from[register]!;
}

/** Applies one instruction to `registers`. */
export function transfer(instruction: Instruction, registers: Registers, surroundings: Surroundings): void {
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
      if (instruction.op === 'cmpxchg') registers[0] = bits(instruction.bytes * 8);
      else if (instruction.op === 'load_acquire') registers[instruction.dst] = bits(instruction.bytes * 8);
      else if (instruction.fetch) registers[instruction.src] = bits(instruction.bytes * 8);
      break;
    case 'load_packet':
      registers[0] = bits(instruction.bytes * 8);
      clobber(registers);
      break;
    case 'call':
      registers[0] = surroundings.callResult(instruction, registers);
      clobber(registers);
      break;
    case 'store':
    case 'upper':
    case 'jump':
    case 'branch':
    case 'exit':
      break;
  }
}

function loaded(load: Extract<Instruction, { kind: 'load' }>, registers: Registers, surroundings: Surroundings): Known {
  const address = constantAddress(registers[load.src]!, load.offset);
  const value = address === undefined ? undefined : surroundings.frozen(address, load.bytes);
  if (value !== undefined) return constant(load.signed ? BigInt.asIntN(load.bytes * 8, value) : value);
  return load.signed ? ANYTHING : bits(load.bytes * 8);
}

/** What the branch that ends a block is known to do. */
function outcome(branch: Extract<Instruction, { kind: 'branch' }>, registers: Registers): boolean | undefined {
  const left = registers[branch.dst]!;
  const right = operandValue(branch.source, registers);
  return left.kind === 'constant' && right.kind === 'constant' ? foldBranch(branch.op, branch.width, left.value, right.value) : undefined;
}

/** `registers` where `branch` was taken or not: equality with a constant is one. */
function refined(branch: Extract<Instruction, { kind: 'branch' }>, taken: boolean, registers: Registers): Registers {
  if (branch.op !== (taken ? 'jeq' : 'jne') || branch.dst === 10) return registers;
  const right = operandValue(branch.source, registers);
  const left = registers[branch.dst]!;
  if (right.kind !== 'constant' || (branch.width === 32 && bitsOf(left) > 32)) return registers;
  const out = registers.slice();
  out[branch.dst] = constant(branch.width === 32 ? BigInt.asUintN(32, right.value) : right.value);
  return out;
}

export function entryRegisters(parameters: Partial<Record<Register, Known>>): Registers {
  return Array.from({ length: 11 }, (_, register) => (register === 10 ? FRAME_POINTER : (parameters[register as Register] ?? ANYTHING)));
}

export interface ValueFlow {
  /** What can run, in reverse post-order, without edges that are never taken. */
  readonly blocks: readonly Block[];
  /** What is known where a block begins. */
  at(block: Block): readonly Known[];
}

export function analyseValues(instructions: readonly Instruction[], entry: Block, atEntry: Registers, surroundings: Surroundings): ValueFlow {
  const ordered = reversePostOrder(entry);
  const known = new Map<Block, Registers>([[entry, atEntry]]);
  const dirty = new Uint8Array(ordered.length);
  dirty[0] = 1;
  /** The least order that is dirty. */
  let next = 0;
  /** What a branch always does, as far as is known yet. */
  const settled = new Map<Block, boolean>();

  const arrive = (target: Block, registers: Registers): void => {
    const before = known.get(target);
    if (before === undefined) known.set(target, registers.slice());
    else {
      let changed = false;
      for (let register = 0; register < 10; register++) {
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

  const registers: Registers = [];
  while (next < ordered.length) {
    const order = next++;
    if (dirty[order] === 0) continue;
    dirty[order] = 0;
    const block = ordered[order]!;
    copyRegisters(known.get(block)!, registers);
    for (let slot = block.start; slot < block.end; slot++) transfer(instructions[slot]!, registers, surroundings);
    const { exit } = block;
    if (exit.kind === 'branch') {
      const branch = instructions[block.end - 1] as Extract<Instruction, { kind: 'branch' }>;
      const decided = outcome(branch, registers);
      if (decided === undefined) settled.delete(block);
      else settled.set(block, decided);
      if (decided !== false) arrive(exit.taken.target, refined(branch, true, registers));
      if (decided !== true) arrive(exit.fallthrough.target, refined(branch, false, registers));
    } else {
      for (const { target } of exitEdges(exit)) arrive(target, registers);
    }
  }

  for (const [block, taken] of settled) {
    if (block.exit.kind === 'branch') block.exit = { kind: 'goto', to: taken ? block.exit.taken : block.exit.fallthrough };
  }
  return { blocks: reversePostOrder(entry), at: (block) => known.get(block)! };
}
