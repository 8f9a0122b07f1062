/**
 * Where in each block of the ring the verdicts of which attachments are, found once for all clients: who wants none of
 * them passes the whole block, and who wants a rare one goes straight to it.
 */
import { VERDICT_SLOTS } from '../pipeline/layout.ts';
import { RECORD_WORDS, verdictIndex, type VerdictRing } from './verdict-ring.ts';

interface Summary {
  readonly block: number;
  /** Records of the block that were looked at: the newest block grows. */
  records: number;
  /** Of verdictIndex, each once, and the first and the last record of the block that says so. */
  readonly indexes: number[];
  readonly firsts: number[];
  readonly lasts: number[];
}

/** Sequence numbers; nothing is wanted of it where `last` is before `first`. */
export interface Span {
  readonly first: number;
  readonly last: number;
}

export class BlockSummaries {
  readonly #ring: VerdictRing;
  /** By block modulo the ring's number of blocks. */
  readonly #summaries: (Summary | undefined)[] = [];
  /** By index: its place in a summary and one, while that summary grows. */
  #places = new Uint16Array(0);

  constructor(ring: VerdictRing) {
    this.#ring = ring;
  }

  /** The part of a block beyond which nothing is wanted of what is there now. `first`: of the block; undefined where some of it was overwritten before it was looked at. */
  span(first: number, isWanted: (index: number) => boolean): Span | undefined {
    const summary = this.#upToNow(first);
    if (summary === undefined) return undefined;
    let [from, to] = [this.#ring.blockRecords, -1];
    summary.indexes.forEach((index, place) => {
      if (!isWanted(index)) return;
      from = Math.min(from, summary.firsts[place]!);
      to = Math.max(to, summary.lasts[place]!);
    });
    return { first: first + from, last: first + to };
  }

  #upToNow(first: number): Summary | undefined {
    const { blockRecords } = this.#ring;
    const block = first / blockRecords;
    const place = block % (this.#ring.capacity / blockRecords);
    const records = Math.min(blockRecords, this.#ring.head - first);
    let summary = this.#summaries[place];
    if (summary?.block !== block) summary = { block, records: 0, indexes: [], firsts: [], lasts: [] };
    if (summary.records === records) return summary;
    this.#summaries[place] = undefined;
    this.#add(summary, first, records);
    if (this.#ring.oldest > first) return undefined;
    return (this.#summaries[place] = summary);
  }

  #add(summary: Summary, first: number, records: number): void {
    const { words, capacity } = this.#ring;
    const { indexes, firsts, lasts } = summary;
    indexes.forEach((index, place) => (this.#places[index] = place + 1));
    let word = ((first + summary.records) % capacity) * RECORD_WORDS;
    for (let record = summary.records; record < records; record++, word += RECORD_WORDS) {
      const index = verdictIndex(words, word);
      if (index >= this.#places.length) this.#grow(index);
      const place = this.#places[index]!;
      if (place > 0) {
        lasts[place - 1] = record;
        continue;
      }
      this.#places[index] = indexes.push(index);
      firsts.push(record);
      lasts.push(record);
    }
    for (const index of indexes) this.#places[index] = 0;
    summary.records = records;
  }

  #grow(index: number): void {
    const longer = new Uint16Array(index + VERDICT_SLOTS);
    longer.set(this.#places);
    this.#places = longer;
  }
}
