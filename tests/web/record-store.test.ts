import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { VERDICT_RECORD } from '../../dataplane/server/verdict-decoder.ts';
import { RecordStore } from '../../web/src/record-store.ts';

function recordsFrom(first: number, count: number): Uint8Array {
  const bytes = new Uint8Array(count * VERDICT_RECORD.size);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < count; index++) {
    const at = index * VERDICT_RECORD.size;
    view.setBigUint64(at + VERDICT_RECORD.number, BigInt(first + index), true);
    view.setBigUint64(at + VERDICT_RECORD.timestampNs, BigInt(first + index) * 1_000_000_000n, true);
    view.setInt32(at + VERDICT_RECORD.verdict, -first - index, true);
    view.setUint16(at + VERDICT_RECORD.attachment, (first + index) & 0xffff, true);
  }
  return bytes;
}

test('records are found by their place, however they came in', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 50_000 }), { maxLength: 6 }), (counts) => {
      const store = new RecordStore();
      let first = 0;
      for (const count of counts) {
        store.append(recordsFrom(first, count));
        first += count;
      }
      expect([store.first, store.end, store.size]).toEqual([0, first, first]);
      for (const index of [0, first >> 1, first - 1].filter((one) => one >= 0 && one < first)) {
        expect([store.packet(index), store.timestampNs(index), store.verdict(index), store.attachment(index)]).toEqual([index, BigInt(index) * 1_000_000_000n, index === 0 ? 0 : -index, index & 0xffff]);
      }
    }),
    { numRuns: 30 },
  );
});

test('of more than two million, the oldest go', () => {
  const store = new RecordStore();
  const step = 100_000;
  for (let first = 0; first < 2_400_000; first += step) store.append(recordsFrom(first, step));
  expect(store.end).toBe(2_400_000);
  expect(store.size).toBeLessThanOrEqual(1 << 21);
  expect(store.packet(store.first)).toBe(store.first);
  expect(store.packet(store.end - 1)).toBe(2_399_999);
  expect(() => store.packet(store.first - 1)).toThrow(RangeError);
  store.clear();
  expect(store.size).toBe(0);
});
