import { expect, test } from 'vitest';
import { prefixes } from '../../bench/prefixes.ts';
import { parsePrefix } from '../../dataplane/address.ts';

test('prefixes are as many as wanted, all different, and the same every time', () => {
  const found = prefixes(1000);
  expect(new Set(found).size).toBe(1000);
  expect(found).toEqual(prefixes(1000));
  for (const prefix of found) expect(parsePrefix(prefix)).toBeDefined();
});
