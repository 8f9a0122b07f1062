import { describe, expect, test } from 'vitest';
import { MachineMemory } from '../../dataplane/machine/memory.ts';
import { copyBytes, equalsWords, hashWords, loadWords, storeWords, zeroBytes } from '../../dataplane/maps/words.ts';
import { ModuleBuilder } from '../../dataplane/wasm/module-builder.ts';
import { i32 } from '../../dataplane/wasm/expression.ts';

interface Functions {
  hash(address: number): number;
  store(to: number, from: number): number;
  equals(a: number, b: number): number;
  copy(to: number, from: number): number;
  zero(at: number): number;
}

const memory = new MachineMemory();
const [A, B] = [memory.allocate(1024, 64, 'test'), memory.allocate(1024, 64, 'test')];

function functionsOf(lengthBytes: number): Functions {
  const module = new ModuleBuilder();
  module.importMemory('machine', 'memory');
  const define = (name: keyof Functions, params: number, emit: (f: ReturnType<typeof make>) => void) => {
    const f = make(name, params);
    emit(f);
    module.export(name, f);
  };
  const make = (name: string, params: number) => module.function(name, Array.from({ length: params }, () => 'i32' as const), 'i32');
  define('hash', 1, (f) => f.return(hashWords(f, loadWords(f, f.param(0, 'i32'), 3, lengthBytes))));
  define('store', 2, (f) => {
    storeWords(f, f.param(0, 'i32'), 5, loadWords(f, f.param(1, 'i32'), 3, lengthBytes), lengthBytes);
    f.return(i32.const(0));
  });
  define('equals', 2, (f) => f.return(equalsWords(f.param(0, 'i32'), 5, loadWords(f, f.param(1, 'i32'), 3, lengthBytes), lengthBytes)));
  define('copy', 2, (f) => {
    copyBytes(f, f.param(0, 'i32'), 5, f.param(1, 'i32'), 3, lengthBytes);
    f.return(i32.const(0));
  });
  define('zero', 1, (f) => {
    zeroBytes(f, f.param(0, 'i32'), 5, lengthBytes);
    f.return(i32.const(0));
  });
  return new WebAssembly.Instance(new WebAssembly.Module(module.assemble()), { machine: { memory: memory.wasm } }).exports as unknown as Functions;
}

const SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 24, 31, 37, 40, 64, 127, 128, 129, 200, 512];

test.each(SIZES)('%i bytes are stored, copied, compared and cleared, and not one more', (lengthBytes) => {
  const functions = functionsOf(lengthBytes);
  const source = Uint8Array.from({ length: 1024 }, (_, index) => (index * 7 + 1) | 1);
  for (const write of ['store', 'copy'] as const) {
    memory.u8.fill(0xaa, A, A + 1024);
    memory.u8.set(source, B);
    functions[write](A, B);
    const expected = new Uint8Array(1024).fill(0xaa);
    expected.set(source.subarray(3, 3 + lengthBytes), 5);
    expect(memory.u8.slice(A, A + 1024)).toEqual(expected);
    expect(functions.equals(A, B)).toBe(1);
    for (let index = 0; index < lengthBytes; index++) {
      memory.u8[A + 5 + index]! ^= 0x10;
      expect(functions.equals(A, B)).toBe(0);
      memory.u8[A + 5 + index]! ^= 0x10;
    }
    functions.zero(A);
    expected.fill(0, 5, 5 + lengthBytes);
    expect(memory.u8.slice(A, A + 1024)).toEqual(expected);
  }
});

describe('the hash spreads keys that differ', () => {
  const keys: Readonly<Record<string, (index: number, key: DataView) => void>> = {
    'in their last byte and the one before': (index, key) => key.setUint16(key.byteLength - 2, index),
    'in their first two bytes': (index, key) => key.setUint16(0, index),
    'in the top bits of their first word': (index, key) => key.setUint16(key.byteLength >= 8 ? 6 : key.byteLength - 2, index << 6, true),
    'by a stride of 256': (index, key) => key.setUint16(key.byteLength - 2, index << 6, true),
    'in both halves alike': (index, key) => {
      key.setUint16(0, index);
      key.setUint16(key.byteLength - 2, index);
    },
  };

  /** Boxes used by 1024 keys, and the most in one, of the bits that a map of 1024 entries takes. */
  const spread = (lengthBytes: number, fill: (index: number, key: DataView) => void): readonly [used: number, most: number] => {
    const { hash } = functionsOf(lengthBytes);
    const buckets = new Map<number, number>();
    for (let index = 0; index < 1024; index++) {
      const bytes = new Uint8Array(lengthBytes);
      fill(index, new DataView(bytes.buffer));
      memory.u8.set(bytes, A + 3);
      const bucket = (hash(A) >>> 2) & 2047;
      buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1);
    }
    return [buckets.size, Math.max(...buckets.values())];
  };
  // Of 1024 random balls in 2048 boxes, 806 boxes are expected to be used, and no box to hold more than 6.
  const [FEWEST_USED, MOST_IN_ONE] = [740, 8];

  test.each([4, 8, 12, 13, 16, 37].flatMap((lengthBytes) => Object.keys(keys).map((name) => [lengthBytes, name] as const)))('%i bytes %s', (lengthBytes, name) => {
    const [used, most] = spread(lengthBytes, keys[name]!);
    expect(used).toBeGreaterThan(FEWEST_USED);
    expect(most).toBeLessThanOrEqual(MOST_IN_ONE);
  });

  test.each([8, 12, 16, 32, 40])('%i bytes in the last bytes of two of the addresses in it', (lengthBytes) => {
    const ends = Array.from({ length: lengthBytes / 4 }, (_, word) => 4 * word + 3);
    const pairs = ends.flatMap((one) => ends.filter((other) => other > one).map((other) => [one, other] as const));
    const found = pairs.map(([one, other]) => {
      const [used, most] = spread(lengthBytes, (index, key) => {
        key.setUint8(one, index & 31);
        key.setUint8(other, index >> 5);
      });
      return { one, other, used, most };
    });
    expect(found.filter(({ used, most }) => used <= FEWEST_USED || most > MOST_IN_ONE)).toEqual([]);
  });
});
