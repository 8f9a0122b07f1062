/**
 * What a figure has to be, as CI writes it: `instructions<=210`, `xdp_lb.instructions.max<300`, `wasm<=60`,
 * `speedupVsKernelNet>=3`. Without a program it holds for each of them; of a counted cost, the mean is meant unless
 * `.max`, `.min` or `.median` says otherwise. Nanoseconds per packet go by the engine's name.
 */
import { XdplabError } from '../errors.ts';
import { COST_METRICS, type CostMetric, type MetricSummary } from '../insight/cost.ts';
import type { BenchReport, ProgramFigures } from './bench-report.ts';

export interface Expectation {
  readonly text: string;
  readonly program: string | undefined;
  readonly figure: string;
  readonly statistic: keyof MetricSummary;
  readonly operator: keyof typeof OPERATORS;
  readonly value: number;
}

const OPERATORS = {
  '<=': (found: number, value: number) => found <= value,
  '>=': (found: number, value: number) => found >= value,
  '==': (found: number, value: number) => found === value,
  '<': (found: number, value: number) => found < value,
  '>': (found: number, value: number) => found > value,
} as const;

const STATISTICS: readonly (keyof MetricSummary)[] = ['mean', 'median', 'min', 'max'];
const TIMES = ['wasm', 'interpreter', 'kernel', 'kernelNet', 'wasmNet', 'interpreterNet'] as const;
const FIGURES: readonly string[] = [...COST_METRICS, ...TIMES, 'speedupVsKernelNet'];

export function parseExpectation(text: string): Expectation {
  const [, path, operator, value] = /^\s*([\w.]+?)\s*(<=|>=|==|<|>)\s*([\d_.]+)\s*$/.exec(text) ?? [];
  const names = path?.split('.') ?? [];
  const statistic = STATISTICS.find((name) => name === names.at(-1));
  if (statistic !== undefined) names.pop();
  const figure = names.pop();
  const number = Number(value?.replaceAll('_', ''));
  if (figure === undefined || names.length > 1 || !FIGURES.includes(figure) || !Number.isFinite(number)) {
    throw new XdplabError('ERR_USAGE', `--expect '${text}': expected [program.]figure[.${STATISTICS.join('|')}], one of ${Object.keys(OPERATORS).join(' ')} and a number, where figure is one of ${FIGURES.join(', ')}`);
  }
  return { text, program: names[0], figure, statistic: statistic ?? 'mean', operator: operator as keyof typeof OPERATORS, value: number };
}

/** A line for each program that is not as expected, or of which this run cannot say. */
export function unmet({ programs }: BenchReport, expectations: readonly Expectation[]): string[] {
  return expectations.flatMap((expectation) => {
    const concerned = programs.filter(({ name }) => expectation.program === undefined || name === expectation.program);
    if (concerned.length === 0) return [`${expectation.text}: no program of that name was measured, but ${programs.map(({ name }) => name).join(', ')}`];
    return concerned.flatMap((program) => {
      const found = figureOf(program, expectation);
      if (found === undefined) return [`${expectation.text}: ${program.name}: this run did not measure it`];
      return OPERATORS[expectation.operator](found, expectation.value) ? [] : [`${expectation.text}: ${program.name}: found ${Number(found.toFixed(3))}`];
    });
  });
}

function figureOf({ cost, nsPerPacket, speedupVsKernelNet }: ProgramFigures, { figure, statistic }: Expectation): number | undefined {
  if (figure === 'speedupVsKernelNet') return speedupVsKernelNet;
  const metric = COST_METRICS.find((name): name is CostMetric => name === figure);
  return metric === undefined ? nsPerPacket[figure as (typeof TIMES)[number]] : cost?.perPacket[metric][statistic];
}
