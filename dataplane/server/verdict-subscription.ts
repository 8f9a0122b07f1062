/**
 * One client's view of the verdict ring: a place in it, a filter, a sample, and the account of what became of every
 * verdict since the subscription began. Makes messages; knows nothing of sockets.
 *
 * Invariant: produced = sent + skipped + dropped, after every call of `take`.
 */
import { RECORD, VERDICT_SLOTS } from '../pipeline/layout.ts';
import { BlockSummaries } from './block-summaries.ts';
import type { LabNames } from './lab-names.ts';
import type { PacketWish } from './packet-demand.ts';
import { binaryVerdicts, jsonVerdicts, type SelectedVerdicts } from './verdict-message.ts';
import { FRAME_HEADER, packetBytes } from './verdict-decoder.ts';
import { VerdictFilter, type FilterDescription } from './verdict-filter.ts';
import { MOST_SNAP_BYTES, RECORD_WORDS, verdictIndex, verdictIndexAt, type KeptPacket, type RecordStretch, type VerdictRing } from './verdict-ring.ts';

export type Encoding = 'binary' | 'json';

/** Where to begin; a number is `next` of an earlier message. */
export type Beginning = 'now' | 'oldest' | number;

export interface VerdictRequest {
  readonly filter?: FilterDescription;
  /** `oneOf`: packets 1, 1 + n, …; `perSecond`: so many of every verdict of every program. */
  readonly sample?: { readonly oneOf?: number; readonly perSecond?: number };
  readonly packet?: { readonly snap: number };
  readonly from?: Beginning;
}

export function beginning({ head, oldest }: { readonly head: number; readonly oldest: number }, from: Beginning): number {
  return typeof from === 'number' ? Math.min(from, head) : { now: head, oldest }[from];
}

export interface Account {
  /** Sequence number behind the last that was looked at. */
  readonly next: number;
  readonly produced: number;
  readonly sent: number;
  readonly skipped: number;
  readonly dropped: number;
}

/** Records that are looked at for one message: in binary, 64 KiB. */
const STRETCH_RECORDS = 2048;
const MESSAGE_BYTES = 1 << 16;
/** Records that are looked at for one message of those that are chosen: others have their turn then, with what is in the cache. */
const CHOSEN_FROM_RECORDS = 1 << 14;
const TWO_32 = 4_294_967_296;

/** One for all subscriptions of a ring. */
const SUMMARIES = new WeakMap<VerdictRing, BlockSummaries>();

function summariesOf(ring: VerdictRing): BlockSummaries {
  const summaries = SUMMARIES.get(ring) ?? new BlockSummaries(ring);
  SUMMARIES.set(ring, summaries);
  return summaries;
}

/** `sequences`: of the records, where they do not follow each other. */
interface Candidates extends RecordStretch {
  readonly sequences?: readonly number[];
}

export class VerdictSubscription implements PacketWish {
  /** Where it begins. */
  readonly from: number;
  /** Bytes of each packet that the ring has to keep for it, before and after. */
  readonly snapBytes: number;
  readonly #ring: VerdictRing;
  readonly #summaries: BlockSummaries;
  readonly #encoding: Encoding;
  readonly #wantsPackets: boolean;
  /** Whether there is a filter or a sample, by which most records are not wanted. */
  readonly #isChoosy: boolean;
  /** Whether records go out as they lie in the ring. */
  readonly #takesAll: boolean;
  readonly #oneOf: number;
  readonly #perSecond: number;
  #filter: VerdictFilter;
  #cursor: number;
  #sent = 0;
  #skipped = 0;
  #dropped = 0;
  /** By attachment and verdict: how many were sent in `#second`. */
  #sentThisSecond = new Uint32Array(0);
  #second = -1;
  #packet: KeptPacket | undefined;

  constructor(ring: VerdictRing, names: LabNames, encoding: Encoding, { filter = {}, sample = {}, packet, from = 'now' }: VerdictRequest) {
    this.#ring = ring;
    this.#summaries = summariesOf(ring);
    this.#encoding = encoding;
    this.#filter = new VerdictFilter(filter, names);
    this.#wantsPackets = packet !== undefined;
    this.#isChoosy = Object.keys(filter).length > 0 || Object.keys(sample).length > 0;
    this.#oneOf = sample.oneOf ?? 1;
    this.#perSecond = sample.perSecond ?? Number.POSITIVE_INFINITY;
    this.snapBytes = Math.max(Math.min(packet?.snap ?? 0, MOST_SNAP_BYTES), this.#filter.snapBytes);
    this.#takesAll = encoding === 'binary' && !this.#isChoosy && !this.#wantsPackets;
    this.from = beginning(ring, from);
    this.#cursor = this.from;
  }

  get most(): number {
    return this.#filter.snapBytes > 0 ? Number.POSITIVE_INFINITY : this.#perSecond;
  }

  table(names: LabNames): Uint8Array {
    return this.#filter.forNames(names).table;
  }

  get account(): Account {
    return { next: this.#cursor, produced: this.#cursor - this.from, sent: this.#sent, skipped: this.#skipped, dropped: this.#dropped };
  }

  /**
   * Looks at the next stretch of the ring. A message, undefined where nothing of it is wanted; `done`: there is nothing
   * more to look at now.
   */
  take(names: LabNames, nowMs: number): { readonly message: Buffer | string | undefined; readonly done: boolean } {
    const { head } = this.#ring;
    // Records that name attachments of which we have not been told wait until we are. Looked at after the head: more of either may come meanwhile.
    if (this.#ring.attachments > names.attachments.length) return { message: undefined, done: true };
    this.#filter = this.#filter.forNames(names);
    this.#turnSecond(nowMs);
    const stretch = this.#isChoosy ? this.#pick(head) : this.#ring.read(this.#cursor, Math.min(STRETCH_RECORDS, head - this.#cursor), FRAME_HEADER.size);
    const { from, end, bytes } = stretch;
    this.#dropped += from - this.#cursor;
    this.#cursor = from;
    if (end === from) return { message: undefined, done: true };
    const selected = this.#takesAll ? { bytes, count: end - from, sequences: [], packets: [], end } : this.#select(stretch);
    this.#sent += selected.count;
    this.#skipped += selected.end - from - selected.count;
    this.#cursor = selected.end;
    const message = selected.count === 0 ? undefined : this.#encode(selected, names);
    return { message, done: selected.end === head };
  }

  /** A message that only says the account. */
  accountMessage(names: LabNames): Buffer | string {
    return this.#encode({ bytes: Buffer.alloc(FRAME_HEADER.size), count: 0, sequences: [], packets: [], end: this.#cursor }, names);
  }

  #encode(selected: SelectedVerdicts, names: LabNames): Buffer | string {
    return this.#encoding === 'binary' ? binaryVerdicts(selected, this.account, this.#wantsPackets) : jsonVerdicts(selected, this.account, names, this.#wantsPackets);
  }

  /** Those of the next records that may be wanted, found where they lie: the others are not copied, and most not looked at. */
  #pick(head: number): Candidates {
    const ring = this.#ring;
    const { blockRecords } = ring;
    const { table } = this.#filter;
    const [sent, perSecond] = [this.#sentThisSecond, this.#perSecond];
    const isWanted = (index: number): boolean => table[index] === 1 && !(sent[index]! >= perSecond);
    const begin = Math.max(this.#cursor, ring.oldest);
    const found: number[] = [];
    const bits = ring.verdictBits(isWanted);
    let [end, lookedAt] = [begin, 0];
    while (end < head && found.length < STRETCH_RECORDS && lookedAt < CHOSEN_FROM_RECORDS) {
      const block = end - (end % blockRecords);
      const blockEnd = Math.min(block + blockRecords, head);
      if (!ring.mayBeWanted(block, bits)) {
        end = blockEnd;
        continue;
      }
      const { first, last } = this.#summaries.span(block, isWanted) ?? { first: end, last: blockEnd };
      const [from, stop] = [Math.max(end, first), Math.min(blockEnd, last + 1)];
      lookedAt += Math.max(stop - from, 0);
      end = this.#pickBetween(from, stop, isWanted, found) ?? blockEnd;
    }
    const bytes = ring.gather(found, FRAME_HEADER.size);
    const from = Math.min(Math.max(begin, ring.oldest), end);
    const sequences = found.filter((sequence) => sequence >= from);
    return { from, end, bytes: bytes.subarray((found.length - sequences.length) * RECORD.size), sequences };
  }

  /** Notes those of them, as many as there is room for; where it came to when there was no more. */
  #pickBetween(from: number, stop: number, isWanted: (index: number) => boolean, found: number[]): number | undefined {
    const { words, capacity } = this.#ring;
    const oneOf = this.#oneOf;
    for (let sequence = from; sequence < stop; sequence++) {
      const word = (sequence % capacity) * RECORD_WORDS;
      const index = verdictIndex(words, word);
      if (!isWanted(index) || (oneOf > 1 && !isOneOf(oneOf, words[word]!, words[word + 1]!))) continue;
      if (found.push(sequence) === STRETCH_RECORDS) return sequence + 1;
    }
    return undefined;
  }

  #turnSecond(nowMs: number): void {
    const second = Math.floor(nowMs / 1000);
    if (second === this.#second) return;
    this.#second = second;
    this.#sentThisSecond.fill(0);
  }

  /** Moves the records that are wanted together, in the buffer that they are in. */
  #select({ bytes, from, end, sequences: candidates }: Candidates): SelectedVerdicts {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const count = candidates?.length ?? end - from;
    const sequences: number[] = [];
    const packets: KeptPacket[] = [];
    const needsPacket = this.snapBytes > 0;
    const hasRate = this.#perSecond !== Number.POSITIVE_INFINITY;
    let size = FRAME_HEADER.size;
    let candidate = 0;
    for (; candidate < count && size < MESSAGE_BYTES + FRAME_HEADER.size; candidate++) {
      const sequence = candidates?.[candidate] ?? from + candidate;
      const at = FRAME_HEADER.size + candidate * RECORD.size;
      if (!this.#filter.fits(view, at)) continue;
      // A packet is found in a while; a rate says at once that it is not wanted.
      const index = verdictIndexAt(view, at);
      if (hasRate && this.#sentThisSecond[index]! >= this.#perSecond) continue;
      const packet = needsPacket ? this.#packetOf(sequence) : undefined;
      if (this.#filter.snapBytes > 0 && !this.#filter.fitsPacket(packet)) continue;
      // Of so many a second no more are kept (packet-demand.ts): those are meant.
      if (hasRate && this.#wantsPackets && packet === undefined) continue;
      if (hasRate) this.#countInSecond(index);
      const to = FRAME_HEADER.size + sequences.length * RECORD.size;
      if (to !== at) bytes.copyWithin(to, at, at + RECORD.size);
      sequences.push(sequence);
      size += RECORD.size;
      if (packet !== undefined && this.#wantsPackets && packets.at(-1) !== packet) {
        packets.push(packet);
        size += packetBytes(packet.before.length, packet.after.length);
      }
    }
    return { bytes: bytes.subarray(0, FRAME_HEADER.size + sequences.length * RECORD.size), count: sequences.length, sequences, packets, end: candidate === count ? end : (candidates?.[candidate] ?? from + candidate) };
  }

  #packetOf(sequence: number): KeptPacket | undefined {
    const last = this.#packet;
    if (last !== undefined && sequence >= last.first && sequence < last.first + last.records) return last;
    return (this.#packet = this.#ring.packet(sequence));
  }

  #countInSecond(index: number): void {
    if (index >= this.#sentThisSecond.length) {
      const longer = new Uint32Array(index + VERDICT_SLOTS);
      longer.set(this.#sentThisSecond);
      this.#sentThisSecond = longer;
    }
    this.#sentThisSecond[index]!++;
  }
}

/** Whether packets 1, 1 + n, … have this number, in halves. Whole numbers are divided in a tenth of the time. */
function isOneOf(n: number, low: number, high: number): boolean {
  return high === 0 ? ((low - 1) >>> 0) % n === 0 : (low + high * TWO_32 - 1) % n === 0;
}
