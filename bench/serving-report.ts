/** What `npm run bench:stream` and `npm run bench:http` found, as text for people. */
import { table } from '../dataplane/cli/terminal.ts';
import { machineLine, type MachineFacts } from '../dataplane/measure/machine-facts.ts';
import type { SampleSummary } from '../dataplane/measure/sample-summary.ts';
import { promisedLines, type Promised } from './report.ts';

export interface StreamRow {
  readonly name: string;
  readonly packetsPerSecond: SampleSummary;
  /** Received by all clients that read. */
  readonly verdictsPerSecond: SampleSummary;
  /** Packets a second as a part of those of the turn beside it where nobody was connected. */
  readonly ofAlone: SampleSummary;
  /** Time on a core: of the lab's thread for a packet, and of the server's thread in a second. */
  readonly labNsPerPacket: SampleSummary;
  readonly serverShare: SampleSummary;
  /** The lab's time for a packet against that of the turn beside it where nobody was connected. */
  readonly labOfAlone: SampleSummary;
  /** Memory that the server took more than before its clients came. */
  readonly growthBytes: SampleSummary;
}

export interface StreamResults {
  readonly kind: 'xdplab stream';
  readonly machine: MachineFacts;
  readonly rows: readonly StreamRow[];
  readonly promises: readonly Promised[];
}

export interface HttpRow {
  readonly name: string;
  readonly requestsPerSecond: SampleSummary;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly failed: number;
}

export interface HttpResults {
  readonly kind: 'xdplab http';
  readonly machine: MachineFacts;
  readonly rows: readonly HttpRow[];
  readonly promises: readonly Promised[];
}

export function formatStream({ machine, rows, promises }: StreamResults): string {
  const heading = ['', 'M packets/s', '± quartiles', 'of alone', 'M verdicts/s', 'lab ns/packet', 'of alone', 'server %', 'memory MB'];
  const body = rows.map(({ name, packetsPerSecond, verdictsPerSecond, ofAlone, labNsPerPacket, labOfAlone, serverShare, growthBytes }) => [
    name,
    ...[(packetsPerSecond.median / 1e6).toFixed(2), `${(packetsPerSecond.spread * 50).toFixed(1)} %`, ofAlone.median.toFixed(3), (verdictsPerSecond.median / 1e6).toFixed(2), labNsPerPacket.median.toFixed(1), labOfAlone.median.toFixed(3), (serverShare.median * 100).toFixed(0), (growthBytes.median / 1e6).toFixed(1)].map((text, column) => text.padStart(heading[column + 1]!.length)),
  ]);
  return `${[machineLine(machine), ...table([heading, ...body]), '', ...promisedLines(promises)].join('\n')}\n`;
}

export function formatHttp({ machine, rows }: HttpResults): string {
  const heading = ['', 'requests/s', '± quartiles', 'p50 ms', 'p99 ms', 'failed'];
  const body = rows.map(({ name, requestsPerSecond, p50Ms, p99Ms, failed }) => [
    name,
    ...[requestsPerSecond.median.toFixed(0), `${(requestsPerSecond.spread * 50).toFixed(1)} %`, p50Ms.toFixed(1), p99Ms.toFixed(1), String(failed)].map((text, column) => text.padStart(heading[column + 1]!.length)),
  ]);
  return `${[machineLine(machine), ...table([heading, ...body])].join('\n')}\n`;
}
