/**
 * What the verifier explored of a program, kept: every state it was in, and how it went on from there. Runs of the
 * program have to find their way through it (run-check.ts).
 *
 *        visited          forked: both ways follow          covered: the way ends, and goes on where an
 *      A ───────► B ──┬─► C                    D ─ ─ ─► B   earlier state is. What was not compared, and numbers on
 *                     └─► D                                 which nothing depends, may differ there: forgotten
 */
import type { Exactness } from '../verifier/compare.ts';
import type { VerificationObserver } from '../verifier/observer.ts';
import type { RegisterState } from '../verifier/register.ts';
import { hasSlot, NO_SLOTS, withSlot, type SlotSet } from '../verifier/slot-set.ts';
import { isSpilledScalar, type Frame, type StackSlot, type State } from '../verifier/state.ts';

export interface ExploredFrame {
  readonly callSite: number;
  /** The function runs as a callback of the helper at the call site. */
  readonly isCallback: boolean;
  readonly registers: readonly RegisterState[];
  readonly stack: readonly StackSlot[];
}

/** Of a frame: registers (a bit each) and slots about which a covering state says nothing. */
export interface Forgotten {
  readonly registers: number;
  readonly slots: SlotSet;
}

export interface ExploredState {
  /** The instruction that follows. */
  readonly slot: number;
  readonly frames: readonly ExploredFrame[];
  readonly references: number;
  readonly locked: boolean;
  /** After the instruction. One at the same slot stands for some of the values of this one, before the instruction. */
  readonly next: ExploredState[];
  coveredBy: { readonly state: ExploredState; readonly forgotten: readonly Forgotten[] } | undefined;
}

export class Exploration implements VerificationObserver {
  /** By slot: states that a function begins in that is verified by itself: the program, global functions, callbacks that run later. */
  readonly #beginnings = new Map<number, ExploredState[]>();
  readonly #last = new WeakMap<State, ExploredState>();
  states = 0;

  beginnings(slot: number): readonly ExploredState[] {
    return this.#beginnings.get(slot) ?? [];
  }

  visited(state: State): void {
    const before = this.#last.get(state);
    const frames = state.frames.map((frame, index) => keep(frame, before?.frames[index]));
    const { at: slot, references, lock } = state;
    const explored: ExploredState = { slot, frames, references: references?.count ?? 0, locked: lock !== undefined, next: [], coveredBy: undefined };
    this.#last.set(state, explored);
    this.states++;
    if (before !== undefined) before.next.push(explored);
    else this.#beginnings.set(slot, [...this.beginnings(slot), explored]);
  }

  forked(state: State, later: State): void {
    this.#last.set(later, this.#last.get(state)!);
  }

  kept(state: State, copy: State): void {
    this.#last.set(copy, this.#last.get(state)!);
  }

  covered(state: State, old: State, exactness: Exactness, live: (frame: number) => number): void {
    const by = this.#last.get(old)!;
    const forgotten = old.frames.map((frame, index) => forgottenIn(frame, by.frames[index]!, exactness, live(index)));
    this.#last.get(state)!.coveredBy = { state: by, forgotten };
  }
}

/** Copies what changed; most instructions change one register of one frame. */
function keep({ callSite, callback, registers, stack }: Frame, before: ExploredFrame | undefined): ExploredFrame {
  if (before?.callSite !== callSite) return { callSite, isCallback: callback !== undefined, registers: registers.slice(), stack: stack.slice() };
  const [sameRegisters, sameStack] = [isSame(registers, before.registers), isSame(stack, before.stack)];
  if (sameRegisters && sameStack) return before;
  return { ...before, registers: sameRegisters ? before.registers : registers.slice(), stack: sameStack ? before.stack : stack.slice() };
}

function isSame<T>(now: readonly T[], before: readonly T[]): boolean {
  return now.length === before.length && now.every((each, index) => each === before[index]);
}

function forgottenIn(old: Frame, explored: ExploredFrame, exactness: Exactness, live: number): Forgotten {
  let registers = ~live & 0x3ff;
  let slots = NO_SLOTS;
  if (exactness === 'used') {
    for (let number = 0; number < 10; number++) if (old.registers[number]!.type === 'scalar' && (old.preciseRegisters & (1 << number)) === 0) registers |= 1 << number;
  }
  for (const [number, { kinds }] of explored.stack.entries()) {
    const slot = old.stack[number]!;
    const isUnused = exactness === 'used' && isSpilledScalar(slot) && !hasSlot(old.preciseSlots, number);
    // No path reads it: it was emptied since.
    if (isUnused || (slot.kinds === 0 && kinds !== 0)) slots = withSlot(slots, number);
  }
  return { registers, slots };
}
