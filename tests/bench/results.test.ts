import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { formatSuite, type SuiteResults } from '../../bench/report.ts';

const BENCH = join(import.meta.dirname, '../../bench');

describe.each(readdirSync(join(BENCH, 'results')))('results/%s', (file) => {
  const results = JSON.parse(readFileSync(join(BENCH, 'results', file), 'utf8')) as SuiteResults;

  test('can be printed, and says on what machine it was measured', () => {
    const text = stripVTControlCharacters(formatSuite(results));
    expect(text).toContain(results.machine.node);
    for (const { what } of results.promises) expect(text).toContain(what);
  });

  test('says of every row how much its samples differ', () => {
    for (const { nsPerPacket } of results.rows) expect(nsPerPacket.lowerQuartile).toBeLessThanOrEqual(nsPerPacket.upperQuartile);
  });
});
