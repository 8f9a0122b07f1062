/** What a client is told about a value that does not fit its schema. */
import { Type, type TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { expect, test } from 'vitest';
import { complaint } from '../../dataplane/server/complaint.ts';

const told = (schema: TSchema, value: unknown): string => complaint(Compile(schema).Errors(value), 'the request');

test('the field is named that does not fit', () => {
  expect(told(Type.Object({ id: Type.Integer() }), { id: 'x' })).toBe('id: must be integer');
  expect(told(Type.Object({}, { additionalProperties: false }), { id: 1 })).toBe('id: there is no such field');
  expect(told(Type.Object({ id: Type.Integer() }), {})).toBe('the request: must have required properties id');
});

test('of a choice, everything is named that would do', () => {
  const hook = Type.Union(['xdp', 'tc-ingress', 'tc-egress'].map((name) => Type.Literal(name)));
  expect(told(Type.Object({ hook }), { hook: 'foo' })).toBe('hook: expected "xdp", "tc-ingress" or "tc-egress"');
  expect(told(Type.Object({ from: Type.Union([Type.Literal('now'), Type.Integer()]) }), { from: 'then' })).toBe('from: expected "now" or integer');
  expect(told(Type.Object({ type: Type.Literal('subscribe') }), { type: 'x' })).toBe('type: expected "subscribe"');
});

test('of several shapes, what is said is about the one that was meant', () => {
  const closed = { additionalProperties: false };
  const packet = Type.Union([Type.Object({ sequence: Type.Integer() }, closed), Type.Object({ bytes: Type.String({ pattern: '^[0-9a-f]*$' }) }, closed)]);
  expect(told(packet, { bytes: 'zz' })).toBe('bytes: must match pattern "^[0-9a-f]*$"');
  expect(told(packet, { sequence: 'zz' })).toBe('sequence: must be integer');
  expect(told(Type.Object({ packet }), { packet: { bytes: 1 } })).toBe('packet.bytes: must be string');
});
