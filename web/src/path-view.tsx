/**
 * The way of packets as it is now: devices, the programs at their hooks, and where packets go from there, with rates on
 * the edges. A device is a row in columns: in, XDP, TC ingress, host, TC egress. Below are the devices that packets only
 * leave through, and at their end the backends with their shares.
 */
import type { JSX } from 'preact';
import type { Attachment, Highlight, HookName, HookStatistics, Outcome, Statistics } from './api.ts';
import { openMap } from './maps-view.tsx';
import { lab, latest, openTab, rateOf } from './model.ts';
import { LOOKS } from './outcome.ts';
import { count, NOT_VERIFIED, percent, short } from './text.ts';

interface Box {
  readonly x: number;
  readonly y: number;
  readonly title: string;
  readonly lines: readonly string[];
  /** Has the last line. */
  readonly note?: string;
  readonly faint?: boolean;
  readonly height?: number;
}

type Point = readonly [number, number];

interface Edge {
  readonly points: readonly Point[];
  readonly outcome: Outcome;
  readonly rate: number;
  /** Device and hook that it leaves. */
  readonly from?: string;
  readonly label?: { readonly text: string; readonly at: Point; readonly anchor: 'start' | 'middle' };
}

const WIDTH = 770;
const BOX = { width: 114, height: 58 } as const;
const ROW = 122;
const WAY_HEIGHT = 17;
const TOP = 6;
/** Of a device that packets leave through, and of a backend. */
const OUT = { height: 44, gap: 8 } as const;
/** Of a line in a box, in letters. */
const LONGEST = 16;
const BACKEND_HEIGHT = 16;
const MOST_BACKENDS = 8;
/** Of a list beside the picture. */
const MOST_ROWS = 4;
const COLUMNS = { in: 4, xdp: 162, 'tc-ingress': 320, host: 478, out: 636 } as const;
const HOOK_TITLES: Readonly<Record<HookName, string>> = { xdp: 'XDP', 'tc-ingress': 'TC ingress', 'tc-egress': 'TC egress' };
const GOES_ON: readonly Outcome[] = ['next', 'leave', 'pass'];
/** Dots on an edge take so long from end to end, slower where less goes. */
const SLOWEST_S = 4;
const FASTEST_S = 0.8;

const placeText = (device: string, hook?: HookName | 'host'): string => (hook === undefined ? device : `${device} ${hook === 'host' ? hook : HOOK_TITLES[hook]}`);

/** Those in slots of maps run behind a redirect. */
const isOnPath = ({ slots }: Attachment): boolean => slots === undefined;
const isHook = (hook: HookName, device: string) => (one: HookStatistics): boolean => one.hook === hook && one.device === device && one.slots === undefined;
const sumOf = (outcomes: readonly Outcome[], hook: HookStatistics | undefined): number => (hook?.verdicts ?? []).reduce((sum, { outcome, packets }) => sum + (outcomes.includes(outcome) ? packets : 0), 0);

/** Whether a hook has ever decided so: what is drawn for it stays, so that the picture does not jump. */
const hasDecided = (device: string, hook: HookName, outcomes: readonly Outcome[]): boolean => sumOf(outcomes, latest.value?.statistics.hooks.find(isHook(hook, device))) > 0;

/** Packets a second that a hook decided so. */
const hookRate = (device: string, hook: HookName, outcomes: readonly Outcome[]): number => rateOf((statistics) => sumOf(outcomes, statistics.hooks.find(isHook(hook, device))));

export function PathView(): JSX.Element {
  const sample = latest.value;
  if (lab.value === undefined) return <p class="muted">…</p>;
  const { devices, attachments } = lab.value;
  const isSeen = (name: string): boolean => attachments.some(({ device }) => device === name) || (sample?.statistics.devices.some(({ device, rxPackets }) => device === name && rxPackets > 0) ?? false);
  const isLeft = (name: string): boolean => sample?.statistics.devices.some(({ device, txPackets }) => device === name && txPackets > 0) ?? false;
  const drawing: Drawing = { boxes: [], edges: [], shares: [], height: TOP };
  const seen = devices.map(({ name }) => name).filter(isSeen);
  for (const name of seen) drawDevice(name, drawing);
  const highlights = sample?.statistics.highlights ?? [];
  const backends = highlights.find(({ title }) => /backend/i.test(title));
  const left = devices.map(({ name }) => name).filter((name) => isLeft(name) && !isSeen(name));
  drawOut(left, seen, backends, drawing);
  const { boxes, edges, shares, height } = drawing;
  return (
    <div class="way-and-backends">
      <div class="way-and-totals">
        <div class="way">
          <svg viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={[describe(edges, shares), ...attachments.filter(isOnPath).filter(({ verified }) => !verified).map(({ program }) => `${program} is ${NOT_VERIFIED}`)].join(', ')}>
            {edges.map((edge, index) => <EdgeView key={index} edge={edge} />)}
            {boxes.map((box, index) => <BoxView key={index} box={box} />)}
            {shares.map((share) => <ShareView key={share.label} share={share} />)}
          </svg>
        </div>
        {sample === undefined ? null : <Totals statistics={sample.statistics} />}
      </div>
      <div class="backends">
        {highlights.filter((one) => one !== backends || left.length === 0).map(({ title, map, rows: items, total, more }) => (
          <figure key={title}>
            <figcaption><button type="button" title={`the map ${map}`} onClick={() => void openMap(map)}>{title}</button></figcaption>
            {items.slice(0, MOST_ROWS).map(({ label, amount }) => {
              const part = percent(total === 0 ? 0 : amount / total);
              return <div key={label} class="share" title={`${label}: ${part}`} style={{ '--part': part.replace(' ', '') }}><span>{label}</span><span>{part}</span></div>;
            })}
            {more + Math.max(0, items.length - MOST_ROWS) > 0 ? <p class="muted">and {count(more + Math.max(0, items.length - MOST_ROWS))} more</p> : null}
          </figure>
        ))}
        <button type="button" onClick={() => openTab('maps')}>all maps</button>
      </div>
    </div>
  );
}

interface Share {
  readonly y: number;
  readonly label: string;
  readonly part: number;
}

interface Drawing {
  readonly boxes: Box[];
  readonly edges: Edge[];
  readonly shares: Share[];
  height: number;
}

const rightOf = (x: number, y: number): Point => [x + BOX.width, y];

function drawDevice(device: string, drawing: Drawing): void {
  const { boxes, edges } = drawing;
  const y = drawing.height;
  const middle = y + BOX.height / 2;
  const attached = (hook: HookName): readonly Attachment[] => (lab.value?.attachments ?? []).filter((one) => one.device === device && one.hook === hook && isOnPath(one));
  const along = (from: Point, x: number, rate: number, hook?: HookName | 'host'): Edge => ({ points: [from, [x, middle]], from: placeText(device, hook), outcome: 'pass', rate, ...(rate > 0 ? { label: { text: short(rate), at: [(from[0] + x) / 2, middle - 8], anchor: 'middle' } as const } : {}) });
  const received = rateOf((now) => now.devices.find((one) => one.device === device)?.rxPackets);
  boxes.push({ x: COLUMNS.in, y, title: device, lines: [`${short(received)} packets/s`] });
  let from = rightOf(COLUMNS.in, middle);
  let arriving = received;
  let left: HookName | undefined;
  let ways = 0;
  for (const hook of ['xdp', 'tc-ingress'] as const) {
    const programs = attached(hook);
    if (programs.length === 0) continue;
    const x = COLUMNS[hook];
    boxes.push(hookBox(hook, programs, x, y));
    edges.push(along(from, x, arriving, left));
    ways = Math.max(ways, leaves(device, hook, x, y, edges));
    arriving = hookRate(device, hook, GOES_ON);
    from = rightOf(x, middle);
    left = hook;
  }
  boxes.push({ x: COLUMNS.host, y, title: 'host', lines: ['the stack'], faint: true });
  edges.push(along(from, COLUMNS.host, arriving, left));
  const egress = attached('tc-egress');
  if (egress.length > 0) {
    boxes.push(hookBox('tc-egress', egress, COLUMNS.out, y));
    edges.push(along(rightOf(COLUMNS.host, middle), COLUMNS.out, rateOf((now) => now.hooks.find(isHook('tc-egress', device))?.packets), 'host'));
    ways = Math.max(ways, leaves(device, 'tc-egress', COLUMNS.out, y, edges));
  }
  drawing.height = y + Math.max(ROW, BOX.height + (ways + 1) * WAY_HEIGHT);
}

/** How many of them nobody verified is said where any is. */
function hookBox(hook: HookName, programs: readonly Attachment[], x: number, y: number): Box {
  const unverified = programs.filter(({ verified }) => !verified).length;
  const note = unverified === programs.length ? NOT_VERIFIED : `${unverified} ${NOT_VERIFIED}`;
  return { x, y, title: HOOK_TITLES[hook], lines: programs.map(({ program }) => program), ...(unverified === 0 ? {} : { note }) };
}

/** Devices that packets only leave through: the counters do not say from where, only redirects go there. Backends are behind the first. */
function drawOut(left: readonly string[], seen: readonly string[], backends: Highlight | undefined, drawing: Drawing): void {
  const { boxes, edges, shares } = drawing;
  const redirecting = seen.findIndex((device) => hasDecided(device, 'xdp', ['redirect']) || hasDecided(device, 'tc-ingress', ['redirect']));
  const top = drawing.height;
  left.forEach((device, index) => {
    const y = top + index * (OUT.height + OUT.gap);
    const middle = y + OUT.height / 2;
    const rate = rateOf((now) => now.devices.find((one) => one.device === device)?.txPackets);
    boxes.push({ x: COLUMNS['tc-ingress'], y, title: device, lines: [`${short(rate)} packets/s`], height: OUT.height });
    if (redirecting >= 0) edges.push({ points: [[COLUMNS.xdp + 8, TOP + redirecting * ROW + BOX.height], [COLUMNS.xdp + 8, middle], [COLUMNS['tc-ingress'], middle]], outcome: 'redirect', rate });
    drawing.height = y + OUT.height + OUT.gap;
  });
  if (backends === undefined || left.length === 0) return;
  const rows = backends.rows.slice(0, MOST_BACKENDS);
  const rate = rateOf((now) => now.devices.find((one) => one.device === left[0])?.txPackets);
  rows.forEach(({ label, amount }, index) => {
    const y = top + index * BACKEND_HEIGHT + BACKEND_HEIGHT / 2;
    const part = backends.total === 0 ? 0 : amount / backends.total;
    shares.push({ y, label, part });
    edges.push({ points: [rightOf(COLUMNS['tc-ingress'], top + OUT.height / 2), [COLUMNS.host - 6, y]], outcome: 'redirect', rate: rate * part });
  });
  drawing.height = Math.max(drawing.height, top + rows.length * BACKEND_HEIGHT + 4);
}

/** What does not go on from a hook: down and out of the picture, with its sign. How many ways there are. */
function leaves(device: string, hook: HookName, x: number, y: number, edges: Edge[]): number {
  const ways = (['drop', 'redirect', 'transmit', 'aborted', 'consumed'] as const).filter((outcome) => hasDecided(device, hook, [outcome])).map((outcome) => ({ outcome, rate: hookRate(device, hook, [outcome]) }));
  ways.forEach(({ outcome, rate }, index) => {
    // Longer ways to the left: none crosses another's label.
    const at = x + 20 + 6 * (ways.length - 1 - index);
    const down = y + BOX.height + (index + 1) * WAY_HEIGHT;
    edges.push({ points: [[at, y + BOX.height], [at, down]], outcome, rate, from: placeText(device, hook), label: { text: `${LOOKS[outcome].sign} ${short(rate)} ${LOOKS[outcome].word}`, at: [at + 7, down + 3], anchor: 'start' } });
  });
  return ways.length;
}

function EdgeView({ edge: { points, outcome, rate, label } }: { readonly edge: Edge }): JSX.Element {
  const path = `M${points.map(([x, y]) => `${x} ${y}`).join(' L')}`;
  const seconds = rate <= 0 ? 0 : Math.max(FASTEST_S, SLOWEST_S - Math.round(Math.log10(rate + 1)) * 0.7);
  return (
    <g class={`edge ${outcome} ${rate > 0 ? 'busy' : ''}`}>
      <path d={path} stroke-width={rate <= 0 ? 1.5 : Math.min(6, 1.5 + Math.log10(rate + 1))} />
      {rate > 0 ? <circle r="3.5" style={{ offsetPath: `path("${path}")`, animationDuration: `${seconds.toFixed(1)}s` }} /> : null}
      {label === undefined ? null : <text x={label.at[0]} y={label.at[1]} text-anchor={label.anchor}>{label.text}</text>}
    </g>
  );
}

function BoxView({ box: { x, y, title, lines, note, faint, height = BOX.height } }: { readonly box: Box }): JSX.Element {
  const more = lines.length > 1 ? ` + ${lines.length - 1}` : '';
  const shown = note !== undefined ? [`${cut(lines[0]!, LONGEST - more.length)}${more}`] : lines.length > 2 ? [lines[0]!, `and ${lines.length - 1} more`] : lines;
  return (
    <g class={`box ${faint === true ? 'faint' : ''}`}>
      <rect x={x} y={y} width={BOX.width} height={height} rx="6" />
      <text x={x + 10} y={y + 18} class="title">{cut(title)}</text>
      {shown.map((line, index) => <text key={index} x={x + 10} y={y + 33 + 14 * index}>{cut(line)}</text>)}
      {note === undefined ? null : <text class="note" x={x + 10} y={y + 47}>{note}</text>}
      <title>{`${title}: ${lines.join(', ')}${note === undefined ? '' : `; ${note}`}`}</title>
    </g>
  );
}

const cut = (text: string, most = LONGEST): string => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** A backend: its share as a length and as a number. */
function ShareView({ share: { y, label, part } }: { readonly share: Share }): JSX.Element {
  const bar = { x: COLUMNS.out, width: 74 };
  return (
    <g class="share-of">
      <text x={COLUMNS.host} y={y + 4}>{cut(label, 22)}</text>
      <rect class="all" x={bar.x} y={y - 4} width={bar.width} height="8" rx="2" />
      <rect x={bar.x} y={y - 4} width={bar.width * part} height="8" rx="2" />
      <text x={WIDTH - 4} y={y + 4} text-anchor="end">{percent(part)}</text>
      <title>{`${label}: ${percent(part)}`}</title>
    </g>
  );
}

function Totals({ statistics: { fates, reasons, packets } }: { readonly statistics: Statistics }): JSX.Element {
  const all = Math.max(1, packets);
  return (
    <ul class="totals" aria-label="Where packets went">
      {fates.map(({ fate, text, packets: amount }) => <li key={fate}><b>{percent(amount / all)}</b> {text}</li>)}
      {reasons.slice(0, 3).map(({ reason, text, packets: amount }) => <li key={reason} class="muted">{short(amount)} lost: {text}</li>)}
    </ul>
  );
}

/** For who hears the page. */
function describe(edges: readonly Edge[], shares: readonly Share[]): string {
  const busy = edges.filter(({ rate, label }) => rate > 0 && label !== undefined).map(({ outcome, rate, from }) => `${from === undefined ? '' : `${from}: `}${short(rate)} packets a second ${LOOKS[outcome].word}`);
  if (busy.length === 0) return 'No packets flow';
  return [...busy, ...shares.map(({ label, part }) => `${label} has ${percent(part)}`)].join(', ');
}
