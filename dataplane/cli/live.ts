/** `xdplab live`: packets of a network interface through the programs of a lab, as they come in. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { PacketSource } from '../devices/device.ts';
import { BACKENDS } from '../devices/index.ts';
import { HANDED_OVER } from '../devices/packet-socket.ts';
import { XdplabError } from '../errors.ts';
import { checkHighlights, highlightTables } from '../insight/highlights.ts';
import { ATTACH_MODES } from '../live/attached.ts';
import type { Inline, InlineCounts } from '../live/inline.ts';
import { jsonText } from '../pipeline/json-text.ts';
import type { Lab } from '../pipeline/lab.ts';
import { devicesFor, live, type LiveOptions, type LiveResult, type LiveSnapshot } from '../live/live.ts';
import { deviceOf, openLive, usableInterfaces, type LiveRequest, type OpenLive } from '../live/open-live.ts';
import { openLab, type OpenedLab } from '../pipeline/open-lab.ts';
import { inTurn } from '../pipeline/pipeline.ts';
import { addLabOptions, labSources, wholeNumber } from './lab-options.ts';
import { runAttached } from './live-attach.ts';
import { INTERRUPTED_STATUS, type LiveFlags } from './live-flags.ts';
import { checkInline, inlineLines } from './live-inline.ts';
import { LiveLine } from './live-line.ts';
import { listLive } from './live-list.ts';
import { accountingLine, accountingLines, drawPicture, remarkLines } from './picture.ts';
import { addOutputOptions, checkTargets, ownsStandardOutput, ReplayOutputs } from './replay-outputs.ts';
import { runAs } from './run-as.ts';
import { bytes, count, duration, paint, print, printJson, safe } from './terminal.ts';

const MIB = 1 << 20;
const MOST_BUFFER_MIB = 2048;
const LONGEST_SNAP = 262_144;
/** The longest that a timer waits. */
const LONGEST_SECONDS = 2_000_000;

export function addLive(program: Command): void {
  const command = program
    .command('live')
    .description('run packets of a network interface through XDP and TC programs as they come in; nothing is changed on the wire unless --to or --attach says so')
    .argument('[interface]')
    .argument('[filter...]', 'a tcpdump filter expression: only packets that it matches');
  addLabOptions(command)
    .option('--list', 'list interfaces, and the ways to get packets of them')
    .addOption(new Option('--backend <name>', 'how to get packets (the first that is there)').choices(BACKENDS.map(({ name }) => name)))
    .option('--snaplen <bytes>', 'keep only so much of each packet', wholeNumber(14, LONGEST_SNAP))
    .option('--buffer <MiB>', 'room for packets that wait', wholeNumber(1, MOST_BUFFER_MIB), 64)
    .option('--to <interface>', 'inline: send what passes out of this interface, and what comes in there out of the first')
    .addOption(new Option('--attach <mode>', 'let the running Linux attach the programs to the interface, and run them there').choices(ATTACH_MODES))
    .option('--redirect <device=interface>', 'with --to or --attach: the interface that a further device of the lab stands for, where redirects lead; repeatable', collectRedirect, [])
    .option('--user <name>', 'run as this user, with nothing of root but the packet sockets')
    .option('--promiscuous', 'packets for other hosts too')
    .option('--count <n>', 'stop after this many packets', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option('--duration <seconds>', 'stop after this long', secondsAbove0)
    .option('--every <seconds>', 'print a snapshot this often; with --json every one is a line, the summary too', secondsAbove0);
  addOutputOptions(command).action(runLive);
}

async function runLive(name: string | undefined, filter: readonly string[], flags: LiveFlags): Promise<void> {
  if (flags.list) return listLive(flags);
  if (name === undefined) throw new XdplabError('ERR_USAGE', 'live: which interface? Give its name; xdplab live --list shows them');
  if (flags.user !== undefined && process.env[HANDED_OVER] === undefined) {
    process.exitCode = await runAs(flags.user, socketsFor(flags));
    return;
  }
  checkTargets(undefined, flags);
  if (flags.attach !== undefined) return runAttached(name, filter, flags);
  checkInline(name, filter, flags);
  const isInline = flags.to !== undefined;
  const devices = usableInterfaces([name, flags.to]).map((each) => deviceOf(each, isInline));
  const opened = await openLab({ ...labSources(flags), devices });
  const { lab } = opened;
  devicesFor(lab, devices.map((each) => each.name)).forEach((device, index) => device ?? lab.addDevice(devices[index]!));
  checkHighlights(lab, opened.highlights);
  const outputs = new ReplayOutputs(lab, flags, opened.events);
  let open: OpenLive | undefined;
  try {
    open = await openLive(lab, liveRequest(name, filter, flags));
    const { sources, inline } = open;
    const result = await takeIn(lab, sources, flags, outputs, inline);
    outputs.flush();
    outputs.writeMaps();
    summarize(sources, flags, opened, outputs, result, inline?.counts);
    if (result.failure !== undefined) throw result.failure;
    // Where no end was set, Ctrl-C is the end that was meant.
    if (result.interrupted && (flags.count !== undefined || flags.duration !== undefined)) process.exitCode = INTERRUPTED_STATUS;
  } finally {
    open?.close();
    await outputs.close();
    lab.close();
  }
}

function liveRequest(name: string, filter: readonly string[], { to, redirect, backend, buffer, snaplen, promiscuous }: LiveFlags): LiveRequest {
  return {
    interface: name,
    redirect,
    bufferBytes: buffer * MIB,
    ...(to === undefined ? {} : { to }),
    ...(backend === undefined ? {} : { backend }),
    ...(snaplen === undefined ? {} : { snapLength: snaplen }),
    ...(promiscuous === undefined ? {} : { promiscuous }),
    ...(filter.length === 0 ? {} : { filter: filter.join(' ') }),
  };
}

/** One for each CPU. Inline, each interface has one to receive, one to send and one to be looked at with; what packets are redirected to has one to send. */
function socketsFor({ user, to, redirect, attach, backend, cpus = 1 }: LiveFlags): number {
  if (attach !== undefined) throw new XdplabError('ERR_USAGE', `--user ${user}: what is attached needs its rights until the end; leave it out`);
  if (backend === 'cap') throw new XdplabError('ERR_USAGE', `--user ${user}: is about packet sockets, which --backend cap does not use; leave one of them out`);
  return to === undefined ? cpus : 6 + redirect.length;
}

async function takeIn(lab: Lab, sources: readonly PacketSource[], flags: LiveFlags, outputs: ReplayOutputs, inline: Inline | undefined): Promise<LiveResult> {
  const line = new LiveLine();
  const abort = new AbortController();
  const abandon = new AbortController();
  // Once more, and what has come in is not judged any more.
  const interrupt = (): void => (abort.signal.aborted ? abandon : abort).abort();
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  const observers = [inline, outputs.observer].filter((each) => each !== undefined);
  const options: LiveOptions = {
    ...(flags.count === undefined ? {} : { count: flags.count }),
    ...(flags.duration === undefined ? {} : { durationMs: flags.duration * 1000 }),
    ...(observers.length === 0 ? {} : { observer: inTurn(observers) }),
    onInterface: (index, device) => outputs.addInterface(index, device),
    snapshotMs: flags.every === undefined ? line.everyMs : flags.every * 1000,
    onSnapshot: (snapshot) => {
      outputs.flush();
      if (flags.every === undefined) line.update(snapshot);
      else tellSnapshot(snapshot, flags);
    },
    signal: abort.signal,
    abandon: abandon.signal,
  };
  try {
    line.begin(sources, inline === undefined ? 'observe' : 'inline', beforehand(lab, sources, flags));
    return await live(lab, sources, options);
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
    line.clear();
  }
}

/** What somebody may not expect, while there is time to begin otherwise. */
function beforehand({ pipeline: { attachments } }: Lab, [source]: readonly PacketSource[], { promiscuous }: LiveFlags): string[] {
  return [
    ...(attachments.length === 0 ? ['no program is attached: packets are counted, and nothing judges them; --xdp, --tc-ingress or --lab gives programs'] : []),
    ...(source!.backend === 'cap' && promiscuous === undefined ? ['by cap, packets for other hosts are left out; --promiscuous takes them too'] : []),
  ];
}

function tellSnapshot({ packets, bytes: size, elapsedNs, accounting }: LiveSnapshot, flags: LiveFlags): void {
  if (flags.json) print(jsonText({ elapsedNs, packets, bytes: size, accounting }));
  else print(`${duration(elapsedNs)}: ${count(packets)} packets, ${bytes(size)}: ${accountingLine(accounting)}`, ownsStandardOutput(flags) ? process.stderr : process.stdout);
}

function summarize(sources: readonly PacketSource[], flags: LiveFlags, { lab, highlights }: OpenedLab, outputs: ReplayOutputs, result: LiveResult, inline: InlineCounts | undefined): void {
  const { remarks, verified } = lab;
  const engine = lab.engine.name;
  const { backend, knowsLosses, interface: { name } } = sources[0]!;
  const statistics = lab.statistics();
  const maps = highlightTables(lab, highlights);
  const events = outputs.events.counts;
  const { accounting, failure, ...facts } = result;
  if (flags.json) {
    const run = { ...facts, knowsLosses, ...(failure === undefined ? {} : { failure: failure.message }) };
    const mode = inline === undefined ? { mode: 'observe' } : { mode: 'inline', to: flags.to, ...inline };
    const summary = { interface: name, ...mode, backend, engine, verified, ...(remarks.length === 0 ? {} : { remarks }), live: run, accounting, statistics, maps, events };
    if (flags.every === undefined) printJson(summary);
    else print(jsonText(summary));
    return;
  }
  const head = `${paint('bold', safe(name))}  ${inline === undefined ? 'observed' : `inline to ${safe(flags.to!)}`} by ${backend}, ${count(result.packets)} packets, ${bytes(result.bytes)}, engine ${engine}`;
  const foot = [...accountingLines(accounting, knowsLosses), ...(inline === undefined ? [] : inlineLines(inline)), '', `${count(result.packets)} packets in ${duration(result.elapsedNs)}`, ...remarkLines(statistics, remarks)];
  const fates = statistics.fates.map((each) => (inline !== undefined && each.fate === 'stack' ? { ...each, text: 'left on the other side' } : each));
  print(drawPicture({ head, foot, statistics: { ...statistics, fates }, highlights: maps, events }), ownsStandardOutput(flags) ? process.stderr : process.stdout);
}

function secondsAbove0(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0) || value > LONGEST_SECONDS) throw new InvalidArgumentError(`Expected seconds above 0, at most ${LONGEST_SECONDS}.`);
  return value;
}

function collectRedirect(text: string, before: LiveFlags['redirect']): LiveFlags['redirect'] {
  const [device, to, ...rest] = text.split('=');
  if (!device || !to || rest.length > 0) throw new InvalidArgumentError('Expected <device>=<interface>.');
  return [...before, { device, to }];
}
