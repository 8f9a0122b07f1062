import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { formatLive, type LiveResults } from '../../bench/live-report.ts';
import { formatSuite, type SuiteResults } from '../../bench/report.ts';

const BENCH = join(import.meta.dirname, '../../bench');

const read = (file: string): SuiteResults | LiveResults => JSON.parse(readFileSync(join(BENCH, 'results', file), 'utf8')) as SuiteResults | LiveResults;

describe.each(readdirSync(join(BENCH, 'results')))('results/%s', (file) => {
  const results = read(file);

  test('can be printed, and says on what machine it was measured', () => {
    const text = stripVTControlCharacters(results.kind === 'xdplab live' ? formatLive(results) : formatSuite(results));
    expect(text).toContain(results.machine.node);
    for (const { what } of results.promises) expect(text).toContain(what);
  });

  test('says of every row how much its samples differ', () => {
    const summaries = results.kind === 'xdplab live' ? results.rows.map(({ cpuNsPerPacket }) => cpuNsPerPacket) : results.rows.map(({ nsPerPacket }) => nsPerPacket);
    for (const { lowerQuartile, upperQuartile } of summaries) expect(lowerQuartile).toBeLessThanOrEqual(upperQuartile);
  });
});
