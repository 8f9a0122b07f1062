import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { summarize, summarizeTurns } from '../../dataplane/measure/sample-summary.ts';

describe('a summary of samples', () => {
  test('has the middle sample as median, or what lies between the two in the middle', () => {
    expect(summarize([5, 1, 9]).median).toBe(5);
    expect(summarize([4, 1, 3, 2]).median).toBe(2.5);
  });

  test('has quartiles between which half of the samples lie, and their distance relative to the median', () => {
    expect(summarize([50, 10, 30, 20, 40])).toEqual({ median: 30, lowerQuartile: 20, upperQuartile: 40, min: 10, max: 50, spread: 20 / 30 });
  });

  test('of one sample is that sample, without spread', () => {
    expect(summarize([7])).toEqual({ median: 7, lowerQuartile: 7, upperQuartile: 7, min: 7, max: 7, spread: 0 });
  });

  test('does not sort the samples it was given', () => {
    const samples = [3, 1, 2];
    summarize(samples);
    expect(samples).toEqual([3, 1, 2]);
  });

  test('without samples is refused', () => {
    expect(() => summarize([])).toThrow(RangeError);
  });

  test('puts min, quartiles, median and max in order, whatever the samples', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 1, max: 1e9, noNaN: true }), { minLength: 1 }), (samples) => {
        const { min, lowerQuartile, median, upperQuartile, max } = summarize(samples);
        const inOrder = [min, lowerQuartile, median, upperQuartile, max];
        expect(inOrder).toEqual(inOrder.toSorted((a, b) => a - b));
      }),
    );
  });
});

test('turns are summarised by the median of each, and batches by their percentiles', () => {
  const summary = summarizeTurns([
    [10, 10, 1000],
    [12, 12, 12],
    [11, 11, 11],
  ]);
  expect(summary).toMatchObject({ median: 11, min: 10, max: 12, p50: 11, batches: 9, turns: [10, 12, 11] });
  expect(summary.p999).toBeGreaterThan(900);
});
