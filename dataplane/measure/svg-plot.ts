/** Plots for the HTML report, as SVG that takes its colours from the page. */

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

function frame(height: number, parts: readonly string[], caption: string): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escape(caption)}">${parts.join('')}<text class="faint" x="${LABEL_WIDTH}" y="${height - 6}">${escape(caption)}</text></svg>`;
}

function digits(value: number): string {
  return value >= 1000 ? value.toLocaleString('en-US', { maximumFractionDigits: 0 }) : value >= 100 ? value.toFixed(0) : value.toFixed(1);
}

function escape(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
