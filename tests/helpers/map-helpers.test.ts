import { describe, expect, test } from 'vitest';
import { parseMac } from '../../dataplane/address.ts';
import { CPU_BLOCK, REDIRECT } from '../../dataplane/machine/cpu.ts';
import { type BpfMap, createMap } from '../../dataplane/maps/bpf-map.ts';
import { Bench, mapSpec } from './bench.ts';

const TYPE = { hash: 1, devmap: 14, cpumap: 16, xskmap: 17, queue: 22, devmapHash: 25, percpuArray: 6 } as const;
const u32 = (...values: number[]): Uint8Array => new Uint8Array(new Uint32Array(values).buffer);

describe('map helpers reach the map they are given', () => {
  test('lookup, update and delete', () => {
    const bench = new Bench('xdp');
    const map = createMap(bench.machine, mapSpec({ type: TYPE.hash, valueBytes: 4, maxEntries: 4 }));
    const [key, value] = [bench.bytes(u32(7)), bench.bytes(u32(70))];
    expect(bench.call('map_lookup_elem', map.descriptor, key)).toBe(0);
    expect(bench.call('map_update_elem', map.descriptor, key, value, 2)).toBe('ENOENT');
    expect(bench.call('map_update_elem', map.descriptor, key, value, 0)).toBe(0);
    expect([...bench.read(bench.call('map_lookup_elem', map.descriptor, key) as number, 4)]).toEqual([70, 0, 0, 0]);
    expect(bench.call('map_delete_elem', map.descriptor, key)).toBe(0);
    expect(bench.call('map_delete_elem', map.descriptor, key)).toBe('ENOENT');
  });

  test('push, peek and pop', () => {
    const bench = new Bench('xdp');
    const map = createMap(bench.machine, mapSpec({ type: TYPE.queue, keyBytes: 0, valueBytes: 4, maxEntries: 2 }));
    const out = bench.bytes(u32(0));
    expect(bench.call('map_push_elem', map.descriptor, bench.bytes(u32(1)), 0)).toBe(0);
    expect(bench.call('map_peek_elem', map.descriptor, out)).toBe(0);
    expect(bench.call('map_pop_elem', map.descriptor, out)).toBe(0);
    expect(bench.call('map_pop_elem', map.descriptor, out)).toBe('ENOENT');
    expect([...bench.read(out, 4)]).toEqual([0, 0, 0, 0]);
  });

  test('lookup_percpu_elem finds the values of other CPUs', () => {
    const bench = new Bench('xdp', undefined, { cpus: 2 });
    const map = createMap(bench.machine, mapSpec({ type: TYPE.percpuArray, maxEntries: 1 }));
    map.update(u32(0), u32(1, 0, 2, 0));
    const key = bench.bytes(u32(0));
    const values = [0, 1].map((cpu) => bench.machine.memory.view.getUint32(bench.call('map_lookup_percpu_elem', map.descriptor, key, cpu) as number, true));
    expect(values).toEqual([1, 2]);
    expect(bench.call('map_lookup_percpu_elem', map.descriptor, key, 2)).toBe(0);
  });

  test('a number that is no map is a fault', () => {
    const bench = new Bench('xdp');
    expect(() => bench.call('map_lookup_elem', 0xffff_fff0, 0)).toThrow(RangeError);
  });
});

function devices(type: number): { bench: Bench; map: BpfMap } {
  const bench = new Bench('xdp');
  bench.machine.network.addDevice({ ifindex: 3, name: 'eth3', mac: parseMac('02:00:00:00:00:03')!, mtuBytes: 1500, up: true, forwarding: true, addresses: [] });
  const map = createMap(bench.machine, mapSpec({ type, valueBytes: 4, maxEntries: 4 }));
  map.update(u32(type === TYPE.devmapHash ? 7 : 0), u32(type === TYPE.cpumap ? 64 : 3));
  return { bench, map };
}

describe('redirect_map', () => {
  // Answers of Linux 6.18 with slot 0 (key 7 of the DEVMAP_HASH) set.
  test.each([
    ['a slot that is set', 'devmap', 0n, 0n, 4],
    ['a slot that is set, with an action for misses', 'devmap', 0n, 2n, 4],
    ['an empty slot answers the action', 'devmap', 1n, 2n, 2],
    ['an index past the end answers the action', 'devmap', 9n, 3n, 3],
    ['a broadcast needs no slot', 'devmap', 1n, 8n, 4],
    ['a broadcast ignores the action', 'devmap', 1n, 8n | 3n, 4],
    ['an unknown flag aborts', 'devmap', 1n, 4n, 0],
    ['a flag past 32 bits aborts', 'devmap', 1n, 1n << 40n, 0],
    ['the ingress device may be excluded', 'devmap', 0n, 16n | 1n, 4],
    ['excluding the ingress device finds no slot', 'devmap', 1n, 16n | 1n, 1],
    ['only 32 bits of the key count', 'devmap', 1n << 32n, 2n, 4],
    ['a hash finds its key', 'devmapHash', 7n, 2n, 4],
    ['a hash misses others', 'devmapHash', 8n, 3n, 3],
    ['a hash broadcasts', 'devmapHash', 8n, 9n, 4],
    ['a CPU map has no broadcast', 'cpumap', 1n, 8n, 0],
    ['a CPU map answers the action', 'cpumap', 1n, 2n, 2],
    ['a CPU map finds its CPU', 'cpumap', 0n, 2n, 4],
    ['a socket map has no broadcast', 'xskmap', 0n, 8n, 0],
    ['a socket map answers the action', 'xskmap', 1n, 2n, 2],
  ] as const)('%s', (_sentence, type, key, flags, answer) => {
    const { bench, map } = devices(TYPE[type]);
    expect(bench.call('redirect_map', map.descriptor, key, flags)).toBe(answer);
    const expected = answer !== 4 ? REDIRECT.none : (flags & 8n) === 0n ? REDIRECT.map : REDIRECT.broadcast;
    expect(bench.machine.cell(CPU_BLOCK.redirect)).toBe(expected);
    if (expected === REDIRECT.none) return;
    expect(bench.machine.cell(CPU_BLOCK.redirectMap)).toBe(map.descriptor);
    expect(bench.machine.cell(CPU_BLOCK.redirectFlags)).toBe(Number(flags));
    if (expected === REDIRECT.map && type !== 'cpumap') expect(bench.machine.memory.view.getUint32(bench.machine.cell(CPU_BLOCK.redirectTarget), true)).toBe(3);
  });
});
