/**
 * How things look on a terminal: numbers, bars and colours. Text is always painted; `print` takes the colours off
 * again where nobody would see them, by NO_COLOR, FORCE_COLOR and what the stream is.
 */
import { inspect, stripVTControlCharacters } from 'node:util';
import { jsonText } from '../pipeline/json-text.ts';

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'blue' | 'cyan' | 'magenta';

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

function showsColours(stream: NodeJS.WriteStream): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (NO_COLOR) return false;
  if (FORCE_COLOR) return FORCE_COLOR !== '0';
  return stream.isTTY === true && TERM !== 'dumb';
}

export function paint(style: Style, text: string): string {
  const [on, off] = inspect.colors[style]!;
  return `\u001b[${on}m${text}\u001b[${off}m`;
}

/** A line, or several. */
export function print(text: string, stream: NodeJS.WriteStream = process.stdout): void {
  stream.write(`${showsColours(stream) ? text : stripVTControlCharacters(text)}\n`);
}

export function printJson(value: unknown): void {
  print(jsonText(value, 2));
}

/** `share` of `width` columns, drawn to an eighth of a column; a little of something is never nothing. */
export function bar(share: number, width: number): string {
  const eighths = share > 0 ? Math.max(1, Math.round(share * width * 8)) : 0;
  const full = Math.floor(eighths / 8);
  return ('█'.repeat(full) + EIGHTHS[eighths % 8]!).padEnd(width);
}

export function count(value: number): string {
  return String(value).replaceAll(/\B(?=(?:\d{3})+$)/g, ',');
}

export function percent(share: number): string {
  if (share > 0 && share < 0.0005) return '<0.1 %';
  return `${(share * 100).toFixed(1)} %`;
}

/** `1.4 MB`; powers of ten, as networks count. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let rest = value;
  while (rest >= 1000 && unit < units.length - 1) {
    rest /= 1000;
    unit++;
  }
  return unit === 0 ? `${value} B` : `${rest.toFixed(rest < 10 ? 2 : 1)} ${units[unit]}`;
}

/** `3.1 M`, `12.4 k`. */
export function rate(perSecond: number): string {
  if (perSecond >= 1e6) return `${(perSecond / 1e6).toFixed(2)} M`;
  if (perSecond >= 1e3) return `${(perSecond / 1e3).toFixed(1)} k`;
  return perSecond.toFixed(1);
}

export function duration(ns: number): string {
  if (ns >= 1e9) return `${(ns / 1e9).toFixed(2)} s`;
  if (ns >= 1e6) return `${(ns / 1e6).toFixed(1)} ms`;
  return `${(ns / 1e3).toFixed(0)} µs`;
}

/** Control characters from names in files must not reach a terminal. */
export function safe(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are the ones that must not reach a terminal
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '\uFFFD');
}

/** Rows as columns, each as wide as its widest cell; numbers to the right. */
export function table(rows: readonly (readonly (string | number)[])[], indent = ''): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, column) => (widths[column] = Math.max(widths[column] ?? 0, String(cell).length)));
  return rows.map((row) =>
    `${indent}${row.map((cell, column) => (typeof cell === 'number' ? String(cell).padStart(widths[column]!) : cell.padEnd(widths[column]!))).join('  ')}`.trimEnd(),
  );
}

/** Sections with an empty line between them; those without lines are left out. */
export function sectionsText(sections: readonly (readonly string[])[]): string {
  return sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n');
}
