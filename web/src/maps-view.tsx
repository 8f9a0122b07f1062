/** The lab's maps: typed tables that follow what programs write, and can be written. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { api, type LabMap, type MapEntry } from './api.ts';
import { attempt, lab } from './model.ts';
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

export function MapsView(): JSX.Element {
  useEffect(() => {
    void attempt(refresh);
    const timer = window.setInterval(() => void refresh().catch(() => {}), REFRESH_MS);
    return () => window.clearInterval(timer);
  }, [lab.value?.epoch]);
  const shown = table.value;
  return (
    <div class="maps">
      <ul class="map-list" aria-label="Maps">
        {maps.value.map(({ id, name, type, size, readable }) => (
          <li key={id}><button type="button" disabled={!readable} aria-pressed={shown?.map.id === id} onClick={() => choose(id)}>{name} <span class="muted">{type}, {count(size)}</span></button></li>
        ))}
      </ul>
      {shown === undefined ? null : <Table {...shown} />}
    </div>
  );
}

function Table({ map, entries, more }: { readonly map: LabMap; readonly entries: readonly MapEntry[]; readonly more: boolean }): JSX.Element {
  const cpus = map.perCpu && Array.isArray(entries[0]?.value) ? (entries[0].value as unknown[]).length : 0;
  return (
    <section aria-label={map.name}>
      <p class="muted">{map.key} → {map.value}, room for {count(map.maxEntries)}</p>
      <table>
        <thead><tr><th>key</th>{cpus === 0 ? <th>value</th> : Array.from({ length: cpus }, (_, cpu) => <th key={cpu}>CPU {cpu}</th>)}<th><span class="hidden">over time</span></th><th><span class="hidden">change</span></th></tr></thead>
        <tbody>{entries.map((entry) => <Entry key={plain(entry.key)} map={map} entry={entry} cpus={cpus} />)}</tbody>
      </table>
      {page.value > 0 || more ? <p><button type="button" disabled={page.value === 0} onClick={() => { page.value--; void attempt(refresh); }}>earlier</button> <button type="button" disabled={!more} onClick={() => { page.value++; void attempt(refresh); }}>later</button></p> : null}
      {map.writable ? <NewEntry map={map} /> : null}
    </section>
  );
}

const editing = signal<string | undefined>(undefined);

function Entry({ map, entry: { key, value }, cpus }: { readonly map: LabMap; readonly entry: MapEntry; readonly cpus: number }): JSX.Element {
  const name = plain(key);
  const isEdited = editing.value === `${map.id} ${name}`;
  const write = (event: SubmitEvent & { readonly currentTarget: HTMLFormElement }): void => {
    event.preventDefault();
    const text = new FormData(event.currentTarget).get('value') as string;
    void attempt(async () => {
      await api.write(map.id, key, parse(text));
      editing.value = undefined;
      await refresh();
    });
  };
  return (
    <tr>
      <th scope="row">{name}</th>
      {isEdited
        ? <td colSpan={Math.max(1, cpus)}><form onSubmit={write}><input name="value" aria-label={`value of ${name}`} autofocus defaultValue={typeof value === 'string' ? value : JSON.stringify(value)} /><button type="submit">write</button><button type="button" onClick={() => (editing.value = undefined)}>leave</button></form></td>
        : cpus === 0 ? <td>{plain(value)}</td> : (value as unknown[]).map((each, cpu) => <td key={cpu}>{plain(each)}</td>)}
      <td><Sparkline points={history.get(name) ?? []} /></td>
      <td class="change">
        {map.writable && !isEdited ? <button type="button" onClick={() => (editing.value = `${map.id} ${name}`)} aria-label={`edit ${name}`}>edit</button> : null}
        {map.writable && !map.type.includes('array') ? <button type="button" onClick={() => void attempt(async () => { await api.remove(map.id, key); await refresh(); })} aria-label={`delete ${name}`}>✕</button> : null}
      </td>
    </tr>
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
