import { describe, expect, test } from 'vitest';
import { Bench } from './bench.ts';

function numbers(seed: number): unknown[] {
  const bench = new Bench('xdp', undefined, { seed });
  return Array.from({ length: 100 }, () => bench.call('get_prandom_u32'));
}

describe('what the machine tells programs', () => {
  test('clocks show virtual time', () => {
    const bench = new Bench('xdp');
    bench.machine.nowNs = 1_700_000_000_123_456_789n;
    expect(bench.call('ktime_get_ns')).toBe(1_700_000_000_123_456_789n);
    expect(bench.call('ktime_get_boot_ns')).toBe(1_700_000_000_123_456_789n);
    expect(bench.call('ktime_get_tai_ns')).toBe(1_700_000_000_123_456_789n);
  });

  test('the coarse clock and jiffies advance every 4 milliseconds', () => {
    const bench = new Bench('xdp');
    bench.machine.nowNs = 11_999_999n;
    expect(bench.call('ktime_get_coarse_ns')).toBe(8_000_000n);
    const before = bench.call('jiffies64') as bigint;
    bench.machine.nowNs += 1n;
    expect(bench.call('ktime_get_coarse_ns')).toBe(12_000_000n);
    expect(bench.call('jiffies64')).toBe(before + 1n);
  });

  test('jiffies start five minutes before 32 bits wrap', () => {
    const bench = new Bench('xdp');
    bench.machine.nowNs = 300n * 1_000_000_000n;
    expect(bench.call('jiffies64')).toBe(1n << 32n);
  });

  test('random numbers repeat with the seed and differ without', () => {
    expect(numbers(7)).toEqual(numbers(7));
    expect(numbers(7)).not.toEqual(numbers(8));
    expect(new Set(numbers(7)).size).toBeGreaterThan(95);
  });

  test('there is one NUMA node and the CPU is the machine’s', () => {
    const bench = new Bench('sched_cls', undefined, { cpus: 4 });
    expect(bench.call('get_smp_processor_id')).toBe(bench.machine.cpu);
    expect(bench.call('get_numa_node_id')).toBe(0);
  });
});
