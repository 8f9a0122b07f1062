import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Machine } from '../../dataplane/machine/machine.ts';
import type { BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { LRU_HASH, LRU_PERCPU_HASH } from '../../dataplane/maps/hash.ts';
import { MAP_FLAG } from '../../dataplane/maps/map-check.ts';
import { makeMap, u32 } from './map-fixtures.ts';

const CAPACITY = 8;

/** Second chance, as a list: the oldest first. */
class Model {
  entries: { key: number; referenced: boolean }[] = [];

  insert(key: number, replaces: boolean): void {
    const known = this.entries.find((entry) => entry.key === key);
    if (known) {
      known.referenced = true;
      // An update of a plain value puts a new entry in place of the old one.
      if (replaces) this.entries = [...this.entries.filter((entry) => entry !== known), known];
      return;
    }
    while (this.entries.length === CAPACITY) {
      const oldest = this.entries.shift()!;
      if (oldest.referenced) this.entries.push({ key: oldest.key, referenced: false });
    }
    this.entries.push({ key, referenced: false });
  }
}

const keysOf = (map: BpfMap): number[] => [...map.keys()].map((key) => key[0]!).toSorted((a, b) => a - b);

function programLookup(map: BpfMap, key: number): number {
  const { memory } = map.geometry.machine;
  const at = memory.allocate(8, 8, 'test');
  memory.u32[at >>> 2] = key;
  return map.operations.lookup(at);
}

describe.each([LRU_HASH, LRU_PERCPU_HASH])('$name', (type) => {
  const make = (maxEntries = CAPACITY) => makeMap(type, { maxEntries }, new Machine({ cpus: 2 }));
  const value = (map: BpfMap, byte: number) => new Uint8Array(map.userValueBytes).fill(byte);

  test('evicts the oldest entry that was not used, whatever was inserted, used and deleted', () => {
    const command = fc.tuple(fc.constantFrom('insert', 'insert', 'insert', 'use', 'read', 'delete'), fc.nat({ max: 14 }));
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200, size: 'max' }), (commands) => {
        const [map, model] = [make(), new Model()];
        for (const [kind, key] of commands) {
          if (kind === 'insert') {
            map.update(u32(key), value(map, key));
            model.insert(key, type === LRU_HASH);
          } else if (kind === 'use') {
            const entry = model.entries.find((candidate) => candidate.key === key);
            expect(programLookup(map, key) !== 0).toBe(entry !== undefined);
            if (entry) entry.referenced = true;
          } else if (kind === 'read') {
            expect(map.lookup(u32(key))?.[0]).toBe(model.entries.some((entry) => entry.key === key) ? key : undefined);
          } else {
            expect(map.delete(u32(key))).toBe(model.entries.some((entry) => entry.key === key));
            model.entries = model.entries.filter((entry) => entry.key !== key);
          }
          expect(keysOf(map)).toEqual(model.entries.map((entry) => entry.key).toSorted((a, b) => a - b));
        }
      }),
      { numRuns: 40 },
    );
  });

  test('is never full, and never holds more than max_entries', () => {
    const map = make(100);
    for (let index = 0; index < 1000; index++) {
      map.update(u32(index), new Uint8Array(map.userValueBytes));
      expect(map.size).toBe(Math.min(index + 1, 100));
      expect(map.lookup(u32(index))).toBeDefined();
    }
    expect(keysOf(map)).toHaveLength(100);
  });

  test('what a program looks up stays while others come and go', () => {
    const map = make(4);
    map.update(u32(200), new Uint8Array(map.userValueBytes));
    for (let index = 0; index < 50; index++) {
      programLookup(map, 200);
      map.update(u32(index), new Uint8Array(map.userValueBytes));
    }
    expect(keysOf(map)).toContain(200);
  });

  test('reading from user space is no use', () => {
    const map = make(2);
    map.update(u32(1), new Uint8Array(map.userValueBytes));
    map.update(u32(2), new Uint8Array(map.userValueBytes));
    map.lookup(u32(1));
    map.update(u32(3), new Uint8Array(map.userValueBytes));
    expect(keysOf(map)).toEqual([2, 3]);
  });

  test('when all were used, the one used first goes', () => {
    const map = make(3);
    for (const key of [1, 2, 3]) map.update(u32(key), new Uint8Array(map.userValueBytes));
    for (const key of [1, 2, 3]) programLookup(map, key);
    map.update(u32(4), new Uint8Array(map.userValueBytes));
    expect(keysOf(map)).toEqual([2, 3, 4]);
  });

  test('with a list for each CPU, max_entries is rounded up to a multiple of the CPUs', () => {
    const sizes = [1, 2, 3, 5].map((maxEntries) => makeMap(type, { maxEntries, flags: MAP_FLAG.NO_COMMON_LRU }, new Machine({ cpus: 2 })).spec.maxEntries);
    expect(sizes).toEqual([2, 2, 4, 6]);
  });
});
