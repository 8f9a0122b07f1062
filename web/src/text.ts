/** Numbers and values as people read them. */

const counts = new Intl.NumberFormat('en-US');
const SCALES = [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']] as const;

/** Of a program that somebody wanted to run without. */
export const NOT_VERIFIED = 'not verified';

export const count = (value: number): string => counts.format(Math.round(value));

/** Three digits that mean something: 1.23 M. */
export function short(value: number): string {
  const [size, unit] = SCALES.find(([least]) => Math.abs(value) >= least) ?? [1, ''];
  const scaled = value / size;
  const digits = Math.abs(scaled) >= 100 || (size === 1 && Number.isInteger(scaled)) ? 0 : Math.abs(scaled) >= 10 ? 1 : 2;
  return `${scaled.toFixed(digits)}${unit === '' ? '' : ` ${unit}`}`;
}

export const percent = (part: number): string => `${(100 * part).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`;

/** As compilers note it, without what says nothing. */
export const fileName = (path: string): string => path.replace(/^\.\//, '');

/** A key or a value of a map. */
export function plain(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value)) return value.map(plain).join(', ');
  return Object.entries(value).map(([name, each]) => `${name} ${typeof each === 'object' && each !== null ? `{${plain(each)}}` : plain(each)}`).join(', ');
}

/** The reverse of `seconds`. */
export function nanoseconds(text: string): bigint {
  const [whole, part = ''] = text.split('.');
  return BigInt(`${whole}${part.padEnd(9, '0')}`);
}

/** Seconds, to the nanosecond: JavaScript's numbers do not hold that of today's. */
export function seconds(timeNs: bigint): string {
  const size = timeNs < 0n ? -timeNs : timeNs;
  return `${timeNs < 0n ? '-' : ''}${size / 1_000_000_000n}.${String(size % 1_000_000_000n).padStart(9, '0')}`;
}
