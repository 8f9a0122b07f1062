/**
 * The way of packets as it is now: devices, the programs at their hooks, and where packets go from there, with rates on
 * the edges. The drawing is laid out in columns: in, XDP, TC ingress, host, TC egress, out.
 */
import type { JSX } from 'preact';
import type { HookName, HookStatistics, Outcome, Statistics } from './api.ts';
import { lab, latest, rateOf } from './model.ts';
import { LOOKS } from './outcome.ts';
import { percent, short } from './text.ts';

interface Box {
  readonly x: number;
  readonly y: number;
  readonly title: string;
  readonly lines: readonly string[];
  readonly faint?: boolean;
}

interface Edge {
  readonly from: readonly [number, number];
  readonly to: readonly [number, number];
  readonly outcome: Outcome;
  readonly rate: number;
  readonly label?: string;
}

const WIDTH = 752;
const BOX = { width: 122, height: 58 } as const;
const ROW = 122;
const WAY_HEIGHT = 17;
const TOP = 26;
const COLUMNS = { in: 4, xdp: 159, 'tc-ingress': 314, host: 469, out: 624 } as const;
const HOOK_TITLES: Readonly<Record<HookName, string>> = { xdp: 'XDP', 'tc-ingress': 'TC ingress', 'tc-egress': 'TC egress' };
const GOES_ON: readonly Outcome[] = ['next', 'leave', 'pass'];
/** Dots on an edge take so long from end to end, slower where less goes. */
const SLOWEST_S = 4;
const FASTEST_S = 0.8;

const isHook = (hook: HookName, device: string) => (one: HookStatistics): boolean => one.hook === hook && one.device === device && one.slots === undefined;
const sumOf = (outcomes: readonly Outcome[], hook: HookStatistics | undefined): number => (hook?.verdicts ?? []).reduce((sum, { outcome, packets }) => sum + (outcomes.includes(outcome) ? packets : 0), 0);

/** Packets a second that a hook decided so. */
const hookRate = (device: string, hook: HookName, outcomes: readonly Outcome[]): number => rateOf((statistics) => sumOf(outcomes, statistics.hooks.find(isHook(hook, device))));

export function PathView(): JSX.Element {
  const sample = latest.value;
  const devices = (lab.value?.devices ?? []).filter(({ name }) => lab.value!.attachments.some(({ device }) => device === name) || (sample?.statistics.devices.some(({ device, rxPackets }) => device === name && rxPackets > 0) ?? false));
  if (lab.value === undefined) return <p class="muted">…</p>;
  const boxes: Box[] = [];
  const edges: Edge[] = [];
  devices.forEach(({ name }, index) => drawDevice(name, index, boxes, edges));
  const rows = Math.max(1, devices.length);
  const height = TOP + rows * ROW;
  const highlights = sample?.statistics.highlights ?? [];
  return (
    <div class="way-and-backends">
      <div class="way">
        <svg viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={describe(edges)}>
          {edges.map((edge, index) => <EdgeView key={index} edge={edge} />)}
          {boxes.map((box, index) => <BoxView key={index} box={box} />)}
        </svg>
        {sample === undefined ? null : <Totals statistics={sample.statistics} />}
      </div>
      <div class="backends">
        {highlights.map(({ title, rows: items, total, more }) => (
          <figure key={title}>
            <figcaption>{title}</figcaption>
            {items.slice(0, 8).map(({ label, amount }) => (
              <div key={label} class="share"><span>{label}</span><meter min={0} max={1} value={total === 0 ? 0 : amount / total} aria-label={`${label} has ${percent(total === 0 ? 0 : amount / total)}`} /><span>{percent(total === 0 ? 0 : amount / total)}</span></div>
            ))}
            {more + Math.max(0, items.length - 8) > 0 ? <p class="muted">and {more + Math.max(0, items.length - 8)} more</p> : null}
          </figure>
        ))}
      </div>
    </div>
  );
}

function drawDevice(device: string, row: number, boxes: Box[], edges: Edge[]): void {
  const y = TOP + row * ROW;
  const middle = y + BOX.height / 2;
  const end = (x: number): readonly [number, number] => [x + BOX.width, middle];
  const attached = (hook: HookName): readonly string[] => (lab.value?.attachments ?? []).filter((one) => one.device === device && one.hook === hook && one.slots === undefined).map(({ program }) => program);
  const received = rateOf((now) => now.devices.find((one) => one.device === device)?.rxPackets);
  boxes.push({ x: COLUMNS.in, y, title: device, lines: [`${short(received)} packets/s`] });
  let from: readonly [number, number] = end(COLUMNS.in);
  let arriving = received;
  for (const hook of ['xdp', 'tc-ingress'] as const) {
    const programs = attached(hook);
    if (programs.length === 0) continue;
    const x = COLUMNS[hook];
    boxes.push({ x, y, title: HOOK_TITLES[hook], lines: programs });
    edges.push({ from, to: [x, middle], outcome: 'pass', rate: arriving });
    leaves(device, hook, x, y, edges);
    arriving = hookRate(device, hook, GOES_ON);
    from = end(x);
  }
  boxes.push({ x: COLUMNS.host, y, title: 'host', lines: ['the stack'], faint: true });
  edges.push({ from, to: [COLUMNS.host, middle], outcome: 'pass', rate: arriving, label: short(arriving) });
  const egress = attached('tc-egress');
  if (egress.length === 0) return;
  boxes.push({ x: COLUMNS.out, y, title: HOOK_TITLES['tc-egress'], lines: egress });
  const sent = rateOf((now) => now.hooks.find(isHook('tc-egress', device))?.packets);
  edges.push({ from: end(COLUMNS.host), to: [COLUMNS.out, middle], outcome: 'pass', rate: sent, label: short(sent) });
  leaves(device, 'tc-egress', COLUMNS.out, y, edges);
}

/** What does not go on from a hook: down and out of the picture, with its sign. */
function leaves(device: string, hook: HookName, x: number, y: number, edges: Edge[]): void {
  const ways = (['drop', 'redirect', 'transmit', 'aborted', 'consumed'] as const).map((outcome) => ({ outcome, rate: hookRate(device, hook, [outcome]) })).filter(({ rate }) => rate > 0);
  ways.forEach(({ outcome, rate }, index) => {
    const down = y + BOX.height + (index + 1) * WAY_HEIGHT;
    edges.push({ from: [x + 14 + 6 * index, y + BOX.height], to: [x + 14 + 6 * index, down], outcome, rate, label: `${LOOKS[outcome].sign} ${short(rate)} ${LOOKS[outcome].word}` });
  });
}

function EdgeView({ edge: { from, to, outcome, rate, label } }: { readonly edge: Edge }): JSX.Element {
  const path = `M${from[0]} ${from[1]} L${to[0]} ${to[1]}`;
  const vertical = from[0] === to[0];
  const seconds = rate <= 0 ? 0 : Math.max(FASTEST_S, SLOWEST_S - Math.round(Math.log10(rate + 1)) * 0.7);
  return (
    <g class={`edge ${outcome} ${rate > 0 ? 'busy' : ''}`}>
      <path d={path} stroke-width={rate <= 0 ? 1.5 : Math.min(6, 1.5 + Math.log10(rate + 1))} />
      {rate > 0 ? <circle r="3.5" style={{ offsetPath: `path("${path}")`, animationDuration: `${seconds.toFixed(1)}s` }} /> : null}
      {label === undefined || rate <= 0 ? null : <text x={vertical ? to[0] + 7 : (from[0] + to[0]) / 2} y={vertical ? to[1] + 3 : from[1] - 8} text-anchor={vertical ? 'start' : 'middle'}>{label}</text>}
    </g>
  );
}

function BoxView({ box: { x, y, title, lines, faint } }: { readonly box: Box }): JSX.Element {
  const shown = lines.length > 2 ? [lines[0]!, `and ${lines.length - 1} more`] : lines;
  return (
    <g class={`box ${faint === true ? 'faint' : ''}`}>
      <rect x={x} y={y} width={BOX.width} height={BOX.height} rx="6" />
      <text x={x + 10} y={y + 18} class="title">{title}</text>
      {shown.map((line, index) => <text key={line} x={x + 10} y={y + 33 + 14 * index}>{line.length > 17 ? `${line.slice(0, 16)}…` : line}</text>)}
      <title>{`${title}: ${lines.join(', ')}`}</title>
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
function describe(edges: readonly Edge[]): string {
  const busy = edges.filter(({ rate, label }) => rate > 0 && label !== undefined).map(({ outcome, rate }) => `${short(rate)} packets a second ${LOOKS[outcome].word}`);
  return busy.length === 0 ? 'No packets flow' : busy.join(', ');
}
