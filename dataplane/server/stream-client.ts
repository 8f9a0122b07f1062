/**
 * One socket of the stream: what it is subscribed to, and how much of it is under way. Nothing is queued for a client:
 * what is sent lies in the socket, and what lies there is bounded by a window that pongs open. A ping follows each
 * stretch of data, and the other side answers it when it has read that far; who does not read stops being sent to, and
 * the ring goes on without him.
 */
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { EventSubscription } from './event-ring.ts';
import { EventSubscription as Events } from './event-ring.ts';
import type { LabHost } from './lab-host.ts';
import { STREAM_NAMES, type LabNames } from './lab-names.ts';
import type { PacketWish } from './packet-demand.ts';
import { HttpProblem, problemOf } from './problem.ts';
import type { ClientMessage, Topic } from './stream-messages.ts';
import { parseClientMessage } from './stream-messages.ts';
import { VerdictSubscription, type Encoding } from './verdict-subscription.ts';

export const STREAM_LIMITS = {
  /** Bytes under way to a client that has answered nothing yet, and to one that always does. */
  firstWindowBytes: 1 << 16,
  mostWindowBytes: 1 << 20,
  pingEveryBytes: 1 << 15,
  idlePingMs: 15_000,
  /** Who has read nothing for so long while there was no room has no packets copied for it. */
  stalledMs: 1000,
  pongWithinMs: 30_000,
  accountEveryMs: 1000,
  /** Messages from a client in `messagesMs`. */
  messages: 100,
  messagesMs: 10_000,
  /** Answers to a client's messages that wait for room in its window. */
  replies: 128,
  /** Stretches of the ring that are looked at for a client before others have their turn. */
  stretches: 4,
} as const;

const PING_BYTES = 8;
const DEFAULT_STATISTICS_MS = 1000;
const CLOSE_POLICY = 1008;

export interface StreamStatistics {
  /** JSON that all clients share, and when it was made. */
  readonly message: Buffer;
  readonly atMs: number;
}

export class StreamClient {
  readonly #socket: WebSocket;
  readonly #connection: Pick<Duplex, 'cork' | 'uncork'>;
  readonly #host: LabHost;
  readonly #encoding: Encoding;
  readonly #onChange: () => void;
  #verdicts: VerdictSubscription | undefined;
  readonly #events = new Map<'events' | 'trace', EventSubscription>();
  #statisticsMs: number | undefined;
  #statisticsAtMs = 0;
  #names: LabNames;
  #window: number = STREAM_LIMITS.firstWindowBytes;
  #sentBytes = 0;
  #pingedBytes = 0;
  #answeredBytes = 0;
  /** When the oldest ping that is not answered was sent. */
  #pingedAtMs: number | undefined;
  #lastPingMs: number;
  #accountAtMs = 0;
  #accountOf = 0;
  #messages = 0;
  #messagesSinceMs: number;
  /** Answers to its messages, in order: they wait for room, and everything else waits for them. */
  #replies: string[] = [];
  /** What it has not been told of the run that goes on. */
  #run: string | undefined;

  /** `connection` is what the socket writes to. `onChange` is called when it wants something else than before, or more can be sent. */
  constructor(socket: WebSocket, connection: Pick<Duplex, 'cork' | 'uncork'>, host: LabHost, encoding: Encoding, nowMs: number, onChange: () => void) {
    this.#socket = socket;
    this.#connection = connection;
    this.#host = host;
    this.#encoding = encoding;
    this.#onChange = onChange;
    this.#names = host.names;
    this.#lastPingMs = nowMs;
    this.#messagesSinceMs = nowMs;
    socket.on('pong', (data) => this.#hearPong(data));
    socket.on('message', (data: Buffer, isBinary) => this.#hear(data, isBinary));
    // ws closes a broken connection by itself, and says why to the other side.
    socket.on('error', () => {});
    this.#reply({ type: 'welcome', ...this.#welcome() });
  }

  /** Packets that the ring has to keep for it: none while it does not read. */
  packetWish(nowMs: number): PacketWish | undefined {
    const isStalled = !this.hasRoom && this.#pingedAtMs !== undefined && nowMs - this.#pingedAtMs > STREAM_LIMITS.stalledMs;
    return isStalled ? undefined : this.#verdicts;
  }

  get isSubscribed(): boolean {
    return this.#verdicts !== undefined || this.#events.size > 0 || this.#statisticsMs !== undefined;
  }

  /** Whether it may be sent anything before it has read what is under way. */
  get hasRoom(): boolean {
    return this.#socket.readyState === this.#socket.OPEN && this.#sentBytes - this.#answeredBytes < this.#window;
  }

  /** Whether it is to have statistics now. */
  wantsStatistics(nowMs: number): boolean {
    return this.#statisticsMs !== undefined && nowMs - this.#statisticsAtMs >= this.#statisticsMs && this.hasRoom;
  }

  /** How a run goes; only the newest matters to a client that had no room. */
  tellRun(run: object): void {
    this.#run = JSON.stringify({ type: 'run', ...run });
    this.#sendWaiting();
  }

  tellStatistics({ message, atMs }: StreamStatistics): void {
    this.#statisticsAtMs = atMs;
    this.#send(message, false);
  }

  /** Sends what there is, up to its window. Whether there is more that it could take at once. */
  pump(nowMs: number): boolean {
    if (!this.hasRoom) return false;
    // With its ping in one write: each costs as much as thousands of verdicts.
    this.#connection.cork();
    try {
      return this.#sendWhatThereIs(nowMs);
    } finally {
      this.#connection.uncork();
    }
  }

  end(): void {
    this.#socket.terminate();
  }

  /** Pings who has been quiet, and ends the connection of who does not answer. */
  checkLife(nowMs: number): void {
    if (this.#pingedAtMs !== undefined && nowMs - this.#pingedAtMs > STREAM_LIMITS.pongWithinMs) this.#socket.terminate();
    else if (this.#pingedAtMs === undefined && nowMs - this.#lastPingMs > STREAM_LIMITS.idlePingMs) this.#ping(nowMs);
  }

  #sendWhatThereIs(nowMs: number): boolean {
    this.#sendWaiting();
    this.#tellNames();
    for (const events of this.#events.values()) {
      while (this.hasRoom) {
        const message = events.take();
        if (message === undefined) break;
        this.#send(message);
      }
    }
    const verdicts = this.#verdicts;
    if (verdicts === undefined) return false;
    for (let stretch = 0; this.hasRoom; stretch++) {
      if (stretch === STREAM_LIMITS.stretches) return true;
      const { message, done } = verdicts.take(this.#names, nowMs);
      if (message !== undefined) this.#sendVerdicts(message, nowMs);
      if (done) break;
    }
    if (this.hasRoom && nowMs - this.#accountAtMs >= STREAM_LIMITS.accountEveryMs && verdicts.account.next !== this.#accountOf) this.#sendVerdicts(verdicts.accountMessage(this.#names), nowMs);
    return false;
  }

  /** A client that asks on and on and does not read the answers is not worth them. */
  #reply(message: object): void {
    this.#replies.push(JSON.stringify(message));
    this.#sendWaiting();
    if (this.#replies.length > STREAM_LIMITS.replies) this.#socket.close(CLOSE_POLICY, 'too many answers were not read');
  }

  #sendWaiting(): void {
    while (this.hasRoom && this.#replies.length > 0) this.#send(this.#replies.shift()!);
    if (!this.hasRoom || this.#run === undefined) return;
    this.#send(this.#run);
    this.#run = undefined;
  }

  #sendVerdicts(message: Buffer | string, nowMs: number): void {
    this.#accountAtMs = nowMs;
    this.#accountOf = this.#verdicts!.account.next;
    this.#send(message);
  }

  #send(message: Buffer | string, binary = typeof message !== 'string'): void {
    this.#socket.send(message, { binary });
    this.#sentBytes += message.length;
    if (this.#pingedAtMs === undefined || this.#sentBytes - this.#pingedBytes >= STREAM_LIMITS.pingEveryBytes) this.#ping(performance.now());
  }

  #ping(nowMs: number): void {
    const count = Buffer.alloc(PING_BYTES);
    count.writeDoubleLE(this.#sentBytes);
    this.#pingedBytes = this.#sentBytes;
    this.#pingedAtMs ??= nowMs;
    this.#lastPingMs = nowMs;
    this.#socket.ping(count);
  }

  /** Only what a ping has said counts: a client cannot open its window beyond what was sent. */
  #hearPong(data: Buffer): void {
    const bytes = data.length === PING_BYTES ? data.readDoubleLE() : Number.NaN;
    if (!(bytes >= this.#answeredBytes && bytes <= this.#pingedBytes)) return;
    const hadRoom = this.hasRoom;
    const read = bytes - this.#answeredBytes;
    this.#answeredBytes = bytes;
    this.#pingedAtMs = bytes === this.#pingedBytes ? undefined : performance.now();
    this.#window = Math.min(this.#window * 2, STREAM_LIMITS.mostWindowBytes);
    // Who takes little and had room all the time waits until the ring is looked at: else each answer would bring a small message, and that an answer.
    if (!hadRoom || read >= STREAM_LIMITS.pingEveryBytes) this.#onChange();
  }

  #hear(data: Buffer, isBinary: boolean): void {
    const nowMs = performance.now();
    if (nowMs - this.#messagesSinceMs > STREAM_LIMITS.messagesMs) {
      this.#messagesSinceMs = nowMs;
      this.#messages = 0;
    }
    if (++this.#messages > STREAM_LIMITS.messages) return this.#socket.close(CLOSE_POLICY, 'too many messages');
    try {
      if (isBinary) throw new HttpProblem(400, 'ERR_REQUEST', 'found a binary message, expected JSON text');
      this.#obey(parseClientMessage(data.toString()));
      this.#onChange();
    } catch (error) {
      const { code, detail, status } = problemOf(error);
      if (status === 500) console.error(error);
      this.#reply({ type: 'error', code, detail });
    }
  }

  #obey(message: ClientMessage): void {
    const { topic } = message;
    if (message.type === 'unsubscribe') {
      this.#leave(topic);
      return this.#reply({ type: 'unsubscribed', topic });
    }
    let from: number | null = null;
    if (message.topic === 'statistics') {
      this.#statisticsMs = message.intervalMs ?? DEFAULT_STATISTICS_MS;
      this.#statisticsAtMs = Number.NEGATIVE_INFINITY;
    } else if (message.topic === 'verdicts') {
      this.#tellNames();
      this.#verdicts = new VerdictSubscription(this.#host.ring, this.#names, this.#encoding, message);
      ({ from } = this.#verdicts);
      this.#accountOf = from;
    } else {
      const events = new Events(this.#host[message.topic], message.topic, message.from);
      this.#events.set(message.topic, events);
      ({ from } = events);
    }
    this.#reply({ type: 'subscribed', topic, from });
  }

  #leave(topic: Topic): void {
    if (topic === 'verdicts') this.#verdicts = undefined;
    else if (topic === 'statistics') this.#statisticsMs = undefined;
    else this.#events.delete(topic);
  }

  /** Before any verdict that names what is new. A client that has no room for it waits for its verdicts too. */
  #tellNames(): void {
    if (this.#names === this.#host.names || !this.hasRoom) return;
    this.#names = this.#host.names;
    this.#send(JSON.stringify({ type: 'lab', ...this.#welcome() }));
  }

  #welcome(): object {
    const { ring } = this.#host;
    return { ...this.#names, ...STREAM_NAMES, oldest: ring.oldest, next: ring.head };
  }
}
