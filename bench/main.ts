/** `npm run bench`: the whole suite, the promised figures among it. README.md has the method. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { parseArgs, stripVTControlCharacters } from 'node:util';

import { runScript, secondsAbove0, wholeFrom1 } from '../dataplane/cli/script.ts';
import { XdplabError } from '../dataplane/errors.ts';
import type { BenchReport } from '../dataplane/measure/bench-report.ts';
import { machineFacts } from '../dataplane/measure/machine-facts.ts';
import { controlBenchmark, NoiseMeter } from '../dataplane/measure/noise.ts';
import { measure, type Benchmark } from '../dataplane/measure/rounds.ts';
import { nativeCompiler, nativeYardstick } from './native/native.ts';
import { CPU_CASES, cpuBenchmark, type CpuCase } from './cpus.ts';
import { growthSteps, measureGrowth, type GrowthRow } from './growth.ts';
import { measureMapMemory, measureUpdates } from './maps.ts';
import { availableEngines, DEMO_LAB, GROWTH, PROGRAM_BENCHES, runProgramBench, type ProgramBench, type SuiteTime } from './programs.ts';
import { nativeReading, pcapParserReading } from './reading.ts';
import { commandReplay, warmReplay } from './replaying.ts';
import { formatSuite, resultRow, type Promised, type ResultRow, type SuiteResults } from './report.ts';
import { beyondNodeMs, measureStarts, type StartTime } from './starting.ts';
import { suitePage } from './suite-page.ts';
import { writeWorkload, type Workload } from './workloads.ts';

const USAGE = `usage: npm run bench [-- options]

  --only <words>     only what has all of these words: programs, growth, cpus, maps, start, reading, replay, or of a name
  --rounds <n>       turns of each benchmark (15)
  --duration <s>     measured time of each program on each engine (1)
  --packets <n>      of the capture (1000000)
  --flows <n>        conversations the capture's packets are shared among, by Zipf's law (1024)
  --size <n>         bytes of a frame of the capture, without its checksum (64)
  --folder <path>    where captures and outputs go while it runs (the system's folder for temporary files)
  --json <file>      write the results there
  --export <file>    the same as a page for people, .html: promised figures, tables, plots
`;

const INTERRUPTED_STATUS = 130;
const WARMUP_ROUNDS = 2;
/** pcap-parser is slow; a part of the packets is enough. */
const PCAP_PARSER_PART = 10;

interface Options {
  readonly only: string;
  readonly time: SuiteTime;
  readonly capture: Workload;
  readonly folder: string;
  readonly json: string | undefined;
  readonly page: string | undefined;
}

async function main(): Promise<void> {
  const options = readOptions();
  if (options === undefined) {
    process.stdout.write(USAGE);
    return;
  }
  const scratch = mkdtempSync(join(options.folder, 'xdplab-bench-'));
  process.once('SIGINT', () => {
    rmSync(scratch, { recursive: true });
    process.exit(INTERRUPTED_STATUS);
  });
  try {
    const results = await runSuite(options, scratch);
    process.stdout.write(stripVTControlCharacters(formatSuite(results)));
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(results, null, 2)}\n`);
    if (options.page !== undefined) writeFileSync(options.page, suitePage(results));
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

async function runSuite(options: Options, scratch: string): Promise<SuiteResults> {
  const { time, capture } = options;
  const machine = machineFacts();
  const engines = availableEngines();
  const compiler = nativeCompiler();
  const yardstick = compiler === undefined ? undefined : nativeYardstick(compiler, scratch);
  const chosen = (label: string): boolean => options.only.split(' ').every((word) => label.includes(word));
  const files = plan(options, scratch).filter(({ label }) => chosen(label));
  const programBenches = PROGRAM_BENCHES.filter(({ label }) => chosen(`programs ${label}`));
  const growing = GROWTH.filter(({ label }) => chosen(`growth ${label}`));
  const cpuBenches = PROGRAM_BENCHES.filter(({ label }) => chosen(`cpus ${label}`));
  if (files.length + programBenches.length + growing.length + cpuBenches.length === 0 && !chosen('maps') && !chosen('start')) throw new XdplabError('ERR_USAGE', `--only ${options.only}: nothing of the suite has these words: programs, growth, cpus, maps, start, reading, replay`);
  const programs: Record<string, BenchReport> = {};
  for (const bench of programBenches) programs[bench.label] = await runProgramBench(bench, scratch, time, engines, yardstick, progress);
  progress('CPUs');
  const onCpus = await cpuRows(cpuBenches, scratch, time);
  const growth = await measureGrowth(growing, scratch, time, engines, progress);
  progress('maps');
  const maps = chosen('maps') ? { memory: measureMapMemory(), updates: await measureUpdates() } : undefined;
  progress('starting');
  const starts = chosen('start') ? await measureStarts(time.runs) : [];
  const meter = new NoiseMeter();
  const measured = files.length === 0 ? [] : await measure([controlBenchmark(), ...files.map(({ label, make }) => (progress(`preparing ${label}`), make()))], { warmup: { rounds: WARMUP_ROUNDS, turnNs: 0 }, counted: { rounds: time.runs, turnNs: 0 }, onRound: (round, total) => progress(`reading and replaying: round ${round + 1} of ${total}`) });
  const [control, ...rows] = measured.map(resultRow);
  progress('');
  return {
    kind: 'xdplab suite',
    machine,
    time,
    capture,
    programs,
    growth,
    cpus: onCpus,
    maps,
    starts,
    rows,
    promises: promises(programs, growth, onCpus, maps, starts, rows),
    noise: control === undefined ? undefined : meter.read(control.nsPerPacket, rows.map(({ name, nsPerPacket }) => [name, nsPerPacket] as const)),
  };
}

/** The bench whose programs write nothing but what is a CPU's own. */
const PER_CPU_STATE = 'firewall, 1,000 prefixes';

const cpuRowName = (label: string, [cpus, busy]: CpuCase): string => `${label}: ${busy === cpus ? 'all' : busy} of ${cpus}`;

/** Each in every case, in turns. */
async function cpuRows(benches: readonly ProgramBench[], scratch: string, { runs, durationSeconds }: SuiteTime): Promise<readonly ResultRow[]> {
  const benchmarks: Benchmark[] = [];
  for (const bench of benches) for (const each of CPU_CASES) benchmarks.push(await cpuBenchmark(cpuRowName(bench.label, each), bench, scratch, each));
  const turnNs = (durationSeconds * 1e9) / runs;
  return (await measure(benchmarks, { warmup: { rounds: WARMUP_ROUNDS, turnNs }, counted: { rounds: runs, turnNs } })).map(resultRow);
}

/** Making one costs something (a capture, a lab), so it is made when chosen. */
function plan({ capture }: Options, scratch: string): readonly { readonly label: string; readonly make: () => Benchmark }[] {
  const file = once(() => write(join(scratch, 'capture.pcap'), capture));
  const part = { ...capture, packets: Math.ceil(capture.packets / PCAP_PARSER_PART) };
  const partFile = once(() => write(join(scratch, 'part.pcap'), part));
  const { packets } = capture;
  const out = join(scratch, 'out.pcapng');
  const verdicts = join(scratch, 'verdicts.ndjson');
  return [
    { label: 'reading native reader', make: () => nativeReading(file(), packets) },
    { label: 'reading pcap-parser', make: () => pcapParserReading(partFile(), part.packets) },
    { label: 'replay warm', make: () => warmReplay(DEMO_LAB, file(), packets) },
    { label: 'replay whole', make: () => warmReplay(DEMO_LAB, file(), packets, { whole: true }) },
    { label: 'replay command', make: () => commandReplay('xdplab replay', DEMO_LAB, file(), packets, 'replay') },
    { label: 'replay command --out', make: () => commandReplay('xdplab replay --out', DEMO_LAB, file(), packets, 'replay', { out }) },
    { label: 'replay command --verdicts', make: () => commandReplay('xdplab replay --verdicts', DEMO_LAB, file(), packets, 'replay', { verdicts }) },
    { label: 'replay command --verdicts records', make: () => commandReplay('xdplab replay --verdicts .bin', DEMO_LAB, file(), packets, 'replay', { verdicts: join(scratch, 'verdicts.bin') }) },
    { label: 'replay command process', make: () => commandReplay('xdplab replay, from start to exit', DEMO_LAB, file(), packets, 'process') },
  ];
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
function promises(programs: Readonly<Record<string, BenchReport>>, growth: readonly GrowthRow[], cpus: readonly ResultRow[], maps: SuiteResults['maps'], starts: readonly StartTime[], rows: readonly ResultRow[]): Promised[] {
  const found: Promised[] = [];
  const speedup = (label: string): number | undefined => programs[label]?.programs[0]?.speedupVsKernelNet;
  const promised: readonly (readonly [label: string, atLeast: number])[] = [['load balancer', 3], ['firewall, 1,000 prefixes', 8], ['counter', 3]];
  const speedups = promised.map(([label, atLeast]) => ({ label, atLeast, value: speedup(label) }));
  for (const { label, atLeast, value } of speedups) if (value !== undefined) found.push({ what: `${label}: kernel net / wasm`, atLeast, found: value });
  if (speedups.every(({ value }) => value !== undefined)) found.push({ what: 'geometric mean of these', atLeast: 4.5, found: geometricMean(speedups.map(({ value }) => value!)) });
  const shares = promised.map(([label]) => programs[label]?.programs[0]?.shareOfNative);
  if (shares.every((value) => value !== undefined)) found.push({ what: 'share of native speed, geometric mean', atLeast: 0.75, found: geometricMean(shares) });
  for (const flows of ['60,000', '1,000,000']) {
    const value = growth.find(({ label }) => label === `load balancer, ${flows} flows`)?.speedupVsKernelNet;
    if (value !== undefined) found.push({ what: `load balancer, ${flows} flows: kernel net / wasm`, atLeast: 3, found: value });
  }
  const steps = growthSteps(growth);
  if (steps.length > 0) found.push({ what: 'steps of growth that caches do not explain', atMost: 0, found: steps.filter(({ isExplained }) => !isExplained).length });
  const [one, two] = ([[2, 1], [2, 2]] as const).map((each) => cpus.find(({ name }) => name === cpuRowName(PER_CPU_STATE, each)));
  if (one !== undefined && two !== undefined) found.push({ what: 'two CPUs against one, per-CPU state', atLeast: 1.9, found: one.nsPerPacket.median / two.nsPerPacket.median });
  if (maps?.memory.kernelBytes !== undefined) found.push({ what: 'memory of a million-entry hash map, times the kernel’s', atMost: 1.3, found: maps.memory.bytes / maps.memory.kernelBytes });
  if (maps !== undefined) found.push({ what: '500,000 map updates a second: packets slowed, %', atMost: 10, found: 100 * maps.updates.slowdown });
  const first = starts.find(({ event }) => event === 'first byte');
  if (first !== undefined) found.push({ what: 'xdplab replay to its first verdict, ms beyond Node’s own start', atMost: 150, found: beyondNodeMs(first) });
  const row = (name: string): ResultRow | undefined => rows.find((each) => each.name === name);
  const [native, parser, replayed, written, logged, whole] = ['native reader', 'pcap-parser', 'xdplab replay', 'xdplab replay --out', 'xdplab replay --verdicts .bin', 'end to end: RSS, firewall, load balancer, records'].map(row);
  if (native !== undefined) found.push({ what: 'reading, M packets/s', atLeast: 10, found: native.packetsPerSecond / 1e6 });
  if (native !== undefined && parser !== undefined) found.push({ what: 'reading, times pcap-parser', atLeast: 10, found: native.packetsPerSecond / parser.packetsPerSecond });
  if (replayed !== undefined) found.push({ what: 'xdplab replay, M packets/s', atLeast: 3, found: replayed.packetsPerSecond / 1e6 });
  if (replayed !== undefined && logged !== undefined) found.push({ what: 'verdict log as records: replay slowed, %', atMost: 15, found: 100 * (logged.nsPerPacket.median / replayed.nsPerPacket.median - 1) });
  const kernelNet = ['load balancer', 'firewall, 1,000 prefixes'].map((label) => programs[label]?.programs[0]?.nsPerPacket.kernelNet);
  if (kernelNet.every((value) => value !== undefined)) {
    const both = kernelNet[0]! + kernelNet[1]!;
    if (whole !== undefined) found.push({ what: 'end to end / the two programs in the kernel, net', atMost: 0.5, found: whole.nsPerPacket.median / both });
    if (written !== undefined) found.push({ what: 'the same with --out', atMost: 1, found: written.nsPerPacket.median / both });
  }
  return found;
}

function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: '' },
      rounds: { type: 'string', default: '15' },
      duration: { type: 'string', default: '1' },
      packets: { type: 'string', default: '1000000' },
      flows: { type: 'string', default: '1024' },
      size: { type: 'string', default: '64' },
      folder: { type: 'string', default: tmpdir() },
      json: { type: 'string' },
      export: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  if (values.export !== undefined && extname(values.export) !== '.html') throw new XdplabError('ERR_USAGE', `--export ${values.export}: found '${extname(values.export)}', expected a name that ends with .html; --json writes the results as JSON`);
  return {
    only: values.only,
    time: { runs: wholeFrom1('--rounds', values.rounds), durationSeconds: secondsAbove0('--duration', values.duration), warmupSeconds: 0.3 },
    capture: { packets: wholeFrom1('--packets', values.packets), gapNs: 1000, flows: wholeFrom1('--flows', values.flows), frameBytes: wholeFrom1('--size', values.size) },
    folder: values.folder,
    json: values.json,
    page: values.export,
  };
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

await runScript(main);
