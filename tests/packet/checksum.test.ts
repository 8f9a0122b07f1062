import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { readU16, writeU16 } from '../../dataplane/packet/big-endian.ts';
import { checksum, checksumAdd, checksumFinish, checksumUpdate } from '../../dataplane/packet/checksum.ts';

test('the example of RFC 1071 §3', () => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  expect(checksumAdd(0, bytes, 0, 8) % 0xffff).toBe(0xddf2);
  expect(checksum(bytes)).toBe(~0xddf2 & 0xffff);
});

test('bytes that hold their own checksum sum to zero', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 2, maxLength: 200 }), (bytes) => {
      writeU16(bytes, 0, 0);
      writeU16(bytes, 0, checksum(bytes));
      expect(checksum(bytes)).toBe(0);
    }),
  );
});

test('an odd last byte is the upper half of a word', () => {
  expect(checksum(Uint8Array.of(0x12, 0x34, 0x56))).toBe(checksum(Uint8Array.of(0x12, 0x34, 0x56, 0)));
});

test('a megabyte of ones folds as often as it takes', () => {
  expect(checksum(new Uint8Array(1 << 20).fill(0xff))).toBe(0);
  expect(checksumFinish(0xffff_ffff)).toBe(0);
});

test('changing a word in place gives the checksum of the changed bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 20, maxLength: 60 }), fc.nat(8), fc.nat(0xffff), (bytes, word, value) => {
      const before = checksum(bytes);
      const updated = checksumUpdate(before, readU16(bytes, 2 * word), value);
      writeU16(bytes, 2 * word, value);
      // Both zeros of ones-complement arithmetic are zero (RFC 1624 §3).
      expect(updated % 0xffff).toBe(checksum(bytes) % 0xffff);
    }),
  );
});
