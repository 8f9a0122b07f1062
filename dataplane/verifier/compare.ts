/**
 * Whether everything that can follow from a state was verified when an earlier one was (Linux: states_equal). The
 * earlier state has to be at least as general in all that was used of it.
 *
 *   'used'    scalars on which no decision depended may differ: for states whose paths are finished
 *   'range'   every scalar has to lie in the earlier one's range: for loops, whose uses are not all known yet
 *   'exact'   nothing may differ: a loop that comes back like this never ends
 *
 * Ids stand for relations, not for themselves: an id of the earlier state has to correspond to one id of the later.
 */
import { AT_PACKET_END, BEYOND_PACKET_END, UNKNOWN_SCALAR, type ObjectFacts, type RegisterState } from './register.ts';
import { rangeWithin, scalarsEqual, tnumIn } from './scalar.ts';
import { hasSlot } from './slot-set.ts';
import type { Speculation } from './speculation.ts';
import { ALL_SPILL, BYTE, isObject, isSpilled, kindAt, type Frame, type StackSlot, type State } from './state.ts';
import { USERS, type Rights } from './user.ts';

export type Exactness = 'used' | 'range' | 'exact';

/** What else decides. */
export interface CompareRules {
  /** Without CAP_BPF nobody knows which numbers mattered; without CAP_PERFMON what is on the stack matters, even if it was not tracked. */
  readonly rights: Rights;
  /** Of what a processor may guess, the range of a number decides more than where it may be used. */
  readonly speculation: Pick<Speculation, 'comparesExactly'> | undefined;
}

const ALL_ALLOWED: CompareRules = { rights: USERS.privileged, speculation: undefined };

/** The pairs of ids found so far, and by which rules they were found; few, so a list. One for all comparisons, which allocate nothing. */
export class Correspondence {
  readonly #old: number[] = [];
  readonly #current: number[] = [];
  #count = 0;
  #fresh = -1;
  #rules = ALL_ALLOWED;

  reset(rules = ALL_ALLOWED): this {
    this.#count = 0;
    this.#fresh = -1;
    this.#rules = rules;
    return this;
  }

  get rules(): CompareRules {
    return this.#rules;
  }

  /** Both none, or the same pair as before, or a new pair of ids that are in no other. */
  ids(old: number, current: number): boolean {
    if ((old === 0) !== (current === 0)) return false;
    if (old === 0) return true;
    for (let index = 0; index < this.#count; index++) {
      if (this.#old[index] === old) return this.#current[index] === current;
      if (this.#current[index] === current) return false;
    }
    this.#old[this.#count] = old;
    this.#current[this.#count++] = current;
    return true;
  }

  /** Of scalars: what has no relatives has a relation of its own, which nothing else may be part of. */
  scalarIds(old: number, current: number): boolean {
    return old === 0 ? true : this.ids(old, current === 0 ? this.#fresh-- : current);
  }
}

const correspondence = new Correspondence();

/** `live`: by frame, the registers that are read again. */
export function coveredBy(old: State, current: State, exactness: Exactness, live: (frame: number) => number, rules: CompareRules): boolean {
  // On a wrong guess errors are no errors.
  if (old.speculative && !current.speculative) return false;
  if (old.frames.length !== current.frames.length) return false;
  if (old.rcu !== current.rcu || old.preemptOff !== current.preemptOff) return false;
  if ((old.lock === undefined) !== (current.lock === undefined) || old.references?.count !== current.references?.count) return false;
  for (let index = 0; index < old.frames.length; index++) {
    const [before, now] = [old.frames[index]!, current.frames[index]!];
    if (before.callSite !== now.callSite || before.subprogram !== now.subprogram || before.callbackDepth > now.callbackDepth) return false;
  }
  const { differedIn, differedAt } = old;
  if (differedIn >= 0 && !placeCovered(old.frames[differedIn]!, current.frames[differedIn]!, differedAt, exactness, correspondence.reset(rules))) return false;
  const ids = correspondence.reset(rules);
  for (let [before, now] = [old.references, current.references]; before !== undefined; [before, now] = [before.earlier, now!.earlier]) if (!ids.ids(before.id, now!.id)) return false;
  if (old.lock !== undefined && (old.lock.map !== current.lock!.map || !ids.ids(old.lock.id, current.lock!.id))) return false;
  for (let index = 0; index < old.frames.length; index++) {
    const place = differsAt(old.frames[index]!, current.frames[index]!, exactness, ids, live(index));
    if (place === undefined) continue;
    old.differedIn = index;
    old.differedAt = place;
    return false;
  }
  return true;
}

/** Places of a frame: registers 0..9, then stack slots. */
const FIRST_SLOT = 10;

/** What is not covered, the first that is found. */
function differsAt(old: Frame, current: Frame, exactness: Exactness, ids: Correspondence, live: number): number | undefined {
  for (let number = 0; number < FIRST_SLOT; number++) if ((live & (1 << number)) !== 0 && !placeCovered(old, current, number, exactness, ids)) return number;
  for (let slot = 0; slot < old.stack.length; slot++) if (!slotCovered(old, current, slot, exactness, ids)) return FIRST_SLOT + slot;
  return undefined;
}

function placeCovered(old: Frame, current: Frame, place: number, exactness: Exactness, ids: Correspondence): boolean {
  if (place >= FIRST_SLOT) return slotCovered(old, current, place - FIRST_SLOT, exactness, ids);
  return registerCovered(old.registers[place]!, current.registers[place]!, (old.preciseRegisters & (1 << place)) !== 0, exactness, ids);
}

function registerCovered(old: RegisterState, current: RegisterState, precise: boolean, exactness: Exactness, ids: Correspondence): boolean {
  if (exactness === 'exact') return same(old, current, ids);
  if (old.type === '?') return exactness === 'used' || current.type === '?';
  if (old.type !== current.type || old.nullable !== current.nullable || old.readOnly !== current.readOnly) return false;
  switch (old.type) {
    case 'scalar':
      if (ids.rules.speculation?.comparesExactly === true) return scalarsEqual(old.scalar, current.scalar) && old.delta === current.delta && old.offset === current.offset && ids.scalarIds(old.id, current.id);
      if (!precise && ids.rules.rights.bpf && exactness === 'used') return true;
      // Where the earlier one was related to nothing, what this one is related to says only more of it.
      if (old.id === 0) return within(old, current);
      if (old.delta !== current.delta || (old.delta !== 0 && old.offset !== current.offset)) return false;
      return within(old, current) && ids.scalarIds(old.id, current.id);
    case 'map_key':
    case 'map_value':
    case 'mem':
    case 'ringbuf_mem':
      return old.map === current.map && old.mapUid === current.mapUid && old.offset === current.offset && old.bytes === current.bytes && sameObject(old.object, current.object) && within(old, current) && ids.ids(old.id, current.id) && ids.ids(old.reference, current.reference);
    case 'pkt':
    case 'pkt_meta':
      return rangeCovered(old.range, current.range) && old.offset === current.offset && ids.ids(old.id, current.id) && within(old, current);
    default:
      return same(old, current, ids);
  }
}

/** Special marks of a comparison with the end are less than any proven range. */
function rangeCovered(old: number, current: number): boolean {
  if (old === BEYOND_PACKET_END || old === AT_PACKET_END) return old === current;
  return old <= current;
}

function within(old: RegisterState, current: RegisterState): boolean {
  return old.scalar === current.scalar || (rangeWithin(old.scalar, current.scalar) && tnumIn(old.scalar, current.scalar));
}

/** What the register is, wherever in that it points. */
export function isSameKind(one: RegisterState, other: RegisterState): boolean {
  return one.type === other.type && one.nullable === other.nullable && one.readOnly === other.readOnly && one.range === other.range && one.bytes === other.bytes && one.map === other.map && one.mapUid === other.mapUid;
}

function same(old: RegisterState, current: RegisterState, ids: Correspondence): boolean {
  return (
    isSameKind(old, current) && old.offset === current.offset && old.frame === current.frame && old.delta === current.delta && sameObject(old.object, current.object) &&
    (old.scalar === current.scalar || scalarsEqual(old.scalar, current.scalar)) && ids.ids(old.id, current.id) && ids.ids(old.reference, current.reference)
  );
}

/** How often an iterator went on says nothing of what comes. */
function sameObject(old: ObjectFacts | undefined, current: ObjectFacts | undefined): boolean {
  if (old === current) return true;
  if (old === undefined || current === undefined) return false;
  switch (old.kind) {
    case 'iterator':
      return current.kind === old.kind && old.name === current.name && old.drained === current.drained;
    case 'dynptr':
      return current.kind === old.kind && old.of === current.of && old.first === current.first;
    case 'slice':
      return current.kind === old.kind && old.of === current.of && old.dynptr === current.dynptr;
    case 'struct':
      return current.kind === old.kind && old.name === current.name && old.trust === current.trust && old.local === current.local;
    default:
      return old satisfies never;
  }
}

const ALL_MISC = BYTE.misc * 0x1111_1111;
/** All bytes misc, or invalid where that may be read: the bit that misc has is the only one that is set anywhere. */
const isUntracked = (kinds: number, { perfmon }: Rights): boolean => (perfmon ? (kinds & ~ALL_MISC) === 0 : kinds === ALL_MISC);

/** What a slot is when it is read whole, where that is a scalar: spilled, or of bytes that nobody tracked. */
function asScalar({ kinds, spilled }: StackSlot, rights: Rights): RegisterState | undefined {
  if (kinds === ALL_SPILL) return spilled.type === 'scalar' ? spilled : undefined;
  return isUntracked(kinds, rights) ? UNKNOWN_SCALAR : undefined;
}

function slotCovered(old: Frame, current: Frame, slot: number, exactness: Exactness, ids: Correspondence): boolean {
  const before = old.stack[slot]!;
  const now = current.stack[slot];
  if (exactness === 'exact') {
    if (now === undefined || before.kinds !== now.kinds) return false;
  } else if (before.kinds === 0) return true;
  const spilled = isSpilled(before);
  const object = isObject(before);
  if (before === now && !spilled && !object) return true;
  const { rights } = ids.rules;
  // Bytes that nobody tracked cover whatever is there, also in a frame whose stack is not that deep yet; a number that was spilled does not, also where nothing is known of it.
  if (exactness !== 'exact' && rights.perfmon && isUntracked(before.kinds, rights)) return true;
  if (now === undefined) return false;
  const precise = hasSlot(old.preciseSlots, slot);
  const scalarBefore = asScalar(before, rights);
  const scalarNow = asScalar(now, rights);
  if (scalarBefore !== undefined && scalarNow !== undefined) return registerCovered(scalarBefore, scalarNow, precise, exactness, ids);
  for (let byte = 0; byte < 8; byte++) {
    const [was, is] = [kindAt(before, byte), kindAt(now, byte)];
    if (was === BYTE.invalid || (was === BYTE.misc && (rights.perfmon || is === BYTE.zero))) continue;
    if (was !== is) return false;
  }
  if (object) return sameObject(before.spilled.object, now.spilled.object) && ids.ids(before.spilled.reference, now.spilled.reference);
  return !spilled || registerCovered(before.spilled, now.spilled, precise, exactness, ids);
}
