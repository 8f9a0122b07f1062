/** Which capture runs, how fast, and where it is. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { api } from './api.ts';
import { attempt, captures, run } from './model.ts';
import { count } from './text.ts';

const SPEEDS = ['top', 'original', '10x', '100pps', '1000pps', '10000pps', '100000pps', '1000000pps'] as const;

const chosen = signal<string | undefined>(undefined);
const speed = signal<string>('1000pps');
const endless = signal(true);
/** Where a hand holds the slider: the run goes on meanwhile, and is not to pull it away. */
const sought = signal<number | undefined>(undefined);

const hasEnded = (state: string): boolean => state === 'finished' || state === 'stopped' || state === 'failed';

export async function start(capture = chosen.value ?? captures.value[0]?.id): Promise<void> {
  if (capture === undefined) return;
  chosen.value = capture;
  const current = run.value;
  await attempt(async () => {
    if (current !== undefined && !hasEnded(current.state)) await api.control(current.id, 'stop');
    run.value = await api.run({ capture, speed: speed.value, loops: endless.value ? null : 1 });
  });
}

export async function pauseOrResume(): Promise<void> {
  const current = run.value;
  if (current === undefined || hasEnded(current.state)) return start();
  await attempt(async () => void (run.value = await api.control(current.id, current.state === 'paused' ? 'resume' : 'pause')));
}

async function changeSpeed(value: string): Promise<void> {
  speed.value = value;
  const current = run.value;
  if (current !== undefined && !hasEnded(current.state)) await attempt(async () => void (run.value = await api.speed(current.id, value)));
}

async function seek(id: string): Promise<void> {
  const packet = sought.value;
  if (packet !== undefined) await attempt(async () => void (run.value = await api.seek(id, packet)));
  sought.value = undefined;
}

/** Fonts do not have them everywhere. */
const SHAPES = { play: 'M1 0 L10 5 L1 10 Z', pause: 'M0 0 H3.5 V10 H0 Z M6.5 0 H10 V10 H6.5 Z', stop: 'M0 0 H10 V10 H0 Z' } as const;

function Icon({ shape }: { readonly shape: keyof typeof SHAPES }): JSX.Element {
  return <svg class="icon" viewBox="0 0 10 10" aria-hidden="true"><path d={SHAPES[shape]} /></svg>;
}

export function RunControls(): JSX.Element {
  const current = run.value;
  const going = current !== undefined && !hasEnded(current.state);
  const shownSpeed = going ? current.speed : speed.value;
  return (
    <div class="run" role="group" aria-label="Run">
      <button type="button" class="main" onClick={() => void pauseOrResume()}>{!going ? <><Icon shape="play" />start</> : current.state === 'paused' ? <><Icon shape="play" />resume</> : <><Icon shape="pause" />pause</>}</button>
      <button type="button" disabled={!going} onClick={() => going && void attempt(async () => void (run.value = await api.control(current.id, 'stop')))}><Icon shape="stop" />stop</button>
      <select aria-label="Capture" value={chosen.value ?? current?.capture ?? ''} onChange={(event) => void start(event.currentTarget.value)}>
        {captures.value.map(({ id, name, packets }) => <option key={id} value={id}>{name} ({count(packets)})</option>)}
      </select>
      <select aria-label="Speed" value={shownSpeed} onChange={(event) => void changeSpeed(event.currentTarget.value)}>
        {[...new Set([...SPEEDS, shownSpeed])].map((one) => <option key={one} value={one}>{one}</option>)}
      </select>
      <label><input type="checkbox" checked={endless.value} onChange={(event) => (endless.value = event.currentTarget.checked)} /> again and again</label>
      <input type="range" aria-label="Place in the capture" aria-valuetext={`packet ${sought.value ?? current?.packet ?? 1}`} min={1} max={Math.max(1, current?.totalPackets ?? 1)} value={sought.value ?? current?.packet ?? 1} disabled={!going}
        onInput={(event) => (sought.value = Number(event.currentTarget.value))} onChange={() => going && void seek(current.id)} />
      <span class="muted" aria-live="off">{current === undefined ? 'no run yet' : `${count(current.packet)} of ${count(current.totalPackets)}${current.round > 1 ? `, round ${count(current.round)}` : ''}, ${current.state}`}</span>
    </div>
  );
}
