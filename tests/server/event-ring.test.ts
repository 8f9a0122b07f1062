/** Lines of programs for many readers: numbered, bounded, and accounted for. */
import { expect, test } from 'vitest';
import { EventRing, EventSubscription } from '../../dataplane/server/event-ring.ts';

interface Message {
  readonly type: string;
  readonly next: number;
  readonly produced: number;
  readonly sent: number;
  readonly dropped: number;
  readonly events: readonly { readonly sequence: number; readonly text: string }[];
}

const line = (number: number): string => JSON.stringify({ text: `line ${number}` });
const lines = (count: number, from = 0): string[] => Array.from({ length: count }, (_, index) => line(from + index));

function takeAll(subscription: EventSubscription): Message[] {
  const messages: Message[] = [];
  for (let message = subscription.take(); message !== undefined; message = subscription.take()) messages.push(JSON.parse(message) as Message);
  return messages;
}

test('a reader gets what comes after it began, with numbers', () => {
  const ring = new EventRing();
  ring.add(lines(2), 0);
  const reader = new EventSubscription(ring, 'events');
  expect(reader.take()).toBeUndefined();
  ring.add(lines(2, 2), 0);
  expect(takeAll(reader)).toEqual([{ type: 'events', next: 4, produced: 2, sent: 2, skipped: 0, dropped: 0, events: [{ sequence: 2, text: 'line 2' }, { sequence: 3, text: 'line 3' }] }]);
});

test('a reader may begin with the oldest, or where it was', () => {
  const ring = new EventRing();
  ring.add(lines(5), 0);
  expect(takeAll(new EventSubscription(ring, 'trace', 'oldest'))[0]!.events.map(({ sequence }) => sequence)).toEqual([0, 1, 2, 3, 4]);
  expect(takeAll(new EventSubscription(ring, 'trace', 3))[0]!.events.map(({ sequence }) => sequence)).toEqual([3, 4]);
  expect(new EventSubscription(ring, 'trace', 99).from).toBe(5);
});

test('what was lost on the way, and what was overwritten, is dropped and counted', () => {
  const ring = new EventRing();
  const reader = new EventSubscription(ring, 'events');
  ring.add(lines(1), 3);
  ring.add(lines(1, 4), 0);
  expect(takeAll(reader)).toMatchObject([{ next: 5, produced: 5, sent: 2, dropped: 3, events: [{ sequence: 0 }, { sequence: 4 }] }]);
  ring.add(lines(20_000, 5), 0);
  const messages = takeAll(reader);
  const last = messages.at(-1)!;
  expect(last.next).toBe(ring.head);
  expect(last.produced).toBe(last.sent + last.dropped);
  expect(messages.flatMap(({ events }) => events).length).toBe(ring.head - ring.oldest);
  expect(messages[0]!.events[0]).toEqual({ sequence: ring.oldest, text: `line ${ring.oldest}` });
});
