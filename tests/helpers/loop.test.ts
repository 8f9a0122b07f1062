import { describe, expect, test } from 'vitest';
import type { Callback } from '../../dataplane/machine/machine.ts';
import { createMap } from '../../dataplane/maps/bpf-map.ts';
import { Bench, mapSpec } from './bench.ts';

const HASH = 1;
const ARRAY = 2;
const QUEUE = 22;

const u32 = (value: number): Uint8Array => new Uint8Array(new Uint32Array([value]).buffer);
const u64 = (value: number): Uint8Array => new Uint8Array(new BigUint64Array([BigInt(value)]).buffer);

describe('loop', () => {
  test('calls with the index and the context, until told to stop', () => {
    const bench = new Bench('xdp');
    const calls: [bigint, bigint][] = [];
    const callback = bench.machine.addCallback((index, context) => {
      calls.push([index, context]);
      return index === 3n ? 1n : 0n;
    });
    expect(bench.call('loop', 10, callback, 0x1_0000_0002n, 0n)).toBe(4);
    expect(calls).toEqual([0n, 1n, 2n, 3n].map((index) => [index, 0x1_0000_0002n]));
    expect(bench.call('loop', 3, callback, 0n, 0n)).toBe(3);
    expect(bench.call('loop', 0, callback, 0n, 0n)).toBe(0);
  });

  test('has a limit, and no flags', () => {
    const bench = new Bench('xdp');
    const callback = bench.machine.addCallback(() => 1n);
    expect(bench.call('loop', 1 << 23, callback, 0n, 0n)).toBe(1);
    expect(bench.call('loop', (1 << 23) + 1, callback, 0n, 0n)).toBe('E2BIG');
    expect(bench.call('loop', 1, callback, 0n, 1n)).toBe('EINVAL');
    expect(bench.call('loop', 1, 999, 0n, 0n)).toBe('EINVAL');
  });
});

function walk(type: number, entries: number, visit: (bench: Bench, key: number, value: number) => bigint): { answer: unknown; seen: number[] } {
  const bench = new Bench('xdp');
  const map = createMap(bench.machine, mapSpec({ type, maxEntries: 8 }));
  for (let key = 0; key < entries; key++) map.update(u32(key), u64(key * 10));
  const seen: number[] = [];
  const body: Callback = (descriptor, key, value, context) => {
    expect([descriptor, context]).toEqual([BigInt(map.descriptor), 5n]);
    const { view } = bench.machine.memory;
    seen.push(view.getUint32(Number(key), true), Number(view.getBigUint64(Number(value), true)));
    return visit(bench, Number(key), map.descriptor);
  };
  return { answer: bench.call('for_each_map_elem', map.descriptor, bench.machine.addCallback(body), 5n, 0n), seen };
}

describe('for_each_map_elem', () => {
  test('visits every slot of an array', () => {
    expect(walk(ARRAY, 3, () => 0n)).toEqual({ answer: 8, seen: [0, 0, 1, 10, 2, 20, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0] });
  });

  test('visits every entry of a hash once', () => {
    const { answer, seen } = walk(HASH, 5, () => 0n);
    expect(answer).toBe(5);
    expect(seen.filter((_, index) => index % 2 === 0).toSorted()).toEqual([0, 1, 2, 3, 4]);
  });

  test('counts the entry at which it was told to stop', () => {
    expect(walk(ARRAY, 3, () => 1n)).toEqual({ answer: 1, seen: [0, 0] });
  });

  test('an entry may be deleted while it is visited', () => {
    const { answer, seen } = walk(HASH, 6, (bench, key, map) => {
      expect(bench.call('map_delete_elem', map, key)).toBe(0);
      return 0n;
    });
    expect(answer).toBe(6);
    expect(seen.filter((_, index) => index % 2 === 0).toSorted()).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test('a walk inside a walk has keys of its own', () => {
    const bench = new Bench('xdp');
    const map = createMap(bench.machine, mapSpec({ type: ARRAY, maxEntries: 3 }));
    const pairs: string[] = [];
    const key = (address: bigint): number => bench.machine.memory.view.getUint32(Number(address), true);
    let outer = 0n;
    const inner = bench.machine.addCallback((_map, at) => {
      pairs.push(`${key(outer)}${key(at)}`);
      return 0n;
    });
    const body = bench.machine.addCallback((_map, at) => {
      outer = at;
      bench.call('for_each_map_elem', map.descriptor, inner, 0n, 0n);
      return 0n;
    });
    expect(bench.call('for_each_map_elem', map.descriptor, body, 0n, 0n)).toBe(3);
    expect(pairs).toEqual(['00', '01', '02', '10', '11', '12', '20', '21', '22']);
  });

  test('other maps and flags are refused', () => {
    const bench = new Bench('xdp');
    const queue = createMap(bench.machine, mapSpec({ type: QUEUE, keyBytes: 0, maxEntries: 4 }));
    const array = createMap(bench.machine, mapSpec({ type: ARRAY, maxEntries: 4 }));
    const callback = bench.machine.addCallback(() => 0n);
    expect(bench.call('for_each_map_elem', queue.descriptor, callback, 0n, 0n)).toBe('EINVAL');
    expect(bench.call('for_each_map_elem', array.descriptor, callback, 0n, 1n)).toBe('EINVAL');
  });
});
