/** Random commands on a map and on a JavaScript Map: the same answers, and the same contents at every step. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ARRAY, PERCPU_ARRAY } from '../../dataplane/maps/array.ts';
import type { BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { HASH, PERCPU_HASH } from '../../dataplane/maps/hash.ts';
import { ERRNO, UPDATE } from '../../dataplane/maps/map.ts';
import { errnoOf, hex, makeMap, u32, u64 } from './map-fixtures.ts';
import { Machine } from '../../dataplane/machine/machine.ts';

interface Model {
  readonly entries: Map<string, string>;
  readonly capacity: number;
}

type Command = fc.Command<Model, BpfMap>;

const flagsArbitrary = fc.constantFrom(UPDATE.any, UPDATE.any, UPDATE.any, UPDATE.noExist, UPDATE.exist, 3, 4, 8);

function updateOf(key: Uint8Array, value: Uint8Array, flags: number): Command {
  return {
    check: () => true,
    run({ entries, capacity }, map) {
      const present = entries.has(hex(key)!);
      const expected =
        flags > 2 ? 'EINVAL'
        : present && flags === UPDATE.noExist ? 'EEXIST'
        : !present && flags === UPDATE.exist ? 'ENOENT'
        : !present && entries.size === capacity ? 'E2BIG'
        : 0;
      expect(errnoOf(() => map.update(key, value, flags))).toBe(expected);
      if (expected === 0) entries.set(hex(key)!, hex(value)!);
    },
    toString: () => `update(${hex(key)}, ${hex(value)}, ${flags})`,
  };
}

function deleteOf(key: Uint8Array): Command {
  return {
    check: () => true,
    run({ entries }, map) {
      expect(map.delete(key)).toBe(entries.delete(hex(key)!));
      expect(map.lookup(key)).toBeUndefined();
    },
    toString: () => `delete(${hex(key)})`,
  };
}

function lookupOf(key: Uint8Array): Command {
  return {
    check: () => true,
    run({ entries }, map) {
      expect(hex(map.lookup(key))).toBe(entries.get(hex(key)!));
    },
    toString: () => `lookup(${hex(key)})`,
  };
}

const allOf: Command = {
  check: () => true,
  run({ entries }, map) {
    expect(map.size).toBe(entries.size);
    expect([...map.entries()].map(([key, value]) => [hex(key), hex(value)]).toSorted()).toEqual([...entries].toSorted());
  },
  toString: () => 'entries()',
};

/** A few keys that differ in one byte, at every place, so that each word of a key is compared. */
function keysOf(keyBytes: number): fc.Arbitrary<Uint8Array> {
  return fc.record({ at: fc.nat({ max: keyBytes - 1 }), byte: fc.nat({ max: 12 }) }).map(({ at, byte }) => {
    const key = new Uint8Array(keyBytes);
    key[at] = byte;
    return key;
  });
}

const valuesOf = (map: BpfMap): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: map.userValueBytes, maxLength: map.userValueBytes });

describe.each([HASH, PERCPU_HASH])('$name behaves as a Map of at most max_entries', (type) => {
  test.each([1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 20, 37, 64, 100])('with keys of %i bytes', (keyBytes) => {
    const make = () => makeMap(type, { keyBytes, valueBytes: (keyBytes % 11) + 1, maxEntries: 20 }, new Machine({ cpus: type.perCpu ? 3 : 1 }));
    const key = keysOf(keyBytes);
    const commands = fc.commands(
      [
        fc.tuple(key, valuesOf(make()), flagsArbitrary).map((args) => updateOf(...args)),
        key.map(deleteOf),
        key.map(lookupOf),
        fc.constant(allOf),
      ],
      { maxCommands: 150, size: 'max' },
    );
    fc.assert(
      fc.property(commands, (run) => fc.modelRun(() => ({ model: { entries: new Map<string, string>(), capacity: 20 }, real: make() }), run)),
      { numRuns: 30 },
    );
  });
});

test('a hash of many entries finds all of them while it grows and shrinks', () => {
  const map = makeMap(HASH, { keyBytes: 8, valueBytes: 8, maxEntries: 20_000 });
  const key = (index: number) => u64(BigInt(index) << BigInt(index % 40));
  const expected = new Map<string, number>();
  for (let index = 0; index < 20_000; index++) {
    if (expected.has(hex(key(index))!)) continue;
    expected.set(hex(key(index))!, index);
    map.update(key(index), u64(index), UPDATE.noExist);
  }
  for (let index = 0; index < 20_000; index += 3) expect(map.delete(key(index))).toBe(expected.delete(hex(key(index))!));
  expect(map.size).toBe(expected.size);
  for (const [k, value] of map.entries()) expect(new DataView(value.buffer).getUint32(0, true)).toBe(expected.get(hex(k)!));
  expect([...map.keys()].length).toBe(expected.size);
});

test.each([ARRAY, PERCPU_ARRAY])('$name keeps what was last written at each index', (type) => {
  const map = makeMap(type, { valueBytes: 5, maxEntries: 7 }, new Machine({ cpus: 2 }));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat({ max: 9 }), valuesOf(map))), (writes) => {
      const model = Array.from({ length: 7 }, (_, index) => hex(map.lookup(u32(index))));
      for (const [index, value] of writes) {
        expect(errnoOf(() => map.update(u32(index), value))).toBe(index < 7 ? 0 : 'E2BIG');
        if (index < 7) model[index] = hex(value);
      }
      expect([...map.entries()].map(([, value]) => hex(value))).toEqual(model);
    }),
  );
  expect(map.operations.delete(0)).toBe(-ERRNO.EINVAL);
});
