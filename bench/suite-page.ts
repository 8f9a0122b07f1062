/** What the suite found as one HTML page: the promised figures first, how things grow as plots, every table, each program's own report. */
import { htmlPage, htmlTable, htmlText } from '../dataplane/measure/html-page.ts';
import { measuredOn, reportSections } from '../dataplane/measure/html-report.ts';
import { growthPlot } from '../dataplane/measure/svg-plot.ts';
import type { Cache } from '../dataplane/measure/caches.ts';
import type { GrowthRow, GrowthTable } from './growth.ts';
import { suiteTables, type SuiteResults, type SuiteTable } from './report.ts';

export function suitePage(results: SuiteResults): string {
  const { machine, time, growth, programs } = results;
  const tables = suiteTables(results);
  const [promised, others] = [tables.filter(({ heading }) => heading === 'promised'), tables.filter(({ heading }) => heading !== 'promised')];
  return htmlPage('xdplab: the benchmark suite', [
    `<h1>xdplab: the benchmark suite</h1><p>Medians of ${time.runs} turns, ${time.durationSeconds} s of each program on each engine, side by side.</p>`,
    ...promised.map(section),
    ...growthPlots(growth, machine.caches ?? []),
    ...others.map(section),
    ...Object.entries(programs).map(([label, report]) => `<details><summary>${htmlText(label)}</summary>${reportSections(report).join('')}</details>`),
    measuredOn(machine, []),
  ]);
}

function section({ heading, before, rows: [head = [], ...body], lines }: SuiteTable): string {
  return [`<h2>${htmlText(heading)}</h2>`, ...(before === undefined ? [] : [`<p>${htmlText(before)}</p>`]), body.length === 0 ? '' : htmlTable(head, body), ...lines.map((line) => `<p>${htmlText(line)}</p>`)].join('');
}

type Grown = GrowthRow & { readonly table: GrowthTable };

/** Time and memory of each table that grows. */
function growthPlots(growth: readonly GrowthRow[], caches: readonly Cache[]): string[] {
  const grown = growth.filter((row): row is Grown => row.table !== undefined);
  const maps = [...new Set(grown.map(({ table }) => table.map))];
  return maps.map((map) => {
    const rows = grown.filter(({ table }) => table.map === map);
    const points = (value: (row: Grown) => number | undefined): (readonly [number, number])[] => rows.flatMap((row) => (value(row) === undefined ? [] : [[row.table.count, value(row)!] as const]));
    const [{ label, table: { of } }] = rows as [Grown];
    const time = growthPlot(
      {
        series: [
          { label: 'wasm', points: points(({ wasm }) => wasm) },
          { label: 'kernel net', points: points(({ kernelNet }) => kernelNet) },
          { label: 'reads', points: points(({ table }) => table.reads * table.nsPerRead) },
        ],
        text: (ns) => `${shortest(ns)} ns`,
      },
      `ns per packet by number of ${of}; reads: a packet’s reads in the table, each waiting for the one before`,
    );
    const memory = growthPlot(
      {
        series: [
          { label: 'wasm', points: points(({ table }) => table.bytes) },
          { label: 'kernel', points: points(({ table }) => table.kernelBytes) },
        ],
        marks: caches.map(({ level, bytes }) => ({ label: `L${level} cache, ${cacheText(bytes)}`, value: bytes })),
        text: sizeText,
      },
      `memory of ${map} by number of ${of}; broken lines: this machine’s caches`,
    );
    return `<h2>${htmlText(label.split(',')[0]!)}: time and memory as ${htmlText(of)} grow</h2>${time}${memory}`;
  });
}

function sizeText(bytes: number): string {
  return bytes >= 1e6 ? `${shortest(bytes / 1e6)} MB` : `${shortest(bytes / 1e3)} kB`;
}

/** As caches are sized. */
function cacheText(bytes: number): string {
  return bytes >= 2 ** 20 ? `${shortest(bytes / 2 ** 20)} MiB` : `${shortest(bytes / 2 ** 10)} KiB`;
}

function shortest(value: number): string {
  return String(Number(value.toPrecision(3)));
}
