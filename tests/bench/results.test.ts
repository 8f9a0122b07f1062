import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { formatLive, type LiveResults } from '../../bench/live-report.ts';
import type { SampleSummary } from '../../dataplane/measure/sample-summary.ts';
import { formatSuite, type SuiteResults } from '../../bench/report.ts';
import { formatHttp, formatPage, formatStream, type HttpResults, type PageResults, type StreamResults } from '../../bench/serving-report.ts';

const BENCH = join(import.meta.dirname, '../../bench');

type Results = SuiteResults | LiveResults | StreamResults | HttpResults | PageResults;

const read = (file: string): Results => JSON.parse(readFileSync(join(BENCH, 'results', file), 'utf8')) as Results;

function textOf(results: Results): string {
  switch (results.kind) {
    case 'xdplab live':
      return formatLive(results);
    case 'xdplab stream':
      return formatStream(results);
    case 'xdplab http':
      return formatHttp(results);
    case 'xdplab page':
      return formatPage(results);
    default:
      return formatSuite(results);
  }
}

function summariesOf(results: Results): readonly SampleSummary[] {
  switch (results.kind) {
    case 'xdplab live':
      return results.rows.map(({ cpuNsPerPacket }) => cpuNsPerPacket);
    case 'xdplab stream':
    case 'xdplab page':
      return results.rows.map(({ packetsPerSecond }) => packetsPerSecond);
    case 'xdplab http':
      return results.rows.map(({ requestsPerSecond }) => requestsPerSecond);
    default:
      return results.rows.map(({ nsPerPacket }) => nsPerPacket);
  }
}

describe.each(readdirSync(join(BENCH, 'results')))('results/%s', (file) => {
  const results = read(file);

  test('can be printed, and says on what machine it was measured', () => {
    const text = stripVTControlCharacters(textOf(results));
    expect(text).toContain(results.machine.node);
    for (const { what } of results.promises) expect(text).toContain(what);
  });

  test('says of every row how much its samples differ', () => {
    for (const { lowerQuartile, upperQuartile } of summariesOf(results)) expect(lowerQuartile).toBeLessThanOrEqual(upperQuartile);
  });
});
