/** The stream as a client has it: every verdict or an account of it, whoever else is connected. */
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { decodeVerdicts } from '../../dataplane/server/verdict-decoder.ts';
import { object, trace, xdplab } from '../cli/run-cli.ts';
import { Listener, Served, type Message } from './served.ts';

interface Statistics {
  readonly programs: readonly { readonly program: string; readonly packets: number }[];
  readonly run: { readonly state: string; readonly packets: number } | null;
}

let served: Served;
let capture: string;
const listeners: Listener[] = [];
beforeAll(async () => {
  served = await Served.start();
  ({ id: capture } = await served.upload<{ id: string }>('captures', 'demo.pcapng', readFileSync(trace('demo.pcapng'))));
}, 60_000);
afterEach(() => {
  for (const listener of listeners.splice(0)) listener.close();
});
afterAll(() => served.stop());

async function listen(protocol: 'xdplab.json.v1' | 'xdplab.records.v1', ...messages: object[]): Promise<Listener> {
  const listener = new Listener(served, protocol);
  listeners.push(listener);
  await listener.message('welcome');
  for (const message of messages) {
    listener.say(message);
    await listener.message('subscribed');
  }
  return listener;
}

const statistics = () => served.expect<Statistics>(200, 'GET', '/api/statistics');
const startRun = async (body: object = {}): Promise<string> => (await served.expect<{ id: string }>(201, 'POST', '/api/runs', { body: { capture, ...body } })).id;
const verdictsOf = ({ programs }: Statistics): number => programs.reduce((total, { packets }) => total + packets, 0);

async function finished(id: string): Promise<void> {
  for (;;) {
    const { state } = await served.expect<{ state: string }>(200, 'GET', `/api/runs/${id}`);
    if (state === 'finished' || state === 'stopped') return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Frames until so many verdicts were looked at. */
async function framesUntil(listener: Listener, produced: number) {
  const frames = [decodeVerdicts(await listener.frame())];
  while (frames.at(-1)!.produced < produced) frames.push(decodeVerdicts(await listener.frame()));
  return frames;
}

/** The first of a JSON client: accounts come before, where what it wants comes late. */
async function verdictsTo(listener: Listener) {
  return (await listener.next((message) => !Buffer.isBuffer(message) && message.type === 'verdicts' && message['sent'] !== 0)) as Message & { readonly verdicts: readonly Record<string, unknown>[] };
}

test('a client that asked before the run began gets every verdict of it, in order', async () => {
  await served.expect(200, 'POST', '/api/lab/reset');
  const listener = await listen('xdplab.records.v1', { type: 'subscribe', topic: 'verdicts' });
  await finished(await startRun());
  const total = verdictsOf(await statistics());
  const frames = await framesUntil(listener, total);
  expect(frames.at(-1)).toMatchObject({ produced: total, sent: total, skipped: 0, dropped: 0 });
  const numbers = frames.flatMap((frame) => Array.from({ length: frame.count }, (_, index) => frame.packet(index)));
  expect(numbers.length).toBe(total);
  expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
});

test('a client that comes back goes on where it was', async () => {
  const first = await listen('xdplab.records.v1', { type: 'subscribe', topic: 'verdicts' });
  const id = await startRun({ speed: 'top', limit: 300 });
  const [frame] = await framesUntil(first, 1);
  first.close();
  await finished(id);
  const second = await listen('xdplab.records.v1', { type: 'subscribe', topic: 'verdicts', from: frame!.next });
  await finished(await startRun({ limit: 1 }));
  const frames = await framesUntil(second, 1);
  const numbers = frames.flatMap((one) => Array.from({ length: one.count }, (_, index) => one.packet(index)));
  expect(Math.min(...numbers.filter((number) => number > 1), frame!.packet(frame!.count - 1))).toBe(frame!.packet(frame!.count - 1));
  expect(frames.at(-1)).toMatchObject({ dropped: 0 });
});

test('in JSON a filter is obeyed, and packets are there to look at', async () => {
  const listener = await listen('xdplab.json.v1', { type: 'subscribe', topic: 'verdicts', filter: { reason: ['TC_INGRESS'], protocol: ['tcp'] }, packet: { snap: 64 } });
  await finished(await startRun());
  const { verdicts } = await verdictsTo(listener);
  expect(verdicts.length).toBeGreaterThan(0);
  for (const verdict of verdicts) {
    expect(verdict).toMatchObject({ reason: 'TC_INGRESS', fate: 'dropped', device: 'eth0' });
    expect(String(verdict['before'])).toMatch(/^[0-9a-f]{24}(0800|86dd)/);
  }
});

test('names of what is attached come before verdicts that need them', async () => {
  await served.expect(200, 'POST', '/api/lab/reset');
  const listener = await listen('xdplab.json.v1', { type: 'subscribe', topic: 'verdicts', filter: { program: ['flow_counter'] } });
  const run = await startRun({ loops: null });
  const { id } = await served.upload<{ id: string }>('objects', 'flow_counter.bpf.o', readFileSync(object('flow_counter.bpf.o')));
  const { index } = await served.expect<{ index: number }>(201, 'POST', '/api/lab/attachments', { body: { object: id, hook: 'xdp' } });
  const isOfLab = (message: Message | Buffer): boolean => !Buffer.isBuffer(message) && (message.type === 'lab' || (message.type === 'verdicts' && message['sent'] !== 0));
  const lab = (await listener.next(isOfLab)) as Message & { readonly attachments: readonly { readonly index: number; readonly program: string }[] };
  expect(lab.type).toBe('lab');
  expect(lab.attachments[index]).toMatchObject({ index, program: 'flow_counter' });
  const { verdicts } = await verdictsTo(listener);
  expect(verdicts[0]).toMatchObject({ attachment: index, program: 'flow_counter' });
  await served.expect(200, 'POST', `/api/runs/${run}/stop`);
});

test('what programs send comes as replay writes it', async () => {
  await served.expect(200, 'POST', '/api/lab/reset');
  const listener = await listen('xdplab.json.v1', { type: 'subscribe', topic: 'events' });
  await finished(await startRun());
  const { stdout } = await xdplab(['replay', trace('demo.pcapng'), '--lab', object('demo.yaml'), '--events', '-']);
  const expected = stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as object);
  const events: Record<string, unknown>[] = [];
  while (events.length < expected.length) {
    const message = (await listener.message('events')) as Message & { readonly events: readonly Record<string, unknown>[] };
    events.push(...message.events);
    expect(message['produced']).toBe(Number(message['sent']) + Number(message['skipped']) + Number(message['dropped']));
  }
  expect(events.map(({ sequence: _sequence, ...event }) => event)).toEqual(expected);
});

test('counters come by themselves, and so does word of the run', async () => {
  const listener = await listen('xdplab.json.v1', { type: 'subscribe', topic: 'statistics', intervalMs: 100 });
  const id = await startRun({ paused: true });
  await served.expect(200, 'POST', `/api/runs/${id}/resume`);
  expect(await listener.message('run')).toMatchObject({ id, state: 'running' });
  expect(await listener.message('run')).toMatchObject({ id, state: 'finished' });
  const shown = (await listener.next((message) => !Buffer.isBuffer(message) && message.type === 'statistics' && (message['run'] as { state: string } | null)?.state === 'finished')) as Message;
  // What is read of whole maps may be older.
  const { elapsedNs: _elapsed, highlights: _highlights, ...now } = await served.expect<Record<string, unknown>>(200, 'GET', '/api/statistics');
  expect(shown).toMatchObject(now);
  listener.say({ type: 'unsubscribe', topic: 'statistics' });
  expect(await listener.message('unsubscribed')).toMatchObject({ topic: 'statistics' });
});

const DEAD = 40;
const MOST_GROWTH_BYTES = 64 << 20;

test('clients that never read cost nothing, and those who do read get what is theirs', { timeout: 120_000 }, async () => {
  const memory = async (): Promise<number> => Number(/^xdplab_server_process_resident_memory_bytes (\d+)/m.exec((await served.ask('GET', '/metrics')).text)?.[1]);
  // Until the rings have been filled once, and what is compiled late is compiled.
  await listen('xdplab.records.v1', { type: 'subscribe', topic: 'verdicts', packet: { snap: 128 } });
  await finished(await startRun({ loops: 150 }));
  const before = await memory();
  await Promise.all(
    Array.from({ length: DEAD }, async (_, index) => {
      const dead = await listen(index % 2 === 0 ? 'xdplab.records.v1' : 'xdplab.json.v1', { type: 'subscribe', topic: 'verdicts', packet: { snap: 128 } });
      dead.socket.pause();
    }),
  );
  const alive = await listen('xdplab.records.v1', { type: 'subscribe', topic: 'verdicts', sample: { oneOf: 100 } });
  const [runBefore, wanted] = [verdictsOf(await statistics()), 300 * 4765];
  const id = await startRun({ loops: 300 });
  let last = decodeVerdicts(await alive.frame());
  let received = last.count;
  const sofar = async (): Promise<boolean> => (await served.expect<{ state: string }>(200, 'GET', `/api/runs/${id}`)).state === 'finished';
  while (!(await sofar())) {
    last = decodeVerdicts(await alive.frame());
    received += last.count;
  }
  const produced = verdictsOf(await statistics()) - runBefore;
  while (last.produced < produced) {
    last = decodeVerdicts(await alive.frame());
    received += last.count;
  }
  expect(await served.expect(200, 'GET', `/api/runs/${id}`)).toMatchObject({ packets: wanted });
  expect(last.produced).toBe(produced);
  expect(last.produced).toBe(last.sent + last.skipped + last.dropped);
  expect(received).toBe(last.sent);
  expect((await memory()) - before).toBeLessThan(MOST_GROWTH_BYTES);
  expect((await served.ask('GET', '/metrics')).text).toContain(`xdplab_stream_clients ${DEAD + 2}`);
});
