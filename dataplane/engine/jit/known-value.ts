/**
 * What is known of a register's value, and how arithmetic carries it on: a small lattice, cheap enough for every
 * instruction of a large program.
 *
 *   constant        the value itself
 *   frame           r10 plus an offset: an address on this function's stack
 *   bits            less than 2^bits; 64 says nothing. Where it may be made of an address on the stack, `stackLow` is
 *                   the lowest offset from r10 that it may point to
 *
 * Joining two facts keeps what both say. Widths that differ are joined to 1, 8, 16, 32 or 64, and a lowest offset that
 * sinks becomes the end of the frame, so that loops settle.
 */
import type { AluOp, BranchOp, Instruction, OperandWidth } from '../../bpf/isa.ts';
import { FRAME_BYTES } from '../../machine/cpu.ts';

export interface Constant {
  readonly kind: 'constant';
  readonly value: bigint;
}

export type Known =
  | Constant
  | { readonly kind: 'frame'; readonly offset: number }
  | { readonly kind: 'bits'; readonly bits: number; readonly stackLow: number | undefined };

const PLAIN = Array.from({ length: 65 }, (_, width): Known => ({ kind: 'bits', bits: width, stackLow: undefined }));
export const ANYTHING = PLAIN[64]!;

/** Says nothing of where on the stack. */
const END_OF_FRAME = -FRAME_BYTES;

export function bits(count: number, stackLow?: number): Known {
  const width = Math.min(Math.max(count, 0), 64);
  return stackLow === undefined ? PLAIN[width]! : { kind: 'bits', bits: width, stackLow: Math.max(stackLow, END_OF_FRAME) };
}

/** An address on the stack, nobody knows where. */
export const SOMEWHERE_ON_STACK = bits(64, END_OF_FRAME);

/** The lowest offset from r10 that the value may point to; undefined if it is not made of an address on the stack. */
export function stackLowOf(known: Known): number | undefined {
  if (known.kind === 'frame') return known.offset;
  return known.kind === 'bits' ? known.stackLow : undefined;
}

/** Whether the value may be, or be made of, an address on this function's stack. */
export function isOfStack(known: Known): boolean {
  return stackLowOf(known) !== undefined;
}

/** A constant, from any integer; it is kept as an unsigned 64-bit number. */
export function constant(value: bigint): Constant {
  return { kind: 'constant', value: BigInt.asUintN(64, value) };
}

const IMMEDIATES = new Map<number, Constant>();
const MOST_IMMEDIATES = 1 << 16;

/** An immediate operand, sign-extended. Programs use few different ones, again and again. */
export function immediate(value: number): Constant {
  let known = IMMEDIATES.get(value);
  if (known === undefined) {
    known = constant(BigInt(value));
    if (IMMEDIATES.size < MOST_IMMEDIATES) IMMEDIATES.set(value, known);
  }
  return known;
}

/** Offsets from r10 within this range cannot leave the u32 range: stacks are not at the ends of memory. */
const FRAME_REACH = 32_768;

function frame(offset: number): Known {
  return Math.abs(offset) <= FRAME_REACH ? { kind: 'frame', offset } : SOMEWHERE_ON_STACK;
}

export const FRAME_POINTER = frame(0);

function widthOf(value: bigint): number {
  const low = Number(value & 0xffff_ffffn);
  const high = low === Number(value) ? 0 : Number(value >> 32n);
  return high === 0 ? 32 - Math.clz32(low) : 64 - Math.clz32(high);
}

/** Bits that the value fits in, unsigned. */
export function bitsOf(known: Known): number {
  switch (known.kind) {
    case 'bits':
      return known.bits;
    case 'frame':
      return 32;
    case 'constant':
      return widthOf(known.value);
  }
}

export function sameKnown(a: Known, b: Known): boolean {
  if (a === b) return true;
  if (a.kind === 'constant') return b.kind === 'constant' && a.value === b.value;
  if (a.kind === 'frame') return b.kind === 'frame' && a.offset === b.offset;
  return b.kind === 'bits' && a.bits === b.bits && a.stackLow === b.stackLow;
}

const WIDENED = [1, 8, 16, 32, 64] as const;

/** What holds of both `a` and `b`; where facts flow in circles, `a` is what was known before. */
export function join(a: Known, b: Known): Known {
  if (sameKnown(a, b)) return a;
  const most = Math.max(bitsOf(a), bitsOf(b));
  return bits(WIDENED.find((width) => width >= most)!, joinedLow(a, b));
}

function joinedLow(a: Known, b: Known): number | undefined {
  const [before, after] = [stackLowOf(a), stackLowOf(b)];
  if (before === undefined || after === undefined) return before ?? after;
  return a.kind === 'bits' && after < before ? END_OF_FRAME : Math.min(before, after);
}

/** Where the result of arithmetic on an address on the stack points at least. */
function arithmeticLow(op: AluOp, width: OperandWidth, a: Known, b: Known): number | undefined {
  const [left, right] = [stackLowOf(a), stackLowOf(b)];
  if (left === undefined && right === undefined) return undefined;
  if (width === 32 || (left !== undefined && right !== undefined)) return END_OF_FRAME;
  const other = left === undefined ? a : b;
  const low = left ?? right!;
  if (op === 'add' && bitsOf(other) < 64) return low;
  if (other.kind !== 'constant' || (op !== 'add' && (op !== 'sub' || left === undefined))) return END_OF_FRAME;
  const distance = Number(BigInt.asIntN(64, other.value));
  return op === 'add' ? low + distance : low - distance;
}

/** For operations that leave nothing of where an address points. */
function somewhere(known: Known): number | undefined {
  return isOfStack(known) ? END_OF_FRAME : undefined;
}

/** The low 32 bits, zero-extended. */
function low32(known: Known): Known {
  if (known.kind === 'constant') return constant(BigInt.asUintN(32, known.value));
  return bitsOf(known) <= 32 ? known : bits(32, somewhere(known));
}

/** How many bits a result needs, from those of the operands and, for shifts, the shift count if it is known. */
const RESULT_BITS = {
  add: (a, b) => Math.max(a, b) + 1,
  sub: () => 64,
  mul: (a, b) => a + b,
  div: (a) => a,
  sdiv: (a, b) => (a < 64 && b < 64 ? a : 64),
  mod: (a) => a,
  smod: (a) => (a < 64 ? a : 64),
  or: (a, b) => Math.max(a, b),
  and: (a, b) => Math.min(a, b),
  xor: (a, b) => Math.max(a, b),
  mov: (_, b) => b,
  lsh: (a, _, count) => (count === undefined ? 64 : a + count),
  rsh: (a, _, count) => a - (count ?? 0),
  arsh: (a, _, count) => (a < 64 ? a - (count ?? 0) : 64),
} as const satisfies Record<AluOp, (a: number, b: number, count: number | undefined) => number>;

/** The result of `dst op= source`. */
export function knownAlu(op: AluOp, width: OperandWidth, dst: Known, source: Known): Known {
  if (op === 'mov') return width === 32 ? low32(source) : source;
  const a = width === 32 ? low32(dst) : dst;
  const b = width === 32 ? low32(source) : source;
  if (a.kind === 'constant' && b.kind === 'constant') return constant(foldAlu(op, width, a.value, b.value));
  if (width === 64 && b.kind === 'constant' && a.kind === 'frame') {
    if (op === 'add') return frame(a.offset + Number(BigInt.asIntN(64, b.value)));
    if (op === 'sub') return frame(a.offset - Number(BigInt.asIntN(64, b.value)));
  }
  if (width === 64 && op === 'add' && a.kind === 'constant' && b.kind === 'frame') return frame(b.offset + Number(BigInt.asIntN(64, a.value)));
  const count = b.kind === 'constant' ? Number(b.value & BigInt(width - 1)) : undefined;
  // A 32-bit operand whose top bit may be set is negative to a signed operation.
  const signed = op === 'arsh' || op === 'sdiv' || op === 'smod';
  const room = (known: Known): number => (signed && bitsOf(known) === width ? 64 : bitsOf(known));
  return bits(Math.min(RESULT_BITS[op](room(a), room(b), count), width), arithmeticLow(op, width, a, b));
}

/** RFC 9669 §4.1 on constants; the operands are unsigned and fit the width, so is the result. */
export function foldAlu(op: AluOp, width: OperandWidth, a: bigint, b: bigint): bigint {
  const signed = (value: bigint): bigint => BigInt.asIntN(width, value);
  const count = b & BigInt(width - 1);
  const fold = (): bigint => {
    switch (op) {
      case 'add':
        return a + b;
      case 'sub':
        return a - b;
      case 'mul':
        return a * b;
      case 'div':
        return b === 0n ? 0n : a / b;
      case 'sdiv':
        return b === 0n ? 0n : signed(a) / signed(b);
      case 'mod':
        return b === 0n ? a : a % b;
      case 'smod':
        return b === 0n ? a : signed(a) % signed(b);
      case 'or':
        return a | b;
      case 'and':
        return a & b;
      case 'xor':
        return a ^ b;
      case 'mov':
        return b;
      case 'lsh':
        return a << count;
      case 'rsh':
        return a >> count;
      case 'arsh':
        return signed(a) >> count;
    }
  };
  return BigInt.asUintN(width, fold());
}

/** A branch on two constants. */
export function foldBranch(op: BranchOp, width: OperandWidth, left: bigint, right: bigint): boolean {
  const a = BigInt.asUintN(width, left);
  const b = BigInt.asUintN(width, right);
  const sa = BigInt.asIntN(width, left);
  const sb = BigInt.asIntN(width, right);
  switch (op) {
    case 'jeq':
      return a === b;
    case 'jne':
      return a !== b;
    case 'jgt':
      return a > b;
    case 'jge':
      return a >= b;
    case 'jlt':
      return a < b;
    case 'jle':
      return a <= b;
    case 'jset':
      return (a & b) !== 0n;
    case 'jsgt':
      return sa > sb;
    case 'jsge':
      return sa >= sb;
    case 'jslt':
      return sa < sb;
    case 'jsle':
      return sa <= sb;
  }
}

export function swapBytes(value: bigint, width: 16 | 32 | 64): bigint {
  let out = 0n;
  for (let shift = 0; shift < width; shift += 8) out = (out << 8n) | ((value >> BigInt(shift)) & 0xffn);
  return out;
}

/** `le`, `be` and `bswap`. */
export function knownEndian(op: Extract<Instruction, { kind: 'endian' }>['op'], width: 16 | 32 | 64, known: Known): Known {
  if (known.kind === 'constant') return constant(op === 'le' ? BigInt.asUintN(width, known.value) : swapBytes(known.value, width));
  return op === 'le' && bitsOf(known) <= width ? known : bits(width, somewhere(known));
}

export function knownMovsx(width: OperandWidth, from: 8 | 16 | 32, known: Known): Known {
  if (known.kind === 'constant') return constant(BigInt.asUintN(width, BigInt.asIntN(from, known.value)));
  return bitsOf(known) < from ? known : bits(width, somewhere(known));
}

export function knownNeg(width: OperandWidth, known: Known): Known {
  return known.kind === 'constant' ? constant(BigInt.asUintN(width, -known.value)) : bits(width, somewhere(known));
}
