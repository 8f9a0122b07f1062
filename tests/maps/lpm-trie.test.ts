import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { LPM_TRIE } from '../../dataplane/maps/lpm-trie.ts';
import { MAP_FLAG } from '../../dataplane/maps/map-check.ts';
import { UPDATE } from '../../dataplane/maps/map.ts';
import { errnoOf, hex, makeMap, u32, u64 } from './map-fixtures.ts';

const makeTrie = (dataBytes: number, maxEntries: number): BpfMap =>
  makeMap(LPM_TRIE, { keyBytes: 4 + dataBytes, valueBytes: 8, maxEntries, flags: MAP_FLAG.NO_PREALLOC });

interface Prefix {
  readonly bits: number;
  readonly data: Uint8Array;
}

const keyOf = ({ bits, data }: Prefix): Uint8Array => Uint8Array.from([...u32(bits), ...data]);

const bitsOf = (data: Uint8Array): string => Array.from(data, (byte) => byte.toString(2).padStart(8, '0')).join('');

/** `10.1.0.0/16`. */
function ipv4(text: string): Uint8Array {
  const [address, bits] = text.split('/') as [string, string?];
  return keyOf({ bits: Number(bits ?? 32), data: Uint8Array.from(address.split('.').map(Number)) });
}

const text = (key: Uint8Array): string => `${key.slice(4).join('.')}/${key[0]}`;

/** A trie as a list of bit strings. */
class Model {
  readonly entries = new Map<string, { key: Uint8Array; value: string }>();
  readonly capacity: number;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  static of({ bits, data }: Prefix): string {
    return bitsOf(data).slice(0, bits);
  }

  lookup(prefix: Prefix): string | undefined {
    if (prefix.bits > prefix.data.length * 8) return undefined;
    const bits = Model.of(prefix);
    for (let length = bits.length; length >= 0; length--) {
      const found = this.entries.get(bits.slice(0, length));
      if (found) return found.value;
    }
    return undefined;
  }

  /** Linux's order: a prefix comes after all that it contains. */
  keys(): string[] {
    const past = '2';
    const order = [...this.entries.keys()].toSorted((a, b) => (a + past < b + past ? -1 : 1));
    return order.map((bits) => hex(this.entries.get(bits)!.key)!);
  }
}

type Command = fc.Command<Model, BpfMap>;

const updateOf = (prefix: Prefix, value: number, flags: number): Command => ({
  check: () => true,
  run(model, map) {
    const bits = Model.of(prefix);
    const present = model.entries.has(bits);
    const expected =
      flags > 2 || prefix.bits > prefix.data.length * 8 ? 'EINVAL'
      : present && flags === UPDATE.noExist ? 'EEXIST'
      : !present && flags === UPDATE.exist ? 'ENOENT'
      : !present && model.entries.size === model.capacity ? 'ENOSPC'
      : 0;
    expect(errnoOf(() => map.update(keyOf(prefix), u64(value), flags))).toBe(expected);
    if (expected === 0) model.entries.set(bits, { key: keyOf(prefix), value: hex(u64(value))! });
  },
  toString: () => `update(${text(keyOf(prefix))}, ${value}, ${flags})`,
});

const deleteOf = (prefix: Prefix): Command => ({
  check: () => true,
  run(model, map) {
    if (prefix.bits > prefix.data.length * 8) expect(errnoOf(() => map.delete(keyOf(prefix)))).toBe('EINVAL');
    else expect(map.delete(keyOf(prefix))).toBe(model.entries.delete(Model.of(prefix)));
  },
  toString: () => `delete(${text(keyOf(prefix))})`,
});

const lookupOf = (prefix: Prefix): Command => ({
  check: () => true,
  run(model, map) {
    expect(hex(map.lookup(keyOf(prefix)))).toBe(model.lookup(prefix));
  },
  toString: () => `lookup(${text(keyOf(prefix))})`,
});

const listOf: Command = {
  check: () => true,
  run(model, map) {
    expect(map.size).toBe(model.entries.size);
    expect([...map.keys()].map(hex)).toEqual(model.keys());
    for (const { key } of model.entries.values()) {
      const whole = { bits: (key.length - 4) * 8, data: key.slice(4) };
      expect(hex(map.lookup(keyOf(whole)))).toBe(model.lookup(whole));
    }
  },
  toString: () => 'keys()',
};

/** Bytes of few values, so that prefixes contain each other and part at every bit. */
function prefixesOf(dataBytes: number): fc.Arbitrary<Prefix> {
  const byte = fc.constantFrom(0, 1, 2, 0x40, 0x80, 0xc0, 0xff, 10);
  return fc.record({ bits: fc.nat({ max: dataBytes * 8 + 1 }), data: fc.array(byte, { minLength: dataBytes, maxLength: dataBytes }).map((bytes) => Uint8Array.from(bytes)) });
}

test.each([
  [1, 40],
  [2, 40],
  [3, 40],
  [4, 40],
  // Fewer tables than IPv4 prefixes need.
  [4, 3],
  [6, 40],
  [8, 40],
  [12, 40],
  [16, 40],
  [20, 40],
])('an LPM trie of %i data bytes and at most %i entries finds the longest prefix, as a list of bit strings does', (dataBytes, capacity) => {
  const prefix = prefixesOf(dataBytes);
  const commands = fc.commands(
    [
      fc.tuple(prefix, fc.nat(), fc.constantFrom(0, 0, 0, 0, 1, 2, 3)).map((args) => updateOf(...args)),
      fc.tuple(prefix, fc.nat(), fc.constant(0)).map((args) => updateOf(...args)),
      prefix.map(deleteOf),
      prefix.map(lookupOf),
      fc.constant(listOf),
    ],
    { maxCommands: 120, size: 'max' },
  );
  fc.assert(
    fc.property(commands, (run) => fc.modelRun(() => ({ model: new Model(capacity), real: makeTrie(dataBytes, capacity) }), run)),
    { numRuns: 60 },
  );
});

test('tables of IPv4 prefixes are given back, whatever comes and goes', () => {
  const map = makeTrie(4, 8);
  for (let round = 0; round < 400; round++) {
    const prefixes = [`10.${round % 256}.0.0/24`, `10.${round % 256}.0.${round % 256}/32`, `10.${(round * 7) % 256}.${round % 256}.128/25`, '10.0.0.0/8'];
    for (const [place, prefix] of prefixes.entries()) map.update(ipv4(prefix), u64(place + 1));
    expect(hex(map.lookup(ipv4(`10.${round % 256}.0.${round % 256}`)))).toBe(hex(u64(2)));
    expect(hex(map.lookup(ipv4(`10.${(round * 7) % 256}.${round % 256}.200`)))).toBe(hex(u64(round % 256 === 200 && (round * 7) % 256 === round % 256 ? 2 : 3)));
    for (const prefix of prefixes) map.delete(ipv4(prefix));
    expect(hex(map.lookup(ipv4(`10.${round % 256}.0.${round % 256}`)))).toBeUndefined();
  }
  expect(map.size).toBe(0);
});

test('keys of the largest size that Linux takes work', () => {
  const map = makeTrie(256, 4);
  const data = new Uint8Array(256).fill(7);
  map.update(keyOf({ bits: 2048, data }), u64(1));
  map.update(keyOf({ bits: 2047, data }), u64(2));
  map.update(keyOf({ bits: 9, data }), u64(3));
  const other = data.slice();
  other[255] = 6;
  expect(hex(map.lookup(keyOf({ bits: 2048, data })))).toBe(hex(u64(1)));
  expect(hex(map.lookup(keyOf({ bits: 2048, data: other })))).toBe(hex(u64(2)));
  expect(hex(map.lookup(keyOf({ bits: 2000, data: other })))).toBe(hex(u64(3)));
});

describe('an LPM trie does what Linux does', () => {
  test('iteration shows what a prefix contains before the prefix', () => {
    const map = makeTrie(4, 300);
    for (const prefix of ['10.0.0.0/8', '10.1.0.0/16', '0.0.0.0/0', '192.168.0.0/16', '192.168.1.0/24', '192.168.1.128/25', '192.168.0.0/24', '10.1.2.3/32', '128.0.0.0/1', '10.255.0.0/16', '11.0.0.0/8']) {
      map.update(ipv4(prefix), u64(1));
    }
    expect([...map.keys()].map(text)).toEqual([
      '10.1.2.3/32', '10.1.0.0/16', '10.255.0.0/16', '10.0.0.0/8', '11.0.0.0/8', '192.168.0.0/24', '192.168.1.128/25',
      '192.168.1.0/24', '192.168.0.0/16', '128.0.0.0/1', '0.0.0.0/0',
    ]);
  });

  test('bits beyond the prefix are kept but do not count', () => {
    const map = makeTrie(4, 1);
    map.update(ipv4('10.9.9.9/8'), u64(1));
    map.update(ipv4('10.7.7.7/8'), u64(2));
    expect([...map.keys()].map(text)).toEqual(['10.7.7.7/8']);
    expect(hex(map.lookup(ipv4('10.255.0.1')))).toBe(hex(u64(2)));
  });

  test('a program that holds a value keeps reading it after an update or delete', () => {
    const map = makeTrie(4, 2);
    const { memory } = map.geometry.machine;
    const keyAt = memory.allocate(8, 8, 'test');
    memory.u8.set(ipv4('10.1.2.3'), keyAt);
    map.update(ipv4('10.0.0.0/8'), u64(1));
    const held = map.operations.lookup(keyAt);
    map.update(ipv4('10.0.0.0/8'), u64(2));
    expect(memory.view.getUint32(held, true)).toBe(1);
    expect(memory.view.getUint32(map.operations.lookup(keyAt), true)).toBe(2);
    map.delete(ipv4('10.0.0.0/8'));
    expect(memory.view.getUint32(held, true)).toBe(1);
  });

  test('updating and deleting for ever needs no more room', () => {
    const map = makeTrie(4, 2);
    for (let round = 0; round < 1000; round++) {
      map.update(ipv4('10.0.0.0/8'), u64(round));
      map.update(ipv4(`10.${round % 256}.0.0/16`), u64(round + 1));
      expect(hex(map.lookup(ipv4('10.255.255.255/9')))).toBe(hex(u64(round)));
      expect(hex(map.lookup(ipv4(`10.${round % 256}.0.1`)))).toBe(hex(u64(round + 1)));
      map.delete(ipv4(`10.${round % 256}.0.0/16`));
    }
  });

  test('a large trie costs what is in it', () => {
    const map = makeTrie(16, 3_000_000);
    for (let index = 0; index < 2000; index++) {
      const data = new Uint8Array(16);
      new DataView(data.buffer).setUint32(index % 13, Math.imul(index, 0x9e37_79b1) >>> 0);
      map.update(keyOf({ bits: 128 - (index % 70), data }), u64(index));
    }
    const keys = [...map.keys()];
    expect(keys.length).toBe(map.size);
    for (const key of keys) expect(map.delete(key)).toBe(true);
    expect(map.size).toBe(0);
    expect(map.operations.next(0, 0x1_0000)).toBe(-2);
  });
});
