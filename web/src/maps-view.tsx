/** The lab's maps: typed tables that follow what programs write, and can be written. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { api, type LabMap, type MapEntry } from './api.ts';
import { attempt, lab, openTab } from './model.ts';
import { count, plain } from './text.ts';

const REFRESH_MS = 1000;
const PAGE = 200;
/** Points of a sparkline. */
const HISTORY = 40;

const maps = signal<readonly LabMap[]>([]);
const chosen = signal<number | undefined>(undefined);
const page = signal(0);
const table = signal<{ readonly map: LabMap; readonly entries: readonly MapEntry[]; readonly more: boolean } | undefined>(undefined);
/** Of the chosen map: the sum of each value's numbers, over the last refreshes. */
const history = new Map<string, number[]>();

async function refresh(): Promise<void> {
  maps.value = await api.maps();
  const wanted = chosen.value;
  const at = page.value;
  // Another lab, or an object in another's place, has other maps.
  const id = (maps.value.find((map) => map.id === wanted) ?? maps.value.find(({ readable }) => readable))?.id;
  if (id === undefined) return void (table.value = undefined);
  const { entries, more, ...map } = await api.entries(id, at * PAGE, PAGE);
  if (chosen.value !== wanted || page.value !== at) return;
  if (table.value?.map.id !== id) history.clear();
  for (const { key, value } of entries) {
    const points = history.get(plain(key)) ?? [];
    history.set(plain(key), [...points, numbersIn(value)].slice(-HISTORY));
  }
  table.value = { map, entries, more };
}

function choose(id: number): void {
  chosen.value = id;
  page.value = 0;
  table.value = undefined;
  void attempt(refresh);
}

/** Opens the map that a summary is of: by its name, or its object's and its own. */
export function openMap(title: string): Promise<void> {
  openTab('maps');
  return attempt(async () => {
    maps.value = await api.maps();
    const map = maps.value.find(({ name, readable }) => readable && (name === title || title.endsWith(`:${name}`)));
    if (map !== undefined) choose(map.id);
  });
}

export function MapsView(): JSX.Element {
  useEffect(() => {
    void attempt(refresh);
    const timer = window.setInterval(() => void refresh().catch(() => {}), REFRESH_MS);
    return () => window.clearInterval(timer);
  }, [lab.value?.epoch]);
  const shown = table.value;
  return (
    <div class="maps">
      <ul class="map-list" aria-label="Maps" onKeyDown={moveMap}>
        {maps.value.map(({ id, name, type, size, readable }) => (
          <li key={id}><button type="button" disabled={!readable} title={readable ? undefined : 'what is in it is for whoever consumes it'} tabIndex={shown === undefined || shown.map.id === id ? 0 : -1} aria-pressed={shown?.map.id === id} onClick={() => choose(id)}>{name} <span class="muted">{type}, {count(size)}</span></button></li>
        ))}
      </ul>
      {shown === undefined ? null : <Table {...shown} />}
    </div>
  );
}

/** From map to map by the arrows. */
function moveMap(event: KeyboardEvent & { readonly currentTarget: HTMLElement }): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const buttons = [...event.currentTarget.querySelectorAll<HTMLButtonElement>('button:enabled')];
  const next = buttons[buttons.indexOf(document.activeElement as HTMLButtonElement) + step];
  next?.focus();
  next?.click();
}

/** A column of a table: a field of the value, or the whole of it, on a CPU where each has its own. */
interface Column {
  readonly title: string;
  readonly of: (value: unknown) => unknown;
}

/** Wider structs are told in words. */
const MOST_FIELDS = 8;

function columnsOf(map: LabMap, value: unknown): readonly Column[] {
  const cpus = map.perCpu && Array.isArray(value) ? value.length : 0;
  const own = (cpu: number) => (whole: unknown): unknown => (cpus === 0 ? whole : (whole as readonly unknown[])[cpu]);
  return Array.from({ length: Math.max(1, cpus) }, (_, cpu) => {
    const first = own(cpu)(value);
    const place = cpus > 1 ? `CPU ${cpu}` : '';
    const fields = typeof first === 'object' && first !== null && !Array.isArray(first) ? Object.keys(first) : [];
    if (fields.length === 0 || fields.length > MOST_FIELDS) return [{ title: place || 'value', of: own(cpu) }];
    return fields.map((field) => ({ title: [field, place].filter(Boolean).join(', '), of: (whole: unknown) => (own(cpu)(whole) as Readonly<Record<string, unknown>> | null)?.[field] }));
  }).flat();
}

function Table({ map, entries, more }: { readonly map: LabMap; readonly entries: readonly MapEntry[]; readonly more: boolean }): JSX.Element {
  const columns = columnsOf(map, entries[0]?.value);
  return (
    <section aria-label={map.name}>
      <p class="muted">{map.key} → {map.value}, room for {count(map.maxEntries)}</p>
      {entries.length === 0 ? <p>No entries.</p> : (
        <table>
          <thead><tr><th>key</th><th><span class="hidden">over time</span></th>{columns.map(({ title }) => <th key={title}>{title}</th>)}<th><span class="hidden">change</span></th></tr></thead>
          <tbody>{entries.map((entry) => <Entry key={plain(entry.key)} map={map} entry={entry} columns={columns} />)}</tbody>
        </table>
      )}
      {page.value > 0 || more ? <p><button type="button" disabled={page.value === 0} onClick={() => { page.value--; void attempt(refresh); }}>earlier</button> <button type="button" disabled={!more} onClick={() => { page.value++; void attempt(refresh); }}>later</button></p> : null}
      {map.writable && !hasAllKeys(map) ? <NewEntry map={map} /> : null}
    </section>
  );
}

/** Of an array, every key is there, and stays. */
const hasAllKeys = ({ type }: LabMap): boolean => type.includes('array');

const editing = signal<string | undefined>(undefined);

function Entry({ map, entry: { key, value }, columns }: { readonly map: LabMap; readonly entry: MapEntry; readonly columns: readonly Column[] }): JSX.Element {
  const name = plain(key);
  const isEdited = editing.value === `${map.id} ${name}`;
  return (
    <tr>
      <th scope="row">{name}</th>
      <td><Sparkline points={history.get(name) ?? []} /></td>
      {isEdited ? <td colSpan={columns.length}><EditValue map={map} name={name} entry={{ key, value }} /></td> : columns.map(({ title, of }) => <td key={title}>{plain(of(value) ?? '')}</td>)}
      <td class="change">
        {map.writable && !isEdited ? <button type="button" onClick={() => (editing.value = `${map.id} ${name}`)} aria-label={`edit ${name}`}>edit</button> : null}
        {map.writable && !hasAllKeys(map) ? <button type="button" onClick={() => void attempt(async () => { await api.remove(map.id, key); await refresh(); })} aria-label={`delete ${name}`} title="delete">✕</button> : null}
      </td>
    </tr>
  );
}

/** Enter writes, Escape leaves it as it is. */
function EditValue({ map, name, entry: { key, value } }: { readonly map: LabMap; readonly name: string; readonly entry: MapEntry }): JSX.Element {
  const text = useRef(typeof value === 'string' ? value : JSON.stringify(value, undefined, 1)).current;
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => box.current?.focus(), []);
  return (
    <form
      class="edit"
      onSubmit={(event) => {
        event.preventDefault();
        void attempt(async () => {
          await api.write(map.id, key, parse(new FormData(event.currentTarget).get('value') as string));
          editing.value = undefined;
          await refresh();
        });
      }}
      onKeyDown={(event) => {
        if (event.key === 'Escape') editing.value = undefined;
        else if (event.key !== 'Enter' || event.shiftKey || !(event.target instanceof HTMLTextAreaElement)) return;
        else event.currentTarget.requestSubmit();
        event.preventDefault();
      }}
    >
      <textarea ref={box} name="value" rows={text.split('\n').length} spellcheck={false} aria-label={`value of ${name}`} defaultValue={text} />
      <button type="submit">write</button> <button type="button" onClick={() => (editing.value = undefined)}>cancel</button>
    </form>
  );
}

function NewEntry({ map }: { readonly map: LabMap }): JSX.Element {
  return (
    <form class="new-entry" onSubmit={(event) => {
      event.preventDefault();
      const form = event.currentTarget;
      const data = new FormData(form);
      void attempt(async () => {
        await api.write(map.id, parse(data.get('key') as string), parse(data.get('value') as string));
        form.reset();
        await refresh();
      });
    }}>
      <input name="key" aria-label="key" placeholder={`key: ${map.key}`} required /><input name="value" aria-label="value" placeholder={`value: ${map.value}`} required /><button type="submit">add</button>
    </form>
  );
}

/** JSON, or a word: an address, a prefix, a name. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text.trim();
  }
}

function numbersIn(value: unknown): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'string' && /^\d+$/.test(value)) return Number(value);
  return typeof value === 'object' && value !== null ? Object.values(value).reduce((sum: number, each) => sum + numbersIn(each), 0) : 0;
}

const SPARK = { width: 80, height: 18 } as const;

function Sparkline({ points }: { readonly points: readonly number[] }): JSX.Element | null {
  const changes = points.slice(1).map((point, index) => point - points[index]!);
  const most = Math.max(...changes.map(Math.abs));
  if (changes.length === 0 || most === 0) return null;
  const at = changes.map((change, index) => `${((index / Math.max(1, HISTORY - 2)) * SPARK.width).toFixed(1)},${(SPARK.height - 1 - (Math.max(0, change) / most) * (SPARK.height - 2)).toFixed(1)}`);
  return <svg class="spark" width={SPARK.width} height={SPARK.height} aria-hidden="true"><polyline points={at.join(' ')} /></svg>;
}
