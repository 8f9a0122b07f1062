import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { growthSteps, type GrowthRow } from '../../bench/growth.ts';
import { mapMemory } from '../../bench/maps.ts';
import { oneCycle, readBenchmark } from '../../bench/reads.ts';
import { formatSuite, type SuiteResults } from '../../bench/report.ts';
import { suitePage } from '../../bench/suite-page.ts';
import { BPF_MAP_TYPE } from '../../dataplane/bpf/map-type.ts';
import type { MapSpec } from '../../dataplane/bpf/spec.ts';
import type { Cache } from '../../dataplane/measure/caches.ts';

function row(map: string, count: number, wasm: number, nsPerRead: number): GrowthRow {
  const table = { of: 'flows', count, map, reads: 3, passingBytes: count * 136, nsPerRead, entries: count, bytes: count * 72, kernelBytes: count * 113, nsToAdd: 90 };
  return { label: `${map}, ${count} flows`, wasm, wasmNet: wasm - 10, uncertainNs: 1, kernelNet: 3 * wasm, speedupVsKernelNet: 3, table };
}

describe('a step of growth', () => {
  test('is explained where the reads of a packet become slower by as much', () => {
    const [step] = growthSteps([row('table', 1000, 50, 2), row('table', 10_000, 80, 12)]);
    expect(step).toMatchObject({ step: 'table, 1000 flows → 10,000', moreNs: 30, explainedNs: 30, isExplained: true });
  });

  test('is not where they stay as fast as they were', () => {
    const [step] = growthSteps([row('table', 1000, 50, 2), row('table', 10_000, 80, 3)]);
    expect(step).toMatchObject({ explainedNs: 3, isExplained: false });
  });

  test('needs no explanation where it is within what turns and instances differ by, or takes less', () => {
    expect(growthSteps([row('table', 1000, 50, 2), row('table', 10_000, 54, 2), row('table', 60_000, 40, 1)]).map(({ isExplained }) => isExplained)).toEqual([true, true]);
  });

  test('is not taken from one table to another, nor where results do not tell what the table is like', () => {
    const { table: _, ...old } = row('table', 1000, 50, 2);
    expect(growthSteps([row('one', 1000, 50, 2), row('other', 10, 20, 1)])).toEqual([]);
    expect(growthSteps([old, row('table', 1000, 50, 2)])).toEqual([]);
  });
});

test('reads pass every line before they come to the first one again', () => {
  const next = oneCycle(1000);
  const seen = new Set<number>();
  for (let at = 0; !seen.has(at); at = next[at]!) seen.add(at);
  expect(seen.size).toBe(1000);
  expect(readBenchmark('reads', 64_000).sample()).toBeGreaterThan(0);
});

test('the memory of a map is what is used of it, however much is declared', () => {
  const spec = (maxEntries: number): MapSpec => ({ name: 'map', type: BPF_MAP_TYPE.hash, keyBytes: 16, valueBytes: 32, maxEntries, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false });
  const entries = (count: number) => Array.from({ length: count }, (_, index) => [Uint8Array.from({ length: 16 }, (_byte, at) => (at < 4 ? index >>> (8 * at) : 1)), new Uint8Array(32).fill(1)] as const);
  const [small, large] = [100, 10_000].map((count) => mapMemory(spec(200_000), entries(count)));
  expect(small).toMatchObject({ entries: 100, bytes: mapMemory(spec(200_000), entries(100)).bytes });
  expect(small!.bytes).toBeLessThan(65_536);
  expect(large!.bytes / 10_000).toBeGreaterThan(56);
  expect(large!.bytes / 10_000).toBeLessThan(100);
  expect(large!.nsToAdd).toBeGreaterThan(0);
});

describe('the page of the suite', () => {
  const results = JSON.parse(readFileSync(join(import.meta.dirname, '../../bench/results/epyc-2-cores.json'), 'utf8')) as SuiteResults;
  const growth = [row('lb_flows', 1000, 50, 2), row('lb_flows', 10_000, 90, 3)];
  const growing = (...caches: readonly Cache[]) => suitePage({ ...results, machine: { ...results.machine, caches }, growth });
  const page = growing({ level: 2, bytes: 1 << 20 });

  test('asks for nothing outside of itself, and has no script', () => {
    expect(page).not.toMatch(/https?:|src=|href=|<script|@import|url\(|NaN|undefined/);
  });

  test('has every promise, every row and the report of every program', () => {
    for (const { what } of results.promises) expect(page).toContain(what);
    for (const { name } of [...results.cpus, ...results.rows]) expect(page).toContain(name);
    for (const label of Object.keys(results.programs)) expect(page).toContain(`<summary>${label}</summary>`);
  });

  test('draws time and memory, with the sizes of caches where the system tells them', () => {
    const [, plots] = /as flows grow<\/h2>(.*?)<h2>/s.exec(page)!;
    expect(plots!.match(/<svg/g)).toHaveLength(2);
    expect(plots).toContain('L2 cache, 1 MiB');
    expect(growing()).not.toContain('cache, ');
  });

  test('says in words, as the text does, which step caches do not explain', () => {
    for (const text of [page, formatSuite({ ...results, growth })]) expect(text).toContain('Worse than the caches explain: lb_flows, 1000 flows → 10,000.');
    expect(formatSuite({ ...results, growth: [growth[0]!, row('lb_flows', 10_000, 51, 2)] })).toContain('No step is worse than the caches explain.');
  });
});
