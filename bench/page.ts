/**
 * `npm run bench:page`: how many verdicts the page takes in Chromium, and how it moves meanwhile. A capture of 64-byte
 * frames is replayed in a loop by `xdplab serve`. README.md has the method.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { chromium, type Page } from 'playwright-core';
import { runScript, secondsAbove0, wholeFrom1 } from '../dataplane/cli/script.ts';
import { machineFacts } from '../dataplane/measure/machine-facts.ts';
import { quantile, summarize } from '../dataplane/measure/sample-summary.ts';
import { frameWork, type FrameWork, type TraceEvent } from './frame-work.ts';
import { formatPage, type PageResults, type PageRow, type Quantiles } from './serving-report.ts';
import { MeasuredServer } from './serving-server.ts';
import { inTurns } from './turns.ts';
import { writeWorkload } from './workloads.ts';

const USAGE = `usage: npm run bench:page -- [options]

  --rounds <n>       turns of each (5)
  --seconds <n>      that a turn is measured for (3)
  --chromium <file>  the browser (/usr/bin/chromium)
  --json <file>      write the results there
`;

const CAPTURE = { packets: 200_000, flows: 1024, frameBytes: 64, gapNs: 1000 };
const VIEWPORT = { width: 1280, height: 800 };
const WARMUP_MS = 1500;
const TRACED = ['toplevel', 'devtools.timeline'];
const CASES = [
  { name: '200,000 packets a second', speed: '200000pps' },
  { name: 'top speed', speed: 'top' },
] as const;

/** What the page got since it was asked last, counted behind its back. */
interface Received {
  readonly verdicts: number;
  /** When each picture began, in milliseconds. */
  readonly pictures: readonly number[];
}

interface Turn extends FrameWork {
  readonly verdictsPerSecond: number;
  readonly packetsPerSecond: number;
  readonly picturesPerSecond: number;
  readonly gapsMs: readonly number[];
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' }, seconds: { type: 'string', default: '3' }, chromium: { type: 'string', default: '/usr/bin/chromium' }, json: { type: 'string' }, help: { type: 'boolean' } } });
  if (values.help) return void process.stdout.write(USAGE);
  const [rounds, seconds] = [wholeFrom1('--rounds', values.rounds), secondsAbove0('--seconds', values.seconds)];
  const scratch = mkdtempSync(join(tmpdir(), 'xdplab-bench-'));
  const capture = join(scratch, 'capture.pcap');
  writeWorkload(capture, CAPTURE);
  const server = await MeasuredServer.start(['--capture', capture, '--speed', 'top']);
  const browser = await chromium.launch({ executablePath: values.chromium, args: ['--no-sandbox'] });
  try {
    const page = await browser.newPage({ viewport: VIEWPORT });
    await page.addInitScript(countBehindItsBack);
    await page.goto(`${server.origin}/#token=${server.token}`);
    const turns = await inTurns(CASES, rounds, ({ speed }) => runTurn(server, page, speed, seconds * 1000));
    const results = resultsOf(turns);
    process.stdout.write(formatPage(results));
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
  } finally {
    await browser.close();
    await server.stop();
    rmSync(scratch, { recursive: true });
  }
}

/** Runs in the page, before its own script. */
function countBehindItsBack(): void {
  const countAt = 4;
  let verdicts = 0;
  let pictures: number[] = [];
  const bench = {
    WebSocket: class extends WebSocket {
      constructor(url: string, protocol: string) {
        super(url, protocol);
        this.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
          if (data instanceof ArrayBuffer) verdicts += new DataView(data).getUint32(countAt, true);
        });
      }
    },
    received(): Received {
      const answer = { verdicts, pictures };
      verdicts = 0;
      pictures = [];
      return answer;
    },
  };
  Object.assign(globalThis, bench);
  const picture = (atMs: number): void => {
    pictures.push(atMs);
    requestAnimationFrame(picture);
  };
  requestAnimationFrame(picture);
}

async function runTurn(server: MeasuredServer, page: Page, speed: string, measuredMs: number): Promise<Turn> {
  await server.post('/api/runs/r1/speed', { speed });
  await sleep(WARMUP_MS);
  const browser = page.context().browser()!;
  await browser.startTracing(page, { categories: TRACED });
  const runBefore = await server.run();
  await page.evaluate('received()');
  const beganMs = performance.now();
  await sleep(measuredMs);
  const { verdicts, pictures } = (await page.evaluate('received()')) as Received;
  const seconds = (performance.now() - beganMs) / 1000;
  const runAfter = await server.run();
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString()) as { traceEvents: readonly TraceEvent[] };
  return {
    verdictsPerSecond: verdicts / seconds,
    packetsPerSecond: ((runAfter.packets - runBefore.packets) / (runAfter.elapsedNs - runBefore.elapsedNs)) * 1e9,
    picturesPerSecond: pictures.length / seconds,
    gapsMs: pictures.slice(1).map((atMs, index) => atMs - pictures[index]!),
    ...frameWork(traceEvents),
  };
}

function quantiles(samples: readonly number[]): Quantiles {
  const sorted = samples.toSorted((a, b) => a - b);
  return { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: sorted.at(-1)! };
}

function resultsOf(turns: ReadonlyMap<string, readonly Turn[]>): PageResults {
  const rows = [...turns].map(
    ([name, all]): PageRow => ({
      name,
      packetsPerSecond: summarize(all.map(({ packetsPerSecond }) => packetsPerSecond)),
      verdictsPerSecond: summarize(all.map(({ verdictsPerSecond }) => verdictsPerSecond)),
      picturesPerSecond: summarize(all.map(({ picturesPerSecond }) => picturesPerSecond)),
      gapMs: quantiles(all.flatMap(({ gapsMs }) => gapsMs)),
      workMs: quantiles(all.flatMap(({ workMs }) => workMs)),
      scriptMs: quantiles(all.flatMap(({ scriptMs }) => scriptMs)),
    }),
  );
  return {
    kind: 'xdplab page',
    machine: machineFacts(),
    rows,
    promises: rows.flatMap(({ name, verdictsPerSecond, picturesPerSecond, workMs }) => [
      { what: `${name}: verdicts a second to the page, thousands`, atLeast: 300, found: verdictsPerSecond.median / 1000 },
      { what: `${name}: pictures a second`, atLeast: 59, found: picturesPerSecond.median },
      { what: `${name}: the page's own work for a picture, ms, 99 of 100`, atMost: 16.7, found: workMs.p99 },
    ]),
  };
}

await runScript(main);
