/** `npm run bench:http`: how many requests the HTTP interface answers, by autocannon, while a capture is replayed at its own pace. README.md has the method. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import autocannon from 'autocannon';
import { runScript, secondsAbove0, wholeFrom1 } from '../dataplane/cli/script.ts';
import { machineFacts } from '../dataplane/measure/machine-facts.ts';
import { summarize } from '../dataplane/measure/sample-summary.ts';
import { formatHttp, type HttpResults } from './serving-report.ts';
import { MeasuredServer } from './serving-server.ts';
import { inTurns } from './turns.ts';

const USAGE = `usage: npm run bench:http -- [options]

  --rounds <n>    turns of each (5)
  --seconds <n>   that a turn takes (3)
  --json <file>   write the results there
`;

const CONNECTIONS = 20;
const PIPELINING = 4;
const CAPTURE = fileURLToPath(new URL('../../traces/demo.pcapng', import.meta.url));

interface Case {
  readonly name: string;
  readonly path: string;
  readonly method?: 'PUT';
  readonly body?: string;
}

async function casesOf(server: MeasuredServer): Promise<readonly Case[]> {
  const { maps } = await server.json<{ maps: readonly { id: number; name: string }[] }>('/api/maps');
  const map = (name: string): number => maps.find((one) => one.name === name)!.id;
  return [
    { name: 'GET /api', path: '/api' },
    { name: 'GET /api/runs/r1', path: '/api/runs/r1' },
    { name: 'GET /api/statistics', path: '/api/statistics' },
    { name: 'GET /api/maps/… of 8 entries', path: `/api/maps/${map('backends')}?limit=8` },
    { name: 'PUT /api/maps/…/entries', path: `/api/maps/${map('deny_v4')}/entries`, method: 'PUT', body: JSON.stringify({ key: '203.0.113.7/32', value: 1 }) },
    { name: 'GET /api/openapi.json', path: '/api/openapi.json' },
    { name: 'GET /metrics', path: '/metrics' },
  ];
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' }, seconds: { type: 'string', default: '3' }, json: { type: 'string' }, help: { type: 'boolean' } } });
  if (values.help) return void process.stdout.write(USAGE);
  const [rounds, seconds] = [wholeFrom1('--rounds', values.rounds), secondsAbove0('--seconds', values.seconds)];
  const server = await MeasuredServer.start(['--capture', CAPTURE]);
  try {
    const cases = await casesOf(server);
    const turns = await inTurns(cases, rounds, async ({ path, method, body }) => {
      const { requests, duration, latency, non2xx, errors } = await autocannon({
        url: `${server.origin}${path}`,
        method: method ?? 'GET',
        headers: { authorization: server.authorization, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body }),
        connections: CONNECTIONS,
        pipelining: PIPELINING,
        duration: seconds,
      });
      return { perSecond: requests.total / duration, p50: latency.p50, p99: latency.p99, failed: non2xx + errors };
    });
    const rows = [...turns].map(([name, all]) => ({
      name,
      requestsPerSecond: summarize(all.map(({ perSecond }) => perSecond)),
      p50Ms: summarize(all.map(({ p50 }) => p50)).median,
      p99Ms: summarize(all.map(({ p99 }) => p99)).median,
      failed: all.reduce((total, { failed }) => total + failed, 0),
    }));
    const results: HttpResults = { kind: 'xdplab http', machine: machineFacts(), rows, promises: [] };
    process.stdout.write(formatHttp(results));
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
  } finally {
    await server.stop();
  }
}

await runScript(main);
