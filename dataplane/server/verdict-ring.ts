/**
 * The newest verdicts of a lab, in memory that its thread writes and the server's thread reads. Nobody waits for
 * anybody: the writer overwrites what is oldest, and a reader finds out afterwards what it has missed.
 *
 *   header   i64 claimed     records before it may be written right now
 *            i64 head        records before it are there; the sequence number of the next one
 *            i64 floor       records before it are of an earlier lab
 *            i64 packetHead  bytes ever written to `packets`, or being written
 *            i32 snap        most bytes of a packet that a reader wants, before and after; 0: nobody wants packets
 *            i32 attachments that the newest record may name
 *   records  32 bytes each, as the packet loop wrote them (pipeline/layout.ts), at sequence number modulo capacity
 *   links    u32 each: where the record's packet begins, as packetHead counts, in units of 16 bytes and modulo 2^32
 *   packets  an entry for each packet that had records while somebody wanted packets, none across the end:
 *             0 f64 first record   sequence number
 *             8 u32 records
 *            12 u16 fate, 14 u16 reason
 *            16 u32 wire, 20 u32 captured, 24 u32 left, 28 u32 leftIfindex
 *            32 u16 beforeBytes, 34 u16 afterBytes, 36 u8 beforeSkip, 37 u8 afterSkip
 *            40 words of machine memory that hold the bytes before, and those after: up to 3 bytes come first that are to be skipped
 *   blocks   256 bits for each block of records: bit `verdictIndex` modulo 256 is set where one of them may be of that verdict.
 *            Known by the packet loop's counters, so that who wants none of those need not look at the block
 *   wanted   u32 each, by attachment and verdict slot: of how many packets with that verdict the bytes are wanted yet;
 *            attachments beyond it are always wanted
 *
 * A reader copies first and then looks at `claimed`: what lies before claimed - capacity was overwritten meanwhile. So it
 * does with packetHead, which is moved as far as entries may reach before they are written.
 */
import { DESCRIPTOR, type PacketBatch } from '../packet/packet-batch.ts';
import { RECORD, VERDICT_SLOTS, verdictSlot } from '../pipeline/layout.ts';
import type { BatchObserver, Pipeline } from '../pipeline/pipeline.ts';
import type { StreamPacket } from './verdict-decoder.ts';

export interface VerdictRingBuffers {
  readonly header: SharedArrayBuffer;
  readonly records: SharedArrayBuffer;
  readonly links: SharedArrayBuffer;
  readonly packets: SharedArrayBuffer;
  readonly blocks: SharedArrayBuffer;
  readonly wanted: SharedArrayBuffer;
}

const CLAIMED = 0;
const HEAD = 1;
const FLOOR = 2;
const PACKET_HEAD = 3;
/** In 32-bit words. */
const SNAP = 8;
const ATTACHMENTS = 9;
const HEADER_BYTES = 64;

const ENTRY = { first: 0, records: 8, fate: 12, reason: 14, wire: 16, captured: 20, left: 24, leftIfindex: 28, beforeBytes: 32, afterBytes: 34, beforeSkip: 36, afterSkip: 37, size: 40 } as const;
const UNIT = 16;
export const RECORD_WORDS = RECORD.size / 4;
const LINK_BYTES = 4;
/** From here on the engine's own copying is faster than a loop. */
const LONG_WORDS = 48;

export const RING_RECORDS = 1 << 20;
const PACKETS_BYTES = 1 << 25;
const MOST_BLOCK_RECORDS = 1024;
const BLOCKS_AT_LEAST = 4;
const BLOCK_WORDS = 8;
const BLOCK_BITS = 32 * BLOCK_WORDS;
/** In `wanted`. */
const TABLE_ATTACHMENTS = 256;
/** In `wanted`: all, for as long as it says so. */
export const ALWAYS_WANTED = 0xffff_ffff;
/** Longest part of a packet that is kept, of each of before and after. */
export const MOST_SNAP_BYTES = 2048;

const indexOf = (attachment: number, verdict: number): number => attachment * VERDICT_SLOTS + verdictSlot(verdict);

const noteBit = (bits: Int32Array, index: number): void => void (bits[(index % BLOCK_BITS) >>> 5]! |= 1 << (index & 31));

/** Of the record that begins with that word, or at that byte: attachment × VERDICT_SLOTS + slot. */
export const verdictIndex = (words: Uint32Array, word: number): number => indexOf(words[word + RECORD.attachment / 4]! & 0xffff, words[word + RECORD.verdict / 4]! | 0);
export const verdictIndexAt = (records: DataView, at: number): number => indexOf(records.getUint16(at + RECORD.attachment, true), records.getInt32(at + RECORD.verdict, true));

const blockRecordsOf = (capacity: number): number => Math.min(MOST_BLOCK_RECORDS, capacity / BLOCKS_AT_LEAST);

/** Both sizes are powers of two. */
export function createVerdictRing(records = RING_RECORDS, packetsBytes = PACKETS_BYTES): VerdictRingBuffers {
  return { header: new SharedArrayBuffer(HEADER_BYTES), records: new SharedArrayBuffer(records * RECORD.size), links: new SharedArrayBuffer(records * LINK_BYTES), packets: new SharedArrayBuffer(packetsBytes), blocks: new SharedArrayBuffer((records / blockRecordsOf(records)) * BLOCK_WORDS * 4), wanted: new SharedArrayBuffer(TABLE_ATTACHMENTS * VERDICT_SLOTS * 4) };
}

/** Writes what a pipeline's packet loop leaves behind; allocates a few views per batch and nothing per packet. */
export class VerdictRingWriter implements BatchObserver {
  /** Called before records are there that name attachments which nobody was told of. */
  onAttachments: () => void = () => {};
  readonly #pipeline: Pipeline;
  readonly #header: BigInt64Array;
  readonly #words: Int32Array;
  readonly #records: Uint8Array;
  readonly #links: Uint32Array;
  readonly #words32: Uint32Array;
  readonly #doubles: Float64Array;
  readonly #blocks: Int32Array;
  readonly #wanted: Uint32Array;
  readonly #capacity: number;
  readonly #blockRecords: number;
  /** What counters said, by attachment and verdict slot, when `blocks` were written to. */
  readonly #counts = new Uint32Array(TABLE_ATTACHMENTS * VERDICT_SLOTS);
  readonly #stretchVerdicts = new Int32Array(BLOCK_WORDS);
  /** Read when the first record comes: until then another may be writing. */
  #head = -1;
  #packetHead = 0;
  /** The same within `packets`. */
  #packetPosition = 0;
  #attachments = 0;
  /** Read before packets run: without, they do not stay where they are when they have left. */
  #snap = 0;

  constructor(buffers: VerdictRingBuffers, pipeline: Pipeline) {
    this.#pipeline = pipeline;
    this.#header = new BigInt64Array(buffers.header);
    this.#words = new Int32Array(buffers.header);
    this.#records = new Uint8Array(buffers.records);
    this.#links = new Uint32Array(buffers.links);
    this.#words32 = new Uint32Array(buffers.packets);
    this.#doubles = new Float64Array(buffers.packets);
    this.#blocks = new Int32Array(buffers.blocks);
    this.#wanted = new Uint32Array(buffers.wanted);
    this.#capacity = this.#links.length;
    this.#blockRecords = blockRecordsOf(this.#capacity);
  }

  get looksAt(): 'records' | 'packets' {
    this.#snap = Atomics.load(this.#words, SNAP);
    return this.#snap > 0 ? 'packets' : 'records';
  }

  finished(batch: PacketBatch, first: number, count: number, records: DataView, recordCount: number): void {
    if (recordCount === 0) return;
    if (this.#head < 0) this.#begin();
    const { length } = this.#pipeline.attachments;
    if (length !== this.#attachments) this.#tellAttachments(length);
    const from = this.#head;
    // A stretch is never longer than the ring (pipeline.ts, RECORDS_BYTES).
    this.#head += recordCount;
    Atomics.store(this.#header, CLAIMED, BigInt(this.#head));
    if (this.#snap > 0) this.#keepPackets(batch, first, count, records, recordCount, from, this.#snap);
    this.#keepRecords(new Uint8Array(records.buffer, records.byteOffset, recordCount * RECORD.size), from);
    this.#noteVerdicts(from);
    Atomics.store(this.#header, HEAD, BigInt(this.#head));
  }

  #begin(): void {
    this.#head = Number(Atomics.load(this.#header, HEAD));
    this.#packetHead = Number(Atomics.load(this.#header, PACKET_HEAD));
    this.#packetPosition = this.#packetHead % (this.#words32.length * 4);
  }

  #tellAttachments(count: number): void {
    // Until those who read have heard of them.
    this.#wanted.fill(ALWAYS_WANTED, this.#attachments * VERDICT_SLOTS, count * VERDICT_SLOTS);
    this.#attachments = count;
    Atomics.store(this.#words, ATTACHMENTS, count);
    this.onAttachments();
  }

  /** Which verdicts the records from there to the head are of. */
  #noteVerdicts(from: number): void {
    const stretch = this.#stretchVerdicts.fill(this.#attachments > TABLE_ATTACHMENTS ? -1 : 0);
    const end = Math.min(this.#attachments, TABLE_ATTACHMENTS);
    for (let attachment = 0, index = 0; attachment < end; attachment++) {
      for (let slot = 0; slot < VERDICT_SLOTS; slot++, index++) {
        const verdicts = this.#pipeline.verdicts(attachment, slot);
        if (verdicts === this.#counts[index]) continue;
        this.#counts[index] = verdicts;
        noteBit(stretch, index);
      }
    }
    const blockRecords = this.#blockRecords;
    for (let block = Math.floor(from / blockRecords); block * blockRecords < this.#head; block++) {
      const at = (block % (this.#capacity / blockRecords)) * BLOCK_WORDS;
      const isNew = block * blockRecords >= from;
      for (let word = 0; word < BLOCK_WORDS; word++) Atomics.store(this.#blocks, at + word, isNew ? stretch[word]! : this.#blocks[at + word]! | stretch[word]!);
    }
  }

  #keepRecords(bytes: Uint8Array, from: number): void {
    const at = (from % this.#capacity) * RECORD.size;
    const untilEnd = this.#records.length - at;
    if (bytes.length <= untilEnd) {
      this.#records.set(bytes, at);
    } else {
      this.#records.set(bytes.subarray(0, untilEnd), at);
      this.#records.set(bytes.subarray(untilEnd), 0);
    }
  }

  #keepPackets(batch: PacketBatch, first: number, count: number, records: DataView, recordCount: number, from: number, snap: number): void {
    const { u32 } = batch.memory;
    const mask = this.#capacity - 1;
    const slot = from % this.#capacity;
    // Where the packets end is known when they are there: until then, as far as they may reach counts as written to.
    const mostBytes = roundUp(ENTRY.size + 2 * (snap + 8)) * (Math.min(count, recordCount) + 1);
    Atomics.store(this.#header, PACKET_HEAD, BigInt(this.#packetHead + mostBytes));
    let record = 0;
    for (let index = first; index < first + count && record < recordCount; index++) {
      const low = u32[(batch.descriptor(index) + DESCRIPTOR.number) >>> 2]!;
      const begin = record;
      // Packets of one batch differ in the lower half of their numbers.
      while (record < recordCount && records.getUint32(record * RECORD.size, true) === low) record++;
      if (record === begin || !this.#isWanted(records, begin, record)) continue;
      const link = this.#keepPacket(batch, batch.descriptor(index) >>> 2, from + begin, record - begin, snap);
      for (let one = begin; one < record; one++) this.#links[(slot + one) & mask] = link;
    }
    Atomics.store(this.#header, PACKET_HEAD, BigInt(this.#packetHead));
  }

  /** By one of its verdicts. */
  #isWanted(records: DataView, begin: number, end: number): boolean {
    const wanted = this.#wanted;
    let isWanted = false;
    for (let at = begin * RECORD.size; at < end * RECORD.size; at += RECORD.size) {
      const index = verdictIndexAt(records, at);
      const count = index < wanted.length ? wanted[index]! : ALWAYS_WANTED;
      if (count === 0) continue;
      isWanted = true;
      // Where a reader has just written another number, that one counts.
      if (count !== ALWAYS_WANTED) Atomics.compareExchange(wanted, index, count, count - 1);
    }
    return isWanted;
  }

  /** Allocates nothing for short pieces: a subarray costs more than copying one. */
  #keepPacket({ memory }: PacketBatch, at: number, firstRecord: number, records: number, snap: number): number {
    const { u32 } = memory;
    const before = u32[at + DESCRIPTOR.address / 4]!;
    const captured = u32[at + DESCRIPTOR.captured / 4]!;
    const after = u32[at + DESCRIPTOR.leftAddress / 4]!;
    const left = u32[at + DESCRIPTOR.leftLength / 4]!;
    const [beforeBytes, afterBytes] = [Math.min(captured, snap), Math.min(left, snap)];
    const [beforeSkip, afterSkip] = [before & 3, after & 3];
    const beforeWords = (beforeSkip + beforeBytes + 3) >>> 2;
    const afterWords = (afterSkip + afterBytes + 3) >>> 2;
    const bytes = roundUp(ENTRY.size + (beforeWords + afterWords) * 4);
    const packets = this.#words32;
    const ringBytes = packets.length * 4;
    let position = this.#packetPosition;
    if (position + bytes > ringBytes) {
      this.#packetHead += ringBytes - position;
      position = 0;
    }
    const link = this.#packetHead / UNIT;
    this.#packetHead += bytes;
    this.#packetPosition = position + bytes;
    this.#doubles[(position + ENTRY.first) / 8] = firstRecord;
    const entry = position / 4;
    packets[entry + ENTRY.records / 4] = records;
    // Fate and reason are the two halves of the word there too.
    packets[entry + ENTRY.fate / 4] = u32[at + DESCRIPTOR.outcome / 4]!;
    packets[entry + ENTRY.wire / 4] = u32[at + DESCRIPTOR.wire / 4]!;
    packets[entry + ENTRY.captured / 4] = captured;
    packets[entry + ENTRY.left / 4] = left;
    packets[entry + ENTRY.leftIfindex / 4] = u32[at + DESCRIPTOR.leftIfindex / 4]!;
    packets[entry + ENTRY.beforeBytes / 4] = beforeBytes | (afterBytes << 16);
    packets[entry + ENTRY.beforeSkip / 4] = beforeSkip | (afterSkip << 8);
    const bytesAt = entry + ENTRY.size / 4;
    copyWords(u32, before >>> 2, packets, bytesAt, beforeWords);
    copyWords(u32, after >>> 2, packets, bytesAt + beforeWords, afterWords);
    return link >>> 0;
  }
}

function copyWords(from: Uint32Array, fromWord: number, to: Uint32Array, toWord: number, words: number): void {
  if (words >= LONG_WORDS) to.set(from.subarray(fromWord, fromWord + words), toWord);
  else for (let word = 0; word < words; word++) to[toWord + word] = from[fromWord + word]!;
}

/** A packet as the ring keeps it: a copy. */
export interface KeptPacket extends Omit<StreamPacket, 'number' | 'record' | 'sequence'> {
  /** Sequence number of its first record. */
  readonly first: number;
}

/** A stretch of records: a copy. `from` to `end` are sequence numbers, and what is missing before `from` was overwritten. */
export interface RecordStretch {
  readonly from: number;
  readonly end: number;
  /** Room that was asked for, then the records. */
  readonly bytes: Buffer;
}

export class VerdictRing {
  readonly buffers: VerdictRingBuffers;
  readonly capacity: number;
  readonly blockRecords: number;
  /** The records where they lie, to look at: what they say counts only if `oldest` has not passed them afterwards. */
  readonly words: Uint32Array;
  readonly wanted: Uint32Array;
  readonly #header: BigInt64Array;
  readonly #words: Int32Array;
  readonly #records: Uint8Array;
  readonly #links: Uint32Array;
  readonly #blocks: Int32Array;
  readonly #packets: Uint8Array;
  readonly #view: DataView;

  constructor(buffers: VerdictRingBuffers = createVerdictRing()) {
    this.buffers = buffers;
    this.#header = new BigInt64Array(buffers.header);
    this.#words = new Int32Array(buffers.header);
    this.words = new Uint32Array(buffers.records);
    this.#records = new Uint8Array(buffers.records);
    this.#links = new Uint32Array(buffers.links);
    this.#packets = new Uint8Array(buffers.packets);
    this.#view = new DataView(buffers.packets);
    this.#blocks = new Int32Array(buffers.blocks);
    this.wanted = new Uint32Array(buffers.wanted);
    this.capacity = this.#links.length;
    this.blockRecords = blockRecordsOf(this.capacity);
  }

  /** The sequence number of the next record that will be there. */
  get head(): number {
    return Number(Atomics.load(this.#header, HEAD));
  }

  /** The oldest record that is still there. */
  get oldest(): number {
    return Math.max(Number(Atomics.load(this.#header, FLOOR)), Number(Atomics.load(this.#header, CLAIMED)) - this.capacity, 0);
  }

  /** How many attachments the records that are there may name. */
  get attachments(): number {
    return Atomics.load(this.#words, ATTACHMENTS);
  }

  /** Those verdicts, as `mayBeWanted` asks for them. */
  verdictBits(isWanted: (index: number) => boolean): Int32Array {
    const bits = new Int32Array(BLOCK_WORDS);
    for (let index = this.attachments * VERDICT_SLOTS - 1; index >= 0; index--) if (isWanted(index)) noteBit(bits, index);
    return bits;
  }

  /** Whether one of the records of the block that begins with that one may be wanted; looks at none of them. */
  mayBeWanted(first: number, bits: Int32Array): boolean {
    const at = ((first / this.blockRecords) % (this.capacity / this.blockRecords)) * BLOCK_WORDS;
    for (let word = 0; word < BLOCK_WORDS; word++) if (bits[word] !== 0 && (Atomics.load(this.#blocks, at + word) & bits[word]!) !== 0) return true;
    // Where it is being overwritten, that was said of other records.
    return this.oldest > first;
  }

  set snap(bytes: number) {
    Atomics.store(this.#words, SNAP, Math.min(bytes, MOST_SNAP_BYTES));
  }

  /** Another lab is going to write: what is there belongs to nobody any more. */
  clear(): void {
    const head = Atomics.load(this.#header, HEAD);
    Atomics.store(this.#header, CLAIMED, head);
    Atomics.store(this.#header, FLOOR, head);
    Atomics.store(this.#words, ATTACHMENTS, 0);
  }

  /** At most `most` records from `wanted` on, or from the oldest that is there, behind `roomBytes` for the caller's own use. */
  read(wanted: number, most: number, roomBytes = 0): RecordStretch {
    const from = Math.max(wanted, this.oldest);
    const end = Math.max(from, Math.min(from + most, this.head));
    // Not zeroed: all of it is written to.
    const bytes = Buffer.allocUnsafeSlow(roomBytes + (end - from) * RECORD.size);
    const records = bytes.subarray(roomBytes);
    const at = (from % this.capacity) * RECORD.size;
    const untilEnd = Math.min(records.length, this.#records.length - at);
    records.set(this.#records.subarray(at, at + untilEnd));
    if (untilEnd < records.length) records.set(this.#records.subarray(0, records.length - untilEnd), untilEnd);
    const whole = Math.min(Math.max(from, this.oldest), end);
    return { from: whole, end, bytes: bytes.subarray((whole - from) * RECORD.size) };
  }

  /** Those records, behind `roomBytes` for the caller's own use. */
  gather(sequences: readonly number[], roomBytes: number): Buffer {
    const bytes = Buffer.allocUnsafeSlow(roomBytes + sequences.length * RECORD.size);
    const to = new Uint32Array(bytes.buffer, roomBytes);
    sequences.forEach((sequence, record) => {
      const at = (sequence % this.capacity) * RECORD_WORDS;
      for (let word = 0; word < RECORD_WORDS; word++) to[record * RECORD_WORDS + word] = this.words[at + word]!;
    });
    return bytes;
  }

  /** The packet of a record, undefined where nobody wanted packets when it ran, or where it was overwritten. */
  packet(sequence: number): KeptPacket | undefined {
    const link = this.#links[sequence % this.capacity]!;
    if (!this.#isKept(link)) return undefined;
    const view = this.#view;
    const position = (link % (view.byteLength / UNIT)) * UNIT;
    const first = view.getFloat64(position + ENTRY.first, true);
    const records = view.getUint32(position + ENTRY.records, true);
    const beforeBytes = view.getUint16(position + ENTRY.beforeBytes, true);
    const afterBytes = view.getUint16(position + ENTRY.afterBytes, true);
    const before = position + ENTRY.size + view.getUint8(position + ENTRY.beforeSkip);
    const after = position + ENTRY.size + (((before & 3) + beforeBytes + 3) & ~3) + view.getUint8(position + ENTRY.afterSkip);
    if (!(sequence >= first && sequence < first + records)) return undefined;
    const kept = {
      first,
      records,
      fate: view.getUint16(position + ENTRY.fate, true),
      reason: view.getUint16(position + ENTRY.reason, true),
      wire: view.getUint32(position + ENTRY.wire, true),
      captured: view.getUint32(position + ENTRY.captured, true),
      left: view.getUint32(position + ENTRY.left, true),
      leftIfindex: view.getUint32(position + ENTRY.leftIfindex, true),
      before: this.#packets.slice(before, before + beforeBytes),
      after: this.#packets.slice(after, after + afterBytes),
    };
    // Nothing was written over it while it was copied.
    return this.#isKept(link) ? kept : undefined;
  }

  /** Whether what was written there is still whole. */
  #isKept(link: number): boolean {
    const behind = ((Number(Atomics.load(this.#header, PACKET_HEAD)) / UNIT - link) >>> 0) * UNIT;
    return behind > 0 && behind <= this.#view.byteLength;
  }
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / UNIT) * UNIT;
}
