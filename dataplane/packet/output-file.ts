/**
 * Buffered writing of a file in large pieces, through one buffer that is used again and again.
 *
 * Invariant: `reserve(n)` leaves `n` free bytes at `at`; whoever fills them moves `at` on. Writing is
 * synchronous, which is all the back-pressure a producer needs.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

import { XdplabError } from '../errors.ts';
import { fileError } from './byte-source.ts';

const BUFFER_BYTES = 1 << 20;
const STANDARD_OUTPUT = 1;
const encoder = new TextEncoder();

export class OutputFile {
  readonly bytes: Uint8Array = new Uint8Array(BUFFER_BYTES);
  readonly view: DataView = new DataView(this.bytes.buffer);
  /** Where the next byte goes. */
  at = 0;
  readonly #path: string;
  readonly #gzip: boolean;
  readonly #descriptor: number;
  #writtenBytes = 0;
  #sourceView: DataView | undefined;
  #closed = false;

  /** Creates or truncates `path`; '-' is standard output. A name that ends in .gz is packed. */
  constructor(path: string) {
    this.#path = path === '-' ? 'standard output' : path;
    this.#gzip = path.endsWith('.gz');
    try {
      this.#descriptor = path === '-' ? STANDARD_OUTPUT : openSync(path, 'w');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        throw new XdplabError('ERR_FILE', `${path}: cannot be created, its folder does not exist`, { cause: error });
      }
      throw fileError(path, error);
    }
  }

  /** Bytes given to it so far, before packing. */
  get lengthBytes(): number {
    return this.#writtenBytes + this.at;
  }

  reserve(lengthBytes: number): void {
    if (this.at + lengthBytes > BUFFER_BYTES) this.flush();
  }

  /** UTF-8, of any length. Encoded in place: no bytes of its own for each text. */
  writeText(text: string): void {
    let done = 0;
    while (done < text.length) {
      const { read, written } = encoder.encodeInto(done === 0 ? text : text.slice(done), this.bytes.subarray(this.at));
      done += read;
      this.at += written;
      if (done < text.length) this.flush();
    }
  }

  /**
   * Copies without allocating: a `subarray` to copy from would be an object per packet. Beyond two cache lines
   * the built-in copy wins in spite of its object.
   */
  copy(at: number, source: Uint8Array, sourceAt: number, lengthBytes: number): void {
    if (lengthBytes > 128) {
      this.bytes.set(source.subarray(sourceAt, sourceAt + lengthBytes), at);
      return;
    }
    // Of the whole buffer: callers pass views of their own making, but mostly of one memory.
    if (this.#sourceView?.buffer !== source.buffer) this.#sourceView = new DataView(source.buffer);
    const { view } = this;
    const sourceView = this.#sourceView!;
    const from = source.byteOffset + sourceAt;
    let done = 0;
    for (; done + 4 <= lengthBytes; done += 4) view.setUint32(at + done, sourceView.getUint32(from + done));
    for (; done < lengthBytes; done++) this.bytes[at + done] = source[sourceAt + done]!;
  }

  flush(): void {
    const piece = this.bytes.subarray(0, this.at);
    this.#writtenBytes += this.at;
    this.at = 0;
    if (piece.length === 0) return;
    // Each piece is a gzip member of its own; members in a row are one gzip file (RFC 1952 §2.2).
    this.#write(this.#gzip ? gzipSync(piece) : piece);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.flush();
    } finally {
      if (this.#descriptor !== STANDARD_OUTPUT) closeSync(this.#descriptor);
    }
  }

  #write(bytes: Uint8Array): void {
    let from = 0;
    while (from < bytes.length) {
      try {
        from += writeSync(this.#descriptor, bytes, from, bytes.length - from);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw fileError(this.#path, error);
        // A pipe that was made non-blocking and is full: give its reader a millisecond.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      }
    }
  }
}
