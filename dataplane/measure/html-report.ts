/** A report as one HTML page: tables, and plots drawn as SVG. */
import { COST_METRICS } from '../insight/cost.ts';
import type { BalancedGroup } from '../insight/balance.ts';
import { dependenceText, type QueueSpread } from '../insight/queue-spread.ts';
import type { Share, Shares } from '../insight/shares.ts';
import { NOT_VERIFIED } from '../pipeline/lab.ts';
import { TIMED, type BenchReport, type ProgramFigures } from './bench-report.ts';
import { describeChange } from './change.ts';
import { fixed } from './digits.ts';
import { htmlPage, htmlTable as rows, htmlText as text } from './html-page.ts';
import type { MachineFacts } from './machine-facts.ts';
import { barPlot, turnPlot } from './svg-plot.ts';

export function htmlReport(report: BenchReport): string {
  return htmlPage(`xdplab bench: ${report.workload.text}`, ['<h1>xdplab bench</h1>', ...reportSections(report)]);
}

/** What the page says, to stand on others too. */
export function reportSections(report: BenchReport): string[] {
  const { machine, workload, settings, tiers, programs, balance, noise, measuredAt, verified } = report;
  return [
    `<p>${text(workload.text)}: ${number(workload.packets)} packets a round, ${workload.meanBytes.toFixed(0)} bytes on average. Medians of ${settings.runs} turns${settings.freshMaps ? ', each a round with fresh maps' : ''}, side by side.</p>`,
    ...(verified === false ? [`<p class="warning">${text(NOT_VERIFIED)}</p>`] : []),
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
          ...(balance.queues === undefined ? [] : [queueSection(balance.queues)]),
        ]),
    measuredOn(machine, [...Object.entries(tiers), ['noise of plain arithmetic', `${(noise.controlSpread * 100).toFixed(1)} % between the quartiles`], ['at', measuredAt]]),
  ];
}

/** The machine, and what else a figure means nothing without. */
export function measuredOn(machine: MachineFacts, more: readonly (readonly [fact: string, value: string])[]): string {
  const { cpu, cores, memoryGib, caches = [], system, node, v8, load } = machine;
  const facts = [
    ['processor', `${cpu}, ${cores} cores, ${memoryGib} GiB`],
    ...(caches.length === 0 ? [] : [['caches', caches.map(({ level, bytes }) => `L${level} ${number(bytes / 1024)} KiB`).join(', ')]]),
    ['system', system],
    ['Node, V8', `${node}, ${v8}`],
    ['load', String(load)],
    ...more,
  ];
  return `<h2>Measured on</h2><div class="facts">${rows(['', ''], facts)}</div>`;
}

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

function group({ ring, flows, backends, movements, ...shares }: BalancedGroup): string {
  return [
    `<h3>${text(ring)}</h3>`,
    barPlot(backends.map(({ backend, flows: found, idealFlows }) => ({ group: backend, label: `ideal ${idealFlows.toFixed(0)}`, value: found, mark: idealFlows })), `${number(flows)} flows; the line is the ideal`),
    sharesLine(shares),
    rows(['backend', 'weight', 'flows', 'ideal', 'packets', 'ideal'], backends.map((each) => [each.backend, String(each.weight), number(each.flows), each.idealFlows.toFixed(1), number(each.packets), each.idealPackets.toFixed(1)])),
    movements.length === 0 ? '' : rows(['flows that move when', 'new', 'unavoidable', 'under way'], movements.map(({ change, newFlows, establishedFlows }) => [change, number(newFlows.moved), number(newFlows.unavoidable), number(establishedFlows.moved)])),
  ].join('');
}

function queueSection({ device, key, flows, queues, cpus, rings, ...shares }: QueueSpread): string {
  const cells = ({ weight, flows: found, idealFlows, packets, idealPackets }: Share): string[] => [String(weight), number(found), idealFlows.toFixed(1), number(packets), idealPackets.toFixed(1)];
  return [
    `<h3>Queues of ${text(device)}, key ${text(key)}</h3>`,
    barPlot(queues.map(({ queue, flows: found, idealFlows }) => ({ group: `queue ${queue}`, label: `ideal ${idealFlows.toFixed(0)}`, value: found, mark: idealFlows })), `${number(flows)} flows; the line is the ideal`),
    sharesLine(shares),
    rows(['queue', 'CPU', 'slots', 'flows', 'ideal', 'packets', 'ideal'], queues.map((each) => [String(each.queue), String(each.cpu), ...cells(each)])),
    cpus.length === 0 ? '' : rows(['CPU', 'slots', 'flows', 'ideal', 'packets', 'ideal'], cpus.map((each) => [String(each.cpu), ...cells(each)])),
    ...rings.map(({ ring, backends, dependence }) => `<p${dependence?.isDependent === true ? ' class="warning"' : ''}>${text(`${ring}: ${dependenceText(dependence)}`)}</p>${dependence === undefined ? '' : rows(['flows by queue and backend', ...backends], dependence.counts.map((counts, queue) => [String(queue), ...counts.map(number)]))}`),
  ].join('');
}

function sharesLine({ maxOverIdeal, chiSquare }: Pick<Shares, 'maxOverIdeal' | 'chiSquare'>): string {
  return `<p>max / ideal: flows ${fixed(maxOverIdeal.flows)}, packets ${fixed(maxOverIdeal.packets)}; chi-square ${fixed(chiSquare.value)} with ${chiSquare.degrees} degrees, p = ${chiSquare.probability.toFixed(3)}</p>`;
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function optional(value: number | undefined): string {
  return value === undefined ? '' : fixed(value);
}
