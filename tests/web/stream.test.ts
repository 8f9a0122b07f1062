/** The page's end of the verdict stream, over sockets that a test opens, feeds and breaks. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FRAME_HEADER, VERDICT_RECORD } from '../../dataplane/server/verdict-decoder.ts';
import { VerdictStream, type Account } from '../../web/src/stream.ts';

class FakeSocket extends EventTarget {
  static readonly all: FakeSocket[] = [];
  readonly said: Record<string, unknown>[] = [];
  static readonly CONNECTING = 0;
  readyState = FakeSocket.CONNECTING;
  isClosed = false;

  constructor() {
    super();
    FakeSocket.all.push(this);
  }

  send(text: string): void {
    if (this.readyState !== 1) throw new DOMException('Still in CONNECTING state.', 'InvalidStateError');
    this.said.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(): void {
    if (this.readyState === FakeSocket.CONNECTING) complaints.push('WebSocket is closed before the connection is established.');
    this.isClosed = true;
  }

  open(): void {
    this.readyState = 1;
    this.dispatchEvent(new Event('open'));
  }

  break(): void {
    this.readyState = 3;
    this.dispatchEvent(new Event('close'));
  }

  hear(data: unknown): void {
    this.dispatchEvent(new MessageEvent('message', { data }));
  }

  get verdictsFrom(): unknown {
    return this.said.find(({ topic }) => topic === 'verdicts')?.['from'];
  }
}

/** A frame with records of that many packets, the last of them before `next`. */
function frame(count: number, next: number, produced: number, dropped = 0): ArrayBuffer {
  const buffer = new ArrayBuffer(FRAME_HEADER.size + count * VERDICT_RECORD.size);
  const view = new DataView(buffer);
  view.setUint8(FRAME_HEADER.kind, 1);
  view.setUint16(FRAME_HEADER.recordBytes, VERDICT_RECORD.size, true);
  view.setUint32(FRAME_HEADER.count, count, true);
  for (const [field, value] of [[FRAME_HEADER.next, next], [FRAME_HEADER.produced, produced], [FRAME_HEADER.sent, produced - dropped], [FRAME_HEADER.dropped, dropped]] as const) view.setBigUint64(field, BigInt(value), true);
  return buffer;
}

const complaints: string[] = [];
const taken: { records: number; account: Account }[] = [];
const newest = (): FakeSocket => FakeSocket.all.at(-1)!;
const open = (): VerdictStream => new VerdictStream({ verdicts: ({ count }, _records, account) => taken.push({ records: count, account }) }, [{ topic: 'trace' }]);

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', FakeSocket);
  vi.stubGlobal('location', { protocol: 'http:', host: '127.0.0.1:4280' });
  taken.length = 0;
  FakeSocket.all.length = 0;
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  expect(complaints.splice(0)).toEqual([]);
});

test('frames of a filter that was changed are not taken for the new one\'s', () => {
  const stream = open();
  stream.want({ filter: {} });
  const old = newest();
  old.open();
  old.hear(frame(3, 3, 3));
  stream.want({ filter: { protocol: ['tcp'] } });
  old.hear(frame(5, 8, 8));
  expect(taken.map(({ records }) => records)).toEqual([3]);
  newest().open();
  expect([old.isClosed, newest().verdictsFrom]).toEqual([true, 'oldest']);
  newest().hear(frame(2, 8, 8));
  expect(taken.at(-1)).toEqual({ records: 2, account: { produced: 8, sent: 8, skipped: 0, dropped: 0 } });
});

test('a connection that was lost is made again behind the last verdict and the last event, and the account goes on', () => {
  open().want({ filter: {} });
  newest().open();
  newest().hear(frame(10, 110, 10));
  newest().hear(JSON.stringify({ type: 'trace', next: 7, events: [] }));
  newest().break();
  vi.advanceTimersByTime(250);
  expect(FakeSocket.all).toHaveLength(2);
  newest().open();
  expect(newest().verdictsFrom).toBe(110);
  expect(newest().said.find(({ topic }) => topic === 'trace')).toEqual({ type: 'subscribe', topic: 'trace', from: 7 });
  newest().hear(frame(4, 120, 10, 6));
  expect(taken.at(-1)).toEqual({ records: 4, account: { produced: 20, sent: 14, skipped: 0, dropped: 6 } });
});

test('filters that follow each other while a connection is made wait for it, and the last of them is asked for', () => {
  const stream = open();
  for (const protocol of ['tcp', 'udp', 'icmp']) stream.want({ filter: { protocol: [protocol] } });
  expect(FakeSocket.all).toHaveLength(1);
  newest().open();
  expect(newest().said.filter(({ topic }) => topic === 'verdicts')).toEqual([{ type: 'subscribe', topic: 'verdicts', from: 'oldest', filter: { protocol: ['icmp'] } }]);
});

test('who ends while a connection is made lets go of it once it is there, and hears nothing', () => {
  const stream = open();
  stream.want({ filter: {} });
  stream.end();
  newest().open();
  newest().hear(frame(3, 3, 3));
  expect([newest().isClosed, newest().said, taken]).toEqual([true, [], []]);
});

test('attempts become rarer while nobody answers, and end when they are ended', () => {
  const stream = open();
  stream.want({ filter: {} });
  for (const afterMs of [250, 500, 1000, 2000, 4000, 4000]) {
    newest().break();
    const before = FakeSocket.all.length;
    vi.advanceTimersByTime(afterMs - 1);
    expect(FakeSocket.all).toHaveLength(before);
    vi.advanceTimersByTime(1);
    expect(FakeSocket.all).toHaveLength(before + 1);
  }
  stream.end();
  newest().break();
  const before = FakeSocket.all.length;
  vi.advanceTimersByTime(10_000);
  expect(FakeSocket.all).toHaveLength(before);
});
