/**
 * The verdict stream (docs/verdict-stream.md): a socket that comes back by itself, and then goes on behind the last
 * verdict and the last event it had. Another subscription is another socket: what is still under way of the old one
 * cannot be taken for the new one's.
 */
import { decodeVerdicts, FRAME_HEADER, VERDICT_RECORD, type VerdictFrame } from '../../dataplane/server/verdict-decoder.ts';
import type { Attachment, Run, Statistics } from './api.ts';

export interface Filter {
  readonly hook?: readonly string[];
  readonly verdict?: readonly string[];
  readonly device?: readonly string[];
  readonly program?: readonly string[];
  readonly fate?: readonly string[];
  readonly reason?: readonly string[];
  readonly prefix?: readonly string[];
  readonly port?: readonly number[];
  readonly protocol?: readonly string[];
  readonly pcap?: string;
}

/** Names by the numbers that records have. */
export interface Names {
  readonly epoch: number;
  readonly hooks: readonly string[];
  readonly fates: readonly string[];
  readonly reasons: readonly string[];
  readonly faults: readonly string[];
  readonly devices: readonly { readonly name: string; readonly ifindex: number }[];
  readonly attachments: readonly Attachment[];
  readonly verdicts: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, string>>>>>>;
}

export type Message =
  | ({ readonly type: 'welcome' | 'lab' } & Names)
  | ({ readonly type: 'run' } & Run)
  | ({ readonly type: 'statistics' } & Statistics)
  | { readonly type: 'events' | 'trace'; readonly next: number; readonly events: readonly { readonly sequence: number; readonly time: string; readonly source: string; readonly record?: unknown; readonly text?: string }[] }
  | { readonly type: 'error'; readonly detail: string }
  | { readonly type: 'subscribed' | 'unsubscribed' };

/** A client's subscription to verdicts; `packets` also wants their bytes, of so many a second. */
export interface Wanted {
  readonly filter: Filter;
  readonly packets?: { readonly snap: number; readonly perSecond: number };
}

export interface Topic {
  readonly topic: 'statistics' | 'events' | 'trace';
  readonly intervalMs?: number;
}

/** Of every verdict since the subscription began, lost connections included: produced = sent + skipped + dropped. */
export interface Account {
  readonly produced: number;
  readonly sent: number;
  readonly skipped: number;
  readonly dropped: number;
}

export interface StreamEvents {
  message?(message: Message): void;
  /** `records` are the frame's, as they lie in it. */
  verdicts?(frame: VerdictFrame, records: Uint8Array, account: Account): void;
  /** Whether there is a connection; said again for each attempt that failed. */
  connected?(open: boolean): void;
}

export const NOTHING_YET: Account = { produced: 0, sent: 0, skipped: 0, dropped: 0 };

const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 4000;

const sum = (a: Account, b: Account): Account => ({ produced: a.produced + b.produced, sent: a.sent + b.sent, skipped: a.skipped + b.skipped, dropped: a.dropped + b.dropped });

export class VerdictStream {
  readonly #events: StreamEvents;
  readonly #others: readonly Topic[];
  /** Where to go on with each of the others. */
  readonly #nextOf = new Map<string, number>();
  #socket: WebSocket | undefined;
  #wanted: Wanted | undefined;
  #next: number | 'oldest' = 'oldest';
  /** Of the connections that were lost, and of this one. */
  #before = NOTHING_YET;
  #account = NOTHING_YET;
  #retryMs = FIRST_RETRY_MS;
  #retry: ReturnType<typeof setTimeout> | undefined;

  /** `others`: what else to subscribe to. */
  constructor(events: StreamEvents, others: readonly Topic[] = []) {
    this.#events = events;
    this.#others = others;
  }

  /** For the others alone. */
  open(): void {
    this.#connect();
  }

  /** Verdicts that fit from now on, and those before as far as the server still has them. */
  want(wanted: Wanted): void {
    this.#wanted = wanted;
    this.#next = 'oldest';
    this.#before = this.#account = NOTHING_YET;
    this.#retryMs = FIRST_RETRY_MS;
    // A connection that is being made asks for what is wanted once it is there.
    if (this.#socket?.readyState !== WebSocket.CONNECTING) this.#connect();
  }

  end(): void {
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#socket = undefined;
    // Browsers complain of who closes a connection before it is there: it closes itself then.
    if (socket?.readyState !== WebSocket.CONNECTING) socket?.close();
  }

  #connect(): void {
    this.end();
    const { protocol, host } = location;
    const socket = new WebSocket(`${protocol === 'https:' ? 'wss' : 'ws'}://${host}/api/stream`, 'xdplab.records.v1');
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    socket.addEventListener('open', () => {
      if (socket !== this.#socket) return socket.close();
      this.#retryMs = FIRST_RETRY_MS;
      this.#events.connected?.(true);
      for (const other of this.#others) this.#subscribe({ ...other, from: this.#nextOf.get(other.topic) });
      if (this.#wanted === undefined) return;
      const { filter, packets } = this.#wanted;
      this.#subscribe({
        topic: 'verdicts', from: this.#next,
        ...(Object.keys(filter).length === 0 ? {} : { filter }),
        ...(packets === undefined ? {} : { packet: { snap: packets.snap }, sample: { perSecond: packets.perSecond } }),
      });
    });
    socket.addEventListener('message', ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (socket !== this.#socket) return;
      if (typeof data === 'string') this.#hear(JSON.parse(data) as Message);
      else this.#take(data);
    });
    socket.addEventListener('close', () => {
      if (socket !== this.#socket) return;
      this.#before = sum(this.#before, this.#account);
      this.#account = NOTHING_YET;
      this.#retry = setTimeout(() => this.#connect(), this.#retryMs);
      this.#retryMs = Math.min(2 * this.#retryMs, LAST_RETRY_MS);
      this.#events.connected?.(false);
    });
  }

  #subscribe(to: object): void {
    this.#socket?.send(JSON.stringify({ type: 'subscribe', ...to }));
  }

  #hear(message: Message): void {
    if (message.type === 'events' || message.type === 'trace') this.#nextOf.set(message.type, message.next);
    this.#events.message?.(message);
  }

  #take(data: ArrayBuffer): void {
    const frame = decodeVerdicts(data);
    const { next, produced, sent, skipped, dropped } = frame;
    this.#next = next;
    this.#account = { produced, sent, skipped, dropped };
    this.#events.verdicts?.(frame, new Uint8Array(data, FRAME_HEADER.size, frame.count * VERDICT_RECORD.size), sum(this.#before, this.#account));
  }
}
