import { expect, test } from 'vitest';
import { compareReports } from '../../dataplane/measure/compare-reports.ts';
import { report } from './report-fixture.ts';

test('times are compared with a bound, and counted costs exactly', () => {
  const { times, costs, warnings } = compareReports(report(50, 200), report(60, 201));
  expect(times.map(({ program, engine, change }) => [program, engine, change.significant, Math.round(change.median * 100)])).toEqual([
    ['lb', 'wasm', true, 20],
    ['lb', 'kernel', false, 0],
  ]);
  expect(costs).toEqual([{ program: 'lb', metric: 'instructions', before: 200, after: 201 }]);
  expect(warnings).toEqual([]);
});

test('another machine is warned of', () => {
  const other = report();
  const { warnings } = compareReports(report(), { ...other, machine: { ...other.machine, cpu: 'another' } });
  expect(warnings).toEqual(['not the same machine: test, 2 cores, Linux, then another, 2 cores, Linux']);
});

test('programs that only one has are named', () => {
  const other = report();
  const renamed = { ...other, programs: other.programs.map((program) => ({ ...program, name: 'firewall' })) };
  expect(compareReports(report(), renamed)).toMatchObject({ times: [], onlyBefore: ['lb'], onlyAfter: ['firewall'] });
});
