/** ALU instructions: on scalars the domain's operators, on pointers what keeps them pointing into their object. */
import type { AluOp, Instruction, Register } from '../bpf/isa.ts';
import { ALU_TEXT } from '../bpf/syntax.ts';
import { MAX_VARIABLE_OFFSET } from './memory.ts';
import { refuse } from './refusal.ts';
import { constantRegister, isPacketPointer, isPointer, scalarRegister, typeText, UNKNOWN_SCALAR, fitsBits, withFacts, type RegisterState } from './register.ts';
import { isConstant, isSubregConstant, zeroExtend32, type Scalar } from './scalar.ts';
import { alu as aluScalar, apart, byteSwap, negate, signExtend } from './scalar-arithmetic.ts';
import type { Walk } from './walk.ts';

const S64_MIN = -(1n << 63n);
const S32_MAX = 0x7fff_ffffn;
const S32_MIN = -0x8000_0000n;

export function alu(walk: Walk, instruction: Extract<Instruction, { kind: 'alu' }>): void {
  const { op, width, dst, source } = instruction;
  if (op === 'mov') {
    move(walk, instruction);
    return;
  }
  const operand = source.kind === 'register' ? walk.read(source.register) : constantRegister(BigInt(source.value));
  const left = walk.read(dst);
  if (source.kind === 'immediate') checkImmediate(op, width, source.value);
  if (dst === 10) refuse('EACCES', 'frame pointer is read only');
  if (left.type === 'scalar' && operand.type === 'scalar') {
    walk.speculation?.addsNumbers(walk, instruction);
    const ways = apart(op, left.scalar, operand.scalar);
    if (ways !== undefined) walk.push(walk.at).current.registers[dst] = withFacts(left, { scalar: ways.later });
    walk.set(dst, scalars(walk, ways === undefined ? left : withFacts(left, { scalar: ways.first }), operand, instruction));
    return;
  }
  if (isPointer(left) && isPointer(operand)) {
    if (op !== 'sub' || !walk.rights.perfmon) refuse('EACCES', `R${dst} pointer ${operatorText(op)} pointer prohibited`);
    walk.set(dst, UNKNOWN_SCALAR);
    return;
  }
  if (isPointer(operand)) {
    walk.precision.markRegister(walk.state, dst);
    // A number that becomes a pointer holds nothing that is to be released, says Linux.
    walk.set(dst, movePointer(walk, instruction, withFacts(operand, { reference: 0 }), left, false));
    return;
  }
  if (source.kind === 'register') walk.precision.markRegister(walk.state, source.register);
  walk.set(dst, movePointer(walk, instruction, left, operand, true));
}

const DIVIDES: ReadonlySet<AluOp> = new Set(['div', 'sdiv', 'mod', 'smod']);
const SHIFTS: ReadonlySet<AluOp> = new Set(['lsh', 'rsh', 'arsh']);

function checkImmediate(op: AluOp, width: 32 | 64, value: number): void {
  if (DIVIDES.has(op) && value === 0) refuse('EINVAL', 'div by zero');
  if (SHIFTS.has(op) && (value < 0 || value >= width)) refuse('EINVAL', `invalid shift ${value}`);
}

/** The log names signed division as it names division. */
const operatorText = (op: AluOp): string => ALU_TEXT[op === 'sdiv' ? 'div' : op === 'smod' ? 'mod' : op];

function scalars(walk: Walk, left: RegisterState, right: RegisterState, { op, width }: Extract<Instruction, { kind: 'alu' }>): RegisterState {
  const scalar = aluScalar(op, width, left.scalar, right.scalar);
  const more = { scalar, id: 0, delta: 0, offset: 0, reference: 0 } as const;
  const distance = walk.rights.bpf ? distanceFrom(left, right, op, width) : undefined;
  if (distance !== undefined) return withFacts(left, { ...more, id: left.id, delta: width, offset: distance });
  return withFacts(left, more);
}

/** Compilers copy an index, add to the copy, and compare one of the two: what is learnt of one is known of the other. */
function distanceFrom(left: RegisterState, right: RegisterState, op: AluOp, width: 32 | 64): number | undefined {
  if (left.id === 0 || left.delta !== 0 || (op !== 'add' && op !== 'sub')) return undefined;
  if (width === 32 ? !isSubregConstant(right.scalar) || !fitsBits(left, 32) : !isConstant(right.scalar)) return undefined;
  const added = width === 32 ? BigInt(right.scalar.u32min | 0) : BigInt.asIntN(64, right.scalar.value);
  if (added < S32_MIN || added > S32_MAX || (op === 'sub' && added === S32_MIN)) return undefined;
  return Number(op === 'sub' ? -added : added);
}

function move(walk: Walk, { width, dst, source }: Extract<Instruction, { kind: 'alu' }>): void {
  if (source.kind === 'immediate') {
    walk.set(dst, constantRegister(width === 64 ? BigInt(source.value) : BigInt(source.value >>> 0)));
    return;
  }
  const from = walk.read(source.register);
  if (width === 64) {
    const shared = walk.withSharedId(from);
    if (shared !== from) walk.frame.registers[source.register] = shared;
    walk.set(dst, shared);
    return;
  }
  if (walk.isSecret(from)) refuse('EACCES', `R${source.register} partial copy of pointer`);
  if (from.type !== 'scalar') {
    walk.set(dst, scalarRegister(zeroExtend32(UNKNOWN_SCALAR.scalar)));
    return;
  }
  walk.set(dst, copyNarrowed(walk, source.register, from, fitsBits(from, 32), zeroExtend32));
}

/** A copy that keeps its relation with the original where narrowing does not change the value. */
function copyNarrowed(walk: Walk, number: Register, from: RegisterState, unchanged: boolean, narrow: (scalar: Scalar) => Scalar): RegisterState {
  if (!unchanged) return withFacts(from, { scalar: narrow(from.scalar), id: 0, delta: 0, offset: 0 });
  const shared = walk.withSharedId(from);
  if (shared !== from) walk.frame.registers[number] = shared;
  const scalar = narrow(shared.scalar);
  return scalar === shared.scalar ? shared : withFacts(shared, { scalar });
}

export function signExtendingMove(walk: Walk, { width, bits, dst, src }: Extract<Instruction, { kind: 'movsx' }>): void {
  const from = walk.read(src);
  if (walk.isSecret(from)) refuse('EACCES', width === 64 ? `R${src} sign-extension part of pointer` : `R${src} partial copy of pointer`);
  if (from.type !== 'scalar') {
    walk.set(dst, width === 64 ? UNKNOWN_SCALAR : scalarRegister(zeroExtend32(UNKNOWN_SCALAR.scalar)));
    return;
  }
  const unchanged = from.scalar.umax < 1n << BigInt(bits - 1);
  walk.set(dst, copyNarrowed(walk, src, from, unchanged, (scalar) => signExtend(width, bits, scalar)));
}

export function negation(walk: Walk, { width, dst }: Extract<Instruction, { kind: 'neg' }>): void {
  const from = walk.read(dst);
  if (walk.isSecret(from)) refuse('EACCES', `R${dst} pointer arithmetic prohibited`);
  walk.set(dst, scalarRegister(from.type === 'scalar' ? negate(width, from.scalar) : UNKNOWN_SCALAR.scalar));
}

export function swap(walk: Walk, { op, bits, dst }: Extract<Instruction, { kind: 'endian' }>): void {
  const from = walk.read(dst);
  if (walk.isSecret(from)) refuse('EACCES', `R${dst} pointer arithmetic prohibited`);
  walk.set(dst, scalarRegister(from.type === 'scalar' ? byteSwap(op, bits, from.scalar) : UNKNOWN_SCALAR.scalar));
}

/** Kinds of pointers that may be moved; others only by nothing. */
const MOVABLE: ReadonlySet<RegisterState['type']> = new Set(['ctx', 'map_value', 'map_key', 'fp', 'pkt_meta', 'pkt', 'mem', 'ringbuf_mem', 'func', 'ptr_']);

function movePointer(walk: Walk, instruction: Extract<Instruction, { kind: 'alu' }>, base: RegisterState, by: RegisterState, pointerFirst: boolean): RegisterState {
  const { op, width, dst } = instruction;
  const known = isConstant(by.scalar);
  if (width === 32) {
    if (op === 'sub' && walk.rights.perfmon) return UNKNOWN_SCALAR;
    refuse('EACCES', `R${dst} 32-bit pointer arithmetic prohibited`);
  }
  if (base.nullable) refuse('EACCES', `R${dst} pointer arithmetic on ${typeText(base)} prohibited, null-check it first`);
  if (!MOVABLE.has(base.type)) {
    const byNothing = base.type === 'map_ptr' && known && by.scalar.value === 0n && op === 'add';
    if (!byNothing && !(base.type === 'flow_keys' && known)) refuse('EACCES', `R${dst} pointer arithmetic on ${typeText(base)} prohibited`);
  }
  checkSane(by, typeText(base));
  checkSane(base, typeText(base));
  const mask = walk.speculation?.beginMove(walk, instruction, base, by, pointerFirst);
  const amount = BigInt.asIntN(64, by.scalar.value);
  let moved: RegisterState;
  switch (op) {
    case 'add': {
      const sum = BigInt(base.offset) + amount;
      if (known && sum === BigInt.asIntN(32, sum)) moved = withFacts(base, { offset: Number(sum) });
      else {
        moved = withFacts(base, { scalar: aluScalar('add', 64, base.scalar, by.scalar) });
        if (isPacketPointer(base)) moved = withFacts(moved, { id: walk.newId(), range: 0 });
      }
      break;
    }
    case 'sub': {
      if (!pointerFirst) refuse('EACCES', `R${dst} tried to subtract pointer from scalar`);
      if (base.type === 'fp') refuse('EACCES', `R${dst} subtraction from stack pointer prohibited`);
      const difference = BigInt(base.offset) - amount;
      if (known && difference === BigInt.asIntN(32, difference)) moved = withFacts(base, { offset: Number(difference) });
      else {
        moved = withFacts(base, { scalar: aluScalar('sub', 64, base.scalar, by.scalar) });
        if (isPacketPointer(base)) moved = withFacts(moved, { id: walk.newId(), range: by.scalar.smin < 0n ? 0 : base.range });
      }
      break;
    }
    case 'and':
    case 'or':
    case 'xor':
      return refuse('EACCES', `R${dst} bitwise operator ${ALU_TEXT[op]} on pointer prohibited`);
    default:
      return refuse('EACCES', `R${dst} pointer arithmetic with ${operatorText(op)} operator prohibited`);
  }
  checkSane(moved, typeText(base));
  walk.speculation?.endMove(walk, instruction, moved, mask);
  return moved;
}

/** Far from where an offset could wrap around (check_reg_sane_offset); so has to be a number's distance from another. */
function checkSane({ scalar, offset }: RegisterState, type: string): void {
  const limit = MAX_VARIABLE_OFFSET;
  if (isConstant(scalar)) {
    const value = BigInt.asIntN(64, scalar.value);
    if (value >= limit || value <= -limit) refuse('EINVAL', `math between ${type} pointer and ${value} is not allowed`);
  }
  if (BigInt(offset) >= limit || BigInt(offset) <= -limit) refuse('EINVAL', `${type} pointer offset ${offset} is not allowed`);
  if (scalar.smin === S64_MIN) refuse('EINVAL', `math between ${type} pointer and register with unbounded min value is not allowed`);
  if (scalar.smin >= limit || scalar.smin <= -limit) refuse('EINVAL', `value ${scalar.smin} makes ${type} pointer be out of bounds`);
}

