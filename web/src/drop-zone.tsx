/** Files that are dropped anywhere on the page: captures are replayed, objects are attached or take another's place. */
import { signal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { api, type HookName, type LabObject } from './api.ts';
import { attempt, captures, lab, notice, refreshLab } from './model.ts';
import { start } from './run-controls.tsx';

const CAPTURE = /\.(pcap|pcapng|cap)(\.(gz|zst))?$/i;
const OBJECT = /\.o$/i;

/** An object that was uploaded, and is to be attached. */
const arrived = signal<LabObject | undefined>(undefined);
const dragging = signal(false);

async function take(file: File): Promise<void> {
  if (CAPTURE.test(file.name)) {
    const capture = await attempt(() => api.uploadCapture(file));
    if (capture === undefined) return;
    captures.value = await api.captures();
    if (capture.damage !== undefined) notice.value = { text: `${capture.name}: ${capture.damage}`, bad: true };
    await start(capture.id);
  } else if (OBJECT.test(file.name)) arrived.value = await attempt(() => api.uploadObject(file));
  else notice.value = { text: `${file.name}: expected a capture (.pcap, .pcapng, also .gz or .zst) or a compiled object (.bpf.o)`, bad: true };
}

export function DropZone({ children }: { readonly children: ComponentChildren }): JSX.Element {
  return (
    <div
      class={`drop ${dragging.value ? 'dragging' : ''}`}
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
        for (const file of event.dataTransfer?.files ?? []) void take(file);
      }}
    >
      {children}
      {arrived.value === undefined ? null : <Attach object={arrived.value} />}
    </div>
  );
}

/** For who has no mouse: the same by a file dialog. */
export function OpenFile(): JSX.Element {
  return (
    <label class="open-file">
      open a capture or an object…
      <input type="file" accept=".pcap,.pcapng,.cap,.gz,.zst,.o" onChange={({ currentTarget }) => {
        for (const file of currentTarget.files ?? []) void take(file);
        currentTarget.value = '';
      }} />
    </label>
  );
}

const HOOKS_OF_TYPE: Readonly<Record<string, readonly HookName[]>> = { xdp: ['xdp'], sched_cls: ['tc-ingress', 'tc-egress'], sched_act: ['tc-ingress', 'tc-egress'] };

function Attach({ object }: { readonly object: LabObject }): JSX.Element {
  const leave = (): void => void (arrived.value = undefined);
  const attached = lab.value?.objects ?? [];
  const device = lab.value?.devices[0]?.name;
  const then = async (what: () => Promise<string | undefined>): Promise<void> => {
    const text = await attempt(what);
    if (text !== undefined) notice.value = { text, bad: false };
    await refreshLab();
    leave();
  };
  return (
    <dialog open aria-label={`What to do with ${object.name}`}>
      <h2>{object.name}</h2>
      {attached.map(({ id, name }) => (
        <button type="button" key={id} onClick={() => void then(async () => {
          const { keptMaps, freshMaps } = await api.replaceObject(id, object.id);
          return `${object.name} took the place of ${name}: kept ${keptMaps.join(', ') || 'no map'}; fresh ${freshMaps.join(', ') || 'none'}`;
        })}>take the place of {name}, keep its maps</button>
      ))}
      {object.programs.flatMap(({ name, type }) => (HOOKS_OF_TYPE[type] ?? []).map((hook) => (
        <button type="button" key={`${name} ${hook}`} onClick={() => void then(async () => {
          await api.attach({ object: object.id, program: name, hook, ...(device === undefined ? {} : { device }) });
          return `${name} runs at ${hook} of ${device ?? 'the first device'}, behind what is there`;
        })}>attach {name} to {hook} of {device}</button>
      )))}
      {object.programs.every(({ type }) => HOOKS_OF_TYPE[type] === undefined) ? <p>None of its programs runs at a hook here: {object.programs.map(({ name, type }) => `${name} is ${type}`).join(', ') || 'it has none'}.</p> : null}
      <button type="button" onClick={leave}>nothing</button>
    </dialog>
  );
}
