/** What `npm run bench:stream`, `npm run bench:http` and `npm run bench:page` found, as text for people. */
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

export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface PageRow {
  readonly name: string;
  readonly packetsPerSecond: SampleSummary;
  readonly verdictsPerSecond: SampleSummary;
  readonly picturesPerSecond: SampleSummary;
  /** From picture to picture. */
  readonly gapMs: Quantiles;
  /** Time that the page's main thread was on a core for a picture, and of it in scripts. */
  readonly workMs: Quantiles;
  readonly scriptMs: Quantiles;
}

export interface PageResults {
  readonly kind: 'xdplab page';
  readonly machine: MachineFacts;
  readonly rows: readonly PageRow[];
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

export function formatPage({ machine, rows, promises }: PageResults): string {
  const heading = ['', 'M packets/s', 'k verdicts/s', 'pictures/s', 'ms apart p50', 'p99', 'max', 'work ms p50', 'p99', 'max', 'script ms p50', 'p99'];
  const body = rows.map(({ name, packetsPerSecond, verdictsPerSecond, picturesPerSecond, gapMs, workMs, scriptMs }) => [
    name,
    ...[(packetsPerSecond.median / 1e6).toFixed(2), (verdictsPerSecond.median / 1000).toFixed(0), picturesPerSecond.median.toFixed(1), ...[gapMs.p50, gapMs.p99, gapMs.max, workMs.p50, workMs.p99, workMs.max, scriptMs.p50, scriptMs.p99].map((ms) => ms.toFixed(1))].map((text, column) => text.padStart(heading[column + 1]!.length)),
  ]);
  return `${[machineLine(machine), ...table([heading, ...body]), '', ...promisedLines(promises)].join('\n')}\n`;
}
