/** `xdplab bench`: how fast a lab's programs are, on which engine, what a packet costs, and how well backends share; `bench compare` puts two results side by side. */
import { readFileSync, writeFileSync } from 'node:fs';
import { extname } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { XdplabError } from '../errors.ts';
import { HOOK_NAMES, type HookName } from '../hooks/hook.ts';
import type { QueueSettings } from '../insight/queue-spread.ts';
import { benchmarkLab } from '../measure/benchmark-lab.ts';
import { BENCH_ENGINES, type BenchEngine, type BenchReport } from '../measure/bench-report.ts';
import { compareReports } from '../measure/compare-reports.ts';
import { parseExpectation, unmet, type Expectation } from '../measure/expectation.ts';
import { htmlReport } from '../measure/html-report.ts';
import { makeTrace, MOST_FLOWS, WORKLOADS, type WorkloadName } from '../measure/workload.ts';
import { fileError } from '../packet/byte-source.ts';
import { readTrace, type PacketTrace } from '../packet/packet-trace.ts';
import { openLab, readObject, type LabSources } from '../pipeline/open-lab.ts';
import { splitProgram } from '../pipeline/lab-file.ts';
import { INDIRECTION_ENTRIES, parseRssKey, RSS_KEYS } from '../pipeline/receive-side-scaling.ts';
import { comparisonText, reportCsv, reportText } from './bench-table.ts';
import { addLabOptions, collectSize, labSources, wholeNumber, type LabFlags } from './lab-options.ts';
import { print, printJson } from './terminal.ts';

interface BenchFlags extends Omit<LabFlags, 'engine'> {
  readonly engine: readonly BenchEngine[];
  readonly capture?: string;
  readonly workload: WorkloadName;
  readonly flows?: number;
  readonly to: string;
  readonly hot?: true;
  readonly program?: readonly string[];
  readonly maxEntries: Readonly<Record<string, number>>;
  readonly vs?: string;
  readonly freshMaps?: true;
  readonly duration: number;
  readonly warmup: number;
  readonly runs: number;
  readonly expect: readonly Expectation[];
  readonly balance: boolean;
  readonly weights?: Readonly<Record<string, number>>;
  /** `true`: as the device has it. */
  readonly rss?: QueueSettings | true;
  readonly json?: true;
  readonly export: readonly string[];
}

const EXPORTS = ['.json', '.html', '.csv'] as const;
/** Where no lab file says: with an address, so that what it sends is known by it. */
const DEVICE = { name: 'eth0', mac: Uint8Array.of(2, 0, 0, 0, 0, 1) };
const DEFAULT_SERVICE = '10.0.0.100:80';

export function addBench(program: Command): void {
  const command = program
    .command('bench')
    .description('measure programs: nanoseconds per packet on each engine side by side, what a packet costs on any machine, and how well a load balancer balances')
    .argument('[objects...]', 'object[:program], each attached where its section says');
  addLabOptions(command, new Option('--engine <names>', `engines to measure, of ${BENCH_ENGINES.join(',')}`).argParser(parseEngines).default(['wasm'], 'wasm'))
    .addOption(new Option('--capture <file>', 'packets of a capture instead of a workload').conflicts('workload'))
    .addOption(new Option('--workload <name>', Object.entries(WORKLOADS).map(([name, { text }]) => `${name}: ${text}`).join('; ')).choices(Object.keys(WORKLOADS)).default('1k'))
    .option('--flows <n>', "instead of the workload's own number", wholeNumber(1, MOST_FLOWS))
    .option('--to <address:port>', 'the service that the packets of a workload go to', DEFAULT_SERVICE)
    .option('--hot', 'one packet, again and again')
    .option('--program <name>', 'measure this program of the lab only; repeatable', (name: string, before: readonly string[] = []) => [...before, name])
    .option('--max-entries <map=n>', 'size of a map, instead of the declared one; repeatable', collectSize, {})
    .option('--vs <object>', 'measure another object beside the one whose programs it has')
    .option('--fresh-maps', 'before every sample, maps as the lab fills them; a sample is a whole round over the packets')
    .option('--duration <seconds>', 'measured time of each program on each engine', seconds, 1)
    .option('--warmup <seconds>', 'the same, before it counts', seconds, 0.3)
    .option('--runs <n>', 'turns that the time is divided into', wholeNumber(1, 1000), 15)
    .option('--expect <condition>', "fail with status 4 unless it holds: 'instructions<=210', 'xdp_lb.helperCalls.max<8', 'wasm<=60'; repeatable", (text, before: readonly Expectation[]) => [...before, parseExpectation(text)], [])
    .option('--no-balance', 'do not look at where a load balancer sends flows')
    .option('--weights <backend=n,...>', 'shares of backends, where the lab does not say them', parseWeights)
    .addOption(new Option('--rss [settings]', "where receive-side scaling brings a load balancer's flows, as the lab's device has it or as said: queues=8,key=symmetric,indirection=0:0:1; key is default, symmetric or 80 hexadecimal digits").argParser(parseRss))
    .option('--export <file>', `write the report, by its ending: ${EXPORTS.join(', ')}; repeatable`, (file: string, before: readonly string[]) => [...before, file], [])
    .option('--json', 'print the report as JSON')
    .action(runBench);
  command
    .command('compare')
    .description('what changed from one report (bench --export report.json) to another')
    .argument('<before>')
    .argument('<after>')
    .action((before: string, after: string, _: unknown, { parent }: Command) => {
      const comparison = compareReports(readReport(before), readReport(after));
      if (parent?.opts<BenchFlags>().json) printJson(comparison);
      else print(comparisonText(comparison));
    });
}

async function runBench(objects: readonly string[], flags: BenchFlags): Promise<void> {
  for (const file of flags.export) {
    if (!EXPORTS.some((ending) => ending === extname(file))) throw new XdplabError('ERR_USAGE', `--export ${file}: found '${extname(file)}', expected a name that ends with ${EXPORTS.join(', ')}`);
  }
  if (flags.rss !== undefined && !flags.balance) throw new XdplabError('ERR_USAGE', '--rss: is a part of the balance, which --no-balance leaves out; drop one of them');
  const sources = await sourcesOf(objects, flags);
  const trace = await traceOf(flags, sources);
  const abort = new AbortController();
  const interrupt = (): void => abort.abort();
  process.once('SIGINT', interrupt);
  let report: BenchReport;
  try {
    report = await benchmarkLab({
      sources,
      engines: flags.engine,
      trace,
      runs: flags.runs,
      durationSeconds: flags.duration,
      warmupSeconds: flags.warmup,
      freshMaps: flags.freshMaps === true,
      ...(flags.program === undefined ? {} : { programs: flags.program }),
      ...(flags.vs === undefined ? {} : { versus: flags.vs }),
      ...(flags.balance ? { balance: { ...(flags.weights === undefined ? {} : { weights: flags.weights }), ...(flags.rss === undefined ? {} : { rss: flags.rss === true ? {} : flags.rss }) } } : {}),
      onProgress: progress,
      signal: abort.signal,
    });
  } finally {
    process.off('SIGINT', interrupt);
    progress('');
  }
  for (const file of flags.export) write(file, exportText(file, report));
  if (flags.json) printJson(report);
  else print(reportText(report));
  const failures = unmet(report, flags.expect);
  if (failures.length > 0) throw new XdplabError('ERR_EXPECTATION', `not as expected: ${failures.join('; ')}`);
}

/** The lab's own sources, and the objects that are named by themselves, each program at the hook of its section. */
async function sourcesOf(objects: readonly string[], flags: BenchFlags): Promise<Omit<LabSources, 'engine'>> {
  const { engine: _, ...sources } = labSources({ ...flags, engine: 'wasm' });
  const programs = [...(sources.programs ?? [])];
  for (const choice of objects) {
    const { object, program } = splitProgram(choice);
    const spec = await readObject(object, sources);
    const wanted = [...spec.programs.values()].filter(({ name, section, type }) => (program === undefined ? type !== undefined : name === program || section === program));
    if (wanted.length === 0) throw new XdplabError('ERR_USAGE', `${choice}: found ${program === undefined ? 'no programs' : `no program '${program}'`}, expected one of ${[...spec.programs.keys()].join(', ')}`);
    for (const { name, type, attach = '' } of wanted) {
      const hook: HookName = (type ?? sources.type) === 'xdp' ? 'xdp' : attach.includes('egress') ? 'tc-egress' : 'tc-ingress';
      programs.push({ hook, program: `${object}:${name}` });
    }
  }
  return { ...sources, programs, maxEntries: flags.maxEntries, devices: [DEVICE] };
}

/** Made when first asked for, for each way that packets go. */
async function traceOf({ capture, workload, flows, to, hot }: BenchFlags, sources: LabSources): Promise<(hook: HookName) => PacketTrace> {
  if (capture !== undefined) {
    const trace = await readTrace(capture);
    return () => trace;
  }
  const { lab } = await openLab(sources);
  const [device] = lab.devices;
  const made = new Map<boolean, PacketTrace>();
  return (hook) => {
    const outward = hook === HOOK_NAMES[2];
    let trace = made.get(outward);
    if (trace === undefined) made.set(outward, (trace = makeTrace({ name: workload, to, mac: device!.mac, outward, ...(hot ? { hot } : {}), ...(flows === undefined ? {} : { flows }) })));
    return trace;
  };
}

function exportText(file: string, report: BenchReport): string {
  switch (extname(file)) {
    case '.html':
      return htmlReport(report);
    case '.csv':
      return reportCsv(report);
    default:
      return `${JSON.stringify(report, null, 2)}\n`;
  }
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw fileError(file, error);
  }
}

function readReport(file: string): BenchReport {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw fileError(file, error);
  }
  let report: unknown;
  try {
    report = JSON.parse(text);
  } catch {
    report = undefined;
  }
  if (typeof report !== 'object' || report === null || !('kind' in report) || report.kind !== 'xdplab bench') throw new XdplabError('ERR_FILE', `${file}: is no report of xdplab bench; write one with bench --export report.json`);
  return report as BenchReport;
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

function parseEngines(text: string): BenchEngine[] {
  const names = text.split(',').map((name) => BENCH_ENGINES.find((engine) => engine === name.trim()));
  if (names.includes(undefined)) throw new InvalidArgumentError(`Expected some of ${BENCH_ENGINES.join(',')}, with commas between.`);
  return [...new Set(names as BenchEngine[])];
}

function parseWeights(text: string): Readonly<Record<string, number>> {
  const pairs = text.split(',').map((pair) => [pair.slice(0, pair.lastIndexOf('=')), Number(pair.slice(pair.lastIndexOf('=') + 1))] as const);
  if (pairs.some(([backend, weight]) => backend === '' || !(weight >= 0))) throw new InvalidArgumentError('Expected <backend>=<weight>, with commas between.');
  return Object.fromEntries(pairs);
}

const MOST_QUEUES = 1024;

const RSS_SETTINGS: Readonly<Record<string, (text: string) => QueueSettings>> = {
  queues: (text) => ({ queues: wholeNumber(1, MOST_QUEUES)(text) }),
  key: (text) => {
    const rssKey = parseRssKey(text);
    if (rssKey === undefined) throw new InvalidArgumentError(`key: found '${text}', expected ${Object.keys(RSS_KEYS).join(', ')} or 80 hexadecimal digits.`);
    return { rssKey };
  },
  indirection: (text) => {
    const indirection = text.split(':').map(wholeNumber(0, MOST_QUEUES - 1));
    if (indirection.length > INDIRECTION_ENTRIES) throw new InvalidArgumentError(`indirection: found ${indirection.length} queues, expected at most ${INDIRECTION_ENTRIES}.`);
    return { indirection };
  },
};

function parseRss(text: string): QueueSettings {
  const settings: QueueSettings = Object.assign({}, ...text.split(',').map((setting) => {
    const equals = setting.indexOf('=');
    const name = setting.slice(0, Math.max(0, equals));
    if (!Object.hasOwn(RSS_SETTINGS, name)) throw new InvalidArgumentError(`Found '${setting}', expected ${Object.keys(RSS_SETTINGS).map((each) => `${each}=…`).join(', ')}, with commas between.`);
    return RSS_SETTINGS[name]!(setting.slice(equals + 1));
  }));
  const absent = settings.indirection?.find((queue) => queue >= (settings.queues ?? Infinity));
  if (absent !== undefined) throw new InvalidArgumentError(`indirection: found queue ${absent}, but there are ${settings.queues}, from 0.`);
  return settings;
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0) || value > 3600) throw new InvalidArgumentError('Expected seconds, above 0 and at most 3600.');
  return value;
}
