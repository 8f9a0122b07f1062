import { beforeEach, describe, expect, test } from 'vitest';
import type { MachineEvent } from '../../dataplane/machine/machine.ts';
import { createMap } from '../../dataplane/maps/bpf-map.ts';
import { Bench, mapSpec } from './bench.ts';

const PERF_EVENT_ARRAY = 4;

const PACKET = Uint8Array.from({ length: 64 }, (_, index) => index);
const CURRENT_CPU = 0xffff_ffffn;
const packetBytes = (lengthBytes: number): bigint => BigInt(lengthBytes) << 32n;

describe.each(['xdp', 'sched_cls'] as const)('events from %s programs', (type) => {
  let bench: Bench;
  let events: MachineEvent[];
  let map: number;

  beforeEach(() => {
    bench = new Bench(type, PACKET, { cpus: 2 });
    events = [];
    bench.machine.onEvent = (event) => events.push(event);
    bench.machine.nowNs = 5n;
    map = createMap(bench.machine, mapSpec({ name: 'events', type: PERF_EVENT_ARRAY, keyBytes: 4, valueBytes: 4, maxEntries: 4 })).descriptor;
  });

  // Errors of Linux 6.18 where no event was open; the answers of open events, here those of CPUs 0 and 1, were not measured.
  test.each([
    ['the current CPU’s event takes the sample', CURRENT_CPU, 0],
    ['its index does, too', 0n, 0],
    ['another CPU’s event does not', 1n, 'EOPNOTSUPP'],
    ['an empty slot does not', 3n, 'ENOENT'],
    ['an index past the end is refused', 9n, 'E2BIG'],
    ['more bytes than the packet has are refused before the index', packetBytes(65) | 9n, 'EFAULT'],
    ['unknown flags are refused before anything', (1n << 52n) | packetBytes(65) | 9n, 'EINVAL'],
  ])('perf_event_output: %s', (_sentence, flags, answer) => {
    expect(bench.call('perf_event_output', bench.ctx, map, flags, bench.bytes([1, 2, 3]), 3)).toBe(answer);
    expect(events).toHaveLength(answer === 0 ? 1 : 0);
  });

  test('a sample is followed by the packet’s first bytes', () => {
    bench.call('perf_event_output', bench.ctx, map, packetBytes(4) | CURRENT_CPU, bench.bytes([9, 8]), 2);
    expect(events[0]).toMatchObject({ source: 'perf', cpu: 0, timestampNs: 5n, map: 'events' });
    expect([...events[0]!.bytes]).toEqual([9, 8, 0, 1, 2, 3]);
  });

  test('trace_printk prints and answers the length', () => {
    const format = bench.text('port %d of %pI4\n');
    const address = bench.bytes([10, 0, 0, 1]);
    expect(bench.call('trace_printk', format, 17, 80n, BigInt(address), 0n)).toBe('port 80 of 10.0.0.1\n'.length);
    expect(new TextDecoder().decode(events[0]!.bytes)).toBe('port 80 of 10.0.0.1\n');
  });

  test('a format must end within its size', () => {
    expect(bench.call('trace_printk', bench.text('hi %d\n'), 4, 5n, 0n, 0n)).toBe('EINVAL');
    expect(events).toEqual([]);
  });

  test('trace_vprintk takes up to 12 words', () => {
    const words = bench.bytes(new Uint8Array(new BigUint64Array([1n, 2n, 3n, 4n]).buffer));
    expect(bench.call('trace_vprintk', bench.text('%d %d %d %d'), 12, words, 32)).toBe(7);
    expect(bench.call('trace_vprintk', bench.text('%d'), 3, words, 12)).toBe('EINVAL');
    expect(bench.call('trace_vprintk', bench.text('%d'), 3, words, 13 * 8)).toBe('EINVAL');
    expect(bench.call('trace_vprintk', bench.text('%d'), 3, 0, 8)).toBe('EINVAL');
    expect(bench.call('trace_vprintk', bench.text('ok'), 3, 0, 0)).toBe(2);
  });

  test('a sample outside memory is a fault, not a sample', () => {
    expect(() => bench.call('perf_event_output', bench.ctx, map, CURRENT_CPU, 0xfff0_0000, 0x2000)).toThrow(RangeError);
  });
});
