import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { XdplabError } from '../../dataplane/errors.ts';
import { maglevRing } from '../../dataplane/program/maglev.ts';

const RING_SIZE = 4093;

function named(count: number): { id: number; name: string }[] {
  return Array.from({ length: count }, (_, index) => ({ id: index + 1, name: `10.1.0.${index + 1}` }));
}

function shares(ring: Uint32Array): Map<number, number> {
  const counts = new Map<number, number>();
  for (const id of ring) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

function changedSlots(before: Uint32Array, after: Uint32Array): number {
  return before.reduce((changed, id, slot) => changed + (id === after[slot] ? 0 : 1), 0);
}

describe('a Maglev ring', () => {
  it('gives backends of equal weight the same number of slots, give or take one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), (count) => {
        const counts = [...shares(maglevRing(named(count), RING_SIZE)).values()];
        expect(counts).toHaveLength(count);
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('gives slots in proportion to weights', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 10 }), (weights) => {
        const backends = named(weights.length).map((backend, index) => ({ ...backend, weight: weights[index]! }));
        const counts = shares(maglevRing(backends, RING_SIZE));
        const sum = weights.reduce((total, weight) => total + weight);
        for (const { id, weight } of backends) expect(Math.abs(counts.get(id)! - (RING_SIZE * weight) / sum)).toBeLessThan(weights.length + 2);
      }),
    );
  });

  it('moves few slots besides those of a backend that leaves', () => {
    const backends = named(10);
    const before = maglevRing(backends, RING_SIZE);
    for (const gone of backends) {
      const after = maglevRing(backends.filter((backend) => backend !== gone), RING_SIZE);
      const needless = changedSlots(before, after) - shares(before).get(gone.id)!;
      expect(needless / RING_SIZE).toBeLessThan(0.1);
    }
  });

  it('moves to a new backend little more than its share', () => {
    const before = maglevRing(named(9), RING_SIZE);
    const after = maglevRing(named(10), RING_SIZE);
    expect(changedSlots(before, after) / RING_SIZE).toBeLessThan(0.2);
  });

  it('does not depend on the order of the list', () => {
    const backends = named(7);
    expect(maglevRing(backends.toReversed(), RING_SIZE)).toEqual(maglevRing(backends, RING_SIZE));
  });

  it('leaves no slot to a backend of weight 0, and all slots empty when there is no other', () => {
    const [first, second] = named(2);
    expect(shares(maglevRing([first!, { ...second!, weight: 0 }], RING_SIZE))).toEqual(new Map([[1, RING_SIZE]]));
    expect(shares(maglevRing([{ ...first!, weight: 0 }], RING_SIZE))).toEqual(new Map([[0, RING_SIZE]]));
    expect(shares(maglevRing([], RING_SIZE))).toEqual(new Map([[0, RING_SIZE]]));
  });

  it('stays as it is over versions: flows that run must not move', () => {
    expect([...maglevRing(named(3), 13)]).toEqual([2, 3, 1, 1, 2, 1, 2, 1, 2, 3, 3, 1, 3]);
  });

  it.each([
    ['a ring size that is not prime', () => maglevRing(named(2), 4096), 'ring size 4096 is not a prime number'],
    ['two backends of one name', () => maglevRing([...named(1), ...named(1)], 13), '10.1.0.1 is listed twice'],
    ['a negative weight', () => maglevRing([{ id: 1, name: 'a', weight: -1 }], 13), 'weight -1'],
    ['the id 0, which means no backend', () => maglevRing([{ id: 0, name: 'a' }], 13), 'id 0'],
  ])('refuses %s', (_, build, message) => {
    expect(build).toThrow(XdplabError);
    expect(build).toThrow(message);
  });
});
