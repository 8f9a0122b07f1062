/** One line on stderr that is written over again and again, where stderr is a terminal. */

const CLEAR_LINE = '\r\u001b[K';

export class StatusLine {
  readonly enabled: boolean = process.stderr.isTTY === true;
  #shown = false;

  show(text: string): void {
    process.stderr.write(CLEAR_LINE + text);
    this.#shown = true;
  }

  clear(): void {
    if (this.#shown) process.stderr.write(CLEAR_LINE);
    this.#shown = false;
  }
}
