/** Rates over time: packets and bits a second, verdicts, what a packet costs. Drawn by uPlot. */
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import type { Statistics } from './api.ts';
import { samples, secondsBetween, type Sample } from './model.ts';
import { LOOKS } from './outcome.ts';
import { short } from './text.ts';
import { isDark } from './theme.ts';

interface Line {
  readonly label: string;
  /** A colour of style.css. */
  readonly colour: string;
  readonly value: (before: Statistics, now: Statistics, seconds: number) => number | null;
}

const CHART_HEIGHT = 116;
const LEAST_SPAN_S = 30;

const perSecond = (counter: (statistics: Statistics) => number) => (before: Statistics, now: Statistics, seconds: number): number => (seconds <= 0 ? 0 : Math.max(0, (counter(now) - counter(before)) / seconds));

const outcomes = (wanted: readonly string[]) => (statistics: Statistics): number =>
  statistics.hooks.reduce((sum, { verdicts }) => sum + verdicts.reduce((inner, { outcome, packets }) => inner + (wanted.includes(outcome) ? packets : 0), 0), 0);

const CHARTS: readonly { readonly title: string; readonly lines: readonly Line[] }[] = [
  { title: 'packets/s', lines: [{ label: 'packets/s', colour: '--blue', value: perSecond(({ packets }) => packets) }] },
  { title: 'bits/s', lines: [{ label: 'bits/s', colour: '--blue', value: perSecond(({ bytes }) => 8 * bytes) }] },
  {
    title: 'verdicts/s',
    lines: [
      { label: `${LOOKS.pass.sign} ${LOOKS.pass.word}`, colour: '--green', value: perSecond(outcomes(['next', 'leave', 'pass'])) },
      { label: `${LOOKS.drop.sign} ${LOOKS.drop.word}`, colour: '--red', value: perSecond(outcomes(['drop'])) },
      { label: `${LOOKS.redirect.sign} ${LOOKS.redirect.word}`, colour: '--blue', value: perSecond(outcomes(['redirect'])) },
      { label: `${LOOKS.transmit.sign} ${LOOKS.transmit.word}`, colour: '--cyan', value: perSecond(outcomes(['transmit'])) },
    ],
  },
  {
    title: 'ns a packet, in the packet loop',
    lines: [{
      label: 'ns a packet', colour: '--violet',
      value: (before, now) => (now.packets > before.packets ? (now.busyNs - before.busyNs) / (now.packets - before.packets) : null),
    }],
  },
];

export function ThroughputView(): JSX.Element {
  return <>{CHARTS.map((chart) => <Chart key={chart.title} {...chart} />)}</>;
}

function dataOf(lines: readonly Line[], taken: readonly Sample[]): uPlot.AlignedData {
  const times: number[] = [];
  const rows: (number | null)[][] = lines.map(() => []);
  const last = taken.at(-1)?.at ?? 0;
  for (let index = 1; index < taken.length; index++) {
    const [before, now] = [taken[index - 1]!, taken[index]!];
    if (before.statistics.epoch !== now.statistics.epoch) continue;
    times.push((now.at - last) / 1000);
    lines.forEach(({ value }, at) => rows[at]!.push(value(before.statistics, now.statistics, secondsBetween(before.statistics, now.statistics))));
  }
  return [times, ...rows] as uPlot.AlignedData;
}

function Chart({ title, lines }: { readonly title: string; readonly lines: readonly Line[] }): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const taken = samples.value;
  useEffect(() => {
    const element = box.current!;
    // A canvas knows nothing of light-dark(): the colour as an element would have it.
    const colour = (name: string): string => {
      element.style.color = `var(${name})`;
      return getComputedStyle(element).color;
    };
    const axis = { stroke: colour('--muted'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
    plot.current = new uPlot({
      width: Math.max(200, element.clientWidth), height: CHART_HEIGHT, padding: [6, 10, 0, 0], legend: { show: lines.length > 1, live: false }, cursor: { show: false },
      scales: { x: { time: false, range: (_plot, least, most) => [Math.min(least ?? 0, (most ?? 0) - LEAST_SPAN_S), most ?? 0] }, y: { range: (_plot, _least, most) => [0, Math.max(1, (most ?? 0) * 1.1)] } },
      axes: [{ ...axis, size: 24, values: (_plot, splits) => splits.map((split) => `${split} s`) }, { ...axis, size: 64, values: (_plot, splits) => splits.map(short) }],
      series: [{}, ...lines.map(({ label, colour: name }, index) => ({ label, stroke: colour(name), width: 1.5, points: { show: false }, ...(index === 1 ? { dash: [6, 3] } : index === 2 ? { dash: [2, 2] } : index === 3 ? { dash: [8, 2, 2, 2] } : {}) }))],
    }, dataOf(lines, samples.value), element);
    element.style.color = '';
    const observer = new ResizeObserver(() => plot.current?.setSize({ width: Math.max(200, element.clientWidth), height: CHART_HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.current?.destroy();
    };
  }, [lines, isDark.value]);
  useEffect(() => plot.current?.setData(dataOf(lines, taken)), [taken, lines]);
  return <figure class="chart"><figcaption>{title}</figcaption><div ref={box} /></figure>;
}
