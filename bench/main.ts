/** `npm run bench`: packets per second of reading, of each bundled program, and end to end. README.md has the method. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { XdplabError } from '../dataplane/errors.ts';
import { DEMO_LAB, PROGRAMS_UNDER_TEST } from './demo-lab.ts';
import { measure, type Benchmark, type Rounds } from './harness.ts';
import { machineFacts } from './machine-facts.ts';
import { programBenchmark } from './programs.ts';
import { nativeReading, pcapParserReading } from './reading.ts';
import { commandReplay, warmReplay } from './replaying.ts';
import { formatResults, noisyRows, resultRow, type BenchResults, type Requirement, type ResultRow } from './report.ts';
import { writeWorkload, type Workload } from './workloads.ts';

const USAGE = `usage: npm run bench [-- options]

  --only <text>      only benchmarks with this in their group or name: reading, programs, replay, xdp_lb, …
  --rounds <n>       samples of each benchmark (15)
  --packets <n>      of the capture (1000000)
  --flows <n>        conversations the packets are shared among, by Zipf's law (1024)
  --size <n>         bytes of a frame without its checksum (64)
  --lab <file>       what the replay runs through (programs/demo.yaml)
  --folder <path>    where captures and outputs go while it runs (the system's folder for temporary files)
  --json <file>      write the results there
`;

const INTERRUPTED_STATUS = 130;
const WARMUP_ROUNDS = 2;
/** Small enough to stay in a core's second cache, as the batches of a replay do. */
const RESIDENT_PACKETS = 4096;
/** A trace of some seconds: clients that come at a million a second would be a SYN flood to the firewall. */
const RESIDENT_GAP_NS = 1_000_000;
/** Passes over it in a sample, so that a sample takes some ten milliseconds with either engine. */
const PASSES = { wasm: 64, interpreter: 1 } as const;
/** pcap-parser is slow; a part of the packets is enough. */
const PCAP_PARSER_PART = 10;

interface Options {
  readonly only: string;
  readonly rounds: Rounds;
  readonly capture: Workload;
  readonly resident: Workload;
  readonly labFile: string;
  readonly folder: string;
  readonly json: string | undefined;
}

async function main(): Promise<void> {
  const options = readOptions();
  if (options === undefined) {
    process.stdout.write(USAGE);
    return;
  }
  const { capture, resident, rounds } = options;
  const machine = machineFacts();
  const scratch = mkdtempSync(join(options.folder, 'xdplab-bench-'));
  process.once('SIGINT', () => {
    rmSync(scratch, { recursive: true });
    process.exit(INTERRUPTED_STATUS);
  });
  try {
    const benchmarks = choose(plan(options, scratch), options.only);
    const measurements = await measure(benchmarks, rounds, (round, total) => progress(`round ${round + 1} of ${total}`));
    progress('');
    const rows = measurements.map(resultRow);
    const results: BenchResults = { machine, rounds, workloads: { capture, resident }, results: rows, requirements: requirements(rows), noisy: noisyRows(rows) };
    process.stdout.write(formatResults(results));
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(results, null, 2)}\n`);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/** By group and name; making one costs something (a capture, a lab), so it is made when chosen. */
type Plan = readonly { readonly label: string; readonly make: () => Benchmark }[];

function plan({ capture, resident, labFile }: Options, scratch: string): Plan {
  const file = once(() => write(join(scratch, 'capture.pcap'), capture));
  const part = { ...capture, packets: Math.ceil(capture.packets / PCAP_PARSER_PART) };
  const partFile = once(() => write(join(scratch, 'part.pcap'), part));
  const { packets } = capture;
  const out = join(scratch, 'out.pcapng');
  const verdicts = join(scratch, 'verdicts.ndjson');
  return [
    { label: 'reading native reader', make: () => nativeReading(file(), packets) },
    { label: 'reading pcap-parser', make: () => pcapParserReading(partFile(), part.packets) },
    ...(['wasm', 'interpreter'] as const).flatMap((engine) =>
      PROGRAMS_UNDER_TEST.map((program) => ({ label: `programs ${program.name} ${engine}`, make: () => programBenchmark(program, engine, { ...resident, traffic: program.traffic }, PASSES[engine]) })),
    ),
    { label: 'replay warm', make: () => warmReplay(labFile, file(), packets) },
    { label: 'replay command', make: () => commandReplay('xdplab replay', labFile, file(), packets, 'replay') },
    { label: 'replay command --out', make: () => commandReplay('xdplab replay --out', labFile, file(), packets, 'replay', { out }) },
    { label: 'replay command --verdicts', make: () => commandReplay('xdplab replay --verdicts', labFile, file(), packets, 'replay', { verdicts }) },
    { label: 'replay command process', make: () => commandReplay('xdplab replay, from start to exit', labFile, file(), packets, 'process') },
  ];
}

function choose(all: Plan, only: string): Benchmark[] {
  const chosen = all.filter(({ label }) => only.split(' ').every((word) => label.includes(word)));
  if (chosen.length === 0) throw new XdplabError('ERR_USAGE', `--only ${only}: expected a part of one of ${all.map(({ label }) => label).join(', ')}`);
  return chosen.map(({ label, make }) => {
    progress(`preparing ${label}`);
    return make();
  });
}

function write(path: string, workload: Workload): string {
  writeWorkload(path, workload);
  return path;
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

/** What has been promised, as far as this run measured it. */
function requirements(rows: readonly ResultRow[]): Requirement[] {
  const rate = (name: string): number | undefined => rows.find((row) => row.name === name)?.packetsPerSecond;
  const native = rate('native reader');
  const parser = rate('pcap-parser');
  const replayed = rate('xdplab replay');
  const found: Requirement[] = [];
  if (native !== undefined) found.push({ what: 'reading, M packets/s', atLeast: 10, found: native / 1e6 });
  if (native !== undefined && parser !== undefined) found.push({ what: 'reading, times pcap-parser', atLeast: 10, found: native / parser });
  if (replayed !== undefined) found.push({ what: 'xdplab replay, M packets/s', atLeast: 3, found: replayed / 1e6 });
  return found;
}

function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: '' },
      rounds: { type: 'string', default: '15' },
      packets: { type: 'string', default: '1000000' },
      flows: { type: 'string', default: '1024' },
      size: { type: 'string', default: '64' },
      lab: { type: 'string', default: DEMO_LAB },
      folder: { type: 'string', default: tmpdir() },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const shape = { traffic: 'balanced' as const, flows: whole('--flows', values.flows), frameBytes: whole('--size', values.size) };
  return {
    only: values.only,
    rounds: { warmup: WARMUP_ROUNDS, counted: whole('--rounds', values.rounds) },
    capture: { packets: whole('--packets', values.packets), gapNs: 1000, ...shape },
    resident: { packets: RESIDENT_PACKETS, gapNs: RESIDENT_GAP_NS, ...shape },
    labFile: values.lab,
    folder: values.folder,
    json: values.json,
  };
}

function whole(option: string, text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value > 0 && Number.isSafeInteger(value)) return value;
  throw new XdplabError('ERR_USAGE', `${option}: found "${text}", expected a whole number from 1`);
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

try {
  await main();
} catch (error) {
  const isUsage = error instanceof TypeError && 'code' in error;
  if (!isUsage && !(error instanceof XdplabError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error instanceof XdplabError ? error.exitStatus : 2;
}
