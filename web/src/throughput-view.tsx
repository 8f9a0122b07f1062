/** Rates over time: packets and bits a second at each hook and on each CPU, verdicts, what a packet costs, how backends share. Drawn by uPlot. */
import type { JSX } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import type { HookStatistics, Outcome, Statistics } from './api.ts';
import { SAMPLES, samples, secondsBetween, type Sample } from './model.ts';
import { LOOKS } from './outcome.ts';
import { percent, short } from './text.ts';
import { isDark } from './theme.ts';

interface Line {
  readonly label: string;
  /** A colour of style.css. */
  readonly colour: string;
  /** Between two samples. */
  readonly value: (before: Statistics, now: Statistics) => number | null;
}

interface Subject {
  readonly title: string;
  readonly show: (value: number) => string;
  /** Of a lab as it is now: none, and there is no chart. */
  readonly lines: (now: Statistics) => readonly Line[];
}

const CHART_HEIGHT = 104;
const LEAST_SPAN_S = 30;
const COLOURS = ['--blue', '--green', '--violet', '--amber', '--cyan', '--red'] as const;
/** Lines are told apart by these too. */
const DASHES: readonly (readonly number[])[] = [[], [6, 3], [2, 2], [8, 2, 2, 2], [12, 3], [1, 3]];
const MOST_LINES = COLOURS.length;

type Counter = (statistics: Statistics) => number | undefined;

const perSecond = (counter: Counter) => (before: Statistics, now: Statistics): number => {
  const seconds = secondsBetween(before, now);
  return seconds <= 0 ? 0 : Math.max(0, ((counter(now) ?? 0) - (counter(before) ?? 0)) / seconds);
};

/** In the colours that there are, the first of them where there are more. */
const coloured = (lines: readonly Omit<Line, 'colour'>[]): Line[] => lines.slice(0, MOST_LINES).map((line, index) => ({ ...line, colour: COLOURS[index]! }));

type Count = (of: { readonly packets: number; readonly bytes: number }) => number;
const packetsOf: Count = ({ packets }) => packets;
const bitsOf: Count = ({ bytes }) => 8 * bytes;

/** The running Linux counts packets, and neither bytes nor its time. */
const isOfLinux = ({ run }: Statistics): boolean => run?.interface !== undefined && run.attach !== undefined;

function hookLines(count: Count): Subject['lines'] {
  return ({ hooks }) => {
    if (hooks.length === 0) return coloured([{ label: 'in all', value: perSecond(count) }]);
    const same = (a: HookStatistics) => (b: HookStatistics): boolean => a.device === b.device && a.hook === b.hook && a.slots === b.slots;
    return coloured(hooks.map((one) => ({
      label: `${one.device} ${one.hook}${one.slots === undefined ? '' : ` ${one.slots}`}`,
      value: perSecond((statistics) => {
        const found = statistics.hooks.find(same(one));
        return found && count(found);
      }),
    })));
  };
}

/** Of a lab with several, at all hooks together. */
function cpuLines(count: Count): Subject['lines'] {
  return ({ hooks }) => {
    const cpus = [...new Set(hooks.flatMap((one) => one.cpus.map(({ cpu }) => cpu)))].toSorted((a, b) => a - b);
    if (cpus.length < 2) return [];
    return coloured(cpus.map((cpu) => ({ label: `CPU ${cpu}`, value: perSecond((statistics) => statistics.hooks.flatMap((one) => one.cpus).reduce((sum, one) => sum + (one.cpu === cpu ? count(one) : 0), 0)) })));
  };
}

const verdictsOf = (wanted: readonly Outcome[]): Counter => ({ hooks }) => hooks.reduce((sum, { verdicts }) => sum + verdicts.reduce((inner, { outcome, packets }) => inner + (wanted.includes(outcome) ? packets : 0), 0), 0);

const OUTCOMES: readonly { readonly outcomes: readonly Outcome[]; readonly colour: string }[] = [
  { outcomes: ['pass', 'next', 'leave'], colour: '--green' },
  { outcomes: ['drop'], colour: '--red' },
  { outcomes: ['redirect'], colour: '--blue' },
  { outcomes: ['transmit'], colour: '--cyan' },
  { outcomes: ['aborted'], colour: '--violet' },
  { outcomes: ['consumed'], colour: '--amber' },
];

const outcomeLines: Subject['lines'] = (now) =>
  OUTCOMES.filter(({ outcomes }) => (verdictsOf(outcomes)(now) ?? 0) > 0).map(({ outcomes: [first, ...others], colour }) => ({ label: `${LOOKS[first!].sign} ${LOOKS[first!].word}`, colour, value: perSecond(verdictsOf([first!, ...others])) }));

/** Of what went to backends between two samples, the part that each had. */
const backendLines: Subject['lines'] = (now) => {
  const backends = ({ highlights }: Statistics): Statistics['highlights'][number] | undefined => highlights.find(({ title }) => /backend/i.test(title));
  const amountOf = (statistics: Statistics, label: string): number => backends(statistics)?.rows.find((row) => row.label === label)?.amount ?? 0;
  return coloured((backends(now)?.rows ?? []).map(({ label }) => ({
    label,
    value: (before, later) => {
      const all = (backends(later)?.total ?? 0) - (backends(before)?.total ?? 0);
      return all <= 0 ? null : (amountOf(later, label) - amountOf(before, label)) / all;
    },
  })));
};

const SUBJECTS: readonly Subject[] = [
  { title: 'packets/s', show: short, lines: hookLines(packetsOf) },
  { title: 'bits/s', show: short, lines: (now) => (isOfLinux(now) ? [] : hookLines(bitsOf)(now)) },
  { title: 'packets/s on each CPU', show: short, lines: cpuLines(packetsOf) },
  { title: 'bits/s on each CPU', show: short, lines: cpuLines(bitsOf) },
  { title: 'verdicts/s', show: short, lines: outcomeLines },
  {
    title: 'ns a packet, in the packet loop', show: short,
    lines: (now) => (isOfLinux(now) ? [] : [{ label: 'all programs', colour: '--violet', value: (before, later) => (later.packets > before.packets ? (later.busyNs - before.busyNs) / (later.packets - before.packets) : null) }]),
  },
  { title: 'share of each backend', show: percent, lines: backendLines },
];

export function ThroughputView(): JSX.Element {
  const now = samples.value.at(-1)?.statistics;
  if (now === undefined) return <p class="muted">…</p>;
  return <div class="charts">{SUBJECTS.map((subject) => [subject, subject.lines(now)] as const).filter(([, lines]) => lines.length > 0).map(([subject, lines]) => <Chart key={subject.title} subject={subject} lines={lines} />)}</div>;
}

/** What lines have had so far: each sample is looked at once. */
class History {
  readonly #lines: readonly Line[];
  readonly #times: number[] = [];
  readonly #rows: (number | null)[][];
  #last: Sample | undefined;

  constructor(lines: readonly Line[]) {
    this.#lines = lines;
    this.#rows = lines.map(() => []);
  }

  /** With the samples that came since; in seconds before the newest. */
  data(taken: readonly Sample[]): uPlot.AlignedData {
    for (const now of taken.slice(this.#last === undefined ? 0 : taken.indexOf(this.#last) + 1)) {
      const before = this.#last;
      this.#last = now;
      if (before?.statistics.epoch !== now.statistics.epoch) {
        for (const list of [this.#times, ...this.#rows]) list.length = 0;
        continue;
      }
      this.#times.push(now.at);
      this.#lines.forEach(({ value }, line) => this.#rows[line]!.push(value(before.statistics, now.statistics)));
      if (this.#times.length > SAMPLES) for (const list of [this.#times, ...this.#rows]) list.shift();
    }
    return [this.#times.map((at) => (at - this.#last!.at) / 1000), ...this.#rows] as uPlot.AlignedData;
  }
}

function Chart({ subject: { title, show }, lines }: { readonly subject: Subject; readonly lines: readonly Line[] }): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const drawn = lines.map(({ label, colour }) => `${label} ${colour}`).join();
  const history = useMemo(() => new History(lines), [drawn]);
  const taken = samples.value;
  const data = useMemo(() => history.data(taken), [history, taken]);
  useEffect(() => {
    const element = box.current!;
    // A canvas knows nothing of light-dark(): the colour as an element would have it.
    const colour = (name: string): string => {
      element.style.color = `var(${name})`;
      return getComputedStyle(element).color;
    };
    const axis = { stroke: colour('--muted'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
    plot.current = new uPlot({
      width: Math.max(200, element.clientWidth), height: CHART_HEIGHT, padding: [6, 10, 0, 0], legend: { show: false }, cursor: { show: false },
      scales: { x: { time: false, range: (_plot, least, most) => [Math.min(least ?? 0, (most ?? 0) - LEAST_SPAN_S), most ?? 0] }, y: { range: (_plot, _least, most) => [0, (most ?? 0) > 0 ? most * 1.1 : 1] } },
      axes: [{ ...axis, size: 24, values: (_plot, splits) => splits.map((split) => `${split} s`) }, { ...axis, size: 56, values: (_plot, splits) => splits.map(show) }],
      series: [{}, ...lines.map(({ label, colour: name }, index) => ({ label, stroke: colour(name), width: 1.5, points: { show: false }, dash: [...DASHES[index]!] }))],
    }, data, element);
    element.style.color = '';
    const observer = new ResizeObserver(() => plot.current?.setSize({ width: Math.max(200, element.clientWidth), height: CHART_HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.current?.destroy();
    };
  }, [drawn, isDark.value]);
  useEffect(() => plot.current?.setData(data), [data]);
  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={box} aria-hidden="true" />
      <ul class="legend">
        {lines.map(({ label, colour }, index) => {
          const value = data[index + 1]?.at(-1);
          return <li key={label}><svg width="22" height="6" aria-hidden="true" style={{ color: `var(${colour})` }}><path d="M0 3H22" stroke="currentColor" stroke-width="2" stroke-dasharray={DASHES[index]!.join(' ')} /></svg> {label} <b>{value === undefined || value === null ? '–' : show(value)}</b></li>;
        })}
      </ul>
    </figure>
  );
}
