import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { formatResults, noisyRows, type BenchResults, type ResultRow } from '../../bench/report.ts';
import { summarize } from '../../bench/sample-summary.ts';

const BENCH = join(import.meta.dirname, '../../bench');

const row = (name: string, samples: readonly number[]): ResultRow => {
  const nsPerPacket = summarize(samples);
  return { group: 'programs', name, packetsPerSample: 1, nsPerPacket, packetsPerSecond: Math.round(1e9 / nsPerPacket.median), note: '' };
};

test('rows whose quartiles lie more than a tenth apart are named as noisy', () => {
  expect(noisyRows([row('quiet', [100, 101, 102, 103]), row('noisy', [100, 101, 130, 140])])).toEqual(['noisy']);
});

describe.each(readdirSync(join(BENCH, 'results')))('results/%s', (file) => {
  const results = JSON.parse(readFileSync(join(BENCH, 'results', file), 'utf8')) as BenchResults;

  test('stands in the README as it was printed', () => {
    expect(readFileSync(join(BENCH, 'README.md'), 'utf8')).toContain(formatResults(results));
  });

  test('says of every row how much its samples differ', () => {
    for (const { nsPerPacket } of results.results) expect(nsPerPacket.lowerQuartile).toBeLessThanOrEqual(nsPerPacket.upperQuartile);
    expect(results.noisy).toEqual(noisyRows(results.results));
  });
});
