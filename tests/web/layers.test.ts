import { expect, test } from 'vitest';
import { layersOf } from '../../web/src/layers.ts';

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(hex.replaceAll(/\s/g, '').match(/../g)!, (byte) => Number.parseInt(byte, 16));

const ETHERNET = '020000000001 020000000002';
const TCP = '0050 01bb 00000001 00000002 5012 0400 beef 0000';

test('TCP over IPv4 behind a VLAN tag is taken apart, with the bytes of every field', () => {
  const layers = layersOf(bytesOf(`${ETHERNET} 8100 0064 0800 4500002c 00010000 4006abcd c0000201 c6336401 ${TCP} aabb`));
  expect(layers.map(({ name, from, to }) => [name, from, to])).toEqual([['Ethernet', 0, 14], ['VLAN', 14, 18], ['IPv4', 18, 38], ['TCP', 38, 58], ['Data', 58, 60]]);
  const fields = Object.fromEntries(layers.flatMap((layer) => layer.fields.map((field) => [`${layer.name} ${field.name}`, field])));
  expect(fields['IPv4 source']).toEqual({ name: 'source', text: '192.0.2.1', from: 30, to: 34 });
  expect(fields['VLAN VLAN']?.text).toBe('100');
  expect(fields['TCP flags']?.text).toBe('SYN ACK');
  expect(fields['TCP destination port']?.text).toBe('443');
});

test.each([
  ['2001 0db8 0000 0000 0000 0000 0000 0001', '2001:db8::1'],
  ['0000 0000 0000 0000 0000 0000 0000 0001', '::1'],
  ['fd00 0000 0000 0001 0000 0000 0000 0000', 'fd00:0:0:1::'],
  ['0001 0002 0003 0004 0005 0006 0007 0008', '1:2:3:4:5:6:7:8'],
])('the IPv6 address %s is written %s', (hex, text) => {
  const [, ipv6] = layersOf(bytesOf(`${ETHERNET} 86dd 60000000 0000 3b40 ${hex} ${hex}`));
  expect(ipv6?.fields.find(({ name }) => name === 'source')?.text).toBe(text);
});

test('a later fragment has no transport header', () => {
  const names = layersOf(bytesOf(`${ETHERNET} 0800 4500002c 00010010 4006abcd c0000201 c6336401 ${TCP}`)).map(({ name }) => name);
  expect(names).toEqual(['Ethernet', 'IPv4', 'Data']);
});

test('what is cut off is shown as data, and nothing is read past the end', () => {
  const whole = bytesOf(`${ETHERNET} 0800 4500002c 00010000 4006abcd c0000201 c6336401 ${TCP}`);
  for (let length = 0; length <= whole.length; length++) {
    const layers = layersOf(whole.subarray(0, length));
    expect(layers.at(-1)?.to ?? 0).toBe(length);
  }
});
