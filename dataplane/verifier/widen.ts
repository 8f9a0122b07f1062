/**
 * Loops whose end is not the program's to say: callbacks that a helper calls again, open-coded iterators, may_goto. A
 * number that changed since the last time around, and on which nothing depended, is taken for unknown, so that the
 * visits converge (Linux: widen_imprecise_scalars).
 */
import { jumpTarget } from '../bpf/isa.ts';
import { Correspondence } from './compare.ts';
import { UNKNOWN_SCALAR, type RegisterState } from './register.ts';
import { scalarsEqual } from './scalar.ts';
import { hasSlot } from './slot-set.ts';
import { isSpilled, type State } from './state.ts';
import type { Walk } from './walk.ts';

/** The nearest state above `state`, itself included, that was kept at the instruction with the same calls around it. */
export function keptBefore(state: State | undefined, slot: number, like: State): State | undefined {
  let before = state;
  while (before !== undefined && !(before.at === slot && sameCalls(before, like))) before = before.parent;
  return before;
}

export function sameCalls(one: State, other: State): boolean {
  return one.frames.length === other.frames.length && one.frames.every((frame, index) => frame.callSite === other.frames[index]!.callSite);
}

export function widen(before: State, state: State): void {
  const ids = new Correspondence();
  for (let index = before.frames.length - 1; index >= 0; index--) {
    const [old, frame] = [before.frames[index]!, state.frames[index]!];
    const precise = old.preciseRegisters | frame.preciseRegisters;
    for (let number = 0; number < 10; number++) {
      if (changes(old.registers[number]!, frame.registers[number]!, (precise & (1 << number)) !== 0, ids)) frame.registers[number] = UNKNOWN_SCALAR;
    }
    for (let slot = 0; slot < Math.min(old.stack.length, frame.stack.length); slot++) {
      const [was, is] = [old.stack[slot]!, frame.stack[slot]!];
      if (!isSpilled(was) || !isSpilled(is)) continue;
      const matters = hasSlot(old.preciseSlots, slot) || hasSlot(frame.preciseSlots, slot);
      if (changes(was.spilled, is.spilled, matters, ids)) frame.stack[slot] = { kinds: is.kinds, spilled: UNKNOWN_SCALAR };
    }
  }
}

function changes(old: RegisterState, now: RegisterState, precise: boolean, ids: Correspondence): boolean {
  if (old.type !== 'scalar' || now.type !== 'scalar' || precise) return false;
  const same = old.delta === now.delta && (old.delta === 0 || old.offset === now.offset) && (old.scalar === now.scalar || scalarsEqual(old.scalar, now.scalar)) && ids.ids(old.id, now.id);
  return !same;
}

/** may_goto: what follows is verified as often as it takes to converge, and where it jumps, once for all. Answers the next slot. */
export function mayGoto(walk: Walk, offset: number): number {
  const { state, at } = walk;
  // This instruction is where states are always kept, so the parent is this visit's own.
  const before = keptBefore(state.parent?.parent, at, state);
  const goesOn = walk.push(at + 1, 'ENOMEM');
  goesOn.mayGotoDepth++;
  if (before !== undefined) widen(before, goesOn);
  return jumpTarget(at, offset);
}
