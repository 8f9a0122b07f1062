/**
 * Where a capture's bytes come from: a file, read without waiting, or a stream (standard input, a pipe, a
 * decompressor) whose bytes may have to be waited for.
 *
 * Invariant: a source hands over every byte it got before it reports an error.
 */
import { closeSync, createReadStream, fstatSync, openSync, readSync } from 'node:fs';
import type { Readable } from 'node:stream';

import { XdplabError } from '../errors.ts';

const STANDARD_INPUT = 0;

/** `read` has no bytes at this moment. */
export const WAIT = -1;

export interface ByteSource {
  /** Bytes put at the front of `into`, 0 at the end, or WAIT. Throws XdplabError when reading fails. */
  read(into: Uint8Array): number;
  /** Resolves when `read` may have something else to say than WAIT. */
  ready(): Promise<void>;
  /** Gives bytes back, to be read again first. */
  unread(bytes: Uint8Array): void;
  readonly bytesRead: number;
  readonly totalBytes: number | undefined;
  close(): Promise<void>;
}

/** Opens a path, or standard input for '-'. Regular files are read synchronously, straight to their target. */
export function openByteSource(path: string): ByteSource {
  if (path === '-') return openStandardInput();
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    throw fileError(path, error);
  }
  const status = fstatSync(descriptor);
  if (status.isFile()) return new FileSource(descriptor, path, status.size);
  if (status.isDirectory()) {
    closeSync(descriptor);
    throw new XdplabError('ERR_FILE', `${path}: is a directory, expected a capture file`);
  }
  return new StreamSource(createReadStream(path, { fd: descriptor, highWaterMark: 1 << 20 }), path);
}

function openStandardInput(): ByteSource {
  const name = 'standard input';
  try {
    const status = fstatSync(STANDARD_INPUT);
    if (status.isFile()) return new FileSource(STANDARD_INPUT, name, status.size);
  } catch (error) {
    throw fileError(name, error);
  }
  if (process.stdin.isTTY) {
    throw new XdplabError('ERR_FILE', `${name} is a terminal; pipe a capture into it or name a file`);
  }
  return new StreamSource(process.stdin, name);
}

const REASONS: Record<string, string> = {
  ENOENT: 'there is no such file',
  EACCES: 'this user has no permission',
  EISDIR: 'is a directory, expected a file',
};

export function fileError(name: string, cause: unknown): XdplabError {
  const { code = '', message } = cause as NodeJS.ErrnoException;
  return new XdplabError('ERR_FILE', `${name}: ${REASONS[code] ?? message.split('\n')[0]}`, { cause });
}

class FileSource implements ByteSource {
  readonly totalBytes: number;
  bytesRead = 0;
  #descriptor: number;
  readonly #name: string;
  #position = 0;

  constructor(descriptor: number, name: string, totalBytes: number) {
    this.#descriptor = descriptor;
    this.#name = name;
    this.totalBytes = totalBytes;
  }

  read(into: Uint8Array): number {
    try {
      const got = readSync(this.#descriptor, into, 0, into.length, this.#position);
      this.#position += got;
      this.bytesRead = Math.max(this.bytesRead, this.#position);
      return got;
    } catch (error) {
      throw fileError(this.#name, error);
    }
  }

  unread(bytes: Uint8Array): void {
    this.#position -= bytes.length;
  }

  async ready(): Promise<void> {}

  async close(): Promise<void> {
    if (this.#descriptor > STANDARD_INPUT) closeSync(this.#descriptor);
    this.#descriptor = -1;
  }
}

/** Held back beyond this, the stream is paused: what a slow reader costs in memory. */
const QUEUE_BYTES = 4 << 20;

export class StreamSource implements ByteSource {
  readonly totalBytes = undefined;
  bytesRead = 0;
  readonly #stream: Readable;
  readonly #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #ended = false;
  #error: XdplabError | undefined;
  #wake: (() => void) | undefined;

  /** `explain` turns an error of the stream's own into the text after the name. */
  constructor(stream: Readable, name: string, explain?: (error: Error) => string) {
    this.#stream = stream;
    stream.on('data', (chunk: Uint8Array) => {
      this.bytesRead += chunk.length;
      this.#queue.push(chunk);
      this.#queuedBytes += chunk.length;
      if (this.#queuedBytes > QUEUE_BYTES) stream.pause();
      this.#notify();
    });
    stream.on('end', () => this.#finish());
    stream.on('close', () => this.#finish());
    stream.on('error', (error) => {
      // What the stream had made before it failed and not yet handed over.
      const rest = stream.read() as Uint8Array | null;
      if (rest !== null && rest.length > 0) this.#queue.push(rest);
      if (error instanceof XdplabError) this.#error ??= error;
      else if (explain === undefined) this.#error ??= fileError(name, error);
      else this.#error ??= new XdplabError('ERR_CAPTURE', `${name}: ${explain(error)}`, { cause: error });
      this.#finish();
    });
  }

  read(into: Uint8Array): number {
    let filled = 0;
    while (filled < into.length) {
      const chunk = this.#queue[0];
      if (chunk === undefined) break;
      const take = Math.min(chunk.length, into.length - filled);
      into.set(take === chunk.length ? chunk : chunk.subarray(0, take), filled);
      filled += take;
      if (take === chunk.length) this.#queue.shift();
      else this.#queue[0] = chunk.subarray(take);
    }
    this.#queuedBytes -= filled;
    if (this.#queuedBytes <= QUEUE_BYTES && this.#stream.isPaused()) this.#stream.resume();
    if (filled > 0 || into.length === 0) return filled;
    if (this.#error !== undefined) throw this.#error;
    return this.#ended ? 0 : WAIT;
  }

  unread(bytes: Uint8Array): void {
    this.#queue.unshift(bytes);
    this.#queuedBytes += bytes.length;
  }

  ready(): Promise<void> {
    if (this.#queue.length > 0 || this.#ended) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  async close(): Promise<void> {
    this.#stream.destroy();
    this.#finish();
  }

  #finish(): void {
    this.#ended = true;
    this.#notify();
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
