/**
 * What is worth seeing in a lab's maps: their largest entries by a counter. A lab file says which maps and how to
 * label them; without that, every map that counts per CPU and has counted something.
 */
import { valueCodec } from '../bpf/btf-value.ts';
import type { BpfMap } from '../maps/bpf-map.ts';
import type { Lab } from '../pipeline/lab.ts';
import type { Highlight } from '../pipeline/lab-file.ts';
import { XdplabError } from '../errors.ts';
import { sumCpus, type TypedMap } from '../program/typed-map.ts';

export interface HighlightRow {
  readonly label: string;
  /** What the bar is drawn of. */
  readonly amount: number;
  /** The fields of the value that are worth showing beside it. */
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
  const wanted = highlights.length > 0 ? highlights : countingMaps(lab);
  return wanted.map((highlight) => table(lab, highlight)).filter(({ rows }) => rows.length > 0);
}

/** Throws ERR_LAB for what maps are asked that they have not, also while they are empty: to be called before a long replay. */
export function checkHighlights(lab: Lab, highlights: readonly Highlight[]): void {
  for (const highlight of highlights) resolveFields(lab, highlight);
}

function countingMaps(lab: Lab): Highlight[] {
  const counting = lab.maps.filter((map) => map.type.perCpu && map.spec.section === undefined && firstNumber(sampleValue(map)) !== undefined);
  return counting.map((map) => ({ map: lab.mapName(map) }));
}

interface Fields {
  /** What bars are drawn of. */
  readonly field: string;
  /** What stands beside them. */
  readonly shown: readonly string[];
}

function resolveFields(lab: Lab, { map: name, by, fields: wanted, label }: Highlight): Fields {
  const map = lab.map(name);
  const sample = sampleValue(map.map);
  const field = by ?? firstNumber(sample) ?? 'value';
  const shown = wanted ?? Object.keys(sample).filter((candidate) => candidate !== field && isNumber(sample[candidate]));
  const stranger = [field, ...shown].find((candidate) => !Object.hasOwn(sample, candidate));
  if (stranger !== undefined) throw new XdplabError('ERR_LAB', `show: map '${name}' has no field '${stranger}', expected one of ${Object.keys(sample).join(', ')}`);
  if (!isNumber(sample[field])) throw new XdplabError('ERR_LAB', `show: map '${name}': field '${field}' is no number, so no bar can be drawn of it; say which one: by`);
  if (label !== undefined) lookup(lab, label, sampleKey(map.map));
  return { field, shown };
}

function table(lab: Lab, highlight: Highlight): HighlightTable {
  const { map: name, title, label, names, top = DEFAULT_TOP } = highlight;
  const { field, shown } = resolveFields(lab, highlight);
  const map = lab.map(name);
  const entries: HighlightRow[] = [];
  for (const [key, perCpu] of map.writtenEntries()) {
    const all = flatten(map.perCpu ? sumCpus(perCpu) : perCpu);
    const amount = all[field];
    if (!isNumber(amount) || amount <= 0) continue;
    const fields = Object.fromEntries(shown.map((candidate) => [candidate, all[candidate]]));
    entries.push({ label: labelOf(lab, label, names, key), amount: Number(amount), fields });
  }
  entries.sort((a, b) => b.amount - a.amount);
  return {
    title: title ?? name,
    map: name,
    by: field,
    rows: entries.slice(0, top),
    more: Math.max(0, entries.length - top),
    total: entries.reduce((sum, { amount }) => sum + amount, 0),
  };
}

function labelOf(lab: Lab, label: string | undefined, names: Highlight['names'], key: unknown): string {
  const name = names?.get(keyText(key));
  const found = label === undefined ? undefined : lookup(lab, label, key);
  const parts = [name, found === undefined ? undefined : keyText(found)].filter((part) => part !== undefined);
  return parts.length === 0 ? keyText(key) : parts.join('  ');
}

/** The field at `map.field` of the value that the map has for the key. */
function lookup(lab: Lab, path: string, key: unknown): unknown {
  const [name, ...steps] = path.split('.');
  const other: TypedMap = lab.map(name!);
  let value: unknown = other.get(key);
  for (const step of steps) value = isRecord(value) ? value[step] : undefined;
  return value;
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

/** What a value of nothing but zeros reads as: the fields that values have. */
function sampleValue({ spec, type }: BpfMap): Readonly<Record<string, unknown>> {
  if (type.holds === 'devices') return { value: 0 };
  return flatten(valueCodec(spec.btf, spec.valueTypeId, spec.valueBytes).read(new Uint8Array(spec.valueBytes)));
}

function sampleKey({ spec }: BpfMap): unknown {
  return valueCodec(spec.btf, spec.keyTypeId, spec.keyBytes).read(new Uint8Array(spec.keyBytes));
}

function firstNumber(fields: Readonly<Record<string, unknown>>): string | undefined {
  return Object.keys(fields).find((name) => isNumber(fields[name]));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isNumber(value: unknown): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint';
}
