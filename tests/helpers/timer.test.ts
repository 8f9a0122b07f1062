import { beforeEach, describe, expect, test } from 'vitest';
import type { Btf } from '../../dataplane/bpf/btf.ts';
import { timersOf } from '../../dataplane/helpers/index.ts';
import type { TimerQueue } from '../../dataplane/helpers/timer-queue.ts';
import { CPU_BLOCK } from '../../dataplane/machine/cpu.ts';
import { MemorySnapshot } from '../../dataplane/machine/memory-snapshot.ts';
import { type BpfMap, createMap } from '../../dataplane/maps/bpf-map.ts';
import { Bench, mapSpec } from './bench.ts';

const ARRAY = 2;
const TIMER_OFFSET = 8;
const VALUE_BYTES = 24;
const CLOCK_MONOTONIC = 1n;
const TYPES: Readonly<Record<number, unknown>> = {
  1: { kind: 'struct', name: 'value', sizeBytes: VALUE_BYTES, members: [{ name: 'timer', type: 2, offsetBits: 8 * TIMER_OFFSET, bitfieldBits: 0 }] },
  2: { kind: 'struct', name: 'bpf_timer', sizeBytes: 16, members: [] },
};
const btf = { resolve: (id: number) => ({ id, type: TYPES[id] }) } as unknown as Btf;
const u32 = (value: number): Uint8Array => new Uint8Array(new Uint32Array([value]).buffer);

describe.each([
  ['an array', ARRAY],
  ['a hash', 1],
  ['an LRU hash', 9],
])('timers in %s', (_title, type) => {
  let bench: Bench;
  let map: BpfMap;
  let timers: TimerQueue;
  let fired: number[];
  let callback: number;

  /** Address of the timer of a key, which is made. */
  function timer(key: number): number {
    map.update(u32(key), new Uint8Array(VALUE_BYTES));
    return (bench.call('map_lookup_elem', map.descriptor, bench.bytes(u32(key))) as number) + TIMER_OFFSET;
  }

  function armed(key: number, ns: bigint): number {
    const address = timer(key);
    expect(bench.call('timer_init', address, map.descriptor, CLOCK_MONOTONIC)).toBe(0);
    expect(bench.call('timer_set_callback', address, callback)).toBe(0);
    expect(bench.call('timer_start', address, ns, 0n)).toBe(0);
    return address;
  }

  beforeEach(() => {
    bench = new Bench('xdp');
    bench.machine.nowNs = 1000n;
    map = createMap(bench.machine, mapSpec({ type, valueBytes: VALUE_BYTES, valueTypeId: 1, btf, maxEntries: 8 }));
    timers = timersOf(bench.machine);
    fired = [];
    callback = bench.machine.addCallback((descriptor, key) => {
      expect(descriptor).toBe(BigInt(map.descriptor));
      fired.push(bench.machine.memory.view.getUint32(Number(key), true));
      return 0n;
    });
  });

  test('are what they were when they were kept, once memory is too', () => {
    armed(1, 10n);
    const stopped = armed(2, 20n);
    const snapshot = new MemorySnapshot(bench.machine.memory);
    const restore = timers.keep();
    armed(3, 5n);
    expect(bench.call('timer_cancel', stopped)).toBe(1);
    expect(timers.run(1100n)).toBe(2);
    snapshot.restore();
    restore();
    fired.length = 0;
    timers.run(1100n);
    expect(fired).toEqual([1, 2]);
  });

  test('run in the order they expire, and see the time they asked for', () => {
    armed(3, 30n);
    armed(1, 10n);
    armed(2, 10n);
    expect(timers.nextNs).toBe(1010n);
    expect(timers.run(1009n)).toBe(0);
    expect(timers.run(1020n)).toBe(2);
    expect([fired, bench.machine.nowNs]).toEqual([[1, 2], 1010n]);
    expect(timers.run(5000n)).toBe(1);
    expect([fired, bench.machine.nowNs]).toEqual([[1, 2, 3], 1030n]);
  });

  test('are initialised once, and started with a callback', () => {
    const address = timer(1);
    expect(bench.call('timer_start', address, 1n, 0n)).toBe('EINVAL');
    expect(bench.call('timer_set_callback', address, callback)).toBe('EINVAL');
    expect(bench.call('timer_init', address, map.descriptor, 2n)).toBe('EINVAL');
    expect(bench.call('timer_init', address, map.descriptor, CLOCK_MONOTONIC)).toBe(0);
    expect(bench.call('timer_init', address, map.descriptor, CLOCK_MONOTONIC)).toBe('EBUSY');
    expect(bench.call('timer_start', address, 1n, 0n)).toBe('EINVAL');
    expect(bench.call('timer_set_callback', address, callback)).toBe(0);
    expect(bench.call('timer_start', address, 1n, 4n)).toBe('EINVAL');
    expect(bench.call('timer_start', address, 1n, 0n)).toBe(0);
  });

  test('start at a time of their own with BPF_F_TIMER_ABS', () => {
    const address = armed(1, 10n);
    bench.call('timer_start', address, 2000n, 1n);
    expect(timers.run(1999n)).toBe(0);
    expect(timers.run(2000n)).toBe(1);
  });

  test('start again before they expire, and expire once', () => {
    const address = armed(1, 10n);
    bench.call('timer_start', address, 50n, 0n);
    expect(timers.run(1049n)).toBe(0);
    expect(timers.run(9999n)).toBe(1);
  });

  test('are cancelled, and need a callback again', () => {
    const address = armed(1, 10n);
    expect(bench.call('timer_cancel', address)).toBe(1);
    expect(bench.call('timer_cancel', address)).toBe(0);
    expect(bench.call('timer_start', address, 10n, 0n)).toBe('EINVAL');
    expect(timers.run(9999n)).toBe(0);
  });

  test('may start themselves again, but not cancel themselves', () => {
    const answers: unknown[] = [];
    const address = armed(1, 10n);
    const again = bench.machine.addCallback(() => {
      answers.push(bench.call('timer_cancel', address), bench.call('timer_start', address, 10n, 0n));
      return 0n;
    });
    bench.call('timer_set_callback', address, again);
    expect(timers.run(1030n)).toBe(3);
    expect(answers).toEqual(['EDEADLK', 0, 'EDEADLK', 0, 'EDEADLK', 0]);
    expect(timers.nextNs).toBe(1040n);
  });

  test('started again with every packet, take no more room', () => {
    const [address, other] = [armed(1, 1_000_000n), armed(2, 5n)];
    for (let packet = 0; packet < 10_000; packet++) bench.call('timer_start', address, BigInt(1_000_000 + packet), 0n);
    expect(timers.length).toBeLessThan(2000);
    bench.call('timer_start', other, 6n, 0n);
    expect(timers.run(10_000_000n)).toBe(2);
    expect(fired).toEqual([2, 1]);
  });

  test('a callback that faults ends alone', () => {
    const faults: unknown[] = [];
    const address = armed(1, 10n);
    armed(2, 20n);
    bench.call('timer_set_callback', address, bench.machine.addCallback(() => {
      throw new RangeError('outside');
    }));
    expect(timers.run(2000n, (error) => faults.push(error))).toBe(2);
    expect([faults.length, fired]).toEqual([1, [2]]);
  });

  test('callbacks have a budget and a stack of their own', () => {
    const address = armed(1, 10n);
    const { machine } = bench;
    machine.setCell(CPU_BLOCK.budget, 0);
    let seen: number[] = [];
    bench.call('timer_set_callback', address, machine.addCallback(() => {
      seen = [machine.cell(CPU_BLOCK.budget), machine.cell(CPU_BLOCK.framePointer)];
      return 0n;
    }));
    timers.run(2000n);
    expect(seen).toEqual([machine.instructionBudget, machine.stackTop]);
  });

  // Entries of an array are never deleted.
  if (type === ARRAY) return;
  test('end with the value they are in', () => {
    armed(1, 10n);
    armed(2, 20n);
    map.delete(u32(1));
    map.update(u32(2), new Uint8Array(VALUE_BYTES));
    expect(timers.run(9999n)).toBe(0);
    expect(fired).toEqual([]);
    const address = timer(1);
    expect(bench.call('timer_init', address, map.descriptor, CLOCK_MONOTONIC)).toBe(0);
  });
});
