/**
 * Bytes that took long to make, by a digest of everything they depend on: a file for each, in a folder that is made when
 * first needed. Any number of processes use it at once. What is damaged, or another key's, is not there.
 *
 *   file   0 digest of key and bytes    32 bytes
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Cache {
  get(key: string): Uint8Array<ArrayBuffer> | undefined;
  add(key: string, bytes: Uint8Array): void;
}

const DIGEST_BYTES = 32;
/** Modules of some ten thousand bytes each. */
const MOST_FILES = 1024;

const digestOf = (key: string, bytes: Uint8Array): Buffer => createHash('sha256').update(key).update(bytes).digest();

export class CacheFolder implements Cache {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  get(key: string): Uint8Array<ArrayBuffer> | undefined {
    let file: Uint8Array<ArrayBuffer>;
    try {
      file = readFileSync(join(this.#path, key));
    } catch {
      return undefined;
    }
    const bytes = file.subarray(DIGEST_BYTES);
    return digestOf(key, bytes).equals(file.subarray(0, DIGEST_BYTES)) ? bytes : undefined;
  }

  add(key: string, bytes: Uint8Array): void {
    const file = join(this.#path, key);
    const unfinished = `${file}.${process.pid}`;
    try {
      mkdirSync(this.#path, { recursive: true });
      writeFileSync(unfinished, Buffer.concat([digestOf(key, bytes), bytes]));
      renameSync(unfinished, file);
      this.#makeRoom();
    } catch {
      // Who may not write there waits a little longer next time.
    }
  }

  /** The oldest half goes where there are too many. */
  #makeRoom(): void {
    const names = readdirSync(this.#path);
    if (names.length <= MOST_FILES) return;
    const files = names.map((name) => join(this.#path, name)).map((path) => ({ path, writtenMs: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }));
    for (const { path } of files.toSorted((a, b) => a.writtenMs - b.writtenMs).slice(0, MOST_FILES / 2)) rmSync(path, { force: true });
  }
}
