/**
 * What is known of the registers and stack slots of a running frame besides their bits: what memory a pointer is of, and
 * what the verifier has forgotten. It forgets when a path ends at an earlier state (exploration.ts): what that state says
 * of a forgotten value need not hold, and no decision may depend on it from there on, nor on what is computed from it.
 */
import type { BpfMap } from '../maps/bpf-map.ts';
import { hasSlot, NO_SLOTS, withoutSlot, withSlot } from '../verifier/slot-set.ts';
import type { Forgotten } from './exploration.ts';

/** What a pointer may reach: a value or key of a map, a record. */
export interface Region {
  readonly start: number;
  readonly bytes: number;
  /** Where it is known. */
  readonly map: BpfMap | undefined;
}

/** What travels with a value that is copied. */
export interface Origin {
  readonly forgotten: boolean;
  readonly region: Region | undefined;
}

export const NEW: Origin = { forgotten: false, region: undefined };

export class FrameProvenance {
  /** A bit for each register. */
  #forgotten = 0;
  #forgottenSlots = NO_SLOTS;
  readonly #regions: (Region | undefined)[] = [];
  readonly #slotRegions: (Region | undefined)[] = [];

  copy(): FrameProvenance {
    const copy = new FrameProvenance();
    copy.#forgotten = this.#forgotten;
    copy.#forgottenSlots = this.#forgottenSlots;
    copy.#regions.push(...this.#regions);
    copy.#slotRegions.push(...this.#slotRegions);
    return copy;
  }

  register(number: number): Origin {
    return { forgotten: this.isForgotten(number), region: this.#regions[number] };
  }

  slot(slot: number): Origin {
    return { forgotten: this.isForgottenSlot(slot), region: this.#slotRegions[slot] };
  }

  isForgotten(number: number): boolean {
    return (this.#forgotten & (1 << number)) !== 0;
  }

  isForgottenSlot(slot: number): boolean {
    return hasSlot(this.#forgottenSlots, slot);
  }

  region(number: number): Region | undefined {
    return this.#regions[number];
  }

  setRegister(number: number, { forgotten, region }: Origin): void {
    this.#forgotten = forgotten ? this.#forgotten | (1 << number) : this.#forgotten & ~(1 << number);
    this.#regions[number] = region;
  }

  setSlot(slot: number, { forgotten, region }: Origin): void {
    this.#forgottenSlots = forgotten ? withSlot(this.#forgottenSlots, slot) : withoutSlot(this.#forgottenSlots, slot);
    this.#slotRegions[slot] = region;
  }

  forget({ registers, slots }: Forgotten): void {
    this.#forgotten |= registers;
    this.#forgottenSlots = { low: this.#forgottenSlots.low | slots.low, high: this.#forgottenSlots.high | slots.high };
  }
}
