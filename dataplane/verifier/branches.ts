/** Conditional jumps: which ways are possible, and what each way says about registers, their relatives and packets. */
import type { BranchOp, Instruction, Register } from '../bpf/isa.ts';
import { jumpTarget } from '../bpf/isa.ts';
import { isMapOfMaps } from '../bpf/map-type.ts';
import { callsBack, hasSpinLock } from '../maps/special-fields.ts';
import { refuse } from './refusal.ts';
import { AT_PACKET_END, BEYOND_PACKET_END, constantRegister, isPacketOrEnd, isPointer, withFacts, type RegisterState } from './register.ts';
import { constant, isConstant, isSubregConstant, zeroExtend32 } from './scalar.ts';
import { alu } from './scalar-arithmetic.ts';
import { branchTaken, refine } from './scalar-branch.ts';
import { guessWrong } from './speculation.ts';
import { changeRegisters, isSpilledScalar, type Place, type State } from './state.ts';
import type { Walk } from './walk.ts';
import { without } from './references.ts';

const MAX_PACKET_OFFSET = 0xffffn;
const MAX_LINKED = 6;

type Branch = Extract<Instruction, { kind: 'branch' }>;

/** `a op b` is `b FLIPPED[op] a`. */
const FLIPPED: Readonly<Record<BranchOp, BranchOp>> = {
  jeq: 'jeq', jne: 'jne', jset: 'jset', jge: 'jle', jgt: 'jlt', jle: 'jge', jlt: 'jgt', jsge: 'jsle', jsgt: 'jslt', jsle: 'jsge', jslt: 'jsgt',
};

/** Follows the branch, and pushes the other way where both are possible. Answers the next slot. */
export function branch(walk: Walk, instruction: Branch): number {
  const { op, width, dst, source, offset } = instruction;
  const target = jumpTarget(walk.at, offset);
  const number = source.kind === 'register' ? source.register : undefined;
  if (number !== undefined) walk.read(number);
  const left = walk.read(dst);
  const right = number === undefined ? constantRegister(BigInt(source.kind === 'immediate' ? source.value : 0)) : walk.read(number);
  if (number !== undefined && !(isPacketOrEnd(left) && isPacketOrEnd(right)) && walk.isSecret(right)) refuse('EACCES', `R${number} pointer comparison prohibited`);

  const stackPointers = (left.type === 'fp' ? 1 << dst : 0) | (number !== undefined && right.type === 'fp' ? 1 << number : 0);
  if (stackPointers !== 0) walk.remember(-1, -1, undefined, stackPointers);
  const taken = decided(left, right, op, width);
  if (taken !== undefined) {
    if (!isPointer(left)) walk.precision.markRegister(walk.state, dst);
    if (number !== undefined && !isPointer(right)) walk.precision.markRegister(walk.state, number);
    guessWrong(walk, taken ? walk.at + 1 : target, dst, number);
    return taken ? target : walk.at + 1;
  }

  const linked: Place[] = [];
  if (number !== undefined && right.type === 'scalar' && right.id !== 0) collect(walk, right.id, linked);
  if (left.type === 'scalar' && left.id !== 0) collect(walk, left.id, linked);
  if (linked.length > 1) walk.remember(-1, -1, linked);
  const other = walk.push(target);

  if (left.type === 'scalar' && right.type === 'scalar') {
    narrow(other, instruction, number, left, right, true, linked);
    narrow(walk.state, instruction, number, left, right, false, linked);
  }
  nullness(walk, other, instruction, left, right);
  return walk.at + 1;
}

/** Which way it goes, where that is certain. */
function decided(left: RegisterState, right: RegisterState, op: BranchOp, width: 32 | 64): boolean | undefined {
  if (width === 64 && isPacketOrEnd(left) && isPacketOrEnd(right)) return packetDecided(left, right, op);
  if (left.type === 'scalar' && right.type === 'scalar') return branchTaken(op, width, left.scalar, right.scalar);
  const constantSide = (register: RegisterState): boolean => register.type === 'scalar' && (width === 64 ? isConstant(register.scalar) : isSubregConstant(register.scalar));
  const [one, two, spelled] = constantSide(right) ? [left, right, op] : [right, left, FLIPPED[op]];
  if (!isPointer(one) || !constantSide(two) || !neverNull(one)) return undefined;
  const value = width === 64 ? two.scalar.value : BigInt(two.scalar.u32min);
  if (value !== 0n) return undefined;
  return spelled === 'jeq' ? false : spelled === 'jne' ? true : undefined;
}

const NEVER_NULL: ReadonlySet<RegisterState['type']> = new Set(['sock', 'tcp_sock', 'map_value', 'map_key', 'sock_common', 'mem', 'ringbuf_mem', 'map_ptr']);

function neverNull(register: RegisterState): boolean {
  return !register.nullable && (NEVER_NULL.has(register.type) || (register.type === 'ptr_' && register.reference !== 0));
}

function packetDecided(left: RegisterState, right: RegisterState, op: BranchOp): boolean | undefined {
  const [packet, spelled] = right.type === 'pkt_end' ? [left, op] : [right, FLIPPED[op]];
  if ((right.type === 'pkt_end') === (left.type === 'pkt_end') || packet.range >= 0) return undefined;
  if (spelled === 'jle' || spelled === 'jgt') return packet.range === BEYOND_PACKET_END ? spelled === 'jgt' : undefined;
  if (spelled === 'jlt' || spelled === 'jge') return spelled === 'jge';
  return undefined;
}

/** Registers that are read again, and spilled registers, that share the id. */
function collect({ state, liveRegisters, at }: Walk, id: number, linked: Place[]): void {
  for (let frame = state.frames.length - 1; frame >= 0 && linked.length < MAX_LINKED; frame--) {
    const { registers, stack } = state.frames[frame]!;
    const live = liveRegisters[state.frames[frame + 1]?.callSite ?? at]!;
    for (let register = 0; register < 10 && linked.length < MAX_LINKED; register++) {
      if ((live & (1 << register)) === 0) continue;
      const found = registers[register]!;
      if (found.type === 'scalar' && found.id === id) linked.push({ frame, register });
    }
    for (let slot = 0; slot < stack.length && linked.length < MAX_LINKED; slot++) {
      const found = stack[slot]!;
      if (isSpilledScalar(found) && found.spilled.id === id) linked.push({ frame, slot });
    }
  }
}

/** What a way taken, or not, says of both operands and of their relatives. */
function narrow(state: State, { op, width, dst }: Branch, number: Register | undefined, left: RegisterState, right: RegisterState, taken: boolean, linked: readonly Place[]): void {
  const [leftScalar, rightScalar] = refine(op, width, taken, left.scalar, right.scalar, number === dst);
  const { registers } = state.current;
  const narrowed = leftScalar === left.scalar ? registers[dst]! : withFacts(registers[dst]!, { scalar: leftScalar });
  registers[dst] = narrowed;
  if (number !== undefined && rightScalar !== right.scalar) registers[number] = withFacts(registers[number]!, { scalar: rightScalar });
  if (number !== undefined && right.id !== 0) tellRelatives(state, registers[number]!, linked);
  if (left.id !== 0) tellRelatives(state, registers[dst]!, linked);
}

function tellRelatives(state: State, known: RegisterState, linked: readonly Place[]): void {
  for (const { frame, register, slot } of linked) {
    const { registers, stack } = state.frames[frame]!;
    const relative = register === undefined ? stack[slot!]!.spilled : registers[register]!;
    if (relative === known || relative.type !== 'scalar' || relative.id !== known.id) continue;
    const told = relativeOf(relative, known);
    if (register === undefined) stack[slot!] = { kinds: stack[slot!]!.kinds, spilled: told };
    else registers[register] = told;
  }
}

function relativeOf(relative: RegisterState, known: RegisterState): RegisterState {
  // What was added with 32 bits and what with 64 have nothing to say to each other.
  if (relative.delta !== 0 && known.delta !== 0 && relative.delta !== known.delta) return relative;
  if (relative.offset === known.offset) return known;
  const scalar = alu('add', 64, known.scalar, constant(BigInt(relative.offset - known.offset)));
  return withFacts(relative, { scalar: relative.delta === 32 || known.delta === 32 ? zeroExtend32(scalar) : scalar });
}

/** Pointers: whether they are NULL, and how far a packet reaches. */
function nullness(walk: Walk, other: State, instruction: Branch, left: RegisterState, right: RegisterState): void {
  const { op, width, dst, source } = instruction;
  const equality = op === 'jeq' || op === 'jne';
  if (width === 64 && source.kind === 'register' && equality && isPointer(left) && isPointer(right) && left.nullable !== right.nullable) {
    const state = op === 'jeq' ? other : walk.state;
    resolveNull(state, left.nullable ? left : right, false);
  }
  if (width === 64 && source.kind === 'immediate' && source.value === 0 && equality && left.nullable) {
    resolveNull(walk.state, left, op === 'jne');
    resolveNull(other, left, op === 'jeq');
    return;
  }
  if (comparePackets(walk.state, other, instruction, left, right)) return;
  if (walk.isSecret(left)) refuse('EACCES', `R${dst} pointer comparison prohibited`);
}

/** Says of a pointer, and of its copies, that it is NULL or is not. */
export function resolveNull(state: State, register: RegisterState, isNull: boolean): void {
  const { id } = register;
  if (isNull && register.reference !== 0 && register.reference === id) state.references = without(state.references, id);
  changeRegisters(state, (found) => (found.nullable && found.id === id ? (isNull ? constantRegister(0n) : notNull(found)) : found));
}

function notNull(register: RegisterState): RegisterState {
  const { map } = register;
  if (register.type === 'map_value' && map !== undefined && isMapOfMaps(map.type) && map.inner !== undefined) {
    return withFacts(register, { type: 'map_ptr', nullable: false, id: 0, map: map.inner, mapUid: callsBack(map.inner) ? register.id : 0 });
  }
  const keepsId = register.type === 'map_value' && map !== undefined && hasSpinLock(map);
  return withFacts(register, { nullable: false, id: keepsId ? register.id : 0 });
}

/** The four comparisons of a packet pointer with the packet's end (or metadata with the packet's begin), either way round. */
function comparePackets(state: State, other: State, { op, width, dst, source }: Branch, left: RegisterState, right: RegisterState): boolean {
  if (width === 32 || source.kind !== 'register') return false;
  const begins = (register: RegisterState): boolean => register.type === 'pkt' && register.id === 0 && register.offset === 0 && isConstant(register.scalar) && register.scalar.value === 0n;
  const forward = (left.type === 'pkt' && right.type === 'pkt_end') || (left.type === 'pkt_meta' && begins(right));
  const backward = (left.type === 'pkt_end' && right.type === 'pkt') || (begins(left) && right.type === 'pkt_meta');
  if (!forward && !backward) return false;
  const spelled = forward ? op : FLIPPED[op];
  const [packet, number] = forward ? [left, dst] : [right, source.register];
  switch (spelled) {
    case 'jgt':
      reaches(state, packet, false);
      pastEnd(other, number, BEYOND_PACKET_END);
      return true;
    case 'jlt':
      reaches(other, packet, true);
      pastEnd(state, number, AT_PACKET_END);
      return true;
    case 'jge':
      reaches(state, packet, true);
      pastEnd(other, number, AT_PACKET_END);
      return true;
    case 'jle':
      reaches(other, packet, false);
      pastEnd(state, number, BEYOND_PACKET_END);
      return true;
    default:
      return false;
  }
}

/** `packet` is at most the end, or less than it: everything up to it is there, for all pointers with its variable part. */
function reaches(state: State, packet: RegisterState, lessThanEnd: boolean): void {
  if (packet.offset < 0 || (packet.offset === 0 && lessThanEnd)) return;
  const { umax } = packet.scalar;
  if (umax > MAX_PACKET_OFFSET || umax + BigInt(packet.offset) > MAX_PACKET_OFFSET) return;
  const range = packet.offset + (lessThanEnd ? 1 : 0);
  changeRegisters(state, (register) => (register.type === packet.type && register.id === packet.id && register.range < range ? withFacts(register, { range }) : register));
}

function pastEnd(state: State, number: Register, mark: number): void {
  const { registers } = state.current;
  if (registers[number]!.type === 'pkt') registers[number] = withFacts(registers[number]!, { range: mark });
}

