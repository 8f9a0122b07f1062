/** One packet: what every program said of it, its layers, its bytes before and after. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { layersOf, type Field } from './layers.ts';
import { names, packets, records, recordsVersion, selected, type KeptPacket } from './model.ts';
import { LOOKS, outcomeOf } from './outcome.ts';
import { count } from './text.ts';
import { rowAt } from './verdict-list.tsx';

/** Verdicts of a packet lie together: as many as programs run on it. */
const NEAR = 32;
const BYTES_A_LINE = 16;

/** The bytes that are pointed at, in the text or in the layers. */
const pointed = signal<{ readonly from: number; readonly to: number } | undefined>(undefined);

export function PacketDetail(): JSX.Element {
  const index = selected.value;
  const known = names.value;
  if (index === undefined || known === undefined || index < records.first || index >= records.end) {
    return <p class="muted">Choose a verdict in the list: its packet is taken apart here.</p>;
  }
  // Its bytes may come a moment after its verdict.
  void recordsVersion.value;
  const { packet: number } = rowAt(index, known);
  const rows = [];
  for (let at = Math.max(records.first, index - NEAR); at < Math.min(records.end, index + NEAR); at++) if (records.packet(at) === number && Math.abs(records.seconds(at) - records.seconds(index)) < 1e-9) rows.push(rowAt(at, known));
  const kept = packets.get(number);
  return (
    <article>
      <h2>Packet {count(number)}</h2>
      <ol class="decided">
        {rows.map((row) => {
          const outcome = row.fault === undefined ? outcomeOf(row.verdict) : 'aborted';
          return <li key={row.index} class={outcome}><b>{row.program}</b> at {row.hook} of {row.device}: <span class="verdict">{LOOKS[outcome].sign} {row.verdict}</span>{row.fault === undefined ? '' : `, stopped: ${row.fault}`}, {count(row.length)} bytes</li>;
        })}
        {kept === undefined ? null : <li>{fateText(kept)}</li>}
      </ol>
      {kept === undefined ? <p class="muted">Its bytes are not here: of packets that run faster than a thousand a second, a sample is kept. Slow the run down, or filter.</p> : <Bytes kept={kept} />}
    </article>
  );
}

function fateText({ fate, reason, leftIfindex }: KeptPacket): string {
  const known = names.value!;
  const out = known.devices.find(({ ifindex }) => ifindex === leftIfindex)?.name;
  const why = reason === 0 ? undefined : known.reasons[reason];
  return `${known.fates[fate] ?? fate}${why === undefined ? '' : `, because of ${why}`}${out === undefined ? '' : `, out of ${out}`}`;
}

function Bytes({ kept }: { readonly kept: KeptPacket }): JSX.Element {
  const changed = kept.after.length > 0 && !sameBytes(kept.before, kept.after);
  return (
    <>
      <h3>As it came in{changed ? '' : ', and as it left'} <span class="muted">{count(kept.captured)} bytes{kept.captured > kept.before.length ? `, the first ${kept.before.length} here` : ''}</span></h3>
      <Dissection bytes={kept.before} />
      {changed ? <><h3>As it left <span class="muted">{count(kept.left)} bytes</span></h3><Dissection bytes={kept.after} than={kept.before} /></> : null}
    </>
  );
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, index) => byte === b[index]);

function Dissection({ bytes, than }: { readonly bytes: Uint8Array; readonly than?: Uint8Array }): JSX.Element {
  return (
    <div class="dissection" onPointerLeave={() => (pointed.value = undefined)}>
      <div class="layers">
        {layersOf(bytes).map((layer) => (
          <details key={layer.from} open={layer.fields.length > 0}>
            <summary onPointerEnter={() => (pointed.value = layer)}>{layer.name} <span class="muted">{layer.to - layer.from} bytes</span></summary>
            <dl>{layer.fields.map((field) => <FieldRow key={field.name} field={field} />)}</dl>
          </details>
        ))}
      </div>
      <Hex bytes={bytes} than={than} />
    </div>
  );
}

function FieldRow({ field }: { readonly field: Field }): JSX.Element {
  const { value } = pointed;
  return <div tabIndex={0} class={value !== undefined && value.from <= field.from && field.to <= value.to ? 'lit' : ''} onPointerEnter={() => (pointed.value = field)} onFocus={() => (pointed.value = field)}><dt>{field.name}</dt><dd>{field.text}</dd></div>;
}

function Hex({ bytes, than }: { readonly bytes: Uint8Array; readonly than: Uint8Array | undefined }): JSX.Element {
  const { value } = pointed;
  const look = (at: number): string => `${value !== undefined && at >= value.from && at < value.to ? 'lit' : ''} ${than !== undefined && bytes[at] !== than[at] ? 'changed' : ''}`;
  const lines = Array.from({ length: Math.ceil(bytes.length / BYTES_A_LINE) }, (_, line) => line * BYTES_A_LINE);
  return (
    <pre class="hex" aria-label="Bytes">
      {lines.map((start) => (
        <div key={start}>
          <span class="muted">{start.toString(16).padStart(4, '0')} </span>
          {Array.from(bytes.subarray(start, start + BYTES_A_LINE), (byte, offset) => (
            <span key={offset} class={look(start + offset)} onPointerEnter={() => (pointed.value = { from: start + offset, to: start + offset + 1 })}>{byte.toString(16).padStart(2, '0')} </span>
          ))}
        </div>
      ))}
    </pre>
  );
}
