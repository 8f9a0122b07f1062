/**
 * Dynptrs on the stack (Linux: process_dynptr_func, mark_stack_slots_dynptr, unmark_stack_slots_dynptr). One is two slots,
 * and has an id, by which its slices are known. That of a ring buffer record is a reference, which its clones share.
 *
 *   slot      n          n - 1          a write to either ends the dynptr, and with it those of its slices
 *           ┌──────────┬──────────┐     that bpf_dynptr_data gave; a referenced one must not be written over
 *           │ first    │ second   │
 *           └──────────┴──────────┘
 */
import type { Register } from '../bpf/isa.ts';
import { storeWord } from './memory.ts';
import { without } from './references.ts';
import { refuse } from './refusal.ts';
import { pointer, withFacts, type DynptrType, type ObjectFacts, type RegisterState } from './register.ts';
import { placeOf, type ObjectPlace } from './stack-object.ts';
import { BYTE, changeRegisters, EMPTY_SLOT, objectSlot, SLOT_BYTES, type Frame } from './state.ts';
import type { Walk } from './walk.ts';

const SLOTS = 2;

export type DynptrFacts = Extract<ObjectFacts, { kind: 'dynptr' }>;

const isDynptr = (frame: Frame, slot: number): boolean => ((frame.stack[slot]?.kinds ?? 0) & 0xf) === BYTE.dynptr;
const factsAt = (frame: Frame, slot: number): DynptrFacts => frame.stack[slot]!.spilled.object as DynptrFacts;

/** Of ring buffer records: they have to be submitted or discarded. */
const isReferenced = (of: DynptrType): boolean => of === 'ringbuf';

/** The first slot of a dynptr that is set up there, or undefined. */
function dynptrAt(walk: Walk, register: RegisterState): ObjectPlace | undefined {
  const place = placeOf(walk, register, SLOTS);
  if (place === undefined || place === 'untouched') return undefined;
  const { frame, slot } = place;
  return isDynptr(frame, slot) && factsAt(frame, slot).first && isDynptr(frame, slot - 1) ? place : undefined;
}

/** The argument is where a dynptr will be. `reference`: of the one it is a clone of. */
export function makeDynptr(walk: Walk, number: Register, of: DynptrType, reference = 0): void {
  const register = walk.get(number);
  checkPointer(register, number);
  if (placeOf(walk, register, SLOTS) === undefined) refuse('EINVAL', 'Dynptr has to be an uninitialized dynptr');
  for (let offset = 0; offset < SLOTS * SLOT_BYTES; offset += SLOT_BYTES) storeWord(walk, number, offset);
  const { frame, slot } = placeOf(walk, register, SLOTS) as ObjectPlace;
  const id = walk.newId();
  const held = !isReferenced(of) ? 0 : reference === 0 ? walk.acquire() : reference;
  for (const first of [true, false]) frame.stack[first ? slot : slot - 1] = objectSlot(BYTE.dynptr, pointer('dynptr', { id, reference: held, object: { kind: 'dynptr', of, first } }));
}

/** The argument is a dynptr that is set up, of that type where it matters. */
export function readDynptr(walk: Walk, number: Register, of?: DynptrType): RegisterState {
  const register = walk.get(number);
  checkPointer(register, number);
  const place = dynptrAt(walk, register);
  if (place === undefined) return refuse('EINVAL', `Expected an initialized dynptr as arg #${number - 1}`);
  const { spilled } = place.frame.stack[place.slot]!;
  if (of !== undefined && (spilled.object as DynptrFacts).of !== of) refuse('EINVAL', `Expected a dynptr of type ${of} as arg #${number - 1}`);
  walk.liveness.read(place.frameNumber, place.slot - 1, place.slot);
  return spilled;
}

function checkPointer({ type }: RegisterState, number: Register): void {
  if (type !== 'fp') refuse('EINVAL', `arg#${number - 1} expected pointer to stack or const struct bpf_dynptr`);
}

/** A dynptr that is to be released has to hold something. */
export function checkReleasable(walk: Walk, number: Register): void {
  const place = placeOf(walk, walk.get(number), SLOTS);
  const held = place !== undefined && place !== 'untouched' && place.frame.stack[place.slot]!.spilled.reference !== 0;
  if (!held) refuse('EINVAL', `arg ${number} is an unacquired reference`);
}

/** The record goes, and with it all dynptrs and slices of it. */
export function releaseDynptr(walk: Walk, number: Register): void {
  const { frame, frameNumber, slot } = dynptrAt(walk, walk.get(number))!;
  const { reference } = frame.stack[slot]!.spilled;
  walk.state.references = without(walk.state.references, reference);
  changeRegisters(walk.state, (register) => (register.reference === reference ? walk.invalid() : register));
  for (let clone = SLOTS - 1; clone < frame.stack.length; clone++) {
    if (!isDynptr(frame, clone) || !factsAt(frame, clone).first || frame.stack[clone]!.spilled.reference !== reference) continue;
    clear(walk, frame, frameNumber, clone);
  }
}

/** A write to the slot: a dynptr there is none any more. */
export function destroyDynptr(walk: Walk, frame: Frame, frameNumber: number, slot: number): void {
  if (!isDynptr(frame, slot)) return;
  const first = factsAt(frame, slot).first ? slot : slot + 1;
  const { id } = frame.stack[first]!.spilled;
  if (isReferenced(factsAt(frame, first).of)) refuse('EINVAL', 'cannot overwrite referenced dynptr');
  clear(walk, frame, frameNumber, first);
  changeRegisters(walk.state, (register) => (isDataOf(register, id) ? walk.invalid() : register));
}

function clear(walk: Walk, frame: Frame, frameNumber: number, first: number): void {
  for (const slot of [first, first - 1]) {
    frame.stack[slot] = EMPTY_SLOT;
    walk.liveness.overwrite(frameNumber, slot);
  }
}

/** Linux looks for plain memory only: slices that are read only, or say of what they are, stay. */
function isDataOf({ type, readOnly, object }: RegisterState, id: number): boolean {
  return type === 'mem' && !readOnly && object?.kind === 'slice' && object.of === undefined && object.dynptr === id;
}

/** Memory that is a part of a dynptr, by its state. */
export function sliceOf(walk: Walk, dynptr: RegisterState, bytes: number, tagged: boolean, readOnly: boolean): RegisterState {
  const { of } = dynptr.object as DynptrFacts;
  return withFacts(pointer('mem', { bytes, readOnly, nullable: true, id: walk.newId() }), { object: { kind: 'slice', dynptr: dynptr.id, of: tagged ? of : undefined }, reference: tagged ? 0 : dynptr.reference });
}
