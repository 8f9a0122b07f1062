/**
 * The newest lines that programs sent, as JSON text, with sequence numbers: what one client takes from it is its own
 * affair. Lines that were lost before they came here have numbers too.
 */
import { beginning, type Account, type Beginning } from './verdict-subscription.ts';

const CAPACITY = 1 << 14;
const MESSAGE_CHARACTERS = 1 << 16;

export class EventRing {
  readonly #lines: (string | undefined)[] = Array.from({ length: CAPACITY });
  #head = 0;

  get head(): number {
    return this.#head;
  }

  get oldest(): number {
    return Math.max(0, this.#head - CAPACITY);
  }

  /** `lines` are JSON objects; `lost` came behind them. */
  add(lines: readonly string[], lost: number): void {
    for (const line of lines) this.#lines[this.#head++ % CAPACITY] = line;
    for (let index = 0; index < lost; index++) this.#lines[this.#head++ % CAPACITY] = undefined;
  }

  /** Undefined for what was lost. */
  line(sequence: number): string | undefined {
    return this.#lines[sequence % CAPACITY];
  }
}

export type EventTopic = 'events' | 'trace';

export class EventSubscription {
  readonly from: number;
  readonly #ring: EventRing;
  readonly #topic: EventTopic;
  #cursor: number;
  #sent = 0;
  #dropped = 0;

  constructor(ring: EventRing, topic: EventTopic, from: Beginning = 'now') {
    this.#ring = ring;
    this.#topic = topic;
    this.from = beginning(ring, from);
    this.#cursor = this.from;
  }

  get account(): Account {
    return { next: this.#cursor, produced: this.#cursor - this.from, sent: this.#sent, skipped: 0, dropped: this.#dropped };
  }

  /** A message, undefined where there is nothing more. */
  take(): string | undefined {
    const from = Math.max(this.#cursor, this.#ring.oldest);
    if (from === this.#ring.head && from === this.#cursor) return undefined;
    this.#dropped += from - this.#cursor;
    this.#cursor = from;
    const events: string[] = [];
    for (let characters = 0; this.#cursor < this.#ring.head && characters < MESSAGE_CHARACTERS; this.#cursor++) {
      const line = this.#ring.line(this.#cursor);
      if (line === undefined) {
        this.#dropped++;
        continue;
      }
      events.push(`{"sequence":${this.#cursor},${line.slice(1)}`);
      characters += line.length;
    }
    this.#sent += events.length;
    return `${JSON.stringify({ type: this.#topic, ...this.account }).slice(0, -1)},"events":[${events.join(',')}]}`;
  }
}
