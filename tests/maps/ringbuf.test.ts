import * as fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { Machine } from '../../dataplane/machine/machine.ts';
import type { BpfMap } from '../../dataplane/maps/bpf-map.ts';
import { RINGBUF, emitRingbufCommit, emitRingbufQuery, emitRingbufReserve } from '../../dataplane/maps/ringbuf.ts';
import { ModuleBuilder } from '../../dataplane/wasm/module-builder.ts';
import { hex, makeMap } from './map-fixtures.ts';

interface Calls {
  reserve(map: number, lengthBytes: number): number;
  submit(data: number): void;
  discard(data: number): void;
  query(map: number, what: number): bigint;
}

/** The parts that the ring buffer helpers are made of, callable. */
function callsOf(machine: Machine): Calls {
  const module = new ModuleBuilder();
  module.importMemory('machine', 'memory');
  const reserve = module.function('reserve', ['i32', 'i32'], 'i32');
  reserve.return(emitRingbufReserve(reserve, machine, reserve.param(0, 'i32'), reserve.param(1, 'i32')));
  const query = module.function('query', ['i32', 'i32'], 'i64');
  emitRingbufQuery(query, query.param(0, 'i32'), query.param(1, 'i32'));
  const [submit, discard] = [false, true].map((isDiscard) => {
    const f = module.function('commit', ['i32'], undefined);
    emitRingbufCommit(f, machine, f.param(0, 'i32'), isDiscard);
    return f;
  });
  for (const [name, f] of Object.entries({ reserve, query, submit: submit!, discard: discard! })) module.export(name, f);
  return new WebAssembly.Instance(new WebAssembly.Module(module.assemble()), { machine: { memory: machine.memory.wasm } }).exports as unknown as Calls;
}

let machine: Machine;
let map: BpfMap;
let ring: Calls;
const QUERY = { available: 0, size: 1, consumer: 2, producer: 3 } as const;

beforeEach(() => {
  machine = new Machine();
  map = makeMap(RINGBUF, { keyBytes: 0, valueBytes: 0, maxEntries: 4096 }, machine);
  ring = callsOf(machine);
});

function write(bytes: readonly number[], at = ring.reserve(map.descriptor, bytes.length)): number {
  expect(at).not.toBe(0);
  machine.memory.u8.set(bytes, at >>> 0);
  return at;
}

const drain = () => [...map.records()].map(hex);

describe('a ring buffer is laid out as in Linux', () => {
  test('headers, padding and positions', () => {
    ring.submit(write([1, 2, 3, 4, 5]));
    const first = write([9, 9, 9]);
    ring.discard(write([7, 0, 0, 0, 0, 0, 0, 0]));
    ring.submit(first);
    ring.submit(write([]));
    // What a Linux 6.18 program that does the same leaves in its ring buffer.
    const linux = ['0500000003000000', '0102030405000000', '0300000003000000', '0909090000000000', '0800004003000000', '0700000000000000', '0000000003000000'];
    const data = map.geometry.storage + 3 * 4096;
    expect(hex(machine.memory.u8.slice(data, data + 56))).toBe(linux.join(''));
    expect([0, 1, 2, 3, 4, -1].map((what) => ring.query(map.descriptor, what))).toEqual([56n, 4096n, 0n, 56n, 0n, 0n]);
    expect(drain()).toEqual(['0102030405', '090909', '']);
    expect(ring.query(map.descriptor, QUERY.available)).toBe(0n);
    expect(ring.query(map.descriptor, QUERY.consumer)).toBe(56n);
  });

  test('in 4096 bytes, 4080 can be reserved and 4081 cannot', () => {
    expect(ring.reserve(map.descriptor, 4081)).toBe(0);
    expect(ring.reserve(map.descriptor, -1)).toBe(0);
    ring.submit(write(Array.from({ length: 4080 }, () => 1)));
    expect(ring.reserve(map.descriptor, 0)).toBe(0);
    expect(drain()).toHaveLength(1);
    ring.submit(write([]));
  });

  test('a record that begins near the end is in one piece', () => {
    for (let round = 0; round < 5; round++) {
      ring.submit(write(Array.from({ length: 3000 }, (_, index) => (index + round) & 0xff)));
      expect(drain()).toEqual([hex(Uint8Array.from({ length: 3000 }, (_, index) => index + round))]);
    }
  });
});

describe('the consumer', () => {
  test.each([
    ['a producer far ahead', 2 * 4096, 0xffff_ffff],
    ['a consumer ahead of the producer', 4096, 64],
  ])('stops at once where a program has overwritten positions: %s', (_title, offset, position) => {
    ring.submit(write([1]));
    machine.memory.view.setUint32(map.geometry.storage + offset, position, true);
    expect([drain(), map.size]).toEqual([[], 0]);
  });

  test('stops at a record that is longer than the buffer', () => {
    const at = write([1]);
    ring.submit(at);
    machine.memory.view.setUint32(at - 8, 4097, true);
    expect([drain(), map.size]).toEqual([[], 0]);
  });

  test('gets records in the order they were reserved, up to one that is busy', () => {
    const [a, b, c] = [write([1]), write([2]), write([3])];
    ring.submit(c);
    ring.submit(b);
    expect(drain()).toEqual([]);
    ring.submit(a);
    expect(map.size).toBe(3);
    expect(drain()).toEqual(['01', '02', '03']);
    expect(map.size).toBe(0);
  });

  test('does not see discarded records, and frees their space', () => {
    ring.discard(write([1]));
    ring.submit(write([2]));
    expect(drain()).toEqual(['02']);
    expect(ring.query(map.descriptor, QUERY.available)).toBe(0n);
  });

  test('frees space only by consuming: without one the ring fills up', () => {
    let written = 0;
    for (let at = ring.reserve(map.descriptor, 8); at !== 0; at = ring.reserve(map.descriptor, 8)) {
      ring.submit(at);
      written++;
    }
    expect(written).toBe(255);
    const [first] = map.records();
    expect(first).toBeDefined();
    expect(ring.reserve(map.descriptor, 8)).not.toBe(0);
  });

  test('a busy record holds the space behind it even when later ones were consumed long ago', () => {
    const busy = write([1]);
    for (let at = ring.reserve(map.descriptor, 8); at !== 0; at = ring.reserve(map.descriptor, 8)) ring.submit(at);
    expect(drain()).toEqual([]);
    ring.submit(busy);
    expect(drain()).toHaveLength(255);
  });
});

test('whatever is reserved, committed and consumed, each record arrives once, unchanged and in order', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('reserve' as const), bytes: fc.uint8Array({ maxLength: 900, size: 'max' }) }),
    fc.record({ kind: fc.constant('commit' as const), index: fc.nat(), isDiscard: fc.boolean() }),
    fc.record({ kind: fc.constant('consume' as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
      const own = makeMap(RINGBUF, { keyBytes: 0, valueBytes: 0, maxEntries: 4096 }, machine);
      const pending: { at: number; bytes: Uint8Array; state: 'busy' | 'submitted' | 'discarded' }[] = [];
      const span = ({ bytes }: { bytes: Uint8Array }) => (bytes.length + 15) & ~7;
      for (const each of steps) {
        if (each.kind === 'reserve') {
          const used = pending.reduce((sum, record) => sum + span(record), 0);
          const at = ring.reserve(own.descriptor, each.bytes.length);
          expect(at !== 0).toBe(used + span(each) <= 4095);
          if (at === 0) continue;
          machine.memory.u8.set(each.bytes, at);
          pending.push({ at, bytes: each.bytes, state: 'busy' });
        } else if (each.kind === 'commit') {
          const busy = pending.filter(({ state }) => state === 'busy');
          const record = busy[each.index % Math.max(busy.length, 1)];
          if (record === undefined) continue;
          record.state = each.isDiscard ? 'discarded' : 'submitted';
          ring[each.isDiscard ? 'discard' : 'submit'](record.at);
        } else {
          const ready = pending.findIndex(({ state }) => state === 'busy');
          const taken = pending.splice(0, ready === -1 ? pending.length : ready);
          expect([...own.records()].map(hex)).toEqual(taken.filter(({ state }) => state === 'submitted').map(({ bytes }) => hex(bytes)));
        }
      }
    }),
  );
});

test.each([
  [1, 4096], [4096, 4096], [4097, 8192], [12_288, 16_384], [100_000, 131_072],
])('a size of %i becomes %i, as libbpf makes it', (declared, made) => {
  expect(makeMap(RINGBUF, { keyBytes: 0, valueBytes: 0, maxEntries: declared }).spec.maxEntries).toBe(made);
});
