/**
 * Which verdicts of which attachments there are in each block of the ring, found once for all clients: who wants none
 * of them passes the whole block.
 */
import { RECORD, VERDICT_SLOTS, verdictSlot } from '../pipeline/layout.ts';
import type { VerdictRing } from './verdict-ring.ts';

const MOST_BLOCK_RECORDS = 4096;
const BLOCKS_AT_LEAST = 4;
const RECORD_WORDS = RECORD.size / 4;

interface Summary {
  readonly block: number;
  /** Attachment × VERDICT_SLOTS + slot, each once. */
  readonly indexes: readonly number[];
}

export class BlockSummaries {
  readonly blockRecords: number;
  readonly #ring: VerdictRing;
  /** By block modulo the ring's number of blocks. */
  readonly #summaries: (Summary | undefined)[] = [];
  #seen = new Uint8Array(0);

  constructor(ring: VerdictRing) {
    this.#ring = ring;
    this.blockRecords = Math.min(MOST_BLOCK_RECORDS, ring.capacity / BLOCKS_AT_LEAST);
  }

  /** Of the block that begins with that record; undefined where it is not whole. */
  of(first: number): readonly number[] | undefined {
    const { blockRecords } = this;
    const block = first / blockRecords;
    const place = block % (this.#ring.capacity / blockRecords);
    const known = this.#summaries[place];
    if (known?.block === block) return known.indexes;
    if (first + blockRecords > this.#ring.head) return undefined;
    const indexes = this.#find(first);
    if (this.#ring.oldest > first) return undefined;
    this.#summaries[place] = { block, indexes };
    return indexes;
  }

  #find(first: number): number[] {
    const { words, capacity } = this.#ring;
    const indexes: number[] = [];
    let word = (first % capacity) * RECORD_WORDS;
    let last = -1;
    for (let record = 0; record < this.blockRecords; record++, word += RECORD_WORDS) {
      const index = (words[word + RECORD.attachment / 4]! & 0xffff) * VERDICT_SLOTS + verdictSlot(words[word + RECORD.verdict / 4]! | 0);
      if (index === last) continue;
      last = index;
      if (index >= this.#seen.length) this.#grow(index);
      if (this.#seen[index] === 1) continue;
      this.#seen[index] = 1;
      indexes.push(index);
    }
    for (const index of indexes) this.#seen[index] = 0;
    return indexes;
  }

  #grow(index: number): void {
    const longer = new Uint8Array(index + VERDICT_SLOTS);
    longer.set(this.#seen);
    this.#seen = longer;
  }
}
