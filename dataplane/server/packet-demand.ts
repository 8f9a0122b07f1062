/**
 * Whose bytes somebody wants: told to the writer of the ring, which copies those packets and no others. Who wants so
 * many a second of a verdict gets as many fifty times a second, so that the next second finds some.
 */
import type { LabNames } from './lab-names.ts';
import { ALWAYS_WANTED, type VerdictRing } from './verdict-ring.ts';

export interface PacketWish {
  /** Longest part of a packet, before and after; 0: none. */
  readonly snapBytes: number;
  /** How many at a time. */
  readonly most: number;
  /** By attachment and verdict slot: 1 where it is wanted. */
  table(names: LabNames): Uint8Array;
}

const REFILL_MS = 10;

export class PacketDemand {
  readonly #ring: VerdictRing;
  #refillAtMs = 0;
  #wanted = new Uint32Array(0);

  constructor(ring: VerdictRing) {
    this.#ring = ring;
  }

  /** To be called when wishes have changed, or the lab's attachments. */
  set(wishes: readonly PacketWish[], names: LabNames): void {
    const wanted = new Uint32Array(this.#ring.wanted.length);
    for (const wish of wishes) {
      const table = wish.table(names);
      const most = Math.min(wish.most, ALWAYS_WANTED);
      for (let index = Math.min(table.length, wanted.length) - 1; index >= 0; index--) if (table[index] === 1) wanted[index] = Math.max(wanted[index]!, most);
    }
    this.#wanted = wanted;
    this.#refill();
    this.#ring.snap = Math.max(0, ...wishes.map(({ snapBytes }) => snapBytes));
  }

  /** To be called often. */
  refill(nowMs: number): void {
    if (nowMs < this.#refillAtMs) return;
    this.#refillAtMs = nowMs + REFILL_MS;
    this.#refill();
  }

  #refill(): void {
    const { wanted } = this.#ring;
    this.#wanted.forEach((count, index) => {
      if (wanted[index] !== count) Atomics.store(wanted, index, count);
    });
  }
}
