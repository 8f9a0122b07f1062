/**
 * Captures that were uploaded, in the data folder under names that the server chose, and those that the user of this
 * machine named at the start. Names that clients give are shown, and never opened.
 */
import { createWriteStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Transform, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileError } from '../packet/byte-source.ts';
import type { CaptureSurvey } from './job-service.ts';
import type { Jobs } from './jobs.ts';
import { HttpProblem } from './problem.ts';

const MOST_CAPTURES = 256;

export interface StoredCapture extends CaptureSurvey {
  readonly id: string;
  readonly name: string;
  readonly path: string;
  readonly sizeBytes: number;
}

export class CaptureStore {
  readonly #jobs: Jobs;
  readonly #folder: string;
  readonly #mostBytes: number;
  readonly #captures = new Map<string, StoredCapture>();
  #count = 0;
  #uploading = 0;

  /** `mostBytes` is what all uploaded captures together may take. */
  constructor(jobs: Jobs, folder: string, mostBytes: number) {
    this.#jobs = jobs;
    this.#folder = folder;
    this.#mostBytes = mostBytes;
  }

  get all(): readonly StoredCapture[] {
    return [...this.#captures.values()];
  }

  get(id: string): StoredCapture {
    const found = this.#captures.get(id);
    if (found === undefined) throw new HttpProblem(404, 'ERR_NOT_FOUND', `there is no capture ${id}`);
    return found;
  }

  /** A file of the user of this machine. */
  async name(path: string): Promise<StoredCapture> {
    const { size } = await stat(path).catch((error: unknown) => {
      throw fileError(path, error);
    });
    return this.#survey(path, basename(path), size);
  }

  async upload(name: string, bytes: Readable): Promise<StoredCapture> {
    if (this.#captures.size >= MOST_CAPTURES || this.#uploading > 0) throw new HttpProblem(429, 'ERR_TOO_MANY', this.#uploading > 0 ? 'another capture is being uploaded; try again later' : `there are ${MOST_CAPTURES} captures already; delete one first`);
    const path = join(this.#folder, `upload-${this.#count + 1}`);
    this.#uploading++;
    try {
      const size = await this.#write(path, bytes).catch((error: unknown) => {
        throw error instanceof HttpProblem ? error : fileError(name, error);
      });
      return await this.#survey(path, name, size);
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    } finally {
      this.#uploading--;
    }
  }

  async delete(id: string): Promise<void> {
    const { path } = this.get(id);
    this.#captures.delete(id);
    if (this.#isOurs(path)) await rm(path, { force: true });
  }

  async #write(path: string, bytes: Readable): Promise<number> {
    const free = this.#mostBytes - this.all.filter((one) => this.#isOurs(one.path)).reduce((total, { sizeBytes }) => total + sizeBytes, 0);
    let size = 0;
    const counted = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        size += chunk.length;
        if (size > free) done(new HttpProblem(413, 'ERR_TOO_LARGE', `captures: there is room for ${free} bytes more; delete one first, or start the server with a larger --max-upload`));
        else done(null, chunk);
      },
    });
    // 'wx': what is there already, or a link, is an error.
    await pipeline(bytes, counted, createWriteStream(path, { flags: 'wx', mode: 0o600 }));
    return size;
  }

  async #survey(path: string, name: string, sizeBytes: number): Promise<StoredCapture> {
    const survey = await this.#jobs.run(name, (call) => call('survey', path, name));
    const capture = { ...survey, id: `c${++this.#count}`, name, path, sizeBytes };
    this.#captures.set(capture.id, capture);
    return capture;
  }

  #isOurs(path: string): boolean {
    return path.startsWith(this.#folder);
  }
}
