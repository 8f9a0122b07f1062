/**
 * One instruction as a step: a function that does what the instruction does to the interpreter's state and answers
 * the slot of the next one, or EXIT. What needs more than the state (calls) is the interpreter's, see `Control`.
 */
import type { CallTarget, Immediate64, Instruction, Operand, Register } from '../bpf/isa.ts';
import { jumpTarget } from '../bpf/isa.ts';
import { LINK_HEADER, NETWORK_HEADER, SK_BUFF } from '../packet/frame.ts';
import { ALU32, ALU64, BRANCH32, BRANCH64, READ_MODIFY_WRITE, swapBytes } from './interpreter-arithmetic.ts';
import type { InterpreterState } from './interpreter-state.ts';

export type Step = () => number;

/** In place of a slot: the function is over, r0 is its result. */
export const EXIT = -1;

/** The instructions that leave the function, or refer to what the program is linked to. */
export interface Control {
  call(target: CallTarget, next: number): Step;
  /** The value of a 64-bit immediate. */
  immediate(value: Immediate64): bigint;
}

export function compileStep(instruction: Instruction, slot: number, state: InterpreterState, control: Control): Step {
  const { u64 } = state;
  const next = slot + 1;
  switch (instruction.kind) {
    case 'alu':
      return alu(instruction, state, next);
    case 'neg': {
      const { dst, width } = instruction;
      return width === 64
        ? () => {
            u64[dst] = -u64[dst]!;
            return next;
          }
        : () => {
            state.setLow(dst, -state.low(dst));
            return next;
          };
    }
    case 'movsx': {
      const { dst, src, bits, width } = instruction;
      return () => {
        u64[dst] = BigInt.asUintN(width, BigInt.asIntN(bits, u64[src]!));
        return next;
      };
    }
    case 'endian': {
      const { dst, bits, op } = instruction;
      return () => {
        u64[dst] = op === 'le' ? BigInt.asUintN(bits, u64[dst]!) : swapBytes(u64[dst]!, bits);
        return next;
      };
    }
    case 'load_imm64': {
      const { dst } = instruction;
      const value = control.immediate(instruction.value);
      return () => {
        u64[dst] = value;
        return slot + 2;
      };
    }
    case 'load':
      return load(instruction, state, next);
    case 'store':
      return store(instruction, state, next);
    case 'atomic':
      return atomic(instruction, state, next);
    case 'load_packet':
      return loadPacket(instruction, state, next);
    case 'jump':
      return jumper(slot, instruction.offset, state);
    case 'branch':
      return branch(instruction, slot, state);
    case 'may_goto':
      return mayGoto(slot, instruction.offset, state);
    case 'call':
      return control.call(instruction.target, next);
    case 'exit':
      return () => EXIT;
    case 'upper':
      return () => {
        throw new TypeError('the second slot of a 64-bit immediate load was run: the program was not checked');
      };
    default:
      return instruction satisfies never;
  }
}

type Of<Kind extends Instruction['kind']> = Extract<Instruction, { kind: Kind }>;

/** The operand of a 64-bit operation: immediates are sign-extended. */
function operand64(source: Operand, { u64 }: InterpreterState): () => bigint {
  if (source.kind === 'register') {
    const { register } = source;
    return () => u64[register]!;
  }
  const value = BigInt.asUintN(64, BigInt(source.value));
  return () => value;
}

function operand32(source: Operand, state: InterpreterState): () => number {
  if (source.kind === 'register') {
    const { register } = source;
    return () => state.low(register);
  }
  const value = source.value >>> 0;
  return () => value;
}

function alu({ op, width, dst, source }: Of<'alu'>, state: InterpreterState, next: number): Step {
  if (width === 64) {
    const { u64 } = state;
    const compute = ALU64[op];
    const operand = operand64(source, state);
    return () => {
      u64[dst] = compute(u64[dst]!, operand());
      return next;
    };
  }
  const compute = ALU32[op];
  const operand = operand32(source, state);
  return () => {
    state.setLow(dst, compute(state.low(dst), operand()));
    return next;
  };
}

function load({ bytes, signed, dst, src, offset }: Of<'load'>, state: InterpreterState, next: number): Step {
  const { u64 } = state;
  if (signed) {
    return () => {
      u64[dst] = BigInt.asIntN(8 * bytes, state.load(state.low(src) + offset, bytes));
      return next;
    };
  }
  if (bytes === 8) {
    return () => {
      u64[dst] = state.load(state.low(src) + offset, bytes);
      return next;
    };
  }
  return () => {
    state.setLow(dst, state.loadLow(state.low(src) + offset, bytes));
    return next;
  };
}

function store({ bytes, dst, offset, source }: Of<'store'>, state: InterpreterState, next: number): Step {
  if (bytes === 8) {
    const operand = operand64(source, state);
    return () => {
      state.store(state.low(dst) + offset, bytes, operand());
      return next;
    };
  }
  const operand = operand32(source, state);
  return () => {
    state.storeLow(state.low(dst) + offset, bytes, operand());
    return next;
  };
}

/** One CPU runs at a time, so nothing can come between the load and the store. */
function atomic(instruction: Of<'atomic'>, state: InterpreterState, next: number): Step {
  const { op, bytes, dst, src, offset, fetch } = instruction;
  const { u64 } = state;
  switch (op) {
    case 'load_acquire':
      return () => {
        u64[dst] = state.load(state.low(src) + offset, bytes);
        return next;
      };
    case 'store_release':
      return () => {
        state.store(state.low(dst) + offset, bytes, u64[src]!);
        return next;
      };
    default: {
      const compute = READ_MODIFY_WRITE[op];
      const bits = 8 * bytes;
      const fetched: Register | undefined = op === 'cmpxchg' ? 0 : fetch ? src : undefined;
      return () => {
        const address = state.low(dst) + offset;
        const old = state.load(address, bytes);
        state.store(address, bytes, compute(old, BigInt.asUintN(bits, u64[src]!), BigInt.asUintN(bits, u64[0]!)));
        if (fetched !== undefined) u64[fetched] = old;
        return next;
      };
    }
  }
}

/** LD_ABS and LD_IND. The context is in r6, a struct __sk_buff; a packet that is too short ends the function with 0. */
function loadPacket({ bytes, offset, index }: Of<'load_packet'>, state: InterpreterState, next: number): Step {
  const { u64 } = state;
  const bits = (8 * bytes) as 8 | 16 | 32;
  return () => {
    const context = state.low(6);
    const data = state.loadLow(context + SK_BUFF.data, 4);
    const dataEnd = state.loadLow(context + SK_BUFF.data_end, 4);
    let at = index === undefined ? offset : (state.low(index) + offset) | 0;
    if (at < LINK_HEADER) at = -1;
    else if (at < NETWORK_HEADER) at -= LINK_HEADER;
    else if (at < 0) at += state.loadLow(context + SK_BUFF.network_offset, 4) - NETWORK_HEADER;
    if (at < 0 || data + at + bytes > dataEnd) {
      u64[0] = 0n;
      return EXIT;
    }
    const value = state.load(data + at, bytes);
    u64[0] = bits === 8 ? value : swapBytes(value, bits);
    return next;
  };
}

/** Backward jumps cost what is run again, so that every loop ends. */
function jumper(slot: number, offset: number, state: InterpreterState): Step {
  const target = jumpTarget(slot, offset);
  if (target > slot) return () => target;
  const cost = slot - target + 1;
  return () => {
    state.spend(cost);
    return target;
  };
}

/** The count is the running function's. */
function mayGoto(slot: number, offset: number, state: InterpreterState): Step {
  const next = slot + 1;
  const jump = jumper(slot, offset, state);
  return () => {
    if (state.goesOn === 0) return jump();
    state.goesOn--;
    return next;
  };
}

function branch({ op, width, dst, source, offset }: Of<'branch'>, slot: number, state: InterpreterState): Step {
  const { u64 } = state;
  const next = slot + 1;
  const jump = jumper(slot, offset, state);
  if (width === 64) {
    const holds = BRANCH64[op];
    const operand = operand64(source, state);
    return () => (holds(u64[dst]!, operand()) ? jump() : next);
  }
  const holds = BRANCH32[op];
  const operand = operand32(source, state);
  return () => (holds(state.low(dst), operand()) ? jump() : next);
}

