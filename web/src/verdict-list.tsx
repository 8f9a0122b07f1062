/**
 * Every verdict that came, the newest last: a list of millions of which only the rows in sight exist. It follows the
 * newest until it is scrolled, and again from its end on.
 */
import { computed, signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { outcomeOf, LOOKS } from './outcome.ts';
import { account, applyFilter, choose, filterProblem, filterText, following, names, originNs, packetOf, packets, records, recordsVersion, run, selected } from './model.ts';
import { fateText } from './fate.ts';
import { FILTER_HELP } from './filter.ts';
import { exportCsv, exportPcapng } from './export.ts';
import { OpenFile } from './drop-zone.tsx';
import { count, seconds } from './text.ts';
import type { Names } from './stream.ts';

const ROW_PX = 24;
/** Browsers draw nothing higher than some ten million pixels: above it, a pixel of the scroll bar is more than a row. */
const MOST_PX = 8_000_000;
const WHEEL_ROWS = 3;

const COLUMNS = ['packet', 'time', 'hook', 'program', 'verdict', 'length', 'in the end'] as const;

/** The first row in sight, as a record's index. */
const top = signal(0);
/** Of the list, as it was measured last: whoever asks the page itself makes it lay out all that was changed. */
const heightInSight = signal(30 * ROW_PX);
const rowsInSight = computed(() => Math.max(5, Math.floor(heightInSight.value / ROW_PX)));

export interface Row {
  readonly index: number;
  readonly packet: number;
  readonly timestampNs: bigint;
  readonly device: string;
  readonly hook: string;
  readonly program: string;
  readonly verified: boolean;
  readonly verdict: string;
  readonly length: number;
  readonly fault: string | undefined;
}

/** A record with its names. */
export function rowAt(index: number, known: Names): Row {
  const attachment = known.attachments[records.attachment(index)];
  const code = records.verdict(index);
  const fault = records.fault(index);
  const ifindex = records.ifindex(index);
  return {
    index,
    packet: records.packet(index),
    timestampNs: records.timestampNs(index),
    device: known.devices.find((device) => device.ifindex === ifindex)?.name ?? attachment?.device ?? `ifindex ${ifindex}`,
    hook: attachment?.hook ?? '',
    program: attachment?.program ?? '',
    verified: attachment?.verified ?? true,
    verdict: (attachment && known.verdicts[attachment.hook]?.[attachment.mode]?.[String(code)]) ?? `unknown (${code})`,
    length: records.length(index),
    fault: fault === 0 ? undefined : (known.faults[fault] ?? `fault ${fault}`),
  };
}

/** To the microsecond; after a quarter of an hour to the millisecond. */
const timeText = (sinceNs: bigint): string => seconds(sinceNs).slice(0, sinceNs < 1_000_000_000_000n ? -3 : -6);

export function VerdictList(): JSX.Element {
  void recordsVersion.value;
  const known = names.value;
  const { first, end, size } = records;
  const visible = rowsInSight.value;
  if (following.value) top.value = Math.max(first, end - visible);
  const from = Math.min(Math.max(top.value, first), Math.max(first, end - 1));
  const rows = known === undefined ? [] : Array.from({ length: Math.max(0, Math.min(visible + 1, end - from)) }, (_, offset) => rowAt(from + offset, known));
  const { produced, skipped, dropped } = account();
  return (
    <>
      <FilterBox />
      {run.value?.interface === undefined || run.value.attach === undefined || run.value.state !== 'running' ? null : <p class="muted">Linux runs the programs on {run.value.interface}: it counts their verdicts, and lists none.</p>}
      <p class="muted account" aria-live="off">
        {count(size)} shown of {count(produced)} verdicts{skipped > 0 ? `, ${count(skipped)} do not fit the filter` : ''}{dropped > 0 ? `, ${count(dropped)} were gone before they could be sent` : ''}
        <span class="actions">
          <OpenFile />
          <button type="button" aria-pressed={following.value} onClick={() => (following.value = !following.value)}>{following.value ? 'following' : 'follow'}</button>
          <button type="button" disabled={size === 0} onClick={exportCsv}>CSV</button>
          <button type="button" disabled={packets.size === 0} onClick={exportPcapng}>pcapng</button>
        </span>
      </p>
      <Rows rows={rows} total={size} offset={from - first} />
    </>
  );
}

function FilterBox(): JSX.Element {
  return (
    <form role="search" class="filter" onSubmit={(event) => {
      event.preventDefault();
      applyFilter(new FormData(event.currentTarget).get('filter') as string);
    }}>
      <input id="filter" name="filter" type="search" autocomplete="off" spellcheck={false} aria-label="Filter" title={FILTER_HELP} aria-describedby="filter-help" placeholder="filter ( / ):  drop  tcp  port:443  10.0.0.0/8  pcap: vlan and udp" defaultValue={filterText.value}
        onInput={({ currentTarget }) => currentTarget.value === '' && applyFilter('')} />
      <button type="submit">filter</button>
      <span id="filter-help" role="alert" class="problem">{filterProblem.value ?? ''}</span>
    </form>
  );
}

function Rows({ rows, total, offset }: { readonly rows: readonly Row[]; readonly total: number; readonly offset: number }): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  /** Where the scroll bar was put last: what it tells of that is no hand's doing. */
  const put = useRef(0);
  const height = Math.min(total * ROW_PX, MOST_PX);
  const least = Math.max(0, total - rowsInSight.value);
  useEffect(() => {
    const { current } = box;
    if (current === null) return undefined;
    const observer = new ResizeObserver(() => (heightInSight.value = current.clientHeight));
    observer.observe(current);
    return () => observer.disconnect();
  }, []);
  const place = least === 0 ? 0 : (offset / least) * Math.max(0, height - heightInSight.value);
  // Before it is painted: else rows and scroll bar are a picture apart.
  useLayoutEffect(() => {
    if (box.current === null || Math.abs(put.current - place) <= 1) return;
    box.current.scrollTop = put.current = place;
  });
  const moveTo = (index: number): void => {
    const last = Math.max(records.first, records.end - rowsInSight.value);
    top.value = Math.min(Math.max(records.first, index), last);
    following.value = top.value >= last;
  };
  const select = (index: number): void => {
    if (index < records.first || index >= records.end) return;
    choose(index);
    if (index < top.value) moveTo(index);
    else if (index >= top.value + rowsInSight.value) moveTo(index - rowsInSight.value + 1);
    else following.value = false;
  };
  const KEYS: Readonly<Record<string, () => void>> = {
    ArrowDown: () => select((selected.value ?? top.value - 1) + 1),
    ArrowUp: () => select((selected.value ?? top.value + 1) - 1),
    PageDown: () => moveTo(top.value + rowsInSight.value),
    PageUp: () => moveTo(top.value - rowsInSight.value),
    Home: () => moveTo(records.first),
    End: () => moveTo(records.end),
  };
  const onKey = (event: KeyboardEvent): void => {
    const act = KEYS[event.key];
    if (act === undefined) return;
    event.preventDefault();
    act();
  };
  return (
    <div class="grid" tabIndex={0} role="grid" aria-label="Verdicts" aria-rowcount={total + 1} aria-activedescendant={rows.some(({ index }) => index === selected.value) ? `verdict-${selected.value}` : undefined} onKeyDown={onKey}>
      <div class="row head" role="row" aria-rowindex={1}>{COLUMNS.map((name) => <span key={name} role="columnheader">{name}</span>)}</div>
      <div
        class="rows" ref={box} tabIndex={-1} role="presentation"
        onWheel={(event) => {
          event.preventDefault();
          const rowsMoved = event.deltaMode === 0 ? event.deltaY / ROW_PX : event.deltaY * WHEEL_ROWS;
          moveTo(top.value + (Math.trunc(rowsMoved) || Math.sign(rowsMoved)));
        }}
        onPointerDown={(event) => {
          // A hand on the scroll bar, or a finger anywhere.
          if (event.target === event.currentTarget || event.pointerType === 'touch') following.value = false;
        }}
        onScroll={({ currentTarget }) => {
          if (following.value || Math.abs(currentTarget.scrollTop - put.current) <= 1) return;
          put.current = currentTarget.scrollTop;
          const range = Math.max(1, height - heightInSight.value);
          moveTo(records.first + Math.round((currentTarget.scrollTop / range) * least));
        }}
      >
        <div class="height" role="presentation" style={{ height: `${height}px` }}>
          <div class="window" role="rowgroup" style={{ transform: `translateY(${place}px)` }}>
            {rows.map((row, line) => <VerdictRow key={line} row={row} select={select} />)}
          </div>
        </div>
      </div>
    </div>
  );
}

/** Drawn again when another verdict is chosen, also while the store is empty already: it reads nothing of its record there. */
function VerdictRow({ row, select }: { readonly row: Row; readonly select: (index: number) => void }): JSX.Element {
  const outcome = row.fault === undefined ? outcomeOf(row.verdict) : 'aborted';
  const kept = packetOf(row);
  const fate = kept === undefined || names.value === undefined ? undefined : fateText(kept, names.value);
  return (
    <div
      class={`row ${outcome} ${selected.value === row.index ? 'selected' : ''}`} id={`verdict-${row.index}`} role="row" aria-rowindex={row.index - records.first + 2} aria-selected={selected.value === row.index} title={fate}
      // A mouse takes what is under it now: the list may move before its button is up. A finger may be about to scroll.
      onPointerDown={({ pointerType }) => pointerType !== 'touch' && select(row.index)} onClick={(event) => !(event instanceof PointerEvent && event.pointerType === 'mouse') && select(row.index)}
    >
      <span role="gridcell">{count(row.packet)}{kept === undefined ? null : <i class="has-bytes" title="its bytes are here" />}</span>
      <span role="gridcell">{timeText(row.timestampNs - (originNs.value ?? records.timestampNs(records.first)))}</span>
      <span role="gridcell">{row.device} {row.hook}</span>
      <span role="gridcell">{row.program}</span>
      <span role="gridcell" class="verdict"><b aria-hidden="true">{LOOKS[outcome].sign}</b> {row.verdict}{row.fault === undefined ? '' : ` (${row.fault})`}</span>
      <span role="gridcell">{count(row.length)}</span>
      <span role="gridcell" class="fate">{fate}</span>
    </div>
  );
}
