/**
 * Open-coded iterators (Linux: process_iter_arg, process_iter_next_call). `next` answers NULL in the end, and then always:
 * so its answer is taken for NULL first, with the iterator drained, and where the loop goes on, it is followed until a
 * state comes back to `next` that an earlier one there covers.
 */
import type { Register } from '../bpf/isa.ts';
import { release } from './arguments.ts';
import { storeWord } from './memory.ts';
import { refuse } from './refusal.ts';
import { constantRegister, pointer, withFacts, type ObjectFacts, type RegisterState } from './register.ts';
import { placeOf, type ObjectPlace } from './stack-object.ts';
import { BYTE, changeRegisters, EMPTY_SLOT, isObject, objectSlot, type State } from './state.ts';
import type { Walk } from './walk.ts';
import { keptBefore, widen } from './widen.ts';

type IteratorFacts = Extract<ObjectFacts, { kind: 'iterator' }>;

/** struct bpf_iter_num is one slot. */
const SLOTS = 1;

function iteratorAt({ frame, slot }: ObjectPlace): RegisterState | undefined {
  const found = frame.stack[slot]!;
  return isObject(found) && found.spilled.type === 'iterator' ? found.spilled : undefined;
}

const factsOf = (iterator: RegisterState): IteratorFacts => iterator.object as IteratorFacts;

function replace({ frame, slot }: ObjectPlace, iterator: RegisterState, facts: Partial<IteratorFacts>): void {
  frame.stack[slot] = objectSlot(BYTE.iterator, withFacts(iterator, { object: { ...factsOf(iterator), ...facts } }));
}

/** The argument of `new`: the stack where the iterator will be. */
export function beginIterator(walk: Walk, number: Register, name: string): void {
  const register = walk.get(number);
  if (register.type !== 'fp') refuse('EINVAL', `arg#${number - 1} expected pointer to an iterator on stack`);
  const place = placeOf(walk, register, SLOTS);
  const taken = place !== undefined && place !== 'untouched' && (place.frame.stack[place.slot]!.kinds & 0xf) === BYTE.iterator;
  if (place === undefined || taken) refuse('EINVAL', `expected uninitialized iter_${name} as arg #${number - 1}`);
  storeWord(walk, number, 0);
  const reference = walk.acquire();
  const { frame, slot } = placeOf(walk, register, SLOTS) as ObjectPlace;
  frame.stack[slot] = objectSlot(BYTE.iterator, pointer('iterator', { reference, object: { kind: 'iterator', name, drained: false, depth: 0 } }));
}

/** An iterator that is set up. */
export function readIterator(walk: Walk, number: Register, name: string): ObjectPlace {
  const register = walk.get(number);
  if (register.type !== 'fp') refuse('EINVAL', `arg#${number - 1} expected pointer to an iterator on stack`);
  const place = placeOf(walk, register, SLOTS);
  if (place === undefined || place === 'untouched' || iteratorAt(place)?.reference === undefined || factsOf(iteratorAt(place)!).name !== name) {
    return refuse('EINVAL', `expected an initialized iter_${name} as arg #${number - 1}`);
  }
  walk.liveness.read(place.frameNumber, place.slot, place.slot);
  return place;
}

export const referenceOf = (place: ObjectPlace): number => iteratorAt(place)!.reference;

export function destroyIterator(walk: Walk, place: ObjectPlace): void {
  const { reference } = iteratorAt(place)!;
  release(walk.state, reference);
  changeRegisters(walk.state, (register) => (register.reference === reference ? walk.invalid() : register));
  place.frame.stack[place.slot] = EMPTY_SLOT;
  walk.liveness.overwrite(place.frameNumber, place.slot);
}

/** What `next` answered is in r0, and may be NULL. */
export function followIterator(walk: Walk, place: ObjectPlace): void {
  const { state, at } = walk;
  const iterator = iteratorAt(place)!;
  if (!factsOf(iterator).drained) {
    // This instruction is where states are always kept, so the parent is this visit's own.
    const before = keptBefore(state.parent?.parent, at, state);
    const more = walk.push(at + 1, 'ENOMEM');
    replace({ ...place, frame: more.frames[place.frameNumber]! }, iterator, { depth: factsOf(iterator).depth + 1 });
    if (before !== undefined) widen(before, more);
    more.current.registers[0] = withFacts(more.current.registers[0]!, { nullable: false });
  }
  replace(place, iterator, { drained: true });
  walk.frame.registers[0] = constantRegister(0n);
}

/** Whether the iterator that a register points to is not drained. */
export function goesOn(walk: Walk, number: Register): boolean {
  const place = placeOf(walk, walk.get(number), SLOTS);
  const iterator = place === undefined || place === 'untouched' ? undefined : iteratorAt(place);
  return iterator !== undefined && !factsOf(iterator).drained;
}

/** Whether an iterator that was not drained has gone on since: then the same state again is no loop without an end. */
export function iteratorsWentOn(old: State, state: State): boolean {
  return old.frames.some((frame, index) =>
    frame.stack.some(({ kinds, spilled }, slot) => {
      if ((kinds & 0xf) !== BYTE.iterator || factsOf(spilled).drained) return false;
      const now = state.frames[index]?.stack[slot]?.spilled.object;
      return now?.kind !== 'iterator' || now.depth !== factsOf(spilled).depth;
    }),
  );
}
