/** One line on stderr that says how far long work has come; nothing when stderr is not a terminal. */
import { StatusLine } from './status-line.ts';
import { bytes, count, percent, rate } from './terminal.ts';
import type { ReplayProgress } from '../pipeline/replay.ts';

const EVERY_MS = 200;

export class ProgressLine extends StatusLine {
  readonly #startedMs = performance.now();
  #nextMs = this.#startedMs + EVERY_MS;

  update({ packets, bytesRead, totalBytes }: ReplayProgress): void {
    if (!this.enabled) return;
    const now = performance.now();
    if (now < this.#nextMs) return;
    this.#nextMs = now + EVERY_MS;
    const share = totalBytes ? ` of ${bytes(totalBytes)} (${percent(bytesRead / totalBytes)})` : '';
    const speed = rate((packets * 1000) / (now - this.#startedMs));
    this.show(`${count(packets)} packets, ${bytes(bytesRead)}${share}, ${speed} packets/s`);
  }
}
