/**
 * A report as one HTML page that asks for nothing outside of itself: tables, and plots drawn as SVG. Everything that
 * comes from files is escaped; there is no script.
 */
import { COST_METRICS } from '../insight/cost.ts';
import type { BalancedGroup } from '../insight/balance.ts';
import { TIMED, type BenchReport, type ProgramFigures } from './bench-report.ts';
import { describeChange } from './change.ts';
import { barPlot, turnPlot } from './svg-plot.ts';

export function htmlReport(report: BenchReport): string {
  const { machine, workload, settings, tiers, programs, balance, noise, measuredAt } = report;
  const sections = [
    `<h1>xdplab bench</h1><p>${text(workload.text)}: ${number(workload.packets)} packets a round, ${workload.meanBytes.toFixed(0)} bytes on average. Medians of ${settings.runs} turns${settings.freshMaps ? ', each a round with fresh maps' : ''}, side by side.</p>`,
    ...noise.warnings.map((warning) => `<p class="warning">${text(warning)}</p>`),
    `<h2>Time per packet</h2>${barPlot(
      programs.flatMap(({ name, nsPerPacket }) => TIMED.flatMap((engine) => (nsPerPacket[engine] === undefined ? [] : [{ group: name, label: engine, value: nsPerPacket[engine], part: nsPerPacket[`${engine}Net`] }]))),
      'ns per packet; dark: net of an empty program',
    )}${timeTable(programs)}`,
    ...programs.map((program) => `<h3>${text(program.name)}</h3>${remarks(program)}${turnPlot(seriesOf(program), 'ns per packet, the median of each turn')}`),
    `<h2>What a packet costs, on every machine</h2>${costTable(programs)}`,
    ...(balance === undefined
      ? []
      : [
          `<h2>Balance</h2><p>${number(balance.affinity.kept)} of ${number(balance.affinity.flows)} flows stayed with one backend; ${number(balance.elsewhere)} of ${number(balance.packets)} packets went to none. ${text(balance.remark ?? '')}</p>`,
          ...balance.groups.map(group),
        ]),
    `<h2>Measured on</h2><div class="facts">${rows(
      ['', ''],
      [
        ['processor', `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB`],
        ['system', machine.system],
        ['Node, V8', `${machine.node}, ${machine.v8}`],
        ['load', String(machine.load)],
        ...Object.entries(tiers).map(([engine, tier]) => [engine, tier]),
        ['noise of plain arithmetic', `${(noise.controlSpread * 100).toFixed(1)} % between the quartiles`],
        ['at', measuredAt],
      ],
    )}</div>`,
  ];
  return `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><title>xdplab bench: ${text(workload.text)}</title><style>${STYLE}</style></head><body>\n${sections.join('\n')}\n</body></html>\n`;
}

const STYLE = `
:root { color-scheme: light dark; --ink: light-dark(#1d2733, #dce4ec); --faint: light-dark(#8a96a3, #7d8996); --rule: light-dark(#dde3e9, #333d48); --one: light-dark(#2f6fde, #6ea1ff); --two: light-dark(#c2571a, #f0935a); --three: light-dark(#3b8a5a, #6cc792); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child, .facts td { text-align: left; }
th { font-weight: 600; color: var(--faint); }
.warning { border-left: 4px solid var(--two); padding-left: .8rem; }
svg { width: 100%; height: auto; margin: .6rem 0; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .axis { stroke: var(--rule); } svg .faint { fill: var(--faint); }
`;

function timeTable(programs: readonly ProgramFigures[]): string {
  return rows(
    ['program', 'engine', 'ns/packet', '± quartiles', 'net', 'p50', 'p99', 'p99.9', 'packets/s'],
    programs.flatMap(({ name, series, nsPerPacket, packetsPerSecond }) =>
      TIMED.flatMap((engine) => {
        const found = series[engine];
        return found === undefined ? [] : [[name, engine, fixed(found.median), `${(found.spread * 50).toFixed(1)} %`, optional(nsPerPacket[`${engine}Net`]), fixed(found.p50), fixed(found.p99), fixed(found.p999), number(packetsPerSecond[engine] ?? 0)]];
      }),
    ),
  );
}

function seriesOf({ series }: ProgramFigures): { label: string; values: readonly number[] }[] {
  return TIMED.flatMap((engine) => (series[engine] === undefined ? [] : [{ label: engine, values: series[engine].turns }]));
}

function remarks({ fates, speedupVsKernelNet, speedupNetVsNet, versus, missing }: ProgramFigures): string {
  const lines = [
    fates,
    ...(speedupVsKernelNet === undefined ? [] : [`kernel net / wasm: ${fixed(speedupVsKernelNet)}${speedupNetVsNet === undefined ? '' : `; both net: ${fixed(speedupNetVsNet)}`}`]),
    ...(versus === undefined ? [] : [`${describeChange(versus.change)}${versus.change.significant ? ' than' : '; against'} ${versus.object}`]),
    ...missing.map(({ engine, why }) => `not on ${engine}: ${why}`),
  ];
  return lines.filter((line) => line !== '').map((line) => `<p>${text(line)}</p>`).join('');
}

function costTable(programs: readonly ProgramFigures[]): string {
  const counted = programs.flatMap(({ name, cost }) => (cost === undefined ? [] : [{ name, cost }]));
  const costs = rows(['program', ...COST_METRICS.flatMap((metric) => [metric, 'most'])], counted.map(({ name, cost: { perPacket } }) => [name, ...COST_METRICS.flatMap((metric) => [fixed(perPacket[metric].mean), number(perPacket[metric].max)])]));
  const maps = counted.flatMap(({ name, cost }) => cost.maps.map((map) => [name, map.map, map.type, number(map.lookups), map.lookups === 0 ? '' : `${((100 * map.hits) / map.lookups).toFixed(1)} %`, number(map.inserts), number(map.updates), number(map.deletions), number(map.evictions)]));
  return maps.length === 0 ? costs : `${costs}${rows(['program', 'map', 'type', 'lookups', 'hits', 'inserts', 'updates', 'deletions', 'evictions'], maps)}`;
}

function group({ ring, flows, backends, maxOverIdeal, chiSquare, movements }: BalancedGroup): string {
  return [
    `<h3>${text(ring)}</h3>`,
    barPlot(backends.map(({ backend, flows: found, idealFlows }) => ({ group: backend, label: `ideal ${idealFlows.toFixed(0)}`, value: found, mark: idealFlows })), `${number(flows)} flows; the line is the ideal`),
    `<p>max / ideal: flows ${fixed(maxOverIdeal.flows)}, packets ${fixed(maxOverIdeal.packets)}; chi-square ${fixed(chiSquare.value)} with ${chiSquare.degrees} degrees, p = ${chiSquare.probability.toFixed(3)}</p>`,
    rows(['backend', 'weight', 'flows', 'ideal', 'packets', 'ideal'], backends.map((each) => [each.backend, String(each.weight), number(each.flows), each.idealFlows.toFixed(1), number(each.packets), each.idealPackets.toFixed(1)])),
    movements.length === 0 ? '' : rows(['flows that move when', 'new', 'unavoidable', 'under way'], movements.map(({ change, newFlows, establishedFlows }) => [change, number(newFlows.moved), number(newFlows.unavoidable), number(establishedFlows.moved)])),
  ].join('');
}

function rows(head: readonly string[], body: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[], tag: string): string => `<tr>${cells.map((cell) => `<${tag}>${text(cell)}</${tag}>`).join('')}</tr>`;
  return `<table>${head.some((cell) => cell !== '') ? line(head, 'th') : ''}${body.map((cells) => line(cells, 'td')).join('')}</table>`;
}

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

function text(value: string): string {
  return value.replace(/[&<>"]/g, (character) => ESCAPES[character]!);
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function optional(value: number | undefined): string {
  return value === undefined ? '' : fixed(value);
}

/** Three digits that mean something. */
function fixed(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
