/**
 * `npm run bench:stream`: what the verdict stream carries, and what it costs the packets. A capture of 64-byte frames is
 * replayed in a loop at top speed by `xdplab serve`; clients are a process of their own. README.md has the method.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { runScript, secondsAbove0, wholeFrom1 } from '../dataplane/cli/script.ts';
import { machineFacts } from '../dataplane/measure/machine-facts.ts';
import { summarize } from '../dataplane/measure/sample-summary.ts';
import { formatStream, type StreamResults, type StreamRow } from './serving-report.ts';
import { MeasuredServer } from './serving-server.ts';
import type { ClientsReceived, ClientsWanted } from './stream-clients.ts';
import { inTurns } from './turns.ts';
import { writeWorkload } from './workloads.ts';

const USAGE = `usage: npm run bench:stream -- [options]

  --rounds <n>    turns of each (7)
  --seconds <n>   that a turn is measured for (3)
  --json <file>   write the results there
`;

const CAPTURE = { packets: 200_000, flows: 1024, frameBytes: 64, gapNs: 1000 };
const WARMUP_MS = 1500;
const ALONE = 'nobody is connected';
const everything = { subscribe: { type: 'subscribe', topic: 'verdicts' }, reads: true };
const oneOfEight = { subscribe: { type: 'subscribe', topic: 'verdicts', sample: { oneOf: 8 } }, reads: true };
const thousandASecond = { subscribe: { type: 'subscribe', topic: 'verdicts', sample: { perSecond: 1000 } }, reads: true };
const dead = { subscribe: { type: 'subscribe', topic: 'verdicts' }, reads: false };

const CASES: readonly { readonly name: string; readonly clients: ClientsWanted['clients'] }[] = [
  { name: ALONE, clients: [] },
  { name: 'one client, one packet of eight', clients: [oneOfEight] },
  { name: 'one client, all that it can take', clients: [everything] },
  { name: '1,000 clients of which 990 never read', clients: [...Array.from({ length: 990 }, () => dead), ...Array.from({ length: 10 }, () => thousandASecond)] },
];

interface Turn {
  readonly packetsPerSecond: number;
  readonly verdictsPerSecond: number;
  readonly labNsPerPacket: number;
  readonly serverShare: number;
  readonly growthBytes: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { rounds: { type: 'string', default: '7' }, seconds: { type: 'string', default: '3' }, json: { type: 'string' }, help: { type: 'boolean' } } });
  if (values.help) return void process.stdout.write(USAGE);
  const [rounds, seconds] = [wholeFrom1('--rounds', values.rounds), secondsAbove0('--seconds', values.seconds)];
  const scratch = mkdtempSync(join(tmpdir(), 'xdplab-bench-'));
  const capture = join(scratch, 'capture.pcap');
  writeWorkload(capture, CAPTURE);
  const server = await MeasuredServer.start(['--capture', capture, '--speed', 'top']);
  try {
    await sleep(2 * WARMUP_MS);
    const turns = await inTurns(CASES, rounds, ({ clients }) => runTurn(server, clients, seconds * 1000));
    const results = resultsOf(turns);
    process.stdout.write(formatStream(results));
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
  } finally {
    await server.stop();
    rmSync(scratch, { recursive: true });
  }
}

async function runTurn(server: MeasuredServer, clients: ClientsWanted['clients'], measuredMs: number): Promise<Turn> {
  const memoryBefore = server.memoryBytes;
  const child = fork(new URL('./stream-clients.js', import.meta.url));
  try {
    child.send({ url: `${server.origin.replace('http', 'ws')}/api/stream`, authorization: server.authorization, clients } satisfies ClientsWanted);
    await once(child, 'message');
    await sleep(WARMUP_MS);
    const [runBefore, before, cpuBefore, beganMs] = [await server.run(), await received(child), server.cpuNs, performance.now()];
    await sleep(measuredMs);
    const [runAfter, after, cpuAfter, endedMs] = [await server.run(), await received(child), server.cpuNs, performance.now()];
    const packets = runAfter.packets - runBefore.packets;
    const spentNs = (thread: number): number => cpuAfter.get(thread)! - (cpuBefore.get(thread) ?? 0);
    const labNs = Math.max(...[...cpuAfter.keys()].filter((thread) => thread !== server.pid).map(spentNs));
    return {
      packetsPerSecond: (packets / (runAfter.elapsedNs - runBefore.elapsedNs)) * 1e9,
      verdictsPerSecond: ((after.verdicts - before.verdicts) / (endedMs - beganMs)) * 1000,
      labNsPerPacket: labNs / packets,
      serverShare: spentNs(server.pid) / ((endedMs - beganMs) * 1e6),
      growthBytes: server.memoryBytes - memoryBefore,
    };
  } finally {
    child.kill();
    await once(child, 'exit');
    await sleep(WARMUP_MS);
  }
}

async function received(clients: ChildProcess): Promise<ClientsReceived> {
  clients.send('received');
  const [answer] = (await once(clients, 'message')) as [ClientsReceived];
  return answer;
}

function resultsOf(turns: ReadonlyMap<string, readonly Turn[]>): StreamResults {
  const alone = turns.get(ALONE)!;
  const rows = [...turns].map(
    ([name, all]): StreamRow => ({
      name,
      packetsPerSecond: summarize(all.map(({ packetsPerSecond }) => packetsPerSecond)),
      verdictsPerSecond: summarize(all.map(({ verdictsPerSecond }) => verdictsPerSecond)),
      // Turns of one round were measured side by side.
      ofAlone: summarize(all.map(({ packetsPerSecond }, round) => packetsPerSecond / alone[round]!.packetsPerSecond)),
      labNsPerPacket: summarize(all.map(({ labNsPerPacket }) => labNsPerPacket)),
      labOfAlone: summarize(all.map(({ labNsPerPacket }, round) => labNsPerPacket / alone[round]!.labNsPerPacket)),
      serverShare: summarize(all.map(({ serverShare }) => serverShare)),
      growthBytes: summarize(all.map(({ growthBytes }) => growthBytes)),
    }),
  );
  const [, eighth, all, thousand] = rows;
  return {
    kind: 'xdplab stream',
    machine: machineFacts(),
    rows,
    promises: [
      { what: 'verdicts a second to one client, one packet of eight, millions', atLeast: 1, found: eighth!.verdictsPerSecond.median / 1e6 },
      { what: 'packets a second with it, of those without', atLeast: 0.9, found: eighth!.ofAlone.median },
      { what: 'verdicts a second to one client that takes all, millions', atLeast: 1, found: all!.verdictsPerSecond.median / 1e6 },
      { what: 'packets a second with that, of those without', atLeast: 0.9, found: all!.ofAlone.median },
      { what: 'packets a second with 1,000 clients, of those without', atLeast: 0.97, found: thousand!.ofAlone.median },
      { what: 'memory that 1,000 clients take, MB', atMost: 128, found: thousand!.growthBytes.max / 1e6 },
    ],
  };
}

await runScript(main);
