import { beforeEach, describe, expect, test } from 'vitest';
import { type BpfMap, createMap } from '../../dataplane/maps/bpf-map.ts';
import { consumeRingbuf } from '../../dataplane/maps/ringbuf.ts';
import { Bench, mapSpec } from './bench.ts';

const RINGBUF = 27;

describe('ring buffer helpers', () => {
  let bench: Bench;
  let map: BpfMap;
  const consumed = (): number[][] => Array.from(consumeRingbuf(map.geometry), (record) => [...record]);

  beforeEach(() => {
    bench = new Bench('xdp');
    map = createMap(bench.machine, mapSpec({ name: 'events', type: RINGBUF, keyBytes: 0, valueBytes: 0, maxEntries: 4096 }));
  });

  test('output copies a record', () => {
    expect(bench.call('ringbuf_output', map.descriptor, bench.bytes([1, 2, 3, 4, 5]), 5, 0n)).toBe(0);
    expect(bench.call('ringbuf_query', map.descriptor, 0n)).toBe(16n);
    expect(consumed()).toEqual([[1, 2, 3, 4, 5]]);
    expect(bench.call('ringbuf_query', map.descriptor, 0n)).toBe(0n);
  });

  // Linux 6.18.
  test('a buffer of 4096 bytes takes a record of 4080', () => {
    expect(bench.call('ringbuf_reserve', map.descriptor, 4081, 0n)).toBe(0);
    expect(bench.call('ringbuf_reserve', map.descriptor, 4080, 0n)).not.toBe(0);
    expect(bench.call('ringbuf_output', map.descriptor, bench.bytes([1]), 1, 0n)).toBe('EAGAIN');
  });

  test('flags are none for reserving, and wake-ups for output', () => {
    expect(bench.call('ringbuf_reserve', map.descriptor, 8, 1n)).toBe(0);
    expect(bench.call('ringbuf_output', map.descriptor, bench.bytes([1]), 1, 3n)).toBe(0);
    expect(bench.call('ringbuf_output', map.descriptor, bench.bytes([1]), 1, 4n)).toBe('EINVAL');
    expect(bench.call('ringbuf_output', map.descriptor, bench.bytes([1]), 1, 1n << 32n)).toBe('EINVAL');
  });

  test('records come out in the order they were reserved, without the discarded ones', () => {
    const [first, second, third] = [1, 2, 3].map((byte) => {
      const record = bench.call('ringbuf_reserve', map.descriptor, 8, 0n) as number;
      bench.machine.memory.u8.fill(byte, record, record + 8);
      return record;
    });
    bench.call('ringbuf_submit', third!, 0n);
    expect(consumed()).toEqual([]);
    bench.call('ringbuf_submit', first!, 0n);
    bench.call('ringbuf_discard', second!, 0n);
    expect(consumed()).toEqual([Array.from({ length: 8 }, () => 1), Array.from({ length: 8 }, () => 3)]);
  });

  test('query knows size and positions, and answers 0 to the rest', () => {
    bench.call('ringbuf_output', map.descriptor, bench.bytes([1]), 1, 0n);
    expect([0n, 1n, 2n, 3n, 4n, 1n << 32n].map((what) => bench.call('ringbuf_query', map.descriptor, what))).toEqual([16n, 4096n, 0n, 16n, 0n, 0n]);
  });
});
