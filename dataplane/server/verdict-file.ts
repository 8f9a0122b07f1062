/**
 * Verdict records in a file: frames as the stream has them (docs/verdict-stream.md), one behind the other, and frames that
 * say what numbers in the records mean. Records are copied as the packet loop left them.
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
  /** Attachments that the file has the names of. */
  #named = -1;

  constructor(pipeline: Pipeline, file: OutputFile) {
    this.#pipeline = pipeline;
    this.#file = file;
    this.#writeNames();
  }

  finished(_batch: PacketBatch, _first: number, _count: number, records: DataView, recordCount: number): void {
    if (this.#pipeline.attachments.length !== this.#named) this.#writeNames();
    const bytes = new Uint8Array(records.buffer, records.byteOffset, recordCount * VERDICT_RECORD.size);
    for (let from = 0; from < recordCount; from += MOST_RECORDS) {
      const count = Math.min(MOST_RECORDS, recordCount - from);
      this.#writeFrame(bytes.subarray(from * VERDICT_RECORD.size, (from + count) * VERDICT_RECORD.size), count);
    }
  }

  #writeFrame(records: Uint8Array, count: number): void {
    const file = this.#file;
    file.reserve(FRAME_HEADER.size + records.length);
    this.#records += count;
    const { view, at, bytes } = file;
    bytes.fill(0, at, at + FRAME_HEADER.size);
    view.setUint8(at + FRAME_HEADER.kind, FRAME_KIND.verdicts);
    view.setUint16(at + FRAME_HEADER.recordBytes, VERDICT_RECORD.size, true);
    view.setUint32(at + FRAME_HEADER.count, count, true);
    for (const field of ['next', 'produced', 'sent'] as const) view.setBigUint64(at + FRAME_HEADER[field], BigInt(this.#records), true);
    bytes.set(records, at + FRAME_HEADER.size);
    file.at += FRAME_HEADER.size + records.length;
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
  }
}
