/** What a client of the stream may say (docs/verdict-stream.md). */
import { Type, type Static } from 'typebox';
import { Compile } from 'typebox/compile';
import { complaint } from './complaint.ts';
import { HttpProblem } from './problem.ts';
import { MOST_SNAP_BYTES } from './verdict-ring.ts';

const MOST_CHOICES = 64;
const LONGEST_NAME = 256;
const LONGEST_EXPRESSION = 512;
const closed = { additionalProperties: false } as const;

const Names = Type.Array(Type.String({ maxLength: LONGEST_NAME }), { maxItems: MOST_CHOICES });
const From = Type.Union([Type.Literal('now'), Type.Literal('oldest'), Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })]);

const Filter = Type.Object(
  {
    hook: Type.Optional(Names),
    verdict: Type.Optional(Names),
    device: Type.Optional(Names),
    program: Type.Optional(Names),
    fate: Type.Optional(Names),
    reason: Type.Optional(Names),
    prefix: Type.Optional(Names),
    port: Type.Optional(Type.Array(Type.Integer({ minimum: 0, maximum: 0xffff }), { maxItems: MOST_CHOICES })),
    pcap: Type.Optional(Type.String({ minLength: 1, maxLength: LONGEST_EXPRESSION })),
    protocol: Type.Optional(Type.Array(Type.Union([Type.String({ maxLength: LONGEST_NAME }), Type.Integer({ minimum: 0, maximum: 0xff })]), { maxItems: MOST_CHOICES })),
  },
  closed,
);

const Sample = Type.Union([
  Type.Object({ oneOf: Type.Integer({ minimum: 1, maximum: 0xffff_ffff }) }, closed),
  Type.Object({ perSecond: Type.Integer({ minimum: 1, maximum: 0xffff_ffff }) }, closed),
]);

const SubscribeVerdicts = Type.Object(
  {
    type: Type.Literal('subscribe'),
    topic: Type.Literal('verdicts'),
    filter: Type.Optional(Filter),
    sample: Type.Optional(Sample),
    packet: Type.Optional(Type.Object({ snap: Type.Integer({ minimum: 1, maximum: MOST_SNAP_BYTES }) }, closed)),
    from: Type.Optional(From),
  },
  closed,
);
const SubscribeEvents = Type.Object({ type: Type.Literal('subscribe'), topic: Type.Union([Type.Literal('events'), Type.Literal('trace')]), from: Type.Optional(From) }, closed);
const SubscribeStatistics = Type.Object({ type: Type.Literal('subscribe'), topic: Type.Literal('statistics'), intervalMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 3_600_000 })) }, closed);
const Unsubscribe = Type.Object({ type: Type.Literal('unsubscribe'), topic: Type.Union(['verdicts', 'events', 'trace', 'statistics'].map((topic) => Type.Literal(topic))) }, closed);

/** By type and topic, so that what is wrong is said of the message that was meant. */
const MESSAGES = {
  'subscribe verdicts': Compile(SubscribeVerdicts),
  'subscribe events': Compile(SubscribeEvents),
  'subscribe trace': Compile(SubscribeEvents),
  'subscribe statistics': Compile(SubscribeStatistics),
  'unsubscribe verdicts': Compile(Unsubscribe),
  'unsubscribe events': Compile(Unsubscribe),
  'unsubscribe trace': Compile(Unsubscribe),
  'unsubscribe statistics': Compile(Unsubscribe),
} as const;

export type ClientMessage = Static<typeof SubscribeVerdicts> | Static<typeof SubscribeEvents> | Static<typeof SubscribeStatistics> | { readonly type: 'unsubscribe'; readonly topic: Topic };
export type Topic = 'verdicts' | 'events' | 'trace' | 'statistics';

/** Throws an HttpProblem that says what was expected where. */
export function parseClientMessage(text: string): ClientMessage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refused('the message is not JSON');
  }
  const { type, topic } = (typeof value === 'object' && value !== null ? value : {}) as { readonly type?: unknown; readonly topic?: unknown };
  const name = `${String(type)} ${String(topic)}`;
  if (!Object.hasOwn(MESSAGES, name)) throw refused(`found type '${String(type)}' and topic '${String(topic)}', expected one of ${Object.keys(MESSAGES).join(', ')}`);
  const message = MESSAGES[name as keyof typeof MESSAGES];
  if (message.Check(value)) return value as ClientMessage;
  throw refused(complaint(message, value, 'the message'));
}

function refused(detail: string): HttpProblem {
  return new HttpProblem(400, 'ERR_REQUEST', detail);
}
