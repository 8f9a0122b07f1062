import { describe, expect, test } from 'vitest';
import type { Btf } from '../../dataplane/bpf/btf.ts';
import { XdplabError } from '../../dataplane/errors.ts';
import { Machine } from '../../dataplane/machine/machine.ts';
import { ARRAY, PERCPU_ARRAY } from '../../dataplane/maps/array.ts';
import { createMap, type BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { DEVMAP } from '../../dataplane/maps/devmap.ts';
import { HASH, LRU_HASH, LRU_PERCPU_HASH, PERCPU_HASH } from '../../dataplane/maps/hash.ts';
import { MAP_TYPES } from '../../dataplane/maps/index.ts';
import { LPM_TRIE } from '../../dataplane/maps/lpm-trie.ts';
import { ARRAY_OF_MAPS, HASH_OF_MAPS } from '../../dataplane/maps/map-of-maps.ts';
import { mapsOf } from '../../dataplane/maps/map-registry.ts';
import type { MapKeeper } from '../../dataplane/maps/map-keeper.ts';
import { ERRNO, MAP_DESCRIPTOR, MAP_OPERATIONS, OPERATION_NAMES, UPDATE, type MapOperation, type MapType } from '../../dataplane/maps/map.ts';
import { PERF_EVENT_ARRAY } from '../../dataplane/maps/perf-event-array.ts';
import { PROG_ARRAY } from '../../dataplane/maps/prog-array.ts';
import { QUEUE, STACK } from '../../dataplane/maps/queue.ts';
import { RINGBUF } from '../../dataplane/maps/ringbuf.ts';
import { call, callIndirect, i32 } from '../../dataplane/wasm/expression.ts';
import { ModuleBuilder } from '../../dataplane/wasm/module-builder.ts';
import type { MapSpec } from '../../dataplane/bpf/spec.ts';
import { errnoOf, hex, makeMap, mapSpec, u32, u64 } from './map-fixtures.ts';

/** A declaration that each type takes. */
function plainSpec(type: MapType): MapSpec {
  const keyBytes = type.keys === 'none' ? 0 : type === LPM_TRIE ? 8 : 4;
  const valueBytes = type === RINGBUF ? 0 : type.holds === 'bytes' ? 8 : 4;
  const inner = type.holds === 'maps' ? { inner: mapSpec(HASH) } : {};
  return mapSpec(type, { name: type.name, keyBytes, valueBytes, maxEntries: type === RINGBUF ? 4096 : 4, flags: type === LPM_TRIE ? 1 : 0, ...inner });
}

/** Memory of the program: a place for arguments. */
function place(map: BpfMap, bytes: Uint8Array): number {
  const { memory } = map.geometry.machine;
  const at = memory.allocate(bytes.length, 8, 'test');
  memory.u8.set(bytes, at);
  return at;
}

const read64 = (map: BpfMap, at: number) => Number(map.geometry.machine.memory.view.getBigUint64(at >>> 0, true));

describe.each([...MAP_TYPES.values()])('a $name map', (type) => {
  test('is described where programs hold it', () => {
    const machine = new Machine({ cpus: 4 });
    createMap(machine, plainSpec(ARRAY));
    const map = createMap(machine, plainSpec(type));
    const field = (name: keyof typeof MAP_DESCRIPTOR) => machine.memory.view.getUint32(map.descriptor + MAP_DESCRIPTOR[name], true);
    expect(field('id')).toBe(map.id);
    expect(field('type')).toBe(type.id);
    expect(field('keyBytes')).toBe(map.spec.keyBytes);
    expect(field('valueBytes')).toBe(map.spec.valueBytes);
    expect(field('maxEntries')).toBe(map.spec.maxEntries);
    expect(field('storage')).toBe(map.geometry.storage);
    expect(field('flags')).toBe(map.spec.flags);
    expect(mapsOf(machine).byDescriptor(map.descriptor)).toBe(map);
    expect(mapsOf(machine).byId(map.id)).toBe(map);
    expect([...mapsOf(machine)]).toContain(map);
    const { operations } = map;
    OPERATION_NAMES.forEach((name, index) => expect(machine.mapTable.get(field('operations') + index)).toBe(operations[name]));
  });

  test('has its operations compiled when the first is called, for the first CPU, whatever is emitted meanwhile', () => {
    const machine = new Machine({ cpus: 2, parallel: true });
    createMap(machine, plainSpec(ARRAY));
    const map = createMap(machine, plainSpec(type));
    const first = machine.memory.view.getUint32(map.descriptor + MAP_DESCRIPTOR.operations, true);
    const inTable = (name: MapOperation) => machine.mapTable.get(first + OPERATION_NAMES.indexOf(name)) as (...args: number[]) => number;
    const late = inTable('lookup');
    const key = place(map, Uint8Array.from([...u32(type === LPM_TRIE ? 8 : 1), ...u32(0)]));
    const answer = machine.onCpu(1, () => late(key));
    expect(inTable('lookup')).not.toBe(late);
    expect(inTable('lookup')).toBe(map.operations.lookup);
    expect(answer).toBe(map.operations.lookup_percpu(key, 0));
  });

  test('has every operation, of the declared number of parameters', () => {
    const map = makeMap(type, plainSpec(type));
    for (const name of OPERATION_NAMES) {
      expect(map.operations[name].length).toBe(MAP_OPERATIONS[name]);
      const answers = name.startsWith('lookup') ? 0 : -ERRNO.EOPNOTSUPP;
      if (!(name in type.operations)) expect(map.operations[name](0, 0, 0)).toBe(-(type.missing?.[name] ?? -answers));
    }
  });

  test.skipIf(type.keys !== 'indexes')('has nothing at an index that would be negative with a sign', () => {
    const map = makeMap(type, plainSpec(type), new Machine({ cpus: 2 }));
    const { lookup, lookup_percpu: lookupPercpu, update, delete: remove } = map.operations;
    const value = place(map, new Uint8Array(8).fill(1));
    const before = map.geometry.machine.memory.u8.slice();
    for (const index of [0x8000_0000, 0xffff_ffff]) {
      const key = place(map, u32(index));
      before.set(u32(index), key);
      expect(lookup(key)).toBe(0);
      expect(lookupPercpu(key, 1)).toBe(0);
      expect(update(key, value, 0)).toBeLessThan(0);
      expect(remove(key)).toBeLessThan(0);
    }
    expect(Buffer.compare(map.geometry.machine.memory.u8, before)).toBe(0);
  });

  test('answers in a program as it does from outside', () => {
    const map = makeMap(type, plainSpec(type), new Machine({ cpus: 2 }));
    const { memory, mapTable } = map.geometry.machine;
    const module = new ModuleBuilder();
    module.importMemory('machine', 'memory');
    const table = module.importTable('machine', 'mapTable');
    const key = i32.const(place(map, Uint8Array.from([...u32(type === LPM_TRIE ? 8 : 1), ...u32(0)])));
    const inlined = module.function('inlined', [], 'i32');
    inlined.return(call(map.define(module, 'lookup'), key));
    const indirect = module.function('indirect', [], 'i32');
    indirect.return(callIndirect(module.type(['i32'], 'i32'), table, i32.load(i32.const(map.descriptor), MAP_DESCRIPTOR.operations), key));
    for (const f of [inlined, indirect]) module.export(f.name, f);
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.assemble()), { machine: { memory: memory.wasm, mapTable } });
    const answers = [inlined, indirect].map((f) => (exports[f.name] as () => number)());
    expect(new Set(answers).size).toBe(1);
    expect(map.define(module, 'lookup')).toBe(map.define(module, 'lookup'));
  });

  test('refuses keys and values of another size, naming the map', () => {
    const map = makeMap(type, plainSpec(type));
    expect(errnoOf(() => map.lookup(new Uint8Array(3)))).toBe('EINVAL');
    expect(() => map.update(new Uint8Array(map.spec.keyBytes), new Uint8Array(3))).toThrow(new RegExp(`map '${type.name}' \\(${type.name}\\)`));
  });

  test('costs what is used of it', () => {
    const machine = new Machine();
    const spec = plainSpec(type);
    if (type === RINGBUF || type.holds === 'cpus') return;
    const before = process.memoryUsage().rss;
    const map = createMap(machine, { ...spec, maxEntries: 3_000_000 });
    if (type.holds === 'bytes' && spec.keyBytes > 0) map.update(type === LPM_TRIE ? Uint8Array.from([...u32(8), ...u32(1)]) : u32(1), new Uint8Array(8));
    expect(process.memoryUsage().rss - before).toBeLessThan(50_000_000);
  });
});

describe('values of a per-CPU map', () => {
  test.each([PERCPU_ARRAY, PERCPU_HASH, LRU_PERCPU_HASH])('$name: user space sees those of all CPUs, padded to 8 bytes; a program sees its own', (type) => {
    const map = makeMap(type, { valueBytes: 5 }, new Machine({ cpus: 4 }));
    expect(map.userValueBytes).toBe(32);
    const value = Uint8Array.from({ length: 32 }, (_, index) => index + 1);
    map.update(u32(2), value);
    // The padding comes back too, as in Linux.
    expect(hex(map.lookup(u32(2)))).toBe(hex(value));
    const key = place(map, u32(2));
    const own = map.operations.lookup(key);
    expect(own).toBe(map.operations.lookup_percpu(key, 0));
    expect(own % 8).toBe(0);
    expect([0, 1, 2, 3].map((cpu) => map.geometry.machine.memory.u8[map.operations.lookup_percpu(key, cpu)])).toEqual([1, 9, 17, 25]);
    expect(map.operations.lookup_percpu(key, 4)).toBe(0);
    // A program updates its own.
    expect(map.operations.update(key, place(map, Uint8Array.from([99, 99, 99, 99, 99])), UPDATE.any)).toBe(0);
    expect(hex(map.lookup(u32(2)))).toBe(hex(Uint8Array.from([99, 99, 99, 99, 99, ...value.slice(5)])));
  });

  test('a new element is zero on the other CPUs, even where one was deleted', () => {
    const map = makeMap(PERCPU_HASH, { maxEntries: 1 }, new Machine({ cpus: 3 }));
    map.update(u32(1), new Uint8Array(24).fill(7));
    map.delete(u32(1));
    const key = place(map, u32(2));
    map.operations.update(key, place(map, u64(5)), UPDATE.any);
    expect(hex(map.lookup(u32(2)))).toBe(`05${'00'.repeat(23)}`);
  });
});

/**
 * k = 100; p = lookup(k); k = 200; [*p]; *p = 150; q = lookup(k); [*q]; k = 300; [*p, *q]; delete k; [*q], as programs on
 * Linux 6.18 see it.
 */
describe('what a program sees through a value it held', () => {
  const replaced = [100, 200, 300, 200, 200];
  const inPlace = [200, 150, 300, 300, 300];
  test.each([
    [HASH, 0, replaced], [HASH, 1, replaced], [LRU_HASH, 0, replaced], [PERCPU_HASH, 0, inPlace], [LRU_PERCPU_HASH, 0, inPlace],
  ] as const)('%o with flags %i', (type, flags, expected) => {
    const map = makeMap(type, { keyBytes: 8, flags });
    const [key, value] = [place(map, u64(1)), place(map, u64(0))];
    const set = (number: number): void => {
      map.geometry.machine.memory.view.setBigUint64(value, BigInt(number), true);
      expect(map.operations.update(key, value, UPDATE.any)).toBe(0);
    };
    set(100);
    const p = map.operations.lookup(key);
    set(200);
    const seen = [read64(map, p)];
    map.geometry.machine.memory.view.setBigUint64(p, 150n, true);
    const q = map.operations.lookup(key);
    seen.push(read64(map, q));
    set(300);
    seen.push(read64(map, p), read64(map, q));
    map.operations.delete(key);
    seen.push(read64(map, q));
    expect(seen).toEqual(expected);
  });
});

describe('struct bpf_spin_lock and bpf_timer in a value', () => {
  const TYPES = {
    1: { kind: 'struct', name: 'value', sizeBytes: 32, members: [['lock', 2, 64], ['timer', 3, 128]].map(([name, type, offsetBits]) => ({ name, type, offsetBits, bitfieldBits: 0 })) },
    2: { kind: 'struct', name: 'bpf_spin_lock', sizeBytes: 4, members: [] },
    3: { kind: 'struct', name: 'bpf_timer', sizeBytes: 16, members: [] },
  } as Record<number, unknown>;
  const btf = { resolve: (id: number) => ({ id, type: TYPES[id] }) } as unknown as Btf;
  const ones = new Uint8Array(32).fill(1);
  const seen = `${'01'.repeat(8)}0000000001010101${'00'.repeat(16)}`;

  test.each([HASH, ARRAY])('$name: are neither written nor read by user space, and BPF_F_LOCK is taken', (type) => {
    const map = makeMap(type, { valueBytes: 32, btf, valueTypeId: 1 });
    map.update(u32(1), ones);
    expect(hex(map.lookup(u32(1)))).toBe(seen);
    const at = map.operations.lookup(place(map, u32(1)));
    map.geometry.machine.memory.u8.fill(9, at + 8, at + 12);
    map.update(u32(1), ones, UPDATE.lock | UPDATE.exist);
    expect(hex(map.lookup(u32(1)))).toBe(seen);
    expect(map.operations.lookup(place(map, u32(1)))).toBe(at);
    expect(map.geometry.machine.memory.u8[at + 8]).toBe(9);
  });

  test('a new element has them zero where another was before', () => {
    const map = makeMap(HASH, { valueBytes: 32, btf, valueTypeId: 1, maxEntries: 1 });
    map.update(u32(1), ones);
    const at = map.operations.lookup(place(map, u32(1)));
    map.geometry.machine.memory.u8.fill(9, at, at + 32);
    map.delete(u32(1));
    map.update(u32(2), ones);
    expect(map.operations.lookup(place(map, u32(2)))).toBe(at);
    expect(hex(map.geometry.machine.memory.u8.slice(at, at + 32))).toBe(seen);
  });

  test('are plain bytes where the value is too short to hold them', () => {
    const map = makeMap(HASH, { valueBytes: 8, btf, valueTypeId: 1 });
    map.update(u32(1), u64(7));
    expect(hex(map.lookup(u32(1)))).toBe(hex(u64(7)));
    expect(errnoOf(() => map.update(u32(1), u64(7), UPDATE.lock))).toBe('EINVAL');
  });

  test('BPF_F_LOCK is refused without a lock', () => {
    for (const type of [HASH, ARRAY]) {
      const map = makeMap(type);
      expect(errnoOf(() => map.update(u32(1), u64(1), UPDATE.lock))).toBe('EINVAL');
      expect(map.operations.update(place(map, u32(1)), place(map, u64(1)), UPDATE.lock)).toBe(-ERRNO.EINVAL);
    }
  });
});

describe('references', () => {
  test('maps of maps give programs the descriptor, and user space the id', () => {
    for (const type of [ARRAY_OF_MAPS, HASH_OF_MAPS]) {
      const outer = makeMap(type, plainSpec(type));
      const inner = makeMap(HASH, {}, outer.geometry.machine);
      outer.setMap(2, inner);
      expect(outer.operations.lookup(place(outer, u32(2)))).toBe(inner.descriptor);
      expect(outer.operations.lookup(place(outer, u32(1)))).toBe(0);
      expect(outer.innerMap(2)).toBe(inner);
      expect(outer.innerMap(1)).toBeUndefined();
      expect([...outer.entries()].map(([key, value]) => [hex(key), hex(value)])).toEqual([[hex(u32(2)), hex(u32(inner.id))]]);
      expect(outer.size).toBe(1);
    }
  });

  test('a PROG_ARRAY slot is the id of the program', () => {
    const map = makeMap(PROG_ARRAY, plainSpec(PROG_ARRAY));
    map.setProgram(3, { id: 42, type: 'xdp', spec: { name: 'first', section: 'xdp', frags: false } });
    expect(map.geometry.machine.memory.u32[(map.geometry.storage + 3 * 4) >>> 2]).toBe(42);
    expect(errnoOf(() => map.setProgram(0, { id: 43, type: 'sched_cls', spec: { name: 'other', section: 'tc', frags: false } }))).toBe('EINVAL');
    expect(errnoOf(() => map.setProgram(0, 43))).toBe('EINVAL');
    expect(errnoOf(() => map.setProgram(0, 44))).toBe('EBADF');
    expect(map.size).toBe(1);
  });

  test('a DEVMAP slot is struct bpf_devmap_val', () => {
    const map = makeMap(DEVMAP, plainSpec(DEVMAP));
    map.geometry.machine.network.addDevice({ ifindex: 7, name: 'eth0', mac: new Uint8Array(6), mtuBytes: 1500, up: true, forwarding: false, addresses: [] });
    map.update(u32(1), u32(7));
    const slot = map.operations.lookup(place(map, u32(1)));
    expect(slot).toBe(map.geometry.storage + 8);
    expect(read64(map, slot)).toBe(7);
    expect(map.operations.lookup(place(map, u32(0)))).toBe(0);
  });

  test('a PERF_EVENT_ARRAY is open for each CPU, and has as many slots as CPUs where it does not say', () => {
    const map = makeMap(PERF_EVENT_ARRAY, { valueBytes: 4, maxEntries: 0 }, new Machine({ cpus: 3 }));
    expect(map.spec.maxEntries).toBe(3);
    expect(map.size).toBe(3);
    expect(map.delete(u32(1))).toBe(true);
    expect(map.delete(u32(1))).toBe(false);
    map.update(u32(1), u32(1));
    expect(map.size).toBe(3);
  });
});

describe('contents', () => {
  test('of .rodata are there, and stay', () => {
    const map = makeMap(ARRAY, { valueBytes: 12, maxEntries: 1, contents: Uint8Array.from([1, 2, 3]), frozen: true, flags: 1 << 10 });
    expect(hex(map.lookup(u32(0)))).toBe(`010203${'00'.repeat(9)}`);
    expect(errnoOf(() => map.update(u32(0), new Uint8Array(12)))).toBe('EPERM');
    expect(map.frozen).toBe(true);
  });

  test('may be changed while they are walked', () => {
    const map = makeMap(HASH, { maxEntries: 100 });
    for (let index = 0; index < 100; index++) map.update(u32(index), u64(index));
    let walked = 0;
    for (const [key] of map.entries()) {
      map.delete(key);
      walked++;
    }
    expect(walked).toBe(100);
    expect(map.size).toBe(0);
  });

  test.each([...MAP_TYPES.values()])('of a $name can be listed, whatever they are', (type) => {
    const map = makeMap(type, plainSpec(type));
    const entries = [...map.entries()];
    expect(entries).toHaveLength(type === ARRAY || type === PERCPU_ARRAY ? 4 : 0);
  });

  test.each([...MAP_TYPES.values()])('of a $name have the keys that its row says, before anything is written', (type) => {
    const map = makeMap(type, plainSpec(type));
    if (type.keys === 'none') expect(() => [...map.keys()]).toThrow(XdplabError);
    else expect([...map.keys()].map(hex)).toEqual(type.keys === 'indexes' ? [0, 1, 2, 3].map((index) => hex(u32(index))) : []);
  });

  test.each([ARRAY, PERCPU_ARRAY])('of a $name of millions are found where they were written', (type) => {
    const map = makeMap(type, { valueBytes: 12, maxEntries: 8_000_000 }, new Machine({ cpus: 2 }));
    const value = new Uint8Array(map.userValueBytes);
    value[value.length - 5] = 7; // The last byte of the last CPU's value, before its padding.
    for (const index of [0, 4_000_000, 7_999_999]) map.update(u32(index), value);
    map.update(u32(1), new Uint8Array(map.userValueBytes));
    // The processor's time, and of this code alone: on a busy machine it waits, and the kernel is slow to give it the pages.
    const began = process.cpuUsage();
    expect([...map.writtenEntries()].map(([key, bytes]) => [hex(key), hex(bytes)])).toEqual([0, 4_000_000, 7_999_999].map((index) => [hex(u32(index)), hex(value)]));
    expect(process.cpuUsage(began).user / 1000).toBeLessThan(1000);
  });

  test('of a queue and a stack are listed in the order they would leave', () => {
    for (const type of [QUEUE, STACK]) {
      const map = makeMap(type, { keyBytes: 0, maxEntries: 3 });
      for (const number of [1, 2, 3, 4]) map.push(u64(number), UPDATE.exist);
      const listed = [...map.entries()].map(([, value]) => hex(value));
      expect(map.size).toBe(3);
      expect(listed).toEqual([map.pop(), map.pop(), map.pop()].map(hex));
      expect(map.pop()).toBeUndefined();
    }
  });

  test('of many maps fit one machine', () => {
    const machine = new Machine();
    const maps = Array.from({ length: 50 }, (_, index) => makeMap(HASH, { name: `map${index}` }, machine));
    maps.forEach((map, index) => map.update(u32(1), u64(index)));
    maps.forEach((map, index) => expect(hex(map.lookup(u32(1)))).toBe(hex(u64(index))));
  });
});

describe('errors say where, what was found, what is expected and what helps', () => {
  const message = (action: () => unknown): string => {
    try {
      action();
    } catch (error) {
      if (error instanceof XdplabError) return `${error.code} ${error.message}`;
      throw error;
    }
    throw new Error('nothing was thrown');
  };

  test.each([
    ['a full hash', () => { const map = makeMap(HASH, { name: 'conns', maxEntries: 1 }); map.update(u32(1), u64(1)); map.update(u32(2), u64(1)); },
      "ERR_MAP map 'conns' (hash): update of key 2: it holds 1 of 1 entries: delete one first, or declare a larger max_entries (E2BIG)"],
    ['an index that an array does not have', () => makeMap(ARRAY, { name: 'ports' }).update(u32(9), u64(1)),
      "ERR_MAP map 'ports' (array): update of key 9: its indexes end at 3: use a smaller one, or declare a larger max_entries (E2BIG)"],
    ['a full queue', () => { const map = makeMap(QUEUE, { name: 'jobs', keyBytes: 0, maxEntries: 1 }); map.push(u64(1)); map.push(u64(2)); },
      "ERR_MAP map 'jobs' (queue): push it holds 1 of 1 entries: pop one first, or declare a larger max_entries (E2BIG)"],
    ['a short value', () => makeMap(PERCPU_ARRAY, { name: 'stats', valueBytes: 12 }, new Machine({ cpus: 2 })).update(u32(0), new Uint8Array(12)),
      "ERR_MAP map 'stats' (percpu_array): update a value of 12 bytes was given, expected 32: 12 padded to 16, for each of 2 CPUs (EINVAL)"],
    ['a wrong declaration', () => makeMap(ARRAY, { name: 'ports', keyBytes: 2 }), "ERR_MAP map 'ports' (array) declares a key of 2 bytes, expected an index of 4 (EINVAL)"],
    ['pushing to a hash', () => makeMap(HASH, { name: 'conns' }).push(u64(1)), "ERR_MAP map 'conns' (hash): push a hash map has no such operation (EOPNOTSUPP)"],
  ] as const)('%s', (_name, action, expected) => {
    expect(message(action)).toBe(expected);
  });

  test('an unknown type is refused with the list of those there are', () => {
    expect(() => createMap(new Machine(), { ...mapSpec(HASH), type: 33 })).toThrow(/type 33, which is not supported: expected one of 1 \(hash\)/);
  });

  test('more than 4 GiB of maps are refused, naming the map', () => {
    expect(() => makeMap(ARRAY, { name: 'huge', valueBytes: 4096, maxEntries: 2_000_000 })).toThrow(/map 'huge'/);
  });
});

describe('contents that another keeps', () => {
  /** A map of its own, in place of the kernel's. */
  const keeperOf = (other: BpfMap): MapKeeper => {
    const keysOf = (): string[] => Array.from(other.keys(), (key) => hex(key)!);
    return {
      lookup: (key) => other.lookup(key),
      update: (key, value, flags) => (other.update(key, value, flags), 0),
      delete: (key) => (other.delete(key) ? 0 : -ERRNO.ENOENT),
      next: (key) => {
        const after = keysOf()[key === undefined ? 0 : keysOf().indexOf(hex(key)!) + 1];
        return after === undefined ? undefined : Uint8Array.from(Buffer.from(after, 'hex'));
      },
      push: (value, flags) => (other.push(value, flags), 0),
      pop: () => other.pop(),
      peek: () => other.peek(),
      values: () => Array.from(other.entries(), ([, value]) => value),
      records: () => [],
    };
  };
  const prefix = (bits: number, address: number): Uint8Array => Uint8Array.of(...u32(bits), address, 0, 0, 0);

  test.each([HASH, LRU_HASH, PERCPU_HASH, ARRAY, PERCPU_ARRAY, LPM_TRIE])('$name: are the machine\'s again when they are taken back, and what was there before is gone', (type) => {
    const [map, kept] = [createMap(new Machine(), plainSpec(type)), createMap(new Machine(), plainSpec(type))];
    const key = (index: number): Uint8Array => (type === LPM_TRIE ? prefix(8, index) : u32(index));
    map.update(key(1), u64(1));
    map.update(key(2), u64(2));
    kept.update(key(2), u64(20));
    kept.update(key(3), u64(30));
    map.keepIn(keeperOf(kept));
    const entries = (): unknown => Array.from(map.entries(), ([at, value]) => [hex(at), hex(value)]).toSorted();
    const before = entries();
    map.takeBack();
    kept.update(key(3), u64(31));
    expect(entries()).toEqual(before);
    expect(hex(map.lookup(key(3)))).toBe(hex(u64(30)));
    expect(map.lookup(key(1))).toEqual(type.keys === 'indexes' ? u64(0) : undefined);
    map.update(key(3), u64(5));
    expect(hex(kept.lookup(key(3)))).toBe(hex(u64(31)));
  });

  test.each([QUEUE, STACK])('$name: leave in the same order when they are taken back', (type) => {
    const [map, kept] = [createMap(new Machine(), plainSpec(type)), createMap(new Machine(), plainSpec(type))];
    map.push(u64(9));
    for (const value of [1, 2, 3]) kept.push(u64(value));
    map.keepIn(keeperOf(kept));
    map.takeBack();
    const order = (of: BpfMap): unknown => Array.from({ length: 4 }, () => hex(of.pop()));
    expect(order(map)).toEqual(order(kept));
  });

  test('what user space may not write stays as it was', () => {
    const [map, kept] = [createMap(new Machine(), { ...plainSpec(ARRAY), frozen: true }), makeMap(ARRAY)];
    kept.update(u32(1), u64(7));
    map.keepIn(keeperOf(kept));
    map.takeBack();
    expect(map.lookup(u32(1))).toEqual(u64(0));
  });
});
