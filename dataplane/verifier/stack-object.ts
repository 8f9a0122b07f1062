/**
 * Objects on the stack that only kernel functions read and write: where they are. One takes whole slots, the first of them
 * at the highest number: slots count downwards from the frame pointer.
 */
import type { RegisterState } from './register.ts';
import { isConstant } from './scalar.ts';
import { frameOf } from './stack.ts';
import { SLOT_BYTES, type Frame } from './state.ts';
import type { Walk } from './walk.ts';

export interface ObjectPlace {
  readonly frame: Frame;
  readonly frameNumber: number;
  /** Of its lowest address. */
  readonly slot: number;
}

/** Undefined where no object of so many slots can be; `untouched` where it would be in a part of the stack that nobody has used. */
export function placeOf(walk: Walk, register: RegisterState, slots: number): ObjectPlace | 'untouched' | undefined {
  if (!isConstant(register.scalar)) return undefined;
  const offset = register.offset + Number(BigInt.asIntN(64, register.scalar.value));
  if (offset % SLOT_BYTES !== 0) return undefined;
  const slot = Math.trunc((-offset - 1) / SLOT_BYTES);
  if (slot + 1 < slots) return undefined;
  const frame = frameOf(walk, register);
  return slot < frame.stack.length ? { frame, frameNumber: register.frame, slot } : 'untouched';
}
