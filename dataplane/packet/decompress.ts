/**
 * Gzip (RFC 1952, several members) and Zstandard (RFC 8878) under a capture, told by their magic and never by
 * a file's name.
 *
 * Invariant: input goes in a slice at a time, and the next waits while too much output is untaken, so that a
 * small file which unpacks to terabytes costs no more memory than any other.
 */
import { Transform } from 'node:stream';
import zlib from 'node:zlib';

import { Decompress } from 'fzstd';

import { XdplabError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';
import { StreamSource, WAIT } from './byte-source.ts';
import { ZstdFrames } from './zstd-frames.ts';

export type Compression = 'none' | 'gzip' | 'zstd';

/** What four first bytes say. */
export function detectCompression(head: Uint8Array): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  if (head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd) return 'zstd';
  return 'none';
}

interface Unpacker {
  readonly stream: Transform;
  /** Input given at once. Its output is held in memory until taken: gzip makes up to 1,032 bytes of one. */
  readonly sliceBytes: number;
}

const UNPACKERS: Record<Exclude<Compression, 'none'>, () => Unpacker> = {
  gzip: () => ({ stream: zlib.createGunzip({ chunkSize: 262_144 }), sliceBytes: 32_768 }),
  zstd: () => {
    const { createZstdDecompress } = zlib as { createZstdDecompress?: (options: object) => Transform };
    return createZstdDecompress === undefined
      ? { stream: zstdInJavaScript(), sliceBytes: 2048 }
      : { stream: createZstdDecompress({ chunkSize: 262_144 }), sliceBytes: 32_768 };
  },
};

/** For Node before 22.15, whose zlib has no Zstandard. */
function zstdInJavaScript(): Transform {
  const stream = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      const step = (): void => {
        // Copied: the decoder keeps what it cannot use yet, and the slice it comes in is used again.
        decoder.push(new Uint8Array(chunk.subarray(0, frames.check(chunk))));
        if (frames.problem !== undefined) throw frames.problem;
      };
      done(attempt(step));
    },
    flush(done) {
      done(attempt(() => decoder.push(new Uint8Array(0), true)));
    },
  });
  const frames = new ZstdFrames();
  const decoder = new Decompress((output) => {
    if (output.length > 0) stream.push(new Uint8Array(output));
  });
  return stream;
}

function attempt(action: () => void): Error | null {
  try {
    action();
    return null;
  } catch (error) {
    return error as Error;
  }
}

/** The bytes of `packed` with the compression taken off. */
export class DecompressedSource implements ByteSource {
  readonly totalBytes: number | undefined;
  readonly #packed: ByteSource;
  readonly #unpacker: Unpacker;
  readonly #output: StreamSource;
  readonly #slice: Uint8Array;
  #feeding = false;

  constructor(packed: ByteSource, compression: Exclude<Compression, 'none'>, name: string) {
    this.totalBytes = packed.totalBytes;
    this.#packed = packed;
    this.#unpacker = UNPACKERS[compression]();
    this.#slice = new Uint8Array(this.#unpacker.sliceBytes);
    const { stream } = this.#unpacker;
    this.#output = new StreamSource(
      stream,
      name,
      (error) => `${compression} data is damaged or cut (${error.message})`,
    );
  }

  get bytesRead(): number {
    return this.#packed.bytesRead;
  }

  read(into: Uint8Array): number {
    const got = this.#output.read(into);
    if (got === WAIT) this.#feed();
    return got;
  }

  ready(): Promise<void> {
    return this.#output.ready();
  }

  unread(bytes: Uint8Array): void {
    this.#output.unread(bytes);
  }

  async close(): Promise<void> {
    await this.#output.close();
    await this.#packed.close();
  }

  #feed(): void {
    const { stream } = this.#unpacker;
    if (this.#feeding || stream.destroyed) return;
    this.#feeding = true;
    let got: number;
    try {
      got = this.#packed.read(this.#slice);
    } catch (error) {
      stream.destroy(error as XdplabError);
      return;
    }
    if (got === WAIT) {
      void this.#packed.ready().then(() => {
        this.#feeding = false;
        this.#feed();
      });
    } else if (got === 0) {
      stream.end(); // and `#feeding` stays: there is nothing more to give
    } else {
      stream.write(this.#slice.subarray(0, got), () => {
        this.#feeding = false;
        // Without being asked: the slice may have yielded nothing. The stream calls back once its output has room.
        this.#feed();
      });
    }
  }
}
