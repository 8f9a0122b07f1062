/** What changed from one report to another: times with a noise bound, counted costs exactly. */
import { COST_METRICS, type CostMetric } from '../insight/cost.ts';
import { BENCH_ENGINES, type BenchEngine, type BenchReport } from './bench-report.ts';
import { changeApart, type Change } from './change.ts';

export interface ReportComparison {
  readonly times: readonly { readonly program: string; readonly engine: BenchEngine; readonly before: number; readonly after: number; readonly change: Change }[];
  /** Means per packet that are not the same. */
  readonly costs: readonly { readonly program: string; readonly metric: CostMetric; readonly before: number; readonly after: number }[];
  /** Programs that only one of them has. */
  readonly onlyBefore: readonly string[];
  readonly onlyAfter: readonly string[];
  /** Why figures may not be comparable. */
  readonly warnings: readonly string[];
}

export function compareReports(before: BenchReport, after: BenchReport): ReportComparison {
  const pairs = before.programs.flatMap((old) => {
    const now = after.programs.find(({ name }) => name === old.name);
    return now === undefined ? [] : [{ program: old.name, old, now }];
  });
  const names = ({ programs }: BenchReport): string[] => programs.map(({ name }) => name);
  return {
    times: pairs.flatMap(({ program, old, now }) =>
      BENCH_ENGINES.flatMap((engine) => {
        const [from, to] = [old.series[engine], now.series[engine]];
        return from === undefined || to === undefined ? [] : [{ program, engine, before: from.median, after: to.median, change: changeApart(from.turns, to.turns) }];
      }),
    ),
    costs: pairs.flatMap(({ program, old, now }) =>
      COST_METRICS.flatMap((metric) => {
        const [from, to] = [old.cost?.perPacket[metric].mean, now.cost?.perPacket[metric].mean];
        return from === undefined || to === undefined || from === to ? [] : [{ program, metric, before: from, after: to }];
      }),
    ),
    onlyBefore: names(before).filter((name) => !names(after).includes(name)),
    onlyAfter: names(after).filter((name) => !names(before).includes(name)),
    warnings: warningsOf(before, after),
  };
}

function warningsOf(before: BenchReport, after: BenchReport): string[] {
  const facts = ({ machine: { cpu, cores, system, node }, workload, settings }: BenchReport) => ({ machine: `${cpu}, ${cores} cores, ${system}`, node, packets: workload.text, maps: settings.freshMaps ? 'fresh' : 'kept' });
  const [old, now] = [facts(before), facts(after)];
  const warnings = (Object.keys(old) as (keyof typeof old)[]).filter((fact) => old[fact] !== now[fact]).map((fact) => `not the same ${fact}: ${old[fact]}, then ${now[fact]}`);
  for (const [which, { verified }] of [['before', before], ['after', after]] as const) if (verified === false) warnings.push(`programs were not verified ${which}`);
  return [...warnings, ...[before, after].flatMap(({ noise }) => noise.warnings)];
}
