/**
 * Verdict records in a file: frames as the stream has them (docs/verdict-stream.md), one behind the other, and frames that
 * say what numbers in the records mean. Where the file's buffer is in machine memory, the packet loop puts records where
 * they stay; else they are copied as it left them.
 *
 * Invariant: every attachment that a record names is in a frame of names before it.
 */
import { OutputFile } from '../packet/output-file.ts';
import type { PacketBatch } from '../packet/packet-batch.ts';
import { jsonText } from '../pipeline/json-text.ts';
import type { BatchObserver, Pipeline } from '../pipeline/pipeline.ts';
import { attachmentName, STREAM_NAMES } from './lab-names.ts';
import { FRAME_HEADER, FRAME_KIND, NAMES_HEADER_BYTES, VERDICT_RECORD, type VerdictNames } from './verdict-decoder.ts';

/** With its header in every buffer of a file. */
const MOST_RECORDS = 1 << 14;

export class VerdictFile implements BatchObserver {
  readonly looksAt = 'records';
  readonly #pipeline: Pipeline;
  readonly #file: OutputFile;
  #records = 0;
  /** The frame that is being filled: where in the file's buffer it begins and ends, and how many records it has. */
  #frame = { at: 0, end: -1, count: 0 };
  /** Attachments that the file has the names of. */
  #named = -1;

  constructor(pipeline: Pipeline, file: OutputFile) {
    this.#pipeline = pipeline;
    this.#file = file;
    this.#writeNames();
  }

  /** Behind the last one in the file's buffer. */
  recordsAt(lengthBytes: number): number | undefined {
    const file = this.#file;
    const isInMachine = file.bytes.buffer === this.#pipeline.machine.memory.u8.buffer;
    if (!isInMachine || lengthBytes > MOST_RECORDS * VERDICT_RECORD.size) return undefined;
    this.#makeRoom(lengthBytes / VERDICT_RECORD.size);
    return file.bytes.byteOffset + file.at;
  }

  finished(_batch: PacketBatch, _first: number, _count: number, records: DataView, recordCount: number): void {
    const file = this.#file;
    let bytes = new Uint8Array(records.buffer, records.byteOffset, recordCount * VERDICT_RECORD.size);
    if (this.#pipeline.attachments.length !== this.#named) {
      // Names come before who bears them, and may come where these are.
      bytes = bytes.slice();
      this.#writeNames();
    } else if (bytes.buffer === file.bytes.buffer && bytes.byteOffset === file.bytes.byteOffset + file.at) {
      return this.#take(recordCount);
    }
    for (let from = 0; from < recordCount; from += MOST_RECORDS) {
      const count = Math.min(MOST_RECORDS, recordCount - from);
      this.#makeRoom(count);
      file.bytes.set(bytes.subarray(from * VERDICT_RECORD.size, (from + count) * VERDICT_RECORD.size), file.at);
      this.#take(count);
    }
  }

  /** In the frame before, where that ends here and both have room for so many. */
  #makeRoom(count: number): void {
    const file = this.#file;
    const bytes = count * VERDICT_RECORD.size;
    if (file.at === this.#frame.end && this.#frame.count + count <= MOST_RECORDS && file.free >= bytes) return;
    file.reserve(FRAME_HEADER.size + bytes);
    const { at } = file;
    file.bytes.fill(0, at, at + FRAME_HEADER.size);
    file.view.setUint8(at + FRAME_HEADER.kind, FRAME_KIND.verdicts);
    file.view.setUint16(at + FRAME_HEADER.recordBytes, VERDICT_RECORD.size, true);
    file.at += FRAME_HEADER.size;
    this.#frame = { at, end: file.at, count: 0 };
    this.#take(0);
  }

  /** That many records lie where the next ones go. */
  #take(count: number): void {
    const file = this.#file;
    const frame = this.#frame;
    file.at += count * VERDICT_RECORD.size;
    frame.end = file.at;
    frame.count += count;
    this.#records += count;
    const { view } = file;
    const records64 = BigInt(this.#records);
    view.setUint32(frame.at + FRAME_HEADER.count, frame.count, true);
    view.setBigUint64(frame.at + FRAME_HEADER.next, records64, true);
    view.setBigUint64(frame.at + FRAME_HEADER.produced, records64, true);
    view.setBigUint64(frame.at + FRAME_HEADER.sent, records64, true);
  }

  #writeNames(): void {
    const { devices, attachments } = this.#pipeline;
    this.#named = attachments.length;
    const names: VerdictNames = { ...STREAM_NAMES, devices: devices.map(({ name, ifindex }) => ({ name, ifindex })), attachments: attachments.map((attachment) => attachmentName(attachment)) };
    const text = new TextEncoder().encode(jsonText(names));
    // What follows begins at a multiple of eight.
    const padded = new Uint8Array(Math.ceil(text.length / 8) * 8).fill(0x20);
    padded.set(text);
    const file = this.#file;
    file.reserve(NAMES_HEADER_BYTES);
    const { view, at } = file;
    view.setUint32(at, FRAME_KIND.names, true);
    view.setUint32(at + FRAME_HEADER.count, padded.length, true);
    file.at += NAMES_HEADER_BYTES;
    file.writeText(new TextDecoder().decode(padded));
    this.#frame.end = -1;
  }
}
