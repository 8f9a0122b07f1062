/** What `npm run bench:live` found, as text for people. */
import { table } from '../dataplane/cli/terminal.ts';
import { machineLine, type MachineFacts } from '../dataplane/measure/machine-facts.ts';
import type { SampleSummary } from '../dataplane/measure/sample-summary.ts';
import { promisedLines, type Promised } from './report.ts';

export interface LiveRow {
  readonly name: string;
  /** What the sender got rid of, and what arrived where packets are counted. */
  readonly offeredPerSecond: SampleSummary;
  readonly arrivedPerSecond: SampleSummary;
  /** Of the process that runs the programs, in user space and in the kernel. */
  readonly cpuNsPerPacket: SampleSummary;
  /** Packets of all turns. */
  readonly offered: number;
  readonly lost: number;
}

export interface LiveResults {
  readonly kind: 'xdplab live';
  readonly machine: MachineFacts;
  readonly rows: readonly LiveRow[];
  readonly promises: readonly Promised[];
}

export function formatLive({ machine, rows, promises }: LiveResults): string {
  const heading = ['', 'offered k/s', 'arrived k/s', 'CPU ns/packet', '± quartiles', 'lost'];
  const body = rows.map(({ name, offeredPerSecond, arrivedPerSecond, cpuNsPerPacket, offered, lost }) => [
    name,
    ...[(offeredPerSecond.median / 1000).toFixed(0), (arrivedPerSecond.median / 1000).toFixed(0), cpuNsPerPacket.median.toFixed(0), `${(cpuNsPerPacket.spread * 50).toFixed(1)} %`, lost === 0 ? '0' : `${lost} of ${offered}`].map((text, column) => text.padStart(heading[column + 1]!.length)),
  ]);
  return `${[machineLine(machine), ...table([heading, ...body]), '', ...promisedLines(promises)].join('\n')}\n`;
}
