import { expect, test } from 'vitest';
import { nanoseconds, seconds } from '../../web/src/text.ts';

test.each(['0', '1', '0.000000001', '1700000000.123456789', '1700000000.5'])('%s seconds are nanoseconds and back', (text) => {
  expect(Number(seconds(nanoseconds(text)))).toBe(Number(text));
  expect(nanoseconds(text)).toBe(BigInt(Math.trunc(Number(text))) * 1_000_000_000n + BigInt((text.split('.')[1] ?? '').padEnd(9, '0')));
});
