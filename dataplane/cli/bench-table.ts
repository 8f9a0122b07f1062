/** A measurement as text for terminals, and its samples as CSV. */
import type { Cost, MapUse } from '../insight/cost.ts';
import { COST_METRICS } from '../insight/cost.ts';
import type { Balance, BalancedGroup } from '../insight/balance.ts';
import { dependenceText, type QueuesAndBackends, type QueueSpread } from '../insight/queue-spread.ts';
import type { Share, Shares } from '../insight/shares.ts';
import { TIMED, type BenchReport, type ProgramFigures } from '../measure/bench-report.ts';
import { describeChange } from '../measure/change.ts';
import type { ReportComparison } from '../measure/compare-reports.ts';
import { fixed } from '../measure/digits.ts';
import { NOT_VERIFIED } from '../pipeline/lab.ts';
import { count, paint, percent, safe, sectionsText, table } from './terminal.ts';

type Cell = string | number;

export function reportText(report: BenchReport): string {
  const { machine, workload, settings, programs, noise, balance, verified } = report;
  const turns = settings.freshMaps ? `${settings.runs} rounds over all packets, each with fresh maps` : `${settings.runs} turns of ${((settings.durationSeconds * 1000) / settings.runs).toFixed(0)} ms each`;
  const sections = [
    [
      `${paint('bold', safe(workload.text))}: ${count(workload.packets)} packets a round, ${workload.meanBytes.toFixed(0)} bytes on average${workload.opening > 0 ? `, after ${count(workload.opening)} that open the flows` : ''}`,
      `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB · ${machine.system} · Node ${machine.node}, V8 ${machine.v8} · load ${machine.load}`,
      ...Object.entries(report.tiers).map(([engine, tier]) => `${engine}: ${tier}`),
      `medians of ${turns}, side by side`,
      ...(verified === false ? [paint('yellow', NOT_VERIFIED)] : []),
    ],
    timeTable(programs),
    ...programs.map(remarks),
    costTable(programs),
    mapTable(programs),
    ...(balance === undefined ? [] : balanceText(balance)),
    noise.warnings.map((line) => paint('yellow', line)),
  ];
  return sectionsText(sections);
}

function right(rows: readonly (readonly Cell[])[], leftColumns: number): Cell[][] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, column) => (widths[column] = Math.max(widths[column] ?? 0, String(cell).length)));
  return rows.map((row) => row.map((cell, column) => (column < leftColumns ? cell : String(cell).padStart(widths[column]!))));
}

function timeTable(programs: readonly ProgramFigures[]): string[] {
  const rows = programs.flatMap(({ name, series, nsPerPacket, packetsPerSecond }) =>
    TIMED.flatMap((engine) => {
      const found = series[engine];
      if (found === undefined) return [];
      const net = nsPerPacket[`${engine}Net`];
      return [[safe(name), engine, fixed(found.median), percent(found.spread / 2), net === undefined ? '' : fixed(net), fixed(found.p50), fixed(found.p99), fixed(found.p999), fixed((packetsPerSecond[engine] ?? 0) / 1e6)]];
    }),
  );
  if (rows.length === 0) return [];
  return [
    ...table(right([['program', 'engine', 'ns/packet', '± quartiles', 'net', 'p50', 'p99', 'p99.9', 'M packets/s'], ...rows], 2)),
    paint('dim', 'net: less what an empty program takes on that engine. p50 to p99.9: of single batches.'),
  ];
}

function remarks({ name, nsPerPacket, speedupVsKernelNet, speedupNetVsNet, shareOfNative, fates, versus, missing }: ProgramFigures): string[] {
  const lines: string[] = [];
  if (fates !== '') lines.push(`  ${safe(fates)}`);
  if (speedupVsKernelNet !== undefined) lines.push(`  kernel net / wasm ${paint('bold', fixed(speedupVsKernelNet))}${speedupNetVsNet === undefined ? '' : `; both net ${fixed(speedupNetVsNet)}`}`);
  if (shareOfNative !== undefined) lines.push(`  native / wasm ${paint('bold', fixed(shareOfNative))}${nsPerPacket.nativeNet === undefined || nsPerPacket.wasmNet === undefined ? '' : `; both net ${fixed(nsPerPacket.nativeNet / nsPerPacket.wasmNet)}`}`);
  if (versus !== undefined) {
    lines.push(`  ${paint('bold', describeChange(versus.change))}${versus.change.significant ? ' than' : '; against'} ${safe(versus.object)} on ${versus.engine} (${fixed(versus.nsPerPacket)} ns)`);
    if (versus.cost !== undefined) lines.push(`  ${safe(versus.object)}: ${costLine(versus.cost)}`);
  }
  for (const { engine, why } of missing) lines.push(paint('yellow', `  not on ${engine}: ${safe(why)}`));
  return lines.length === 0 ? [] : [paint('bold', safe(name)), ...lines];
}

function costLine({ perPacket }: Cost): string {
  return COST_METRICS.map((metric) => `${metric} ${fixed(perPacket[metric].mean)}`).join(', ');
}

function costTable(programs: readonly ProgramFigures[]): string[] {
  const counted = programs.flatMap(({ name, cost }) => (cost === undefined ? [] : [{ name, cost }]));
  if (counted.length === 0) return [];
  const rows = counted.map(({ name, cost: { perPacket } }) => [safe(name), ...COST_METRICS.flatMap((metric) => [fixed(perPacket[metric].mean), String(perPacket[metric].max)])]);
  return [
    paint('bold', `What a packet costs, on every machine  `) + paint('dim', `counted over ${count(counted[0]!.cost.packets)} packets`),
    ...table(right([['program', 'instructions', 'most', 'helper calls', 'most', 'map probes', 'most', 'bytes', 'most'], ...rows], 1), '  '),
    ...counted.map(({ name, cost: { helpers } }) => paint('dim', `  ${safe(name)} calls ${helpers.map(({ helper, callsPerPacket }) => `${helper} ${fixed(callsPerPacket)}`).join(', ') || 'no helpers'}`)),
  ];
}

/** Connection tables and the like: maps that forget, or that grow. */
function mapTable(programs: readonly ProgramFigures[]): string[] {
  const used = programs.filter(({ hook }) => hook !== undefined).flatMap(({ name, cost }) => (cost?.maps ?? []).filter(isTable).map((map) => ({ name, map })));
  if (used.length === 0) return [];
  const rows = used.map(({ name, map: { map, type, lookups, hits, inserts, updates, deletions, evictions } }) => [safe(name), safe(map), type, count(lookups), lookups === 0 ? '' : percent(hits / lookups), count(inserts), count(updates), count(deletions), count(evictions)]);
  return [paint('bold', 'Tables'), ...table(right([['program', 'map', 'type', 'lookups', 'hits', 'inserts', 'updates', 'deletions', 'evictions'], ...rows], 3), '  ')];
}

function isTable({ type, inserts, updates }: MapUse): boolean {
  return type.includes('lru') || (type.includes('hash') && inserts + updates > 0);
}

function balanceText({ packets, elsewhere, affinity, groups, queues, remark }: Balance): string[][] {
  const head = [
    `${paint('bold', 'Balance')}  ${count(packets)} packets looked at, ${count(elsewhere)} of them to no backend`,
    `  affinity: ${count(affinity.kept)} of ${count(affinity.flows)} flows stayed with one backend`,
    ...(remark === undefined ? [] : [paint('dim', `  ${remark}`)]),
  ];
  return [head, ...groups.map(groupText), ...(queues === undefined ? [] : [queuesText(queues)])];
}

function queuesText({ device, key, flows, packets, queues, cpus, rings, ...shares }: QueueSpread): string[] {
  const cells = ({ weight, flows: found, idealFlows, packets: each, idealPackets }: Share): string[] => [String(weight), count(found), idealFlows.toFixed(1), count(each), idealPackets.toFixed(1)];
  const rows = queues.map((each) => [String(each.queue), String(each.cpu), ...cells(each)]);
  return [
    `${paint('bold', `Queues of ${safe(device)}`)}  ${queues.length === 1 ? 'one: --rss queues=4 looks at more' : `${count(queues.length)}, key ${key}`}; ${count(flows)} flows, ${count(packets)} packets`,
    ...table(right([['queue', 'CPU', 'slots', 'flows', 'ideal', 'packets', 'ideal'], ...rows], 0), '  '),
    sharesLine(shares),
    ...(cpus.length === 0 ? [] : table(right([['CPU', 'slots', 'flows', 'ideal', 'packets', 'ideal'], ...cpus.map((each) => [String(each.cpu), ...cells(each)])], 0), '  ')),
    ...rings.flatMap(ringText),
  ];
}

/** Whether to know the queue is to know the backend. */
function ringText({ ring, backends, dependence }: QueuesAndBackends): string[] {
  const line = `  ${safe(ring)}: ${dependenceText(dependence)}`;
  if (dependence?.isDependent !== true) return [line];
  const rows = dependence.counts.map((counts, queue) => [String(queue), ...counts.map(count)]);
  return [paint('yellow', line), ...table(right([['flows by queue and backend', ...backends.map(safe)], ...rows], 1), '    ')];
}

function sharesLine({ maxOverIdeal, chiSquare }: Pick<Shares, 'maxOverIdeal' | 'chiSquare'>): string {
  return `  max / ideal: flows ${fixed(maxOverIdeal.flows)}, packets ${fixed(maxOverIdeal.packets)}; chi-square of flows ${fixed(chiSquare.value)} with ${chiSquare.degrees} degrees (chance alone gives as much with p = ${chiSquare.probability.toFixed(3)})`;
}

function groupText({ ring, flows, packets, backends, movements, ...shares }: BalancedGroup): string[] {
  const rows = backends.map((each) => [safe(each.backend), String(each.weight), count(each.flows), each.idealFlows.toFixed(1), count(each.packets), each.idealPackets.toFixed(1)]);
  const lines = [
    `${paint('bold', safe(ring))}  ${count(flows)} flows, ${count(packets)} packets`,
    ...table(right([['backend', 'weight', 'flows', 'ideal', 'packets', 'ideal'], ...rows], 1), '  '),
    sharesLine(shares),
  ];
  if (movements.length > 0) {
    const moved = movements.map(({ change, newFlows, establishedFlows }) => [safe(change), count(newFlows.moved), count(newFlows.unavoidable), count(establishedFlows.moved)]);
    lines.push(...table(right([['flows that move when', 'new', 'unavoidable', 'under way'], ...moved], 1), '  '));
  }
  return lines;
}

export function comparisonText({ times, costs, onlyBefore, onlyAfter, warnings }: ReportComparison): string {
  const lines: string[] = [];
  if (times.length > 0) {
    const rows = times.map(({ program, engine, before, after, change }) => [safe(program), engine, fixed(before), fixed(after), describeChange(change)]);
    lines.push(...table([['program', 'engine', 'before', 'after', 'ns/packet'], ...rows]));
  }
  if (costs.length > 0) {
    const rows = costs.map(({ program, metric, before, after }) => [safe(program), metric, fixed(before), fixed(after)]);
    lines.push('', ...table([['program', 'cost', 'before', 'after'], ...rows]));
  } else if (times.length > 0) {
    lines.push('', 'Counted costs are the same.');
  }
  for (const [which, names] of [['before', onlyBefore], ['after', onlyAfter]] as const) if (names.length > 0) lines.push(`only ${which}: ${names.map(safe).join(', ')}`);
  lines.push(...warnings.map((line) => paint('yellow', safe(line))));
  return lines.join('\n');
}

/** A line for each turn of each series: the median of its batches. */
export function reportCsv({ programs, verified }: BenchReport): string {
  const lines = programs.flatMap(({ name, series }) => Object.entries(series).flatMap(([engine, { turns }]) => turns.map((ns, turn) => `${quoted(name)},${engine},${turn + 1},${ns},${verified ?? ''}`)));
  return `${['program,series,turn,nsPerPacket,verified', ...lines].join('\n')}\n`;
}

function quoted(text: string): string {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
