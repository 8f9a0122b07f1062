/** Which capture runs, how fast, and where it is; or which interface is listened to. */
import { computed, signal } from '@preact/signals';
import type { JSX } from 'preact';
import { api, type AttachMode, type CaptureRun, type Run, type WantedLive } from './api.ts';
import { attempt, captures, live, run, tellRun } from './model.ts';
import { count } from './text.ts';

const SPEEDS = ['top', 'original', '10x', '100pps', '1000pps', '10000pps', '100000pps', '1000000pps'] as const;

/** `1000pps` as people say it. */
function paceText(pace: string): string {
  if (pace === 'top') return 'top speed';
  if (pace === 'original') return 'original pace';
  const [, number, unit] = /^([\d.]+)(x|pps)$/.exec(pace) ?? [];
  return unit === 'x' ? `${number}× original` : unit === 'pps' ? `${count(Number(number))} packets/s` : pace;
}

const ATTACH_MODES: readonly AttachMode[] = ['native', 'generic', 'tcx'];

/** A way to run an interface. */
interface LiveChoice {
  readonly value: string;
  readonly title: string;
  readonly wanted: WantedLive;
  /** What it does to packets of others, to be agreed to. */
  readonly warning?: string;
}

const liveChoices = computed((): readonly LiveChoice[] => {
  if (live.value === null) return [];
  const { interface: name, to, attach } = live.value;
  const choice = (wanted: WantedLive, title: string, warning?: string): LiveChoice => ({ value: valueOf(wanted), title: `${name}${title}`, wanted, ...(warning === undefined ? {} : { warning }) });
  return [
    choice({ interface: name }, ', live'),
    ...(to === undefined ? [] : [choice({ interface: name, to }, ` and ${to}, inline`, `From now on packets pass between ${name} and ${to} as the programs say, and what they drop is lost.`)]),
    ...(attach ? ATTACH_MODES.map((mode) => choice({ interface: name, attach: mode }, `, attached ${mode}`, `From now on Linux runs the programs on ${name}, and what they drop is lost; what they redirect leaves by any interface of the machine. They are detached when the run is stopped.`)) : []),
  ];
});

const valueOf = ({ interface: name, to, attach }: WantedLive): string => [name, to === undefined ? '' : `to=${to}`, attach === undefined ? '' : `attach=${attach}`].filter((part) => part !== '').join(' ');
const sourceOf = (one: Run): string => (one.interface === undefined ? one.capture : valueOf(one));

/** The id of a capture, or the value of a way to run an interface. */
const chosen = signal<string | undefined>(undefined);
/** What `start` takes: what was chosen, else what ran last, else the first capture. */
const source = computed(() => chosen.value ?? (run.value && sourceOf(run.value)) ?? captures.value[0]?.id);
const speed = signal<string>('1000pps');
const endless = signal(true);
/** Where a hand holds the slider: the run goes on meanwhile, and is not to pull it away. */
const sought = signal<number | undefined>(undefined);

const hasEnded = (state: string): boolean => state === 'finished' || state === 'stopped' || state === 'failed';

export async function start(from = source.value): Promise<void> {
  if (from === undefined) return;
  const wanted = liveChoices.value.find(({ value }) => value === from);
  if (wanted?.warning !== undefined && !window.confirm(wanted.warning)) return;
  chosen.value = from;
  const current = run.value;
  await attempt(async () => {
    if (current !== undefined && !hasEnded(current.state)) await api.control(current.id, 'stop');
    tellRun(await api.run(wanted?.wanted ?? { capture: from, speed: speed.value, loops: endless.value ? null : 1 }));
  });
}

/** What was not agreed to is not shown as chosen. */
async function choose(list: HTMLSelectElement): Promise<void> {
  await start(list.value);
  list.value = source.value ?? '';
}

/** Packets of an interface come when they come: they can only be listened to, or not. */
export async function pauseOrResume(): Promise<void> {
  const current = run.value;
  if (current === undefined || hasEnded(current.state)) return start();
  const what = current.interface !== undefined ? 'stop' : current.state === 'paused' ? 'resume' : 'pause';
  await attempt(async () => tellRun(await api.control(current.id, what)));
}

async function changeSpeed(value: string): Promise<void> {
  speed.value = value;
  const current = run.value;
  if (current !== undefined && !hasEnded(current.state)) await attempt(async () => tellRun(await api.speed(current.id, value)));
}

async function seek(id: string): Promise<void> {
  const packet = sought.value;
  if (packet !== undefined) await attempt(async () => tellRun(await api.seek(id, packet)));
  sought.value = undefined;
}

/** Fonts do not have them everywhere. */
const SHAPES = { play: 'M1 0 L10 5 L1 10 Z', pause: 'M0 0 H3.5 V10 H0 Z M6.5 0 H10 V10 H6.5 Z', stop: 'M0 0 H10 V10 H0 Z' } as const;

function Icon({ shape }: { readonly shape: keyof typeof SHAPES }): JSX.Element {
  return <svg class="icon" viewBox="0 0 10 10" aria-hidden="true"><path d={SHAPES[shape]} /></svg>;
}

/** Whether it runs or has a pause says the button before it. */
function placeText(one: Run): string {
  const end = hasEnded(one.state) ? `, ${one.state}` : '';
  if (one.interface === undefined) return `${count(one.packet)} / ${count(one.totalPackets)}${one.round > 1 ? `, round ${count(one.round)}` : ''}${end}`;
  const { attach, packets, accounting } = one;
  if (attach !== undefined) return `${count(packets)} packets, by Linux${end}`;
  return `${count(packets)} packets${accounting === undefined || accounting.ringDrops === 0 ? '' : `, ${count(accounting.ringDrops)} lost before`}${end}`;
}

export function RunControls(): JSX.Element {
  const current = run.value;
  const going = current !== undefined && !hasEnded(current.state);
  const isLive = going && current.interface !== undefined;
  const replayed = going && current.interface === undefined ? current : undefined;
  return (
    <div class="run" role="group" aria-label="Run">
      <MainButton current={going ? current : undefined} />
      {isLive ? null : <button type="button" disabled={!going} onClick={() => current && void attempt(async () => tellRun(await api.control(current.id, 'stop')))}><Icon shape="stop" />stop</button>}
      <select aria-label="Packets from" value={source.value ?? ''} onChange={({ currentTarget }) => void choose(currentTarget)}>
        {liveChoices.value.map(({ value, title }) => <option key={value} value={value}>{title}</option>)}
        {captures.value.map(({ id, name }) => <option key={id} value={id}>{name}</option>)}
      </select>
      {isLive ? null : <ReplayControls current={replayed} />}
      <span class="muted place" aria-live="off">{current === undefined ? 'no run yet' : placeText(current)}</span>
    </div>
  );
}

/** Of a run that has not ended. */
interface Going<Kind> {
  readonly current: Kind | undefined;
}

function MainButton({ current }: Going<Run>): JSX.Element {
  const [shape, word] = current === undefined ? ['play', 'start'] as const : current.interface !== undefined ? ['stop', 'stop'] as const : current.state === 'paused' ? ['play', 'resume'] as const : ['pause', 'pause'] as const;
  return <button type="button" class="main" aria-keyshortcuts="Space" title={`${word} (space)`} onClick={() => void pauseOrResume()}><Icon shape={shape} />{word}</button>;
}

function ReplayControls({ current }: Going<CaptureRun>): JSX.Element {
  const shownSpeed = current?.speed ?? speed.value;
  return (
    <>
      <select aria-label="Speed" value={shownSpeed} onChange={(event) => void changeSpeed(event.currentTarget.value)}>
        {[...new Set([...SPEEDS, shownSpeed])].map((one) => <option key={one} value={one}>{paceText(one)}</option>)}
      </select>
      <label title="from the beginning again at its end; for the next start"><input type="checkbox" checked={endless.value} onChange={(event) => (endless.value = event.currentTarget.checked)} /> loop</label>
      <input type="range" aria-label="Place in the capture" aria-valuetext={`packet ${sought.value ?? current?.packet ?? 1}`} min={1} max={Math.max(1, current?.totalPackets ?? 1)} value={sought.value ?? current?.packet ?? 1} disabled={current === undefined}
        onInput={(event) => (sought.value = Number(event.currentTarget.value))} onChange={() => current && void seek(current.id)} />
    </>
  );
}
