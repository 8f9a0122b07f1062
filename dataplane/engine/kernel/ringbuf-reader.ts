/**
 * User space's end of a BPF_MAP_TYPE_RINGBUF (Linux Documentation/bpf/ringbuf.rst). The map's file has
 *
 *   page 0    u64 consumer position, which is ours to write
 *   page 1    u64 producer position
 *   page 2 …  data, twice in a row: a record that begins near the end goes on behind it
 *
 *   record    u32 length: BUSY bit 31, DISCARD bit 30   4 u32 the kernel's own   8 data, padded to 8
 */
import { PAGE_BYTES, type PinnedMemory } from '../../system/native.ts';
import type { Linux } from './linux.ts';

const RECORD_HEADER_BYTES = 8;
const BUSY = 0x8000_0000;
const DISCARD = 0x4000_0000;
const LENGTH = 0x3fff_ffff;

export class RingbufReader {
  readonly #linux: Linux;
  readonly #dataBytes: number;
  readonly #consumer: PinnedMemory;
  readonly #producer: PinnedMemory;

  constructor(linux: Linux, fd: number, dataBytes: number) {
    this.#linux = linux;
    this.#dataBytes = dataBytes;
    this.#consumer = linux.share(fd, 0, PAGE_BYTES, 'write');
    this.#producer = linux.share(fd, PAGE_BYTES, PAGE_BYTES + 2 * dataBytes, 'read');
  }

  /** Whether there is anything to take. */
  get pending(): boolean {
    return this.#consumer.view.getBigUint64(0, true) < this.#producer.view.getBigUint64(0, true);
  }

  /** The records that are complete. Nothing may run the program meanwhile on another thread. */
  take(): Uint8Array[] {
    const records: Uint8Array[] = [];
    const { view, bytes } = this.#producer;
    let consumed = this.#consumer.view.getBigUint64(0, true);
    const produced = view.getBigUint64(0, true);
    while (consumed < produced) {
      const at = PAGE_BYTES + (Number(BigInt.asUintN(32, consumed)) & (this.#dataBytes - 1));
      const header = view.getUint32(at, true);
      if ((header & BUSY) !== 0) break;
      const length = header & LENGTH;
      if ((header & DISCARD) === 0) records.push(bytes.slice(at + RECORD_HEADER_BYTES, at + RECORD_HEADER_BYTES + length));
      consumed += BigInt((length + RECORD_HEADER_BYTES + 7) & ~7);
    }
    this.#consumer.view.setBigUint64(0, consumed, true);
    return records;
  }

  close(): void {
    this.#linux.unmap(this.#consumer);
    this.#linux.unmap(this.#producer);
  }
}
