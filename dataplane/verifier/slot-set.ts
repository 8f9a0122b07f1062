/** A set of the 64 stack slots of a frame: two 32-bit words. Immutable, so that states share it. */

export interface SlotSet {
  /** Slots 0..31, 32..63, a bit each. */
  readonly low: number;
  readonly high: number;
}

export const NO_SLOTS: SlotSet = { low: 0, high: 0 };

const slotSet = (low: number, high: number): SlotSet => ((low | high) === 0 ? NO_SLOTS : { low, high });

export const isEmpty = ({ low, high }: SlotSet): boolean => (low | high) === 0;
export const hasSlot = ({ low, high }: SlotSet, slot: number): boolean => ((slot < 32 ? low : high) & (1 << (slot & 31))) !== 0;
export const withSlot = (set: SlotSet, slot: number): SlotSet => (slot < 32 ? slotSet(set.low | (1 << slot), set.high) : slotSet(set.low, set.high | (1 << (slot & 31))));
export const withoutSlot = (set: SlotSet, slot: number): SlotSet => (!hasSlot(set, slot) ? set : slot < 32 ? slotSet(set.low & ~(1 << slot), set.high) : slotSet(set.low, set.high & ~(1 << (slot & 31))));

export function forEachSlot({ low, high }: SlotSet, visit: (slot: number) => void): void {
  for (let rest = low; rest !== 0; rest &= rest - 1) visit(31 - Math.clz32(rest & -rest));
  for (let rest = high; rest !== 0; rest &= rest - 1) visit(63 - Math.clz32(rest & -rest));
}
