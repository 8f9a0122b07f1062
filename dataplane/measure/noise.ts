/**
 * How far a machine's figures can be trusted. A loop of plain arithmetic is measured among the benchmarks: what varies
 * there is the machine, not the code. Beside it, what Linux says of the time that others took.
 */
import { readFileSync } from 'node:fs';
import type { Benchmark } from './rounds.ts';
import type { TurnSummary } from './sample-summary.ts';

export interface Noise {
  /** Relative distance between the quartiles of the loop's turns. */
  readonly controlSpread: number;
  /** Times a second that this process had to give up its core. */
  readonly switchesPerSecond: number;
  /** Part of the time that the hypervisor gave to others, where Linux knows. */
  readonly stolen: number | undefined;
  /** Rows whose samples differ too much to trust their median to a tenth. */
  readonly rows: readonly string[];
  /** What to say to whoever reads the figures; empty where they can be trusted. */
  readonly warnings: readonly string[];
}

/** Half of the samples of a quiet machine lie within a few percent. */
export const NOISY_SPREAD = 0.1;
const NOISY_CONTROL = 0.05;
const NOISY_STEAL = 0.02;
const CONTROL_ITERATIONS = 100_000;

export function controlBenchmark(): Benchmark {
  let state = 1;
  return {
    name: 'control',
    sample: () => {
      const begunMs = performance.now();
      for (let round = 0; round < CONTROL_ITERATIONS; round++) {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
      }
      return ((performance.now() - begunMs) * 1e6) / CONTROL_ITERATIONS;
    },
    describe: () => String(state),
  };
}

export class NoiseMeter {
  readonly #begunMs = performance.now();
  readonly #switches = process.resourceUsage().involuntaryContextSwitches;
  readonly #cpu = cpuTimes();

  /** `rows` by name, `control` what the control benchmark measured. */
  read(control: TurnSummary, rows: readonly (readonly [name: string, summary: TurnSummary])[]): Noise {
    const seconds = (performance.now() - this.#begunMs) / 1000;
    const now = cpuTimes();
    const stolen = this.#cpu && now ? (now.stolen - this.#cpu.stolen) / Math.max(1, now.total - this.#cpu.total) : undefined;
    const facts = {
      controlSpread: control.spread,
      switchesPerSecond: (process.resourceUsage().involuntaryContextSwitches - this.#switches) / seconds,
      stolen,
      rows: [...new Set(rows.filter(([, { spread }]) => spread > NOISY_SPREAD).map(([name]) => name))],
    };
    return { ...facts, warnings: warningsOf(facts) };
  }
}

function warningsOf({ controlSpread, stolen, rows }: Omit<Noise, 'warnings'>): string[] {
  const warnings: string[] = [];
  if (controlSpread > NOISY_CONTROL) warnings.push(`The machine is too noisy to trust: plain arithmetic varied by ${percent(controlSpread)} between turns. Ratios of what ran side by side say more than the times.`);
  if (stolen !== undefined && stolen > NOISY_STEAL) warnings.push(`Others had ${percent(stolen)} of this machine's time (steal).`);
  if (rows.length > 0) warnings.push(`The quartiles of these lie more than ${percent(NOISY_SPREAD)} apart: ${rows.join('; ')}.`);
  return warnings;
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`;
}

/** The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. */
function cpuTimes(): { readonly total: number; readonly stolen: number } | undefined {
  try {
    const ticks = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]!.trim().split(/\s+/).slice(1, 9).map(Number);
    return { total: ticks.reduce((sum, each) => sum + each, 0), stolen: ticks[7] ?? 0 };
  } catch {
    return undefined;
  }
}
