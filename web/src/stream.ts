/**
 * The verdict stream (docs/verdict-stream.md): one socket that comes back by itself, and then goes on with the verdict
 * behind the last one it had.
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
  | { readonly type: 'events' | 'trace'; readonly events: readonly { readonly sequence: number; readonly time: string; readonly source: string; readonly record?: unknown; readonly text?: string }[] }
  | { readonly type: 'error'; readonly detail: string }
  | { readonly type: 'subscribed' | 'unsubscribed' };

/** A client's subscription to verdicts; `packets` also wants their bytes, of so many a second. */
export interface Wanted {
  readonly filter: Filter;
  readonly packets?: { readonly snap: number; readonly perSecond: number };
}

export interface StreamEvents {
  message?(message: Message): void;
  /** `records` are the frame's, as they lie in it. */
  verdicts(frame: VerdictFrame, records: Uint8Array): void;
  /** Whether there is a connection. */
  connected(open: boolean): void;
}

const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 4000;

export class VerdictStream {
  readonly #events: StreamEvents;
  readonly #others: readonly object[];
  #socket: WebSocket | undefined;
  #wanted: Wanted | undefined;
  /** Where to go on; undefined for what is to come. */
  #next: number | 'oldest' | undefined;
  #retryMs = FIRST_RETRY_MS;

  /** `others`: what else to subscribe to, each time anew. */
  constructor(events: StreamEvents, others: readonly object[] = []) {
    this.#events = events;
    this.#others = others;
    this.#connect();
  }

  /** Verdicts that fit from now on, and those before as far as the server still has them. */
  want(wanted: Wanted, from: 'now' | 'oldest'): void {
    this.#wanted = wanted;
    this.#next = from === 'oldest' ? 'oldest' : undefined;
    this.#subscribe();
  }

  #connect(): void {
    const { protocol, host } = location;
    const socket = new WebSocket(`${protocol === 'https:' ? 'wss' : 'ws'}://${host}/api/stream`, 'xdplab.records.v1');
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('open', () => {
      this.#retryMs = FIRST_RETRY_MS;
      this.#events.connected(true);
      for (const other of this.#others) socket.send(JSON.stringify({ type: 'subscribe', ...other }));
      this.#subscribe();
    });
    socket.addEventListener('message', ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (typeof data === 'string') this.#events.message?.(JSON.parse(data) as Message);
      else this.#take(data);
    });
    socket.addEventListener('close', () => {
      this.#events.connected(false);
      setTimeout(() => this.#connect(), this.#retryMs);
      this.#retryMs = Math.min(2 * this.#retryMs, LAST_RETRY_MS);
    });
    this.#socket = socket;
  }

  #take(data: ArrayBuffer): void {
    const frame = decodeVerdicts(data);
    this.#next = frame.next;
    this.#events.verdicts(frame, new Uint8Array(data, FRAME_HEADER.size, frame.count * VERDICT_RECORD.size));
  }

  #subscribe(): void {
    if (this.#wanted === undefined || this.#socket?.readyState !== WebSocket.OPEN) return;
    const { filter, packets } = this.#wanted;
    this.#socket.send(JSON.stringify({
      type: 'subscribe', topic: 'verdicts',
      ...(Object.keys(filter).length === 0 ? {} : { filter }),
      ...(packets === undefined ? {} : { packet: { snap: packets.snap }, sample: { perSecond: packets.perSecond } }),
      ...(this.#next === undefined ? {} : { from: this.#next }),
    }));
  }
}
