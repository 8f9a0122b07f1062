/** `xdplab live`: packets of a network interface through the programs of a lab, as they come in. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { BackendName, CaptureBackend, LiveInterface, PacketSource } from '../devices/device.ts';
import { BACKENDS } from '../devices/index.ts';
import { liveInterface, liveInterfaces } from '../devices/interfaces.ts';
import { whyNoFilters } from '../devices/packet-filter.ts';
import { formatMac } from '../address.ts';
import { XdplabError } from '../errors.ts';
import { checkHighlights, highlightTables } from '../insight/highlights.ts';
import { deviceOf, live, type LiveOptions, type LiveResult, type LiveSnapshot } from '../pipeline/live.ts';
import type { Lab } from '../pipeline/lab.ts';
import { openLab, type OpenedLab } from '../pipeline/open-lab.ts';
import { jsonText } from '../pipeline/json-text.ts';
import { addLabOptions, labSources, wholeNumber, type LabFlags } from './lab-options.ts';
import { accountingLine, accountingLines, drawPicture, remarkLines } from './picture.ts';
import { LiveLine } from './live-line.ts';
import { addOutputOptions, checkTargets, ownsStandardOutput, ReplayOutputs, type OutputFlags } from './replay-outputs.ts';
import { bytes, count, duration, paint, print, printJson, safe, table } from './terminal.ts';

interface LiveFlags extends LabFlags, OutputFlags {
  readonly list?: true;
  readonly backend?: BackendName;
  readonly snaplen?: number;
  readonly buffer: number;
  readonly promiscuous?: true;
  readonly count?: number;
  readonly duration?: number;
  readonly every?: number;
}

const INTERRUPTED_STATUS = 130;
const MIB = 1 << 20;
const MOST_BUFFER_MIB = 2048;
const LONGEST_SNAP = 262_144;
/** The longest that a timer waits. */
const LONGEST_SECONDS = 2_000_000;

export function addLive(program: Command): void {
  const command = program
    .command('live')
    .description('run packets of a network interface through XDP and TC programs as they come in; nothing is changed on the wire')
    .argument('[interface]')
    .argument('[filter...]', 'a tcpdump filter expression: only packets that it matches');
  addLabOptions(command)
    .option('--list', 'list interfaces, and the ways to get packets of them')
    .addOption(new Option('--backend <name>', 'how to get packets (the first that is there)').choices(BACKENDS.map(({ name }) => name)))
    .option('--snaplen <bytes>', 'keep only so much of each packet', wholeNumber(14, LONGEST_SNAP))
    .option('--buffer <MiB>', 'room for packets that wait', wholeNumber(1, MOST_BUFFER_MIB), 64)
    .option('--promiscuous', 'packets for other hosts too')
    .option('--count <n>', 'stop after this many packets', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option('--duration <seconds>', 'stop after this long', secondsAbove0)
    .option('--every <seconds>', 'print a snapshot this often; with --json every one is a line, the summary too', secondsAbove0);
  addOutputOptions(command).action(runLive);
}

async function runLive(name: string | undefined, filter: readonly string[], flags: LiveFlags): Promise<void> {
  if (flags.list) return list(flags);
  if (name === undefined) throw new XdplabError('ERR_USAGE', 'live: which interface? Give its name; xdplab live --list shows them');
  checkTargets(undefined, flags);
  const backend = await chooseBackend(flags.backend);
  const device = usable(liveInterface(name));
  const opened = await openLab({ ...labSources(flags), devices: [{ name, ifindex: device.ifindex, mac: device.mac, mtuBytes: device.mtuBytes }] });
  checkHighlights(opened.lab, opened.highlights);
  const outputs = new ReplayOutputs(opened.lab, flags, opened.events);
  try {
    // Compiling is done before the first packet comes in.
    const { pipeline } = opened.lab;
    const at = deviceOf(opened.lab, name, 0)!;
    const source = await backend.open(device, {
      memory: opened.lab.machine.memory,
      bufferBytes: flags.buffer * MIB,
      outgoing: pipeline.attachments.some((each) => each.hook === 'tc-egress' && each.device === at),
      promiscuous: flags.promiscuous === true,
      ...(flags.snaplen === undefined ? {} : { snapLength: flags.snaplen }),
      ...(filter.length === 0 ? {} : { filter: filter.join(' ') }),
    });
    let result: LiveResult;
    try {
      result = await run(opened.lab, source, flags, outputs);
    } finally {
      source.close();
    }
    outputs.flush();
    outputs.writeMaps();
    summarize(source, flags, opened, outputs, result);
    if (result.failure !== undefined) throw result.failure;
    // Where no end was set, Ctrl-C is the end that was meant.
    if (result.interrupted && (flags.count !== undefined || flags.duration !== undefined)) process.exitCode = INTERRUPTED_STATUS;
  } finally {
    outputs.close();
    opened.lab.close();
  }
}

async function run(lab: Lab, source: PacketSource, flags: LiveFlags, outputs: ReplayOutputs): Promise<LiveResult> {
  const line = new LiveLine();
  const abort = new AbortController();
  const interrupt = (): void => abort.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const options: LiveOptions = {
    ...(flags.count === undefined ? {} : { count: flags.count }),
    ...(flags.duration === undefined ? {} : { durationMs: flags.duration * 1000 }),
    ...(outputs.observer === undefined ? {} : { observer: outputs.observer }),
    onInterface: (index, device) => outputs.addInterface(index, device),
    snapshotMs: flags.every === undefined ? line.everyMs : flags.every * 1000,
    onSnapshot: (snapshot) => {
      outputs.flush();
      if (flags.every === undefined) line.update(snapshot);
      else tellSnapshot(snapshot, flags);
    },
    signal: abort.signal,
  };
  try {
    line.begin(source);
    return await live(lab, [source], options);
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
    line.clear();
  }
}

function tellSnapshot({ packets, bytes: size, elapsedNs, accounting }: LiveSnapshot, flags: LiveFlags): void {
  if (flags.json) print(jsonText({ elapsedNs, packets, bytes: size, accounting }));
  else print(`${duration(elapsedNs)}: ${count(packets)} packets, ${bytes(size)}: ${accountingLine(accounting)}`, ownsStandardOutput(flags) ? process.stderr : process.stdout);
}

function summarize(source: PacketSource, flags: LiveFlags, { lab, highlights }: OpenedLab, outputs: ReplayOutputs, result: LiveResult): void {
  const { remarks, verified } = lab;
  const engine = lab.engine.name;
  const { backend, knowsLosses } = source;
  const { name } = source.interface;
  const statistics = lab.statistics();
  const maps = highlightTables(lab, highlights);
  const events = outputs.events.counts;
  const { accounting, failure, ...facts } = result;
  if (flags.json) {
    const summary = { interface: name, mode: 'observe', backend, engine, verified, ...(remarks.length === 0 ? {} : { remarks }), live: { ...facts, knowsLosses, ...(failure === undefined ? {} : { failure: failure.message }) }, accounting, statistics, maps, events };
    if (flags.every === undefined) printJson(summary);
    else print(jsonText(summary));
    return;
  }
  const head = `${paint('bold', safe(name))}  observed by ${backend}, ${count(result.packets)} packets, ${bytes(result.bytes)}, engine ${engine}`;
  const foot = [...accountingLines(accounting, knowsLosses), '', `${count(result.packets)} packets in ${duration(result.elapsedNs)}`, ...remarkLines(statistics, remarks)];
  print(drawPicture({ head, foot, statistics, highlights: maps, events }), ownsStandardOutput(flags) ? process.stderr : process.stdout);
}

/** The one that was asked for, else the first that can be used. Throws ERR_PRIVILEGE where there is none. */
async function chooseBackend(wanted: BackendName | undefined): Promise<CaptureBackend> {
  const reasons: string[] = [];
  for (const backend of BACKENDS) {
    if (wanted !== undefined && backend.name !== wanted) continue;
    const missing = await backend.missing();
    if (missing === undefined) return backend;
    reasons.push(`${backend.name}: ${missing}`);
  }
  throw new XdplabError('ERR_PRIVILEGE', `no packets can be had here: ${reasons.join('; ')}`);
}

function usable(device: LiveInterface): LiveInterface {
  const { name } = device;
  if (!device.ethernet) throw new XdplabError('ERR_DEVICE', `${name}: its packets do not begin with an Ethernet header, which XDP and TC programs here look at; choose an Ethernet interface`);
  if (!device.up) throw new XdplabError('ERR_DEVICE', `${name}: it is down; ip link set ${name} up`);
  return device;
}

async function list({ json }: LiveFlags): Promise<void> {
  const interfaces = liveInterfaces();
  const backends = await Promise.all(BACKENDS.map(async ({ name, text, missing }) => ({ name, text, missing: await missing() })));
  const filters = whyNoFilters();
  if (json) {
    printJson({ interfaces: interfaces.map(({ mac, ...rest }) => ({ ...rest, mac: formatMac(mac) })), backends, filters: filters ?? null });
    return;
  }
  const rows = interfaces.map(({ name, ifindex, mac, mtuBytes, up, ethernet, master }) => [safe(name), ifindex, formatMac(mac), `mtu ${mtuBytes}`, up ? 'up' : 'down', ethernet ? '' : 'not Ethernet', master === undefined ? '' : `in ${safe(master)}`]);
  const lines = [paint('bold', 'Interfaces'), ...table(rows, '  '), '', paint('bold', 'Ways to get their packets'), ...table(backends.map(({ name, text, missing }) => [name, missing === undefined ? text : `missing: ${missing}`]), '  ')];
  if (filters !== undefined) lines.push('', filters);
  print(lines.join('\n'));
}

function secondsAbove0(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0) || value > LONGEST_SECONDS) throw new InvalidArgumentError(`Expected seconds above 0, at most ${LONGEST_SECONDS}.`);
  return value;
}
