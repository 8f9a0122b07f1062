/**
 * The stretch of machine memory a capture is read through.
 *
 *     region   0          start              end         capacity   lengthBytes
 *              | delivered | not yet walked   | free       | the walk's |
 *
 * Invariant: bytes of one record always lie together. A record that straddles the end is moved to the front
 * before more is read, so `start` moves back only inside `fill`, which ends the life of every address handed out.
 */
import { XdplabError } from '../errors.ts';
import type { Region } from '../machine/memory.ts';
import type { ByteSource } from './byte-source.ts';
import { WAIT } from './byte-source.ts';
import { WALK } from './record-walk.ts';

/** Of a record that is looked into: a window holds at least one of them, whatever its size. */
export const MAX_RECORD_BYTES = 524_288;
export const MIN_WINDOW_BYTES: number = MAX_RECORD_BYTES + WALK.size;

export class CaptureWindow {
  readonly source: ByteSource;
  readonly region: Region;
  /** Bytes of the region that hold bytes of the capture. */
  readonly capacity: number;
  /** For messages. */
  readonly name: string;
  start = 0;
  end = 0;
  /** Where in the (decompressed) capture the window's first byte is. */
  #origin = 0;
  #discard = 0;
  #view: DataView | undefined;

  constructor(source: ByteSource, region: Region, name: string) {
    if (region.lengthBytes < MIN_WINDOW_BYTES) {
      throw new XdplabError(
        'ERR_MEMORY',
        `${name}: the capture window has ${region.lengthBytes} bytes, but needs ${MIN_WINDOW_BYTES} to hold any packet`,
      );
    }
    this.source = source;
    this.region = region;
    this.capacity = (region.lengthBytes - WALK.size) & ~7;
    this.name = name;
  }

  /** Borrowed: valid until the memory grows. */
  get view(): DataView {
    const { bytes } = this.region;
    if (this.#view?.buffer !== bytes.buffer) {
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    return this.#view!;
  }

  /** Address of the WALK. */
  get walkState(): number {
    return this.region.address + this.capacity;
  }

  get unread(): number {
    return this.end - this.start;
  }

  /** The offset in the capture of window position `at`. */
  offset(at: number): number {
    return this.#origin + at;
  }

  /** Passes over the next bytes, which need not be in the window yet. */
  discard(lengthBytes: number): void {
    const here = Math.min(lengthBytes, this.unread);
    this.start += here;
    this.#discard += lengthBytes - here;
  }

  /** Bytes still to be passed over when the source ended. */
  get owed(): number {
    return this.#discard;
  }

  /** Reads more behind the unread bytes: how many came, 0 at the end, WAIT where `source.ready()` must be awaited. */
  fill(): number {
    const { bytes } = this.region;
    if (this.start > 0) {
      bytes.copyWithin(0, this.start, this.end);
      this.#origin += this.start;
      this.end -= this.start;
      this.start = 0;
    }
    const got = this.source.read(bytes.subarray(this.end, this.capacity));
    if (got === WAIT || got === 0) return got;
    this.end += got;
    if (this.#discard > 0) {
      const owed = this.#discard;
      this.#discard = 0;
      this.discard(owed);
    }
    return got;
  }
}
