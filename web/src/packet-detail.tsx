/** One packet: what every program said of it and which line it left by, its layers, its bytes before and after. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useMemo } from 'preact/hooks';
import { api, type Rerun } from './api.ts';
import { fateText } from './fate.ts';
import { layersOf, type Field } from './layers.ts';
import { filterText, names, packetOf, records, recordsVersion, run, selected, type KeptPacket } from './model.ts';
import { LOOKS, outcomeOf } from './outcome.ts';
import { count, fileName, NOT_VERIFIED, seconds } from './text.ts';
import { rowAt, type Row } from './verdict-list.tsx';

/** Verdicts of a packet lie together: as many as programs run on it. */
const NEAR = 32;
const BYTES_A_LINE = 16;

/** The bytes that are pointed at, in the text or in the layers: of the packet before, or after. */
const pointed = signal<{ readonly of: Uint8Array; readonly from: number; readonly to: number } | undefined>(undefined);

export function PacketDetail(): JSX.Element {
  // Its bytes may come a moment after its verdict.
  void recordsVersion.value;
  const known = names.value;
  const index = selected.value !== undefined && selected.value >= records.first && selected.value < records.end ? selected.value : undefined;
  const row = index === undefined || known === undefined ? undefined : rowAt(index, known);
  const kept = row && packetOf(row);
  // Verdicts come sixty times a second: what does not change with them is not made anew.
  const taken = useMemo(() => kept && <Bytes kept={kept} />, [kept]);
  if (index === undefined || known === undefined || row === undefined) return <p class="muted">Choose a verdict in the list: its packet is taken apart here.</p>;
  const { packet: number, timestampNs } = row;
  const rows = [];
  for (let at = Math.max(records.first, index - NEAR); at < Math.min(records.end, index + NEAR); at++) if (records.packet(at) === number && records.timestampNs(at) === timestampNs) rows.push(rowAt(at, known));
  return (
    <article>
      <h2>Packet {count(number)}</h2>
      <ol class="decided">
        {rows.map((row) => <Decision key={row.index} row={row} />)}
        {kept === undefined ? null : <li>{fateText(kept, known)}</li>}
      </ol>
      {filterText.value === '' ? null : <p class="muted">Of its verdicts, those that fit the filter.</p>}
      {kept === undefined ? null : <RunsAgain key={`${number} ${timestampNs}`} kept={kept} device={rows[0]?.hook === 'tc-egress' ? undefined : rows[0]?.device} />}
      {taken ?? <p class="muted">Its bytes are not here: of packets that run faster than a thousand a second, a sample is kept.{run.value?.state === 'running' ? ' Slow the run down, or filter.' : ''}</p>}
    </article>
  );
}

/** The packet that is shown, run again by the server: its lines, while nobody has chosen another. */
const again = signal<Rerun | undefined>(undefined);
const againProblem = signal<string | undefined>(undefined);

/** Asks which lines ran: once for a packet. */
function RunsAgain({ kept: { before, captured, timestampNs }, device }: { readonly kept: KeptPacket; readonly device: string | undefined }): JSX.Element | null {
  useEffect(() => {
    let isShown = true;
    again.value = againProblem.value = undefined;
    const hex = Array.from(before, (byte) => byte.toString(16).padStart(2, '0')).join('');
    api.rerun({ bytes: hex, ...(device === undefined ? {} : { device }), time: seconds(timestampNs) }).then(
      (answer) => isShown && (again.value = answer),
      (error: unknown) => isShown && (againProblem.value = error instanceof Error ? error.message : String(error)),
    );
    return () => {
      isShown = false;
      again.value = undefined;
    };
  }, []);
  if (againProblem.value !== undefined) return <p class="muted">Which lines ran is not known: {againProblem.value}</p>;
  return captured > before.length ? <p class="muted">The lines are those that ran for its first {count(before.length)} bytes.</p> : null;
}

/** What its line is to a verdict. A variable that is returned may have got its value anywhere. */
const LINE_IS = { return: 'left by', condition: 'last condition', value: 'value from' } as const;

/** What a program said, and the line that it left by. */
function Decision({ row }: { readonly row: Row }): JSX.Element {
  const outcome = row.fault === undefined ? outcomeOf(row.verdict) : 'aborted';
  const run = again.value?.programs.find(({ program, hook, device }) => program === row.program && hook === row.hook && device === row.device);
  const { line, lineIs = 'return' } = run?.returned ?? {};
  return (
    <li>
      <b>{row.program}</b>{row.verified ? null : <span class="muted"> {NOT_VERIFIED}</span>} at {row.hook} of {row.device}: <span class={`verdict ${outcome}`}>{LOOKS[outcome].sign} {row.verdict}</span>{row.fault === undefined ? '' : `, stopped: ${row.fault}`}, {count(row.length)} bytes
      {run === undefined ? null : (
        <details class="ran">
          <summary>
            {run.verdict === row.verdict ? null : <span class="muted">now it would be {run.verdict}, its maps have changed since: </span>}
            {line === undefined ? `${count(run.instructions)} instructions ran` : <><span class="muted">{LINE_IS[lineIs]} {fileName(line.file)}:{line.line}</span> <code>{line.text.trim()}</code></>}
          </summary>
          <ol class="source" aria-label={`Lines of ${row.program} that ran`}>{run.lines.map((each, at) => <li key={at} class={line !== undefined && each.file === line.file && each.line === line.line ? 'lit' : ''}><span class="muted">{each.line}</span> {each.text.trim()}</li>)}</ol>
          {run.more > 0 ? <p class="muted">and {count(run.more)} more lines</p> : null}
        </details>
      )}
    </li>
  );
}

function Bytes({ kept }: { readonly kept: KeptPacket }): JSX.Element {
  const { before, after, captured, left } = kept;
  const changed = after.length > 0 && !sameBytes(before, after);
  return (
    <>
      <h3>As it came in{changed || after.length === 0 ? '' : ', and as it left'} <span class="muted">{count(captured)} bytes{captured > before.length ? `, the first ${before.length} here` : ''}</span></h3>
      <Dissection bytes={before} />
      {changed ? <><h3>As it left <span class="muted">{count(left)} bytes{left > after.length ? `, the first ${after.length} here` : ''}</span></h3><Dissection bytes={after} isChanged={changes(before, after, left - captured)} /></> : null}
    </>
  );
}

/** Which bytes are others than before. What was put in front, or taken from there, moves the rest: then it is compared from the end. */
function changes(before: Uint8Array, after: Uint8Array, growth: number): (at: number) => boolean {
  const moved = (by: number) => (at: number): boolean => after[at] !== before[at - by];
  const [asItLies, fromTheEnd] = [moved(0), moved(growth)];
  const countOf = (isChanged: (at: number) => boolean): number => after.reduce((sum, _byte, at) => sum + Number(isChanged(at)), 0);
  return countOf(fromTheEnd) < countOf(asItLies) ? fromTheEnd : asItLies;
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, index) => byte === b[index]);

function Dissection({ bytes, isChanged = () => false }: { readonly bytes: Uint8Array; readonly isChanged?: (at: number) => boolean }): JSX.Element {
  const point = ({ from, to }: { readonly from: number; readonly to: number }): void => void (pointed.value = { of: bytes, from, to });
  return (
    <div class="dissection" onPointerLeave={() => (pointed.value = undefined)}>
      <div class="layers">
        {layersOf(bytes).map((layer) => (
          <details key={layer.from} open={layer.fields.length > 0}>
            <summary onPointerEnter={() => point(layer)} onFocus={() => point(layer)}>{layer.name} <span class="muted">{layer.to - layer.from} bytes</span></summary>
            <dl>{layer.fields.map((field) => <FieldRow key={field.name} bytes={bytes} field={field} point={point} />)}</dl>
          </details>
        ))}
      </div>
      <Hex bytes={bytes} isChanged={isChanged} point={point} />
    </div>
  );
}

interface Part {
  readonly bytes: Uint8Array;
  readonly point: (range: { readonly from: number; readonly to: number }) => void;
}

function FieldRow({ bytes, field, point }: Part & { readonly field: Field }): JSX.Element {
  const { value } = pointed;
  const isLit = value !== undefined && value.of === bytes && value.from < field.to && field.from < value.to;
  return <div class={isLit ? 'lit' : ''} onPointerEnter={() => point(field)}><dt>{field.name}</dt><dd>{field.text}</dd></div>;
}

function Hex({ bytes, isChanged, point }: Part & { readonly isChanged: (at: number) => boolean }): JSX.Element {
  const { value } = pointed;
  const look = (at: number): string => `${value?.of === bytes && at >= value.from && at < value.to ? 'lit' : ''} ${isChanged(at) ? 'changed' : ''}`;
  const lines = Array.from({ length: Math.ceil(bytes.length / BYTES_A_LINE) }, (_, line) => line * BYTES_A_LINE);
  return (
    <pre class="hex" aria-label="Bytes" tabIndex={0}>
      {lines.map((start) => (
        <div key={start}>
          <span class="muted">{start.toString(16).padStart(4, '0')} </span>
          {Array.from(bytes.subarray(start, start + BYTES_A_LINE), (byte, offset) => (
            <span key={offset} class={look(start + offset)} onPointerEnter={() => point({ from: start + offset, to: start + offset + 1 })}>{byte.toString(16).padStart(2, '0')} </span>
          ))}
        </div>
      ))}
    </pre>
  );
}
