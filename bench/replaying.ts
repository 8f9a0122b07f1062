/**
 * End to end: a capture through the demonstration lab, from opening the file to the last verdict.
 *
 * In this process a lab is built anew for every sample, outside the time, but JavaScript is warm. In a process of its
 * own, `xdplab replay` is what a user starts, cold, and says itself how long the replay took.
 */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { XdplabError } from '../dataplane/errors.ts';
import { EventLog } from '../dataplane/pipeline/event-log.ts';
import { openLab, readBytes, type OpenedLab } from '../dataplane/pipeline/open-lab.ts';
import type { BatchObserver } from '../dataplane/pipeline/pipeline.ts';
import { replay } from '../dataplane/pipeline/replay.ts';
import type { Statistics } from '../dataplane/pipeline/statistics.ts';
import { describeFates } from '../dataplane/measure/fates.ts';
import { timed, timedAsync, type Benchmark } from '../dataplane/measure/rounds.ts';

export const COMMAND_LINE = fileURLToPath(new URL('../dataplane/cli/start.cjs', import.meta.url));

/** Looks at records, and keeps nothing: they are in machine memory when it is called. */
const RECORDS_ONLY: BatchObserver = { looksAt: 'records', finished: () => {} };
const QUEUES = 4;

/** `whole`: packets are spread over queues as a NIC does it, and every program run leaves its verdict record. */
export function warmReplay(labFile: string, capture: string, packets: number, { whole = false }: { readonly whole?: boolean } = {}): Benchmark {
  let opened: OpenedLab;
  const observer = whole ? RECORDS_ONLY : undefined;
  return {
    name: whole ? 'end to end: RSS, firewall, load balancer, records' : 'firewall and load balancer, warm',
    restore: async () => {
      opened = await openLab({ file: labFile, engine: 'wasm', ...(whole ? { read: async (path) => (path === labFile ? withQueues(await readBytes(path)) : readBytes(path)) } : {}) });
      // Compiles the packet loop.
      opened.lab.pipeline.prepare(observer);
    },
    sample: () => {
      const { lab, events } = opened;
      new EventLog(lab, events);
      return perPacket(packets, async () => {
        const result = await replay(lab, capture, observer === undefined ? {} : { observer });
        expectPackets(capture, result.packets, packets);
      });
    },
    describe: () => describeFates(opened.lab.statistics()),
  };
}

/** The lab file with that many queues at its first device. */
function withQueues(bytes: Uint8Array): Uint8Array {
  return new TextEncoder().encode(new TextDecoder().decode(bytes).replace(/^ {4}ifindex: /m, `    queues: ${QUEUES}\n$&`));
}

/** Files that a replay writes, beside the capture. */
export interface ReplayOutputs {
  readonly out?: string;
  readonly verdicts?: string;
}

/** `clock`: what the command says the replay took, or all from its start to its end, that of Node included. */
export function commandReplay(name: string, labFile: string, capture: string, packets: number, clock: 'replay' | 'process', outputs: ReplayOutputs = {}): Benchmark {
  const files = Object.values(outputs).filter((file) => file !== undefined);
  const options = Object.entries(outputs).flatMap(([option, file]) => [`--${option}`, String(file)]);
  let summary: ReplaySummary | undefined;
  const remove = (): void => files.forEach((file) => rmSync(file, { force: true }));
  return {
    name,
    restore: remove,
    sample: () => {
      const wholeNs = timed(() => (summary = runReplay([capture, '--lab', labFile, '--json', ...options])));
      const { replay: result } = summary!;
      expectPackets(capture, result.packets, packets);
      return (clock === 'process' ? wholeNs : result.elapsedNs) / packets;
    },
    describe: () => (summary ? describeFates(summary.statistics) : ''),
    close: remove,
  };
}

/** What `--json` prints, as far as it is used here. */
interface ReplaySummary {
  readonly replay: { readonly packets: number; readonly elapsedNs: number };
  readonly statistics: Statistics;
}

function runReplay(options: readonly string[]): ReplaySummary {
  const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND_LINE, 'replay', ...options], { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (status !== 0) throw new XdplabError('ERR_FILE', `xdplab replay ${options.join(' ')} ended with status ${status}: ${stderr.trim()}`);
  return JSON.parse(stdout) as ReplaySummary;
}

async function perPacket(packets: number, work: () => Promise<void>): Promise<number> {
  return (await timedAsync(work)) / packets;
}

function expectPackets(capture: string, seen: number, packets: number): void {
  if (seen !== packets) throw new Error(`${capture}: replayed ${seen} packets of ${packets}`);
}
