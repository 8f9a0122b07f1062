import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { changeApart, changeOfInstances, describeChange } from '../../dataplane/measure/change.ts';

test('a difference beyond what instances of one object differ by is claimed, with its bound', () => {
  const change = changeOfInstances([100, 101, 99, 100, 100], [103, 104, 102, 103, 103]);
  expect(change).toMatchObject({ significant: true });
  expect(describeChange(change)).toBe('3.0 % ± 1.0 % slower');
});

test('what lies within it is called no difference', () => {
  const change = changeOfInstances([100, 104, 96, 101, 99], [103, 99, 104, 98, 102]);
  expect(change.significant).toBe(false);
  expect(describeChange(change)).toMatch(/no difference/);
});

test('measurements that were not made side by side need to differ by more than both their noise', () => {
  const quiet = [100, 101, 99, 100, 101, 99, 100];
  expect(changeApart(quiet, quiet.map((ns) => ns * 0.8))).toMatchObject({ significant: true });
  expect(changeApart([100, 120, 90, 105, 80, 130, 99], [104, 95, 125, 85, 110, 101, 92])).toMatchObject({ significant: false });
});

test('the median lies within its bound, whatever the samples', () => {
  const samples = fc.array(fc.double({ min: 1, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(samples, samples, (before, after) => {
      const { lower, median, upper } = changeApart(before, after);
      expect(lower).toBeLessThanOrEqual(median + 1e-9);
      expect(median).toBeLessThanOrEqual(upper + 1e-9);
    }),
  );
});
