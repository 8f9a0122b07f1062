/**
 * Buffered writing of a file in large pieces, through one buffer that is used again and again.
 *
 * Invariant: `reserve(n)` leaves `n` free bytes at `at`; whoever fills them moves `at` on. Writing is
 * synchronous, which is all the back-pressure a producer needs.
 *
 * With `behind`, full buffers of a file are written by another thread, each to its place, while whoever fills them goes
 * on; where too many are on their way, again synchronously.
 */
import { closeSync, fstatSync, openSync, write, writeSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

import { XdplabError } from '../errors.ts';
import { fileError } from './byte-source.ts';

const BUFFER_BYTES = 1 << 20;
/** That threads write at most: what the fastest replay fills while the event loop waits. */
const MOST_BEHIND = 32;
const STANDARD_OUTPUT = 1;
const encoder = new TextEncoder();

/** What is filled before it is written. Its views may be others after its memory has grown. */
interface Room {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

export interface OutputFileOptions {
  /** Full buffers are written by another thread: `settled` comes before `close` then. */
  readonly behind?: boolean;
  /** Where buffers of that many bytes come from, as many as are on their way at once. The process's own memory unless said. */
  readonly room?: (lengthBytes: number) => Room;
}

export class OutputFile {
  /** Where the next byte goes. */
  at = 0;
  readonly #path: string;
  readonly #gzip: boolean;
  readonly #descriptor: number;
  /** Whether a piece can be written to its place while others are. */
  readonly #behind: boolean;
  readonly #makeBuffer: NonNullable<OutputFileOptions['room']>;
  #buffer: Room;
  #writtenBytes = 0;
  readonly #spare: Room[] = [];
  #pending = 0;
  #failure: unknown;
  #onSettled: (() => void) | undefined;
  #sourceView: DataView | undefined;
  #closed = false;

  /** Creates or truncates `path`; '-' is standard output. A name that ends in .gz is packed. */
  constructor(path: string, { behind = false, room = ownRoom }: OutputFileOptions = {}) {
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
    this.#behind = behind && !this.#gzip && fstatSync(this.#descriptor).isFile() && path !== '-';
    this.#makeBuffer = room;
    this.#buffer = room(BUFFER_BYTES);
  }

  /** Others after `reserve`. */
  get bytes(): Uint8Array {
    return this.#buffer.bytes;
  }

  get view(): DataView {
    return this.#buffer.view;
  }

  /** Bytes given to it so far, before packing. */
  get lengthBytes(): number {
    return this.#writtenBytes + this.at;
  }

  /** Bytes that fit before the buffer is full. */
  get free(): number {
    return BUFFER_BYTES - this.at;
  }

  reserve(lengthBytes: number): void {
    if (lengthBytes > this.free) this.#makeRoom();
  }

  /** At most as much as a buffer holds. */
  write(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.at);
    this.at += bytes.length;
  }

  /** UTF-8, of any length. Encoded in place: no bytes of its own for each text. */
  writeText(text: string): void {
    let done = 0;
    while (done < text.length) {
      const { read, written } = encoder.encodeInto(done === 0 ? text : text.slice(done), this.bytes.subarray(this.at));
      done += read;
      this.at += written;
      if (done < text.length) this.#makeRoom();
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
    const place = this.#writtenBytes;
    this.#writtenBytes += this.at;
    this.at = 0;
    this.#throwFailure();
    if (piece.length === 0) return;
    // Each piece is a gzip member of its own; members in a row are one gzip file (RFC 1952 §2.2).
    this.#write(this.#gzip ? gzipSync(piece) : piece, this.#behind ? place : null);
  }

  /** Resolves when nothing is left behind. Rejects where something could not be written. */
  async settled(): Promise<void> {
    if (this.#pending > 0) await new Promise<void>((resolve) => (this.#onSettled = resolve));
    this.#throwFailure();
  }

  #makeRoom(): void {
    if (!this.#behind || this.#pending >= MOST_BEHIND) {
      this.flush();
      return;
    }
    this.#throwFailure();
    this.#pending++;
    this.#writeBehind(this.#buffer, 0, this.at, this.#writtenBytes);
    this.#writtenBytes += this.at;
    this.at = 0;
    this.#buffer = this.#spare.pop() ?? this.#makeBuffer(BUFFER_BYTES);
  }

  #writeBehind(full: Room, from: number, to: number, place: number): void {
    write(this.#descriptor, full.bytes, from, to - from, place, (error, written) => {
      if (error === null && from + written < to) {
        this.#writeBehind(full, from + written, to, place + written);
        return;
      }
      if (error !== null) this.#failure ??= fileError(this.#path, error);
      this.#spare.push(full);
      if (--this.#pending > 0) return;
      this.#onSettled?.();
      if (this.#closed) this.#release();
    });
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.flush();
    } finally {
      // Not under the feet of whoever still writes.
      if (this.#pending === 0) this.#release();
    }
  }

  #release(): void {
    if (this.#descriptor !== STANDARD_OUTPUT) closeSync(this.#descriptor);
  }

  /** `place`: null for where the file stands. */
  #write(bytes: Uint8Array, place: number | null): void {
    let from = 0;
    while (from < bytes.length) {
      try {
        from += writeSync(this.#descriptor, bytes, from, bytes.length - from, place === null ? null : place + from);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw fileError(this.#path, error);
        // A pipe that was made non-blocking and is full: give its reader a millisecond.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      }
    }
  }
}

function ownRoom(lengthBytes: number): Room {
  const bytes = new Uint8Array(lengthBytes);
  return { bytes, view: new DataView(bytes.buffer) };
}
