/** Files that are dropped anywhere on the page: captures are replayed, objects are attached or take another's place. */
import { signal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { api, type HookName, type LabObject } from './api.ts';
import { attempt, captures, lab, notice, refreshLab } from './model.ts';
import { start } from './run-controls.tsx';

const CAPTURE = /\.(pcap|pcapng|cap)(\.(gz|zst))?$/i;
const OBJECT = /\.o$/i;

/** Objects that were uploaded, and are to be attached, one after the other. */
const arrived = signal<readonly LabObject[]>([]);
const dragging = signal(false);

async function take(file: File): Promise<void> {
  if (CAPTURE.test(file.name)) {
    const capture = await attempt(() => api.uploadCapture(file));
    if (capture === undefined) return;
    captures.value = await api.captures();
    await start(capture.id);
    if (capture.damage !== undefined) notice.value = { text: `${capture.name}: ${capture.damage}`, bad: true };
  } else if (OBJECT.test(file.name)) {
    const object = await attempt(() => api.uploadObject(file));
    if (object !== undefined) arrived.value = [...arrived.value, object];
  } else notice.value = { text: `${file.name}: expected a capture (.pcap, .pcapng, also .gz or .zst) or a compiled object (.bpf.o)`, bad: true };
}

/** Objects first: a capture that comes with them is to run through them. */
async function takeAll(files: readonly File[]): Promise<void> {
  for (const file of files.toSorted((a, b) => Number(OBJECT.test(b.name)) - Number(OBJECT.test(a.name)))) await take(file);
}

export function DropZone({ children }: { readonly children: ComponentChildren }): JSX.Element {
  return (
    <div
      class={`page ${dragging.value ? 'dragging' : ''}`}
      onDragOver={(event) => {
        event.preventDefault();
        dragging.value = true;
      }}
      onDragLeave={(event) => {
        if (event.relatedTarget === null) dragging.value = false;
      }}
      onDrop={(event) => {
        event.preventDefault();
        dragging.value = false;
        void takeAll([...(event.dataTransfer?.files ?? [])]);
      }}
    >
      {children}
      {arrived.value[0] === undefined ? null : <Attach key={arrived.value[0].id} object={arrived.value[0]} />}
    </div>
  );
}

/** The same by a file dialog. */
export function OpenFile(): JSX.Element {
  return (
    <label class="open-file" title="a capture (.pcap, .pcapng) to run, or a compiled object (.bpf.o) to attach; or drop it anywhere">
      open a file…
      <input type="file" aria-label="open a capture or an object" accept=".pcap,.pcapng,.cap,.gz,.zst,.o" onChange={({ currentTarget }) => {
        void takeAll([...(currentTarget.files ?? [])]);
        currentTarget.value = '';
      }} />
    </label>
  );
}

const HOOKS_OF_TYPE: Readonly<Record<string, readonly HookName[]>> = { xdp: ['xdp'], sched_cls: ['tc-ingress', 'tc-egress'], sched_act: ['tc-ingress', 'tc-egress'] };

function Attach({ object }: { readonly object: LabObject }): JSX.Element {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => box.current?.showModal(), []);
  const leave = (): void => void (arrived.value = arrived.value.slice(1));
  const { objects = [], devices = [], attachments = [] } = lab.value ?? {};
  const hasProgram = (wanted: string): boolean => object.programs.some(({ name }) => name === wanted);
  const replaceable = objects.filter(({ id }) => attachments.every((one) => one.object !== id || hasProgram(one.program)));
  const [device, setDevice] = useState(devices[0]?.name);
  const then = async (what: () => Promise<string>): Promise<void> => {
    const text = await attempt(what);
    leave();
    if (text === undefined) return;
    await attempt(refreshLab);
    notice.value = { text, bad: false };
  };
  return (
    <dialog ref={box} aria-label={`What to do with ${object.name}`} onClose={leave}>
      <h2>{object.name}</h2>
      {replaceable.map(({ id, name }) => (
        <button type="button" key={id} onClick={() => void then(async () => {
          const { keptMaps, freshMaps } = await api.replaceObject(id, object.id);
          return `${object.name} took the place of ${name}: kept ${keptMaps.join(', ') || 'no map'}; fresh ${freshMaps.join(', ') || 'none'}`;
        })}>replace {name}, keep its maps</button>
      ))}
      {devices.length < 2 ? null : <label>device <select value={device} onChange={({ currentTarget }) => setDevice(currentTarget.value)}>{devices.map(({ name }) => <option key={name}>{name}</option>)}</select></label>}
      {object.programs.flatMap(({ name, type }) => (HOOKS_OF_TYPE[type] ?? []).map((hook) => (
        <button type="button" key={`${name} ${hook}`} onClick={() => void then(async () => {
          await api.attach({ object: object.id, program: name, hook, ...(device === undefined ? {} : { device }) });
          return `${name} runs at ${hook} of ${device ?? 'the first device'}, behind what is there`;
        })}>attach {name} to {hook} of {device}</button>
      )))}
      {object.programs.every(({ type }) => HOOKS_OF_TYPE[type] === undefined) ? <p>None of its programs runs at a hook here: {object.programs.map(({ name, type }) => `${name} is ${type}`).join(', ') || 'it has none'}.</p> : null}
      <button type="button" onClick={leave}>cancel</button>
    </dialog>
  );
}
