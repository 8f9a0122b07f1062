/**
 * Looks at the headers of Zstandard frames (RFC 8878 §3.1) as they pass, for the window each asks its decoder to
 * keep: fzstd would give two gigabytes to twenty bytes that say so. The limit is that of the zstd tool.
 *
 *   frame      4 magic, 1 descriptor, 0-1 window, 0-4 dictionary, 0-8 content size, blocks, 0 or 4 checksum
 *   block      3 bytes: last:1 type:2 size:21, then its content: one byte where type is 1, else size bytes
 *   skippable  4 magic, 4 length, content
 */
const MAX_WINDOW_BYTES = 1 << 27;
const MAGIC = 0xfd2f_b528;
const SKIPPABLE_MAGIC = 0x184d_2a5;
const RUN_LENGTH_BLOCK = 1;
const CHECKSUM_BYTES = 4;

export class ZstdFrames {
  /** The piece of a header being collected. */
  readonly #piece = new Uint8Array(16);
  #have = 0;
  #want = 4;
  #skip = 0;
  #step: () => void = this.#magic;
  #descriptor = 0;

  /** Set where a frame asks for more than the limit. Damage is left for the decoder to find. */
  problem: Error | undefined;

  /** How many of the next bytes come before such a frame's window: all of them, as a rule. */
  check(chunk: Uint8Array): number {
    for (let at = 0; at < chunk.length;) {
      if (this.#skip > 0) {
        const passed = Math.min(this.#skip, chunk.length - at);
        this.#skip -= passed;
        at += passed;
        continue;
      }
      this.#piece[this.#have++] = chunk[at++]!;
      if (this.#have < this.#want) continue;
      this.#have = 0;
      this.#step();
      if (this.problem !== undefined) return Math.max(at - this.#want, 0);
    }
    return chunk.length;
  }

  #next(want: number, step: () => void): void {
    this.#want = want;
    this.#step = step;
  }

  /** Little-endian. */
  #number(at: number, lengthBytes: number): number {
    let value = 0;
    for (let index = lengthBytes - 1; index >= 0; index--) value = value * 256 + this.#piece[at + index]!;
    return value;
  }

  #magic(): void {
    const magic = this.#number(0, 4);
    if (magic === MAGIC) this.#next(1, this.#frameDescriptor);
    else if (magic >>> 4 === SKIPPABLE_MAGIC) this.#next(4, this.#skippable);
    else this.#skip = Infinity;
  }

  #skippable(): void {
    this.#skip = this.#number(0, 4);
    this.#next(4, this.#magic);
  }

  #frameDescriptor(): void {
    this.#descriptor = this.#piece[0]!;
    this.#next(this.#windowBytes + this.#dictionaryBytes + this.#contentSizeBytes, this.#frameHeader);
  }

  get #isSingleSegment(): boolean {
    return (this.#descriptor & 0x20) !== 0;
  }

  get #windowBytes(): number {
    return this.#isSingleSegment ? 0 : 1;
  }

  get #dictionaryBytes(): number {
    return [0, 1, 2, 4][this.#descriptor & 3]!;
  }

  get #contentSizeBytes(): number {
    return [this.#isSingleSegment ? 1 : 0, 2, 4, 8][this.#descriptor >>> 6]!;
  }

  #frameHeader(): void {
    const descriptor = this.#piece[0]!;
    const base = 2 ** (10 + (descriptor >>> 3));
    const window = this.#isSingleSegment
      ? this.#number(this.#dictionaryBytes, this.#contentSizeBytes)
      : base + (base / 8) * (descriptor & 7);
    if (window > MAX_WINDOW_BYTES) {
      this.problem = new Error(`a frame asks for a window of ${window} bytes, expected at most ${MAX_WINDOW_BYTES}`);
      return;
    }
    this.#next(3, this.#block);
  }

  #block(): void {
    const header = this.#number(0, 3);
    const isRun = ((header >>> 1) & 3) === RUN_LENGTH_BLOCK;
    this.#skip = isRun ? 1 : header >>> 3;
    if ((header & 1) === 0) return;
    if (this.#descriptor & 4) this.#skip += CHECKSUM_BYTES;
    this.#next(4, this.#magic);
  }
}
