import { expect, test } from 'vitest';
import type { BenchReport } from '../../dataplane/measure/bench-report.ts';
import { parseExpectation, unmet } from '../../dataplane/measure/expectation.ts';
import { report } from './report-fixture.ts';

const failures = (condition: string, of: BenchReport = report()): string[] => unmet(of, [parseExpectation(condition)]);

test.each(['instructions<=210', 'instructions.max<=300', 'lb.helperCalls==9', 'wasm<60', 'speedupVsKernelNet>=1.4', 'kernelNet>70'])('%s holds', (condition) => {
  expect(failures(condition)).toEqual([]);
});

test('what does not hold is named with what was found', () => {
  expect(failures('instructions<=199')).toEqual(['instructions<=199: lb: found 200']);
});

test('what was not measured is not met', () => {
  expect(failures('interpreter<10000')).toEqual(['interpreter<10000: lb: this run did not measure it']);
  expect(failures('other.instructions<10')).toEqual(['other.instructions<10: no program of that name was measured, but lb']);
});

test.each(['instructions', 'cycles<=3', 'instructions<=x', 'a.b.instructions<3'])('%s is no condition', (condition) => {
  expect(() => parseExpectation(condition)).toThrow(/expected \[program\.\]figure/);
});
