/** One client, whose socket is made up: what it is sent, and what waits until it has read. */
import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { LabHost } from '../../dataplane/server/lab-host.ts';
import { STREAM_LIMITS, StreamClient } from '../../dataplane/server/stream-client.ts';

class FakeSocket extends EventEmitter {
  readonly OPEN = 1;
  readonly readyState = 1;
  readonly sent: string[] = [];
  readonly pings: Buffer[] = [];
  closed: number | undefined;
  writes = 0;
  #corked = 0;

  cork(): void {
    this.#corked++;
  }

  uncork(): void {
    if (--this.#corked === 0) this.writes++;
  }

  send(message: string): void {
    this.sent.push(message);
  }

  ping(data: Buffer): void {
    this.pings.push(data);
  }

  close(code: number): void {
    this.closed = code;
  }

  say(message: object): void {
    this.emit('message', Buffer.from(JSON.stringify(message)), false);
  }

  get types(): readonly string[] {
    return this.sent.map((message) => (JSON.parse(message) as { readonly type: string }).type);
  }

  /** It has read all that was sent. */
  read(): void {
    this.emit('pong', this.pings.at(-1)!);
  }
}

function client() {
  const host = new LabHost();
  const socket = new FakeSocket();
  const one: StreamClient = new StreamClient(socket as unknown as WebSocket, socket, host, 'json', 0, () => one?.pump(0));
  return { host, socket, one };
}

/** Lines of programs, more than a window holds. */
const FLOOD = Array.from({ length: 1000 }, () => JSON.stringify({ text: 'x'.repeat(1000) }));

test('answers wait until there is room, come before anything else, and none is lost', () => {
  const { host, socket, one } = client();
  socket.say({ type: 'subscribe', topic: 'trace' });
  host.trace.add(FLOOD, 0);
  one.pump(0);
  const before = socket.sent.length;
  socket.say({ type: 'subscribe', topic: 'verdicts' });
  socket.say({ type: 'unsubscribe', topic: 'verdicts' });
  socket.say({ type: 'nonsense' });
  expect(socket.sent.length).toBe(before);
  socket.read();
  expect(socket.types.slice(before, before + 3)).toEqual(['subscribed', 'unsubscribed', 'error']);
  expect(socket.types[before + 3]).toBe('trace');
});

test('of a run only the newest state waits', () => {
  const { host, socket, one } = client();
  socket.say({ type: 'subscribe', topic: 'trace' });
  host.trace.add(FLOOD, 0);
  one.pump(0);
  const before = socket.sent.length;
  for (const state of ['running', 'paused', 'finished']) one.tellRun({ id: 'r1', state });
  expect(socket.sent.length).toBe(before);
  socket.read();
  expect(JSON.parse(socket.sent[before]!)).toEqual({ type: 'run', id: 'r1', state: 'finished' });
});

test('who does not read is sent no events either, however often he is looked at', () => {
  const { host, socket, one } = client();
  socket.say({ type: 'subscribe', topic: 'events' });
  for (let look = 0; look < 50; look++) {
    host.events.add(FLOOD, 0);
    one.pump(look);
  }
  const bytes = socket.sent.reduce((total, message) => total + message.length, 0);
  expect(bytes).toBeLessThan(3 * STREAM_LIMITS.firstWindowBytes);
});

test('who asks on and on and reads no answer is shown out', () => {
  const { socket } = client();
  socket.say({ type: 'subscribe', topic: 'statistics' });
  const long = 'x'.repeat(1000);
  for (let turn = 0; turn < 400; turn++) socket.emit('message', Buffer.from(`{"type":"${long}"}`), false);
  expect(socket.closed).toBe(1008);
});

test('no packets are kept for who does not read, until it does', () => {
  const { host, socket, one } = client();
  socket.say({ type: 'subscribe', topic: 'verdicts', packet: { snap: 64 } });
  socket.say({ type: 'subscribe', topic: 'trace' });
  socket.read();
  host.trace.add(FLOOD, 0);
  one.pump(0);
  const nowMs = performance.now();
  expect(one.packetWish(nowMs)).toMatchObject({ snapBytes: 64 });
  expect(one.packetWish(nowMs + STREAM_LIMITS.stalledMs + 1)).toBeUndefined();
  socket.read();
  expect(one.packetWish(performance.now())).toMatchObject({ snapBytes: 64 });
});
