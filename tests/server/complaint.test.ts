/** What a client is told about a value that does not fit its schema. */
import { Type, type TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { expect, test } from 'vitest';
import { complaint } from '../../dataplane/server/complaint.ts';
import { RerunBody, RunBody } from '../../dataplane/server/schemas.ts';

const told = (schema: TSchema, value: unknown): string => complaint(Compile(schema), value, 'the request');

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
  const packet = Type.Union([Type.Object({ sequence: Type.Integer() }, closed), Type.Object({ bytes: Type.String({ pattern: '^[0-9a-f]*$', description: 'a packet in hexadecimal' }) }, closed)]);
  expect(told(packet, { bytes: 'zz' })).toBe('bytes: expected a packet in hexadecimal');
  expect(told(packet, { sequence: 'zz' })).toBe('sequence: must be integer');
  expect(told(Type.Object({ packet }), { packet: { bytes: 1 } })).toBe('packet.bytes: must be string');
});

test.each([
  [RerunBody, { bytes: 'abc' }, 'bytes: expected the packet in hexadecimal, two digits for each byte'],
  [RerunBody, { bytes: '', time: 'now' }, 'time: expected seconds with up to nine decimals, as in "1700000000.5"'],
  [RunBody, { interface: 'eth0;' }, 'interface: expected the name of an interface: up to 15 letters, digits, ".", ":", "_" and "-"'],
  [RunBody, { capture: 'trace.pcap' }, 'capture: expected an id as the server chose it, "o1", "c1" or "r1"'],
])('what a text has to look like is said in words: %#', (schema, value, expected) => {
  expect(told(schema, value)).toBe(expected);
});
