/** Whatever the bytes: a Spec or one XdplabError of one line. */
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { valueCodec } from '../../dataplane/bpf/btf-value.ts';
import { loadObject } from '../../dataplane/bpf/object.ts';
import type { CollectionSpec } from '../../dataplane/bpf/spec.ts';
import { XdplabError } from '../../dataplane/errors.ts';
import { objectBytes, OBJECT_NAMES, type ObjectName } from './test-object.ts';

/** Loads and then uses what was loaded, as `show` and `map` commands do. */
function use(bytes: Uint8Array): CollectionSpec | XdplabError {
  try {
    const collection = loadObject(bytes, { name: 'damaged.bpf.o' });
    for (const [id] of collection.btf?.types() ?? []) collection.btf?.describe(id);
    for (const map of collection.maps.values()) {
      if (map.keyBytes + map.valueBytes > 1 << 16) continue;
      const key = valueCodec(map.btf, map.keyTypeId, map.keyBytes);
      key.write(key.read(new Uint8Array(map.keyBytes)), map.name);
      valueCodec(map.btf, map.valueTypeId, map.valueBytes).read(new Uint8Array(map.valueBytes));
    }
    return collection;
  } catch (error) {
    if (error instanceof XdplabError) return error;
    throw error;
  }
}

// oxlint-disable-next-line no-control-regex -- these are what an error must not contain
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

function expectSound(result: CollectionSpec | XdplabError): void {
  if (result instanceof XdplabError) {
    expect(result.message).not.toMatch(CONTROL);
    expect(result.message).toMatch(/^(damaged\.bpf\.o|[\w.$-]*)/);
  }
}

type Damage = (bytes: Uint8Array) => Uint8Array;

const INTERESTING = [0, 1, 2, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff];

const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.tuple(place, fc.nat(7)).map(([at, bit]): Damage => (bytes) => {
    bytes[Math.floor(at * bytes.length)]! ^= 1 << bit;
    return bytes;
  }),
  fc.tuple(place, fc.constantFrom(...INTERESTING)).map(([at, value]): Damage => (bytes) => {
    new DataView(bytes.buffer).setUint32(4 * Math.floor((at * (bytes.length - 4)) / 4), value, true);
    return bytes;
  }),
  fc.tuple(place, place, fc.nat(64)).map(([from, to, length]): Damage => (bytes) => bytes.copyWithin(Math.floor(to * bytes.length), Math.floor(from * bytes.length), Math.floor(from * bytes.length) + length)),
);

describe('damaged objects', () => {
  test.each(OBJECT_NAMES)('%s with some bytes changed gives a spec or one line', (name: ObjectName) => {
    const original = objectBytes(name);
    fc.assert(fc.property(fc.array(damage, { minLength: 1, maxLength: 4 }), (changes) => {
      expectSound(use(changes.reduce<Uint8Array>((bytes, change) => change(bytes), original.slice())));
    }), { numRuns: 150 });
  });

  test('every object cut at any place is one line with the place, or what is left of it', () => {
    const original = objectBytes('maps');
    for (let length = 0; length < original.length; length += 7) {
      const result = use(original.slice(0, length));
      // The section headers are last, so that no cut leaves a whole object.
      expect(result).toBeInstanceOf(XdplabError);
      expect((result as XdplabError).message).toMatch(/^damaged\.bpf\.o: at offset \d+: /);
    }
  });

  test('random bytes are one line', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => expectSound(use(bytes))));
    fc.assert(fc.property(fc.uint8Array({ minLength: 48, maxLength: 400 }), (bytes) => {
      const header = objectBytes('maps').slice(0, 64);
      header.set(bytes.subarray(0, 24), 40);
      expectSound(use(Uint8Array.from([...header, ...bytes])));
    }));
  });
});

describe('bytes that are something else', () => {
  const changed = (change: (bytes: Uint8Array) => void): string => {
    const bytes = objectBytes('maps');
    change(bytes);
    const result = use(bytes);
    return result instanceof XdplabError ? `${result.code} ${result.message}` : 'a spec';
  };

  test.each<[string, (bytes: Uint8Array) => void, string]>([
    ['a text', (bytes) => bytes.set([35, 33, 47]), 'ERR_ELF damaged.bpf.o: at offset 0: not an ELF file; expected an object compiled with clang -target bpf'],
    ['an x86 object', (bytes) => bytes.set([62], 18), 'ERR_ELF damaged.bpf.o: at offset 18: compiled for machine 62, expected 247 (BPF); compile with clang -target bpf'],
    ['a big-endian object', (bytes) => bytes.set([2], 5), 'ERR_ELF damaged.bpf.o: at offset 5: data encoding 2, expected 1 (little-endian); compile with -target bpfel'],
    ['a 32-bit object', (bytes) => bytes.set([1], 4), 'ERR_ELF damaged.bpf.o: at offset 4: ELF class 1, expected 2 (64 bits)'],
    ['an executable', (bytes) => bytes.set([2], 16), 'ERR_ELF damaged.bpf.o: at offset 16: ELF type 2, expected 1 (a relocatable object, as clang -c writes it)'],
  ])('%s is named', (_, change, message) => {
    expect(changed(change)).toBe(message);
  });

  test('this process itself is no object', () => {
    expect(() => loadObject(readFileSync(process.execPath).subarray(0, 4096), { name: 'node' })).toThrow(/^node: at offset \d+: /);
  });
});
