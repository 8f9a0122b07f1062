import { expect, test } from 'vitest';
import { growthPlot } from '../../dataplane/measure/svg-plot.ts';

const text = (value: number): string => `${value} ns`;

/** Places of the points, of all series one after the other. */
function places(svg: string): { readonly x: number; readonly y: number }[] {
  return Array.from(svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g), ([, x, y]) => ({ x: Number(x), y: Number(y) }));
}

test('ten times as much is as far on either axis, wherever it is', () => {
  const [one, ten, hundred] = places(growthPlot({ series: [{ label: 'wasm', points: [[1, 5], [10, 50], [100, 500]] }], text }, 'growth'));
  expect(ten!.x - one!.x).toBeCloseTo(hundred!.x - ten!.x, 0);
  expect(ten!.y - one!.y).toBeCloseTo(hundred!.y - ten!.y, 0);
  expect(hundred!.y).toBeLessThan(one!.y);
});

test('marks have their line inside of the picture, even beyond all points', () => {
  const svg = growthPlot({ series: [{ label: 'wasm', points: [[1, 5], [10, 50]] }], marks: [{ label: 'L3 cache', value: 5000 }], text }, 'growth');
  const [, mark] = /y1="([\d.]+)"[^>]*stroke-dasharray/.exec(svg)!;
  expect(Number(mark)).toBeGreaterThan(0);
  expect(Number(mark)).toBeLessThan(Math.min(...places(svg).map(({ y }) => y)));
  expect(svg).toContain('>L3 cache<');
});

test('a single point is drawn, a series without points is not, and nothing at all is no plot', () => {
  const svg = growthPlot({ series: [{ label: 'wasm', points: [[10, 5]] }, { label: 'kernel', points: [] }], text }, 'growth');
  expect(places(svg)).toHaveLength(1);
  expect(svg).not.toMatch(/kernel|NaN|Infinity/);
  expect(growthPlot({ series: [{ label: 'kernel', points: [] }], text }, 'growth')).toBe('');
});

test('names are escaped', () => {
  expect(growthPlot({ series: [{ label: '<wasm>', points: [[10, 5]] }], text }, 'a & b')).not.toMatch(/<wasm>|a & b/);
});
