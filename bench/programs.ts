/** The bundled programs whose figures are promised: a load balancer, a firewall with 1000 prefixes, a counter of flows. */
import { join } from 'node:path';
import { whyNoLinux } from '../dataplane/engine/kernel/linux.ts';
import { benchmarkLab, type Yardstick } from '../dataplane/measure/benchmark-lab.ts';
import type { BenchEngine, BenchReport } from '../dataplane/measure/bench-report.ts';
import { makeTrace, type WorkloadOptions } from '../dataplane/measure/workload.ts';
import type { LabSources } from '../dataplane/pipeline/open-lab.ts';
import { programsDirectory } from '../programs/objects.ts';
import type { BpfMap } from '../dataplane/maps/bpf-map.ts';
import { readsAmongPrefixes, writePrefixes } from './prefixes.ts';

export const DEMO_LAB: string = join(programsDirectory(), 'demo.yaml');

export interface ProgramBench {
  /** Of the suite: what `--only` looks at. */
  readonly label: string;
  readonly program: string;
  readonly sources: (scratch: string) => Omit<LabSources, 'engine'>;
  readonly workload: Pick<WorkloadOptions, 'name' | 'flows'>;
  /** Whether it stands in the table of promises, with its figures beside the kernel's. */
  readonly promised?: true;
}

/** One of a row of benches whose table grows. */
export interface GrowthBench extends ProgramBench {
  readonly of: 'flows' | 'prefixes';
  readonly count: number;
  /** The table. */
  readonly map: string;
  /** Lines of memory that one packet reads in it, on average of the clients' addresses. */
  readonly reads: (table: BpfMap, clients: readonly number[]) => number;
}

export const SERVICE = { to: '10.0.0.100:80', mac: Uint8Array.of(2, 0, 0, 0, 0, 1) };
/** Room for a million flows. */
const LARGE_TABLE = { lb_flows: 2_000_000 };

function balancer(label: string, workload: ProgramBench['workload'], maxEntries?: LabSources['maxEntries']): ProgramBench {
  return { label, program: 'xdp_lb', workload, sources: () => ({ file: DEMO_LAB, ...(maxEntries === undefined ? {} : { maxEntries }) }) };
}

function firewall(label: string, prefixCount: number): ProgramBench {
  return {
    label,
    program: 'xdp_firewall',
    workload: { name: '1k' },
    sources: (scratch) => ({ file: DEMO_LAB, contents: [{ map: 'deny_v4', file: writePrefixes(join(scratch, `prefixes-${prefixCount}.json`), prefixCount) }], maxEntries: { deny_v4: 1 << 18 } }),
  };
}

const counter: ProgramBench = {
  label: 'counter',
  program: 'flow_counter',
  workload: { name: '1k' },
  sources: () => ({ programs: [{ hook: 'xdp', program: join(programsDirectory(), 'flow_counter.bpf.o') }] }),
};

export const PROGRAM_BENCHES: readonly ProgramBench[] = [
  { ...balancer('load balancer', { name: '1k' }), promised: true },
  { ...firewall('firewall, 1,000 prefixes', 1000), promised: true },
  { ...counter, promised: true },
];

/** What happens as flows and prefixes grow. */
export const GROWTH: readonly GrowthBench[] = [
  // A bucket, and a node of 72 bytes, which is in two lines.
  ...[1000, 10_000, 60_000, 100_000, 1_000_000].map((flows): GrowthBench => ({ ...balancer(`load balancer, ${flows.toLocaleString('en-US')} flows`, { name: '1k', flows }, LARGE_TABLE), of: 'flows', count: flows, map: 'lb_flows', reads: () => 3 })),
  ...[10, 100, 1000, 10_000, 100_000].map((count): GrowthBench => ({ ...firewall(`firewall, ${count.toLocaleString('en-US')} prefixes`, count), of: 'prefixes', count, map: 'deny_v4', reads: (table, clients) => readsAmongPrefixes(table.keys(), clients) })),
];

export interface SuiteTime {
  readonly runs: number;
  readonly durationSeconds: number;
  readonly warmupSeconds: number;
}

export function runProgramBench({ program, sources, workload }: ProgramBench, scratch: string, time: SuiteTime, engines: readonly BenchEngine[], yardstick: Yardstick | undefined, onProgress: (text: string) => void): Promise<BenchReport> {
  const trace = makeTrace({ ...SERVICE, ...workload });
  return benchmarkLab({ sources: sources(scratch), programs: [program], engines, trace: () => trace, ...time, ...(yardstick === undefined ? {} : { yardstick }), onProgress });
}

/** The kernel too, where it may be asked. */
export function availableEngines(): readonly BenchEngine[] {
  return whyNoLinux() === undefined ? ['wasm', 'interpreter', 'kernel'] : ['wasm', 'interpreter'];
}
