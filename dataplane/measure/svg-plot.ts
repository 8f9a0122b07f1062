/** Plots for the HTML report, as SVG that takes its colours from the page. */
import { htmlText as escape } from './html-page.ts';

const WIDTH = 760;
const LABEL_WIDTH = 190;
const ROW = 22;
const COLOURS = ['var(--one)', 'var(--two)', 'var(--three)'];

export interface Bar {
  readonly group: string;
  readonly label: string;
  readonly value: number;
  /** A part of it, drawn darker. */
  readonly part?: number | undefined;
  /** Where a line stands: what it should have been. */
  readonly mark?: number;
}

export function barPlot(bars: readonly Bar[], caption: string): string {
  if (bars.length === 0) return '';
  const most = Math.max(...bars.flatMap(({ value, mark }) => [value, mark ?? 0])) || 1;
  const room = WIDTH - LABEL_WIDTH - 70;
  const labels = [...new Set(bars.map(({ label }) => label))];
  const scale = (value: number): number => (value / most) * room;
  const lines = bars.map(({ group, label, value, part, mark }, index) => {
    const y = index * ROW + 4;
    const colour = mark === undefined ? COLOURS[labels.indexOf(label) % COLOURS.length]! : COLOURS[0]!;
    return [
      `<text x="${LABEL_WIDTH - 8}" y="${y + 13}" text-anchor="end">${escape(group)} <tspan class="faint">${escape(label)}</tspan></text>`,
      `<rect x="${LABEL_WIDTH}" y="${y}" width="${scale(value).toFixed(1)}" height="${ROW - 6}" fill="${colour}" opacity="${part === undefined ? 1 : 0.45}"/>`,
      part === undefined ? '' : `<rect x="${LABEL_WIDTH}" y="${y}" width="${scale(part).toFixed(1)}" height="${ROW - 6}" fill="${colour}"/>`,
      mark === undefined ? '' : `<line x1="${(LABEL_WIDTH + scale(mark)).toFixed(1)}" x2="${(LABEL_WIDTH + scale(mark)).toFixed(1)}" y1="${y - 2}" y2="${y + ROW - 4}" stroke="var(--ink)" stroke-width="2"/>`,
      `<text x="${(LABEL_WIDTH + scale(Math.max(value, mark ?? 0)) + 6).toFixed(1)}" y="${y + 13}">${digits(value)}</text>`,
    ].join('');
  });
  return frame(bars.length * ROW + 26, lines, caption);
}

/** A line of points for each series, from the first turn to the last: drift and neighbours show here. */
export function turnPlot(series: readonly { readonly label: string; readonly values: readonly number[] }[], caption: string): string {
  if (series.length === 0) return '';
  const height = 150;
  const room = WIDTH - LABEL_WIDTH - 70;
  const most = Math.max(...series.flatMap(({ values }) => values)) * 1.05 || 1;
  const turns = Math.max(...series.map(({ values }) => values.length));
  const x = (turn: number): number => LABEL_WIDTH + (turns === 1 ? room / 2 : (turn / (turns - 1)) * room);
  // Engines differ a thousandfold: on a logarithmic scale all can be seen.
  const least = Math.min(...series.flatMap(({ values }) => values)) * 0.8 || 1;
  const y = (value: number): number => 10 + (height - 20) * (1 - Math.log(value / least) / Math.log(most / least));
  const lines = series.map(({ label, values }, index) => {
    const colour = COLOURS[index % COLOURS.length]!;
    const points = values.map((value, turn) => `${x(turn).toFixed(1)},${y(value).toFixed(1)}`);
    return [
      `<polyline points="${points.join(' ')}" fill="none" stroke="${colour}"/>`,
      ...points.map((point) => `<circle cx="${point.split(',')[0]}" cy="${point.split(',')[1]}" r="2.5" fill="${colour}"/>`),
      `<text x="${LABEL_WIDTH - 8}" y="${(y(values[0]!) + 4).toFixed(1)}" text-anchor="end">${escape(label)}</text>`,
      `<text x="${WIDTH - 62}" y="${(y(values.at(-1)!) + 4).toFixed(1)}">${digits(values.at(-1)!)}</text>`,
    ].join('');
  });
  return frame(height + 26, [`<line class="axis" x1="${LABEL_WIDTH}" x2="${LABEL_WIDTH + room}" y1="${height}" y2="${height}"/>`, ...lines], caption);
}

/** A line for each series over numbers, both axes logarithmic. */
export interface GrowthPlot {
  readonly series: readonly { readonly label: string; readonly points: readonly (readonly [x: number, y: number])[] }[];
  /** Lines across, at values of y. */
  readonly marks?: readonly { readonly label: string; readonly value: number }[];
  /** How a value of y reads. */
  readonly text: (value: number) => string;
}

export function growthPlot({ series, marks = [], text }: GrowthPlot, caption: string): string {
  const drawn = series.filter(({ points }) => points.length > 0);
  const all = drawn.flatMap(({ points }) => points);
  if (all.length === 0) return '';
  const [height, top, bottom, right] = [260, 12, 232, WIDTH - 170];
  const left = 70;
  const [low, high] = extremes([...all.map(([, value]) => value), ...marks.map(({ value }) => value)]);
  const [first, last] = extremes(all.map(([value]) => value));
  const x = (value: number): number => left + 10 + share(value, first, last) * (right - left - 20);
  const y = (value: number): number => bottom - 8 - share(value, low, high) * (bottom - top - 16);
  const decades = Array.from({ length: 16 }, (_, power) => 10 ** (power - 3));
  const grid = decades.filter((value) => value >= low && value <= high).map((value) => `<line class="axis" x1="${left}" x2="${right}" y1="${y(value).toFixed(1)}" y2="${y(value).toFixed(1)}"/><text class="faint" x="${left - 6}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${escape(text(value))}</text>`);
  const steps = [...new Set(all.map(([value]) => value))].map((value) => `<line class="axis" x1="${x(value).toFixed(1)}" x2="${x(value).toFixed(1)}" y1="${top}" y2="${bottom}"/>`);
  // Of two numbers that stand close to each other the first is enough.
  const ticks = [...new Set(all.map(([value]) => value))].toSorted((one, other) => one - other).filter((value, place, sorted) => place === 0 || x(value) - x(sorted[place - 1]!) > 48).map((value) => `<text class="faint" x="${x(value).toFixed(1)}" y="${bottom + 16}" text-anchor="middle">${value.toLocaleString('en-US')}</text>`);
  const bounds = marks.map(({ label, value }) => `<line x1="${left}" x2="${right}" y1="${y(value).toFixed(1)}" y2="${y(value).toFixed(1)}" stroke="var(--ink)" stroke-dasharray="4 4"/><text class="over" x="${left + 4}" y="${(y(value) - 4).toFixed(1)}">${escape(label)}</text>`);
  const lines = drawn.map(({ label, points }, index) => {
    const colour = COLOURS[index % COLOURS.length]!;
    const places = points.map(([across, up]) => [x(across).toFixed(1), y(up).toFixed(1)] as const);
    const [, end] = points.at(-1)!;
    return [
      `<polyline points="${places.map((place) => place.join(',')).join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...places.map(([across, up], place) => `<circle cx="${across}" cy="${up}" r="3.5" fill="${colour}"><title>${escape(`${label}: ${text(points[place]![1])}`)}</title></circle>`),
      `<text x="${right + 8}" y="${(y(end) + 4).toFixed(1)}" style="fill:${colour}">${escape(label)} ${escape(text(end))}</text>`,
    ].join('');
  });
  return frame(height + 16, [...grid, ...steps, ...ticks, ...bounds, ...lines], caption, left);
}

function extremes(values: readonly number[]): readonly [least: number, most: number] {
  return [Math.min(...values), Math.max(...values)];
}

/** Where a value is between two others by its logarithm. */
function share(value: number, least: number, most: number): number {
  return most === least ? 0.5 : Math.log(value / least) / Math.log(most / least);
}

function frame(height: number, parts: readonly string[], caption: string, captionAt = LABEL_WIDTH): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escape(caption)}">${parts.join('')}<text class="faint" x="${captionAt}" y="${height - 6}">${escape(caption)}</text></svg>`;
}

function digits(value: number): string {
  return value >= 1000 ? value.toLocaleString('en-US', { maximumFractionDigits: 0 }) : value >= 100 ? value.toFixed(0) : value.toFixed(1);
}
