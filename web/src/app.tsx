/** One screen: the run above, the path below it, verdicts beside what explains them. */
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { DropZone } from './drop-zone.tsx';
import { MapsView } from './maps-view.tsx';
import { connected, entrance, lab, notice, printed, selected, tab, type Tab } from './model.ts';
import { PacketDetail } from './packet-detail.tsx';
import { PathView } from './path-view.tsx';
import { ProgramsView } from './programs-view.tsx';
import { pauseOrResume, RunControls } from './run-controls.tsx';
import { nextTheme, theme } from './theme.ts';
import { ThroughputView } from './throughput-view.tsx';
import { VerdictList } from './verdict-list.tsx';

const TABS = {
  packet: { title: 'Packet', view: PacketDetail },
  throughput: { title: 'Throughput', view: ThroughputView },
  maps: { title: 'Maps', view: MapsView },
  programs: { title: 'Programs', view: ProgramsView },
  printed: { title: 'Printed', view: Printed },
} as const satisfies Record<Tab, { readonly title: string; readonly view: () => JSX.Element | null }>;
const TAB_NAMES = Object.keys(TABS) as readonly Tab[];

export function App(): JSX.Element {
  useEffect(() => {
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, []);
  if (entrance.value === 'locked') return <Locked />;
  const View = TABS[tab.value].view;
  return (
    <DropZone>
      <header>
        <h1>xdplab</h1>
        <span class="muted name" title={lab.value === undefined ? undefined : [`engine ${lab.value.engine}`, ...lab.value.remarks].join('\n')}>{lab.value?.name ?? 'opening…'}</span>
        <RunControls />
        <span role="status" class={`connection ${connected.value === false ? 'closed' : 'open'}`}>{connected.value === undefined ? 'connecting…' : connected.value ? 'connected' : 'connection lost, trying again…'}</span>
        <button type="button" onClick={nextTheme} title="dark, light, or as the system has it">{theme.value === '' ? '◐' : theme.value === 'dark' ? '●' : '○'}<span class="hidden"> colours: {theme.value || 'as the system'}</span></button>
      </header>
      <Notice />
      <main>
        <section class="path" aria-label="The way of packets"><PathView /></section>
        <section class="verdicts" aria-label="Verdicts"><VerdictList /></section>
        <section class="side">
          <div role="tablist" aria-label="What explains them" class="tabs" onKeyDown={moveTab}>
            {TAB_NAMES.map((name) => (
              <button type="button" role="tab" key={name} id={`tab-${name}`} tabIndex={tab.value === name ? 0 : -1} aria-selected={tab.value === name} aria-controls="panel" onClick={() => (tab.value = name)}>{TABS[name].title}</button>
            ))}
          </div>
          <div role="tabpanel" id="panel" tabIndex={0} aria-labelledby={`tab-${tab.value}`} class="panel"><View /></div>
        </section>
      </main>
    </DropZone>
  );
}

function Locked(): JSX.Element {
  return (
    <main class="locked">
      <h1>xdplab</h1>
      <p>This page needs the token of its server. Open the address that <code>xdplab serve</code> printed, the part behind <code>#</code> too. Each start of the server has another.</p>
    </main>
  );
}

function Notice(): JSX.Element | null {
  const { value } = notice;
  if (value === undefined) return null;
  return (
    <div role="alert" class={`notice ${value.bad ? 'bad' : ''}`}>
      <p>{value.text}</p>
      {value.more === undefined ? null : <pre>{value.more}</pre>}
      <button type="button" onClick={() => (notice.value = undefined)}>close</button>
    </div>
  );
}

/** What programs printed, and the records they sent. */
function Printed(): JSX.Element {
  if (printed.value.length === 0) return <p class="muted">Nothing yet: trace_printk lines, ring-buffer records and perf events come here.</p>;
  return <ol class="printed" reversed>{printed.value.toReversed().slice(0, 200).map(({ time, source, text }, index) => <li key={index}><span class="muted">{time} {source}</span> {text}</li>)}</ol>;
}

/** From tab to tab as people who have no mouse know it: by the arrows, to the first and to the last. */
function moveTab(event: KeyboardEvent): void {
  const at = TAB_NAMES.indexOf(tab.value);
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: -1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  tab.value = TAB_NAMES.at(to % TAB_NAMES.length)!;
  document.getElementById(`tab-${tab.value}`)?.focus();
}

function onKey(event: KeyboardEvent): void {
  const { target } = event;
  if (document.querySelector('dialog[open]') !== null || target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === '/') {
    event.preventDefault();
    document.querySelector<HTMLInputElement>('#filter')?.focus();
  } else if (event.key === ' ' && !(target instanceof HTMLElement && target.closest('button, summary') !== null)) {
    event.preventDefault();
    void pauseOrResume();
  } else if (event.key === 'Escape') selected.value = undefined;
}
