/** How fast a replay goes: as fast as it can, as the capture's own timestamps say, or so many packets a second. */
import { setTimeout as sleep } from 'node:timers/promises';
import { XdplabError } from '../errors.ts';

/** `top`: as fast as it goes. `factor`: time runs that many times as fast as in the capture. */
export type Pace = { readonly kind: 'top' } | { readonly kind: 'factor'; readonly factor: number } | { readonly kind: 'rate'; readonly packetsPerSecond: number };

const NS_PER_SECOND = 1e9;
/** Timers are good to about a millisecond: packets due within it go together. */
const SLACK_NS = 1e6;
/** The most that a timer can wait is 2^31 ms. */
const LONGEST_SLEEP_MS = 1 << 30;

/** When packets are due. Time begins with the first packet that it is asked about. */
export class Pacer {
  readonly #pace: Pace;
  #startedMs: number | undefined;
  #firstNumber = 0;
  #firstNs = 0n;

  constructor(pace: Pace) {
    this.#pace = pace;
  }

  get immediate(): boolean {
    return this.#pace.kind === 'top';
  }

  /** Returns early when the signal aborts. */
  async waitFor(number: number, timestampNs: bigint, signal: AbortSignal): Promise<void> {
    if (this.#startedMs === undefined) {
      this.#startedMs = performance.now();
      this.#firstNumber = number;
      this.#firstNs = timestampNs;
    }
    while (!signal.aborted && !this.isDue(number, timestampNs)) {
      const waitMs = (this.#dueNs(number, timestampNs) - this.#elapsedNs()) / 1e6;
      await sleep(Math.min(waitMs, LONGEST_SLEEP_MS), undefined, { signal }).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
  }

  isDue(number: number, timestampNs: bigint): boolean {
    return this.#dueNs(number, timestampNs) <= this.#elapsedNs() + SLACK_NS;
  }

  #elapsedNs(): number {
    return (performance.now() - this.#startedMs!) * 1e6;
  }

  #dueNs(number: number, timestampNs: bigint): number {
    if (this.#pace.kind === 'rate') return ((number - this.#firstNumber) * NS_PER_SECOND) / this.#pace.packetsPerSecond;
    if (this.#pace.kind === 'factor') return Number(timestampNs - this.#firstNs) / this.#pace.factor;
    return 0;
  }
}

/** `top`, `original`, `2x`, `10000pps`. Throws ERR_USAGE. */
export function parsePace(text: string): Pace {
  if (text === 'top') return { kind: 'top' };
  if (text === 'original') return { kind: 'factor', factor: 1 };
  const match = /^(\d{1,15}(?:\.\d{1,15})?)(x|pps)$/.exec(text);
  const amount = Number(match?.[1]);
  if (!match || !(amount > 0)) throw new XdplabError('ERR_USAGE', `--speed ${text}: expected top, original, <n>x or <n>pps with n above 0`);
  return match[2] === 'x' ? { kind: 'factor', factor: amount } : { kind: 'rate', packetsPerSecond: amount };
}

/** As `parsePace` reads it. */
export function paceText(pace: Pace): string {
  if (pace.kind === 'top') return 'top';
  if (pace.kind === 'rate') return `${pace.packetsPerSecond}pps`;
  return pace.factor === 1 ? 'original' : `${pace.factor}x`;
}
