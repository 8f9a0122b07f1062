import { describe, expect, test } from 'vitest';
import { dependence, NO_PLACE, sharesOf } from '../../dataplane/insight/shares.ts';

test('a flow counts where its first packet went, a packet where it went', () => {
  const found = Int32Array.of(7, 7, 8, NO_PLACE, 8, 8);
  const flowOf = Int32Array.of(0, 0, 0, 1, 1, 2);
  const { flows, packets, places, maxOverIdeal } = sharesOf(found, flowOf, new Set([0, 1]), new Map([[7, 1], [8, 3]]));
  expect({ flows, packets }).toEqual({ flows: 2, packets: 4 });
  expect(places).toEqual([
    { place: 7, weight: 1, flows: 1, idealFlows: 0.5, packets: 2, idealPackets: 1 },
    { place: 8, weight: 3, flows: 1, idealFlows: 1.5, packets: 2, idealPackets: 3 },
  ]);
  expect(maxOverIdeal).toEqual({ flows: 2, packets: 2 });
});

describe('whether a row tells the column', () => {
  test('not where all rows look alike', () => {
    expect(dependence([[100, 200], [50, 100]])).toMatchObject({ strength: 0, isDependent: false, chiSquare: { value: 0, degrees: 1 } });
  });

  test('all of it where each row has a column of its own', () => {
    const found = dependence([[100, 0, 0], [0, 100, 0], [0, 0, 100]])!;
    expect(found.isDependent).toBe(true);
    expect(found.strength).toBeCloseTo(1);
    expect(found.chiSquare.value).toBeCloseTo(600);
    expect(found.chiSquare.degrees).toBe(4);
  });

  test('not where it differs by chance, nor where it hardly matters', () => {
    expect(dependence([[55, 45], [45, 55]])!.isDependent).toBe(false);
    const slight = dependence([[52_000, 48_000], [48_000, 52_000]])!;
    expect(slight.chiSquare.probability).toBeLessThan(0.001);
    expect(slight.isDependent).toBe(false);
  });

  test('nothing is said of one row, of one column, or of too few flows', () => {
    expect(dependence([[100, 100]])).toBeUndefined();
    expect(dependence([[100, 0], [100, 0]])).toBeUndefined();
    expect(dependence([[8, 0], [0, 8]])).toBeUndefined();
  });
});
