/**
 * The newest verdict records, as they came over the socket: 32 bytes each (docs/verdict-stream.md), in chunks of a
 * mebibyte, so that millions cost what their bytes cost. Nothing is made per record.
 */
import { VERDICT_RECORD } from '../../dataplane/server/verdict-decoder.ts';

const CHUNK_RECORDS = 1 << 15;
const MOST_CHUNKS = 64;
const TWO_32 = 4_294_967_296;

export class RecordStore {
  readonly #chunks: DataView[] = [];
  /** Records that were let go, from the beginning. */
  #gone = 0;
  #count = 0;

  /** Of the oldest record that is still here. */
  get first(): number {
    return this.#gone;
  }

  /** Behind the newest. */
  get end(): number {
    return this.#gone + this.#count;
  }

  get size(): number {
    return this.#count;
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#gone = 0;
    this.#count = 0;
  }

  append(records: Uint8Array): void {
    let from = 0;
    while (from < records.length) {
      const used = this.#count % CHUNK_RECORDS;
      if (used === 0 && this.#count === this.#chunks.length * CHUNK_RECORDS) this.#grow();
      const chunk = this.#chunks[this.#chunks.length - 1]!;
      const bytes = Math.min(records.length - from, (CHUNK_RECORDS - used) * VERDICT_RECORD.size);
      new Uint8Array(chunk.buffer).set(records.subarray(from, from + bytes), used * VERDICT_RECORD.size);
      this.#count += bytes / VERDICT_RECORD.size;
      from += bytes;
    }
  }

  #grow(): void {
    if (this.#chunks.length === MOST_CHUNKS) {
      this.#chunks.push(this.#chunks.shift()!);
      this.#gone += CHUNK_RECORDS;
      this.#count -= CHUNK_RECORDS;
    } else this.#chunks.push(new DataView(new ArrayBuffer(CHUNK_RECORDS * VERDICT_RECORD.size)));
  }

  packet(index: number): number {
    const chunk = this.#chunk(index);
    const place = at(index - this.#gone, VERDICT_RECORD.number);
    return chunk.getUint32(place, true) + chunk.getUint32(place + 4, true) * TWO_32;
  }

  timestampNs(index: number): bigint {
    return this.#chunk(index).getBigUint64(at(index - this.#gone, VERDICT_RECORD.timestampNs), true);
  }

  length(index: number): number {
    return this.#chunk(index).getUint32(at(index - this.#gone, VERDICT_RECORD.length), true);
  }

  ifindex(index: number): number {
    return this.#chunk(index).getUint32(at(index - this.#gone, VERDICT_RECORD.ifindex), true);
  }

  verdict(index: number): number {
    return this.#chunk(index).getInt32(at(index - this.#gone, VERDICT_RECORD.verdict), true);
  }

  attachment(index: number): number {
    return this.#chunk(index).getUint16(at(index - this.#gone, VERDICT_RECORD.attachment), true);
  }

  fault(index: number): number {
    return this.#chunk(index).getUint8(at(index - this.#gone, VERDICT_RECORD.fault));
  }

  #chunk(index: number): DataView {
    const chunk = this.#chunks[Math.floor((index - this.#gone) / CHUNK_RECORDS)];
    if (chunk === undefined) throw new RangeError(`record ${index} is not here: ${this.first} to ${this.end - 1} are`);
    return chunk;
  }
}

const at = (place: number, field: number): number => (place % CHUNK_RECORDS) * VERDICT_RECORD.size + field;
