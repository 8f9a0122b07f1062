import { expect, test } from 'vitest';
import { prefixes, readsAmongPrefixes } from '../../bench/prefixes.ts';
import { parsePrefix } from '../../dataplane/address.ts';

test('prefixes are as many as wanted, all different, and the same every time', () => {
  const found = prefixes(1000);
  expect(new Set(found).size).toBe(1000);
  expect(found).toEqual(prefixes(1000));
  for (const prefix of found) expect(parsePrefix(prefix)).toBeDefined();
});

test('a lookup reads a cell for each part of the address that a longer prefix needs, and the entry', () => {
  const key = (bits: number, ...address: readonly number[]): Uint8Array => Uint8Array.of(bits, 0, 0, 0, ...address);
  const keys = [key(16, 10, 1, 0, 0), key(24, 10, 2, 3, 0), key(32, 10, 2, 4, 5)];
  const reads = (...address: readonly number[]): number => readsAmongPrefixes(keys, [new DataView(Uint8Array.from(address).buffer).getUint32(0)]);
  expect(reads(192, 0, 2, 1)).toBe(1);
  expect(reads(10, 1, 9, 9)).toBe(2);
  expect(reads(10, 2, 9, 9)).toBe(2);
  expect(reads(10, 2, 3, 9)).toBe(3);
  expect(reads(10, 2, 4, 9)).toBe(3);
  expect(reads(10, 2, 4, 5)).toBe(4);
  expect(readsAmongPrefixes(keys, [0x0a02_0405, 0xc000_0201])).toBe(2.5);
  expect(readsAmongPrefixes([key(0, 0, 0, 0, 0)], [0x0a02_0405])).toBe(2);
});
