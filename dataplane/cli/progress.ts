/** One line on stderr that says how far long work has come; nothing when stderr is not a terminal. */
import { bytes, count, percent, rate } from './terminal.ts';
import type { ReplayProgress } from '../pipeline/replay.ts';

const EVERY_MS = 200;
const CLEAR_LINE = '\r\u001b[K';

export class ProgressLine {
  readonly #enabled = process.stderr.isTTY === true;
  readonly #startedMs = performance.now();
  #nextMs = this.#startedMs + EVERY_MS;
  #shown = false;

  update({ packets, bytesRead, totalBytes }: ReplayProgress): void {
    if (!this.#enabled) return;
    const now = performance.now();
    if (now < this.#nextMs) return;
    this.#nextMs = now + EVERY_MS;
    const share = totalBytes ? ` of ${bytes(totalBytes)} (${percent(bytesRead / totalBytes)})` : '';
    const speed = rate((packets * 1000) / (now - this.#startedMs));
    process.stderr.write(`${CLEAR_LINE}${count(packets)} packets, ${bytes(bytesRead)}${share}, ${speed} packets/s`);
    this.#shown = true;
  }

  clear(): void {
    if (this.#shown) process.stderr.write(CLEAR_LINE);
    this.#shown = false;
  }
}
