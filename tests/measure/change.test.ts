import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { changeApart, changeOf, describeChange } from '../../dataplane/measure/change.ts';

test('what slowed both sides of a turn is no difference', () => {
  const before = [100, 150, 120, 300, 110, 105, 108, 140, 100];
  const change = changeOf(before, before.map((ns, turn) => ns * 1.03 + (turn % 2) * 0.01));
  expect(change.median).toBeCloseTo(0.03, 3);
  expect(change.significant).toBe(true);
  expect(describeChange(change)).toBe('3.0 % ± 0.0 % slower');
});

test('what lies within the noise is called no difference', () => {
  const change = changeOf([100, 101, 99, 102, 98, 100, 103], [101, 99, 100, 98, 103, 101, 99]);
  expect(change.significant).toBe(false);
  expect(describeChange(change)).toMatch(/no difference/);
});

test('a bound of fifteen turns leaves out the three smallest and largest', () => {
  const ratios = Array.from({ length: 15 }, (_, turn) => 100 + turn);
  const change = changeOf(ratios.map(() => 100), ratios);
  expect([change.median, change.lower, change.upper].map((part) => Math.round(part * 100))).toEqual([7, 3, 11]);
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
      for (const { lower, median, upper } of [changeOf(before, after), changeApart(before, after)]) {
        expect(lower).toBeLessThanOrEqual(median + 1e-9);
        expect(median).toBeLessThanOrEqual(upper + 1e-9);
      }
    }),
  );
});
