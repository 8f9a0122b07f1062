/** What tells where a program will look in a large table, before it runs: that it is right, and that nobody can see it. */
import { describe, expect, test } from 'vitest';
import { compileLookAhead } from '../../dataplane/engine/jit/function-compiler.ts';
import { ProgramModule } from '../../dataplane/engine/jit/program-module.ts';
import { createWasmEngine } from '../../dataplane/engine/wasm-engine.ts';
import { Machine, type CompilerTier } from '../../dataplane/machine/machine.ts';
import { HASH, LRU_HASH } from '../../dataplane/maps/hash.ts';
import { ARRAY } from '../../dataplane/maps/array.ts';
import type { MapType } from '../../dataplane/maps/map.ts';
import { DESCRIPTOR, PacketBatch } from '../../dataplane/packet/packet-batch.ts';
import { XDP_MD } from '../../dataplane/packet/frame.ts';
import { makeMap, u32, u64 } from '../maps/map-fixtures.ts';
import { Bench } from './jit-fixture.ts';

const LARGE = 100_000;
/** Entries of more than a mebibyte. */
const MANY = 40_000;

/** Parses a key of four bytes at the packet's start into r10-8, and leaves with 1 where it is too short. */
const PARSE = `
  r2 = *(u32 *)(r1 +0)
  r3 = *(u32 *)(r1 +4)
  r0 = 1
  r4 = r2
  r4 += 4
  if r4 > r3 goto out
  r4 = *(u32 *)(r2 +0)
  *(u32 *)(r10 -8) = r4
`;
const LOOK_UP = `
  r1 = map[table]
  r2 = r10
  r2 += -8
  call bpf_map_lookup_elem
  if r0 == 0 goto miss
  r1 = *(u64 *)(r0 +0)
  r1 += 1
  *(u64 *)(r0 +0) = r1
  miss:
  r0 = 2
  out:
  exit
`;
const COUNT = `
  r6 = r1
  *(u32 *)(r10 -16) = 0
  r1 = map[counters]
  r2 = r10
  r2 += -16
  call bpf_map_lookup_elem
  if r0 == 0 goto past
  r1 = *(u64 *)(r0 +0)
  r1 += 1
  *(u64 *)(r0 +0) = r1
  r2 = 1
  lock *(u64 *)(r0 +0) += r2
  past:
  r1 = r6
`;

function setup(source: string, type: MapType = LRU_HASH, maxEntries = LARGE, tier: CompilerTier = 'optimized') {
  const bench = new Bench(new Machine({ instructionBudget: 1 << 20, tier }));
  const table = makeMap(type, { name: 'table', maxEntries }, bench.machine);
  const counters = makeMap(ARRAY, { name: 'counters' }, bench.machine);
  const program = bench.program(source, { maps: [table, counters] });
  return { bench, table, counters, program };
}

/** What is exported where there is something to tell: `entry` is the scout. */
function instantiate(machine: Machine, program: ReturnType<Bench['program']>) {
  const module = new ProgramModule(machine, program);
  if (!compileLookAhead(module)) return undefined;
  const { memory, programTable, mapTable } = machine;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.assemble()), { machine: { memory: memory.wasm, programTable, mapTable } });
  return exports as unknown as { readonly entry: (context: number) => bigint; readonly look_ahead: (first: number, count: number) => number };
}

function packets(machine: Machine, contents: readonly Uint8Array[]): PacketBatch {
  const batch = new PacketBatch(machine.memory, contents.length);
  contents.forEach((bytes, index) => {
    const at = machine.memory.allocate(bytes.length, 8, 'packet');
    machine.memory.u8.set(bytes, at);
    machine.memory.view.setUint32(batch.descriptor(index) + DESCRIPTOR.address, at, true);
    machine.memory.view.setUint32(batch.descriptor(index) + DESCRIPTOR.captured, bytes.length, true);
  });
  return batch;
}

function context(machine: Machine, batch: PacketBatch, index: number): number {
  const { memory } = machine;
  const at = memory.allocate(XDP_MD.size, 64, 'context');
  const [data, length] = [DESCRIPTOR.address, DESCRIPTOR.captured].map((field) => memory.view.getUint32(batch.descriptor(index) + field, true)) as [number, number];
  memory.view.setUint32(at + XDP_MD.data, data, true);
  memory.view.setUint32(at + XDP_MD.data_end, data + length, true);
  return at;
}

describe('where a program will look', () => {
  test.each([HASH, LRU_HASH])('a scout tells the word that leads to the entry: $name', (type) => {
    const { bench: { machine }, table, program } = setup(PARSE + LOOK_UP, type);
    for (const key of [7, 8, 9]) table.update(u32(key), u64(BigInt(key)));
    const batch = packets(machine, [u32(7), u32(9), u32(77)]);
    const scouted = [0, 1, 2].map((index) => Number(instantiate(machine, program)!.entry(context(machine, batch, index))));
    const { view } = machine.memory;
    const valueBehind = (bucket: number, key: number): bigint | undefined => {
      for (let node = view.getUint32(bucket, true); node !== 0; node = view.getUint32(node, true)) {
        const at = table.operations.lookup_percpu(keyAt(machine, key), 0);
        if (at > node && at < node + 64) return view.getBigUint64(at, true);
      }
      return undefined;
    };
    expect(scouted.map((bucket, index) => valueBehind(bucket, [7, 9, 77][index]!))).toEqual([7n, 9n, undefined]);
  });

  test('a packet that goes another way leads nowhere', () => {
    const { bench: { machine }, program } = setup(PARSE + LOOK_UP);
    const batch = packets(machine, [Uint8Array.of(1, 2)]);
    expect(instantiate(machine, program)!.entry(context(machine, batch, 0))).toBe(0n);
  });

  test('nothing is done while a table is small, and afterwards nothing but reading: what a program counts before is not counted', () => {
    const write = '*(u32 *)(r2 +0) = 0';
    const { bench: { machine }, table, counters, program } = setup(COUNT + PARSE.replace('*(u32 *)(r10 -8) = r4', `*(u32 *)(r10 -8) = r4\n${write}`) + LOOK_UP);
    const { look_ahead: lookAhead } = instantiate(machine, program)!;
    const batch = packets(machine, [5, 6, 7, 1_000_000].map(u32));
    expect(lookAhead(batch.descriptor(0), 4)).toBe(0);
    for (let key = 0; key < MANY; key++) table.update(u32(key), u64(1n));
    const places: readonly (readonly [number, number])[] = [[table.geometry.storage, MANY * 40], [counters.geometry.storage, 32], [batch.descriptor(0), 4 * DESCRIPTOR.size], [machine.memory.view.getUint32(batch.descriptor(0), true), 4]];
    const contents = (): string[] => places.map(([at, length]) => Buffer.from(machine.memory.bytes(at, length)).toString('latin1'));
    const before = contents();
    expect(lookAhead(batch.descriptor(0), 4)).toBe(1);
    expect(contents().map((bytes, index) => bytes === before[index])).toEqual([true, true, true, true]);
  });

  test.each([
    ['a write may be to the stack or not', PARSE.replace('*(u32 *)(r10 -8) = r4', '*(u32 *)(r10 -8) = r4\nr5 = r10\nr5 += -16\nif r4 == 9 goto write\nr5 = r2\nwrite: *(u32 *)(r5 +0) = 0') + LOOK_UP],
    ['it waits for what an atomic operation found', PARSE.replace('*(u32 *)(r10 -8) = r4', '*(u32 *)(r10 -8) = r4\nr5 = 1\nr5 = atomic_fetch_add((u32 *)(r2 +0), r5)') + LOOK_UP],
    ['it asks a helper first', `r6 = r1\ncall bpf_get_prandom_u32\nr1 = r6\n${PARSE}${LOOK_UP}`],
    ['an atomic operation on the stack is first', PARSE.replace('*(u32 *)(r10 -8) = r4', '*(u32 *)(r10 -8) = r4\nr5 = 1\nlock *(u64 *)(r10 -24) += r5') + LOOK_UP],
    ['there is a loop first', PARSE.replace('*(u32 *)(r10 -8) = r4', '*(u32 *)(r10 -8) = r4\nr5 = 8\nagain: r5 += -1\nif r5 != 0 goto again') + LOOK_UP],
    ['it looks up nothing large', PARSE + LOOK_UP.replace('map[table]', 'map[counters]')],
  ])('there is no scout where %s', (_, source) => {
    const { bench: { machine }, program } = setup(source);
    expect(instantiate(machine, program)).toBeUndefined();
  });

  test('nor where another LRU map is looked up first, which a lookup changes', () => {
    const { bench: { machine }, table, program } = setup(COUNT + PARSE + LOOK_UP);
    const small = makeMap(LRU_HASH, { name: 'counters' }, machine);
    expect(instantiate(machine, { ...program, maps: new Map([['table', table], ['counters', small]]) })).toBeUndefined();
  });

  test('nor where a table is declared small, or nobody has verified the program, or it was compiled quickly for a short replay', () => {
    const { bench: { machine }, program } = setup(PARSE + LOOK_UP, HASH, 1000);
    expect(instantiate(machine, program)).toBeUndefined();
    for (const [proof, tier, looksAhead] of [['none', 'optimized', false], ['verified', 'optimized', true], ['verified', 'quick', false]] as const) {
      const { bench: { machine: large }, program: one } = setup(PARSE + LOOK_UP, LRU_HASH, LARGE, tier);
      createWasmEngine(large).load({ ...one, proof });
      expect(large.lookAheads.has(one.id)).toBe(looksAhead);
    }
  });
});

function keyAt(machine: Machine, key: number): number {
  const at = machine.memory.allocate(8, 8, 'key');
  machine.memory.view.setUint32(at, key, true);
  return at;
}
