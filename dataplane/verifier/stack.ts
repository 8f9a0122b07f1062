/** Reads and writes of the stack: bytes, and registers that are spilled to 8-byte slots and filled again. */
import { destroyDynptr } from './dynptr.ts';
import { refuse } from './refusal.ts';
import { constantRegister, isKnownZero, isPointer, NOT_INITIALISED, UNKNOWN_SCALAR, fitsBits, withFacts, type RegisterState } from './register.ts';
import { isConstant, type Scalar } from './scalar.ts';
import { withoutSlot } from './slot-set.ts';
import { BYTE, EMPTY_SLOT, isObject, isSpilled, isSpilledScalar, kindAt, SLOT_BYTES, withKind, type ByteKind, type Frame, type StackSlot } from './state.ts';
import type { Walk } from './walk.ts';

export const MAX_STACK_BYTES = 512;

export const slotOf = (offset: number): number => (-offset - 1) >> 3;
const byteOf = (offset: number): number => (-offset - 1) & 7;
/** An access of `bytes` that begins where a spill of `spilled` bytes begins (little endian). */
const beginsAtSpill = (offset: number): boolean => (offset & 7) === 0;

/** A variable part as messages show it. */
export function tnumText({ value, mask }: Scalar): string {
  return mask === 0n ? (value === 0n ? '0' : BigInt.asIntN(64, value).toString()) : `(0x${value.toString(16)}; 0x${mask.toString(16)})`;
}

function growTo(walk: Walk, frame: Frame, offset: number): void {
  const slots = slotOf(offset) + 1;
  while (frame.stack.length < slots) frame.stack.push(EMPTY_SLOT);
  const bytes = slots * SLOT_BYTES;
  if (bytes > walk.stackBytes[frame.subprogram]!) walk.stackBytes[frame.subprogram] = bytes;
}

export type StackAccess = 'read' | 'write';

/** That all bytes an access may touch are in the frame. */
export function checkStackBounds(walk: Walk, number: number, register: RegisterState, offset: number, bytes: number, access: StackAccess): void {
  const kind = access === 'read' ? ' read from' : ' write to';
  const { scalar } = register;
  const base = register.offset + offset;
  const constantPlace = isConstant(scalar);
  if (!constantPlace && (scalar.smax >= 1n << 29n || scalar.smin <= -(1n << 29n))) refuse('EACCES', `invalid unbounded variable-offset${kind} stack R${number}`);
  const [least, most] = [base + Number(scalar.smin), base + Number(scalar.smax)];
  // Whoever may not see what others left behind reads only where something was written.
  const lowest = access === 'read' && !walk.rights.perfmon ? -SLOT_BYTES * frameOf(walk, register).stack.length : -MAX_STACK_BYTES;
  const below = least < lowest || least >= 0;
  if (!below && most + bytes <= 0) return;
  const place = constantPlace ? `off=${least}` : `var_off=${tnumText(scalar)} off=${base}`;
  refuse(below ? 'EACCES' : 'EINVAL', `invalid${constantPlace ? '' : ' variable-offset'}${kind} stack R${number} ${place} size=${bytes}`);
}

/** The frame an 'fp' points into. */
export const frameOf = (walk: Walk, register: RegisterState): Frame => walk.state.frames[register.frame]!;

const constantOffset = (register: RegisterState, offset: number): number => register.offset + offset + Number(BigInt.asIntN(64, register.scalar.value));

export function writeStack(walk: Walk, pointer: RegisterState, offset: number, bytes: number, value: RegisterState | undefined, valueNumber: number | undefined, immediate: number | undefined): void {
  const frame = frameOf(walk, pointer);
  if (isConstant(pointer.scalar)) writeAt(walk, frame, pointer.frame, constantOffset(pointer, offset), bytes, value, valueNumber, immediate);
  else writeSomewhere(walk, frame, pointer, offset, bytes, value, valueNumber, immediate);
}

function writeAt(walk: Walk, frame: Frame, frameNumber: number, offset: number, bytes: number, value: RegisterState | undefined, valueNumber: number | undefined, immediate: number | undefined): void {
  growTo(walk, frame, offset);
  const slot = slotOf(offset);
  destroyDynptr(walk, frame, frameNumber, slot);
  const before = frame.stack[slot]!;
  if (bytes === SLOT_BYTES) walk.liveness.overwrite(frameNumber, slot);
  const { bpf, perfmon } = walk.rights;
  if (!perfmon && isSpilled(before) && !isSpilledScalar(before) && bytes !== SLOT_BYTES) refuse('EACCES', 'attempt to corrupt spilled pointer on stack');
  if (!perfmon && mayBePassed(before, value, offset, bytes)) walk.speculation!.putBehind(walk.at);
  const followed = bpf && (offset & 7) === 0;
  if (value?.type === 'scalar' && followed) {
    let spilled = value;
    if (fitsBits(value, 8 * bytes)) {
      spilled = walk.withSharedId(value);
      if (spilled !== value && valueNumber !== undefined) walk.frame.registers[valueNumber] = spilled;
    } else if (spilled.id !== 0) spilled = withFacts(spilled, { id: 0, delta: 0, offset: 0 });
    spill(frame, slot, before, spilled, bytes);
    walk.remember(frameNumber, slot);
  } else if (value === undefined && immediate !== undefined && followed) {
    spill(frame, slot, before, constantRegister(BigInt(immediate)), bytes);
    walk.remember(frameNumber, slot);
  } else if (value !== undefined && value.type !== 'scalar' && value.type !== '?') {
    if (bytes !== SLOT_BYTES) refuse('EACCES', 'invalid size of register spill');
    if (frame !== walk.frame && value.type === 'fp') refuse('EINVAL', 'cannot spill pointers to stack into stack frame of the caller');
    spill(frame, slot, before, value, bytes);
    walk.remember(frameNumber, slot);
  } else {
    const zero = value === undefined ? immediate === 0 : isKnownZero(value);
    if (zero && valueNumber !== undefined) walk.precision.markRegister(walk.state, valueNumber);
    let kinds = scrub(before);
    for (let index = 0; index < bytes; index++) kinds = withKind(kinds, byteOf(offset + index), zero ? BYTE.zero : BYTE.misc);
    setSlot(frame, slot, { kinds, spilled: NOT_INITIALISED });
  }
}

/** A load that runs ahead of the store would find something else there than a number, or a number instead of a pointer. */
function mayBePassed(before: StackSlot, value: RegisterState | undefined, offset: number, bytes: number): boolean {
  if (value !== undefined && isPointer(value)) return true;
  for (let index = 0; index < bytes; index++) {
    const kind = kindAt(before, byteOf(offset + index));
    if (kind !== BYTE.misc && kind !== BYTE.zero) return true;
  }
  return false;
}

function setSlot(frame: Frame, slot: number, next: StackSlot): void {
  frame.stack[slot] = next;
  frame.preciseSlots = withoutSlot(frame.preciseSlots, slot);
}

const isSpecial = (kind: number): boolean => kind === BYTE.spill || kind > BYTE.zero;

/** What remains of a slot whose spilled register, or object, is overwritten in part: of no byte that was there it is known what it is, zeroes beside it too. */
function scrub({ kinds }: StackSlot): number {
  if (!isSpecial(kinds >>> 28)) return kinds;
  let scrubbed = kinds;
  for (let byte = 0; byte < SLOT_BYTES; byte++) if (((scrubbed >>> (4 * byte)) & 0xf) !== BYTE.invalid) scrubbed = withKind(scrubbed, byte, BYTE.misc);
  return scrubbed;
}

function spill(frame: Frame, slot: number, before: StackSlot, spilled: RegisterState, bytes: number): void {
  let { kinds } = before;
  for (let byte = SLOT_BYTES - 1; byte >= SLOT_BYTES - bytes; byte--) kinds = withKind(kinds, byte, BYTE.spill);
  for (let byte = SLOT_BYTES - bytes - 1; byte >= 0; byte--) {
    const kind = (kinds >>> (4 * byte)) & 0xf;
    if (kind === BYTE.zero || kind === BYTE.invalid) continue;
    kinds = withKind(kinds, byte, BYTE.misc);
  }
  setSlot(frame, slot, { kinds, spilled });
}

/** A write that may hit any of several places: each may hold what was written, or what was there. */
function writeSomewhere(walk: Walk, frame: Frame, pointer: RegisterState, offset: number, bytes: number, value: RegisterState | undefined, valueNumber: number | undefined, immediate: number | undefined): void {
  const least = pointer.offset + offset + Number(pointer.scalar.smin);
  const end = pointer.offset + offset + Number(pointer.scalar.smax) + bytes;
  growTo(walk, frame, least);
  const zero = value === undefined ? immediate === 0 : isKnownZero(value);
  let marked = false;
  for (let slot = slotOf(least); slot >= slotOf(end - 1); slot--) destroyDynptr(walk, frame, pointer.frame, slot);
  for (let at = least; at < end; at++) {
    const slot = slotOf(at);
    const before = frame.stack[slot]!;
    const kind = kindAt(before, byteOf(at));
    if (!walk.rights.perfmon && kind !== BYTE.misc && kind !== BYTE.zero) refuse('EINVAL', `spilled ptr in range of var-offset stack write; insn ${walk.at}, ptr off: ${slot}`);
    if (isSpilledScalar(before) && zero && isKnownZero(before.spilled)) {
      marked = true;
      continue;
    }
    let next: ByteKind = BYTE.misc;
    if (zero && kind === BYTE.zero) {
      next = BYTE.zero;
      marked = true;
    }
    setSlot(frame, slot, { kinds: withKind(isSpilled(before) ? scrub(before) : before.kinds, byteOf(at), next), spilled: NOT_INITIALISED });
  }
  if (marked && valueNumber !== undefined) walk.precision.markRegister(walk.state, valueNumber);
}

/** A helper that fills the stack may read a dynptr in the same place while it does. */
export function checkNoDynptr(walk: Walk, pointer: RegisterState, bytes: number): void {
  const { stack } = frameOf(walk, pointer);
  const least = constantOffset(pointer, 0);
  for (let at = least; at < least + bytes; at++) {
    const slot = stack[slotOf(at)];
    if (slot !== undefined && kindAt(slot, byteOf(at)) === BYTE.dynptr) refuse('EACCES', `potential write to dynptr at off=${at} disallowed`);
  }
}

/** What a load gives; undefined where only the check is wanted. */
export function readStack(walk: Walk, number: number, pointer: RegisterState, offset: number, bytes: number): RegisterState {
  const frame = frameOf(walk, pointer);
  if (!isConstant(pointer.scalar)) return readSomewhere(walk, frame, number, pointer, offset, bytes);
  const at = constantOffset(pointer, offset);
  growTo(walk, frame, at);
  const slot = slotOf(at);
  const found = frame.stack[slot]!;
  walk.liveness.read(pointer.frame, slot, slot);
  if (!isSpilled(found)) {
    checkReadable(walk, found, at, bytes);
    return readBytes(frame, at, bytes);
  }
  let spilledBytes = 1;
  while (spilledBytes < SLOT_BYTES && kindAt(found, SLOT_BYTES - 1 - spilledBytes) === BYTE.spill) spilledBytes++;
  if (bytes === SLOT_BYTES && spilledBytes === SLOT_BYTES) {
    const shared = shareSlot(walk, frame, slot, found);
    walk.remember(pointer.frame, slot);
    return shared;
  }
  if (found.spilled.type !== 'scalar') refuse('EACCES', 'invalid size of register fill');
  if (bytes <= spilledBytes && beginsAtSpill(at)) {
    const filled = bytes === 4 && spilledBytes === 4 && fitsBits(found.spilled, 32) ? shareSlot(walk, frame, slot, found) : found.spilled;
    walk.remember(pointer.frame, slot);
    return !fitsBits(filled, 8 * bytes) && filled.id !== 0 ? withFacts(filled, { id: 0, delta: 0, offset: 0 }) : filled;
  }
  let [spills, zeros] = [0, 0];
  for (let index = 0; index < bytes; index++) {
    const kind = kindAt(found, byteOf(at + index));
    if (kind === BYTE.spill) spills++;
    else if (kind === BYTE.zero) zeros++;
    else if (kind === BYTE.invalid && !walk.rights.perfmon) refuse('EACCES', `invalid read from stack off ${at}+${index} size ${bytes}`);
  }
  if (spills === bytes && isKnownZero(found.spilled)) {
    walk.remember(pointer.frame, slot);
    return constantRegister(0n);
  }
  return zeros === bytes ? constantRegister(0n) : UNKNOWN_SCALAR;
}

function shareSlot(walk: Walk, frame: Frame, slot: number, found: StackSlot): RegisterState {
  const shared = walk.withSharedId(found.spilled);
  if (shared !== found.spilled) frame.stack[slot] = { kinds: found.kinds, spilled: shared };
  return shared;
}

function checkReadable(walk: Walk, slot: StackSlot, at: number, bytes: number): void {
  const { perfmon } = walk.rights;
  if (perfmon && !isObject(slot)) return;
  for (let index = 0; index < bytes; index++) {
    const kind = kindAt(slot, byteOf(at + index));
    if (kind > BYTE.zero || (kind === BYTE.invalid && !perfmon)) refuse('EACCES', `invalid read from stack off ${at}+${index} size ${bytes}`);
  }
}

function readBytes(frame: Frame, at: number, bytes: number): RegisterState {
  for (let index = 0; index < bytes; index++) if (kindAt(frame.stack[slotOf(at + index)] ?? EMPTY_SLOT, byteOf(at + index)) !== BYTE.zero) return UNKNOWN_SCALAR;
  return constantRegister(0n);
}

function readSomewhere(walk: Walk, frame: Frame, number: number, pointer: RegisterState, offset: number, bytes: number): RegisterState {
  const least = pointer.offset + offset + Number(pointer.scalar.smin);
  const end = pointer.offset + offset + Number(pointer.scalar.smax) + bytes;
  checkStackBytes(walk, frame, number, pointer, least, end, bytes, false);
  return readBytes(frame, least, end - least);
}

/** Bytes `least` to `end` that a helper, or a read at a variable place, may read or write: `size` of them. */
export function checkStackBytes(walk: Walk, frame: Frame, number: number, pointer: RegisterState, least: number, end: number, size: number, writes: boolean): void {
  if (end <= least) return;
  const { perfmon } = walk.rights;
  growTo(walk, frame, least);
  for (let at = least; at < end; at++) {
    const slot = slotOf(at);
    const found = frame.stack[slot]!;
    const kind = kindAt(found, byteOf(at));
    if (kind === BYTE.zero || (kind === BYTE.invalid && perfmon)) {
      if (writes) setSlot(frame, slot, { kinds: withKind(found.kinds, byteOf(at), BYTE.misc), spilled: found.spilled });
    } else if (isSpilled(found) && kind !== BYTE.misc && (perfmon || found.spilled.type === 'scalar')) {
      // Of what stands beside a number that was spilled nothing is asked, as in Linux.
      if (writes) setSlot(frame, slot, { kinds: scrub(found), spilled: NOT_INITIALISED });
    } else if (kind !== BYTE.misc) {
      const where = isConstant(pointer.scalar) ? `off ${least}+${at - least}` : `var_off ${tnumText(pointer.scalar)}+${at - least}`;
      refuse('EACCES', `invalid read from stack R${number} ${where} size ${size}`);
    }
    // Whoever writes some of it leaves the rest.
    walk.liveness.read(pointer.frame, slot, slot);
  }
}
