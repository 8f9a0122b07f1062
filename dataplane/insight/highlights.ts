/**
 * What is worth seeing in a lab's maps: their largest entries by a counter. A lab file says which maps and how to
 * label them; without that, every map that counts per CPU and has counted something.
 */
import type { Lab } from '../pipeline/lab.ts';
import type { Highlight } from '../pipeline/lab-file.ts';
import { XdplabError } from '../errors.ts';
import { sumCpus, type TypedMap } from '../program/typed-map.ts';

export interface HighlightRow {
  readonly label: string;
  /** What the bar is drawn of. */
  readonly amount: number;
  /** The other fields of the value. */
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface HighlightTable {
  readonly title: string;
  readonly map: string;
  readonly by: string;
  /** Largest first. */
  readonly rows: readonly HighlightRow[];
  /** Entries that are not zero but not among the rows. */
  readonly more: number;
  /** Of all entries. */
  readonly total: number;
}

const DEFAULT_TOP = 8;

export function highlightTables(lab: Lab, highlights: readonly Highlight[]): HighlightTable[] {
  if (highlights.length > 0) return highlights.map((highlight) => table(lab, highlight)).filter(({ rows }) => rows.length > 0);
  const counting = lab.maps.filter((map) => map.type.perCpu && map.spec.section === undefined);
  return counting.flatMap((map) => {
    if (lab.maps.filter(({ name }) => name === map.name).length > 1) return [];
    const found = table(lab, { map: map.name });
    return found.rows.length > 0 ? [found] : [];
  });
}

function table(lab: Lab, { map: name, title, by, label, top = DEFAULT_TOP }: Highlight): HighlightTable {
  const map = lab.map(name);
  const entries: HighlightRow[] = [];
  let field = by;
  for (const [key, perCpu] of map.entries()) {
    const value = map.perCpu ? sumCpus(perCpu) : perCpu;
    const fields = flatten(value);
    field ??= Object.keys(fields).find((candidate) => isNumber(fields[candidate])) ?? 'value';
    if (!(field in fields)) throw new XdplabError('ERR_LAB', `show: map '${name}' has no field '${field}', expected one of ${Object.keys(fields).join(', ')}`);
    const amount = fields[field];
    if (isNumber(amount) && amount > 0) entries.push({ label: labelOf(lab, label, key), amount: Number(amount), fields });
  }
  entries.sort((a, b) => b.amount - a.amount);
  return {
    title: title ?? name,
    map: name,
    by: field ?? 'value',
    rows: entries.slice(0, top),
    more: Math.max(0, entries.length - top),
    total: entries.reduce((sum, { amount }) => sum + amount, 0),
  };
}

function labelOf(lab: Lab, label: string | undefined, key: unknown): string {
  if (label === undefined) return keyText(key);
  const [name, ...path] = label.split('.');
  const other: TypedMap = lab.map(name!);
  let value: unknown = other.get(key);
  for (const step of path) value = isRecord(value) ? value[step] : undefined;
  return value === undefined ? keyText(key) : keyText(value);
}

/** A key on one line: `10.0.0.1:80 tcp` reads better than JSON for plain fields. */
function keyText(key: unknown): string {
  if (!isRecord(key)) return String(key);
  return Object.entries(key)
    .filter(([name]) => !name.startsWith('pad'))
    .map(([, value]) => keyText(value))
    .join(' ');
}

/** `{ ingress: { packets: 1 } }` as `{ 'ingress.packets': 1 }`; a plain value is named `value`. */
function flatten(value: unknown, prefix = ''): Record<string, unknown> {
  if (!isRecord(value)) return { [prefix || 'value']: value };
  return Object.assign({}, ...Object.entries(value).map(([name, inner]) => flatten(inner, prefix ? `${prefix}.${name}` : name))) as Record<string, unknown>;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isNumber(value: unknown): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint';
}
