/** `xdplab replay`: a capture through the programs of a lab, and a picture of what happened. */
import { statSync } from 'node:fs';
import { Option, type Command } from 'commander';
import { XdplabError } from '../errors.ts';
import { checkHighlights, highlightTables } from '../insight/highlights.ts';
import type { LabDescription } from '../pipeline/lab-file.ts';
import type { Lab } from '../pipeline/lab.ts';
import { openLab } from '../pipeline/open-lab.ts';
import { parsePace, type Pace } from '../pipeline/pace.ts';
import { replay, type ReplayResult } from '../pipeline/replay.ts';
import type { Statistics } from '../pipeline/statistics.ts';
import { addLabOptions, labSources, wholeNumber, type LabFlags } from './lab-options.ts';
import { captureLine, drawPicture, remarkLines, speedLine } from './picture.ts';
import { ProgressLine } from './progress.ts';
import { addOutputOptions, checkTargets, ownsStandardOutput, ReplayOutputs, type OutputFlags } from './replay-outputs.ts';
import { portNumber, serveCapture } from './serve.ts';
import { paint, print, printJson } from './terminal.ts';

interface ReplayFlags extends LabFlags, OutputFlags {
  readonly limit?: number;
  readonly loop: number;
  readonly speed: string;
  readonly reader: 'native' | 'pcap-parser';
  readonly check?: true;
  readonly serve?: true;
  readonly port?: number;
}

const INTERRUPTED_STATUS = 130;
/** Some ten thousand packets, or a few times as many packed. */
const SHORT_CAPTURE_BYTES = 1 << 20;

export function addReplay(program: Command): void {
  const command = program
    .command('replay')
    .description('replay a capture (pcap or pcapng, also gzip or zstd packed; - for standard input) through XDP and TC programs')
    .argument('<capture>');
  addLabOptions(command)
    .option('--limit <n>', 'stop after this many packets', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option('--loop <n>', 'replay the capture this many times', wholeNumber(1, Number.MAX_SAFE_INTEGER), 1)
    .option('--speed <pace>', 'top, original, <n>x or <n>pps', 'top')
    .addOption(new Option('--check', 'run in the interpreter, and compare every instruction with what the verifier proved of it; slow, and ends at the first that differs').conflicts(['engine', 'verify']))
    .addOption(new Option('--reader <name>', 'what reads the capture').choices(['native', 'pcap-parser']).default('native'))
    .addOption(new Option('--serve', 'open the lab to a browser instead, as xdplab serve does, with the capture running over and over at its own pace unless said').conflicts(['limit', 'check', 'out', 'verdicts', 'events', 'mapsOut', 'json']))
    .option('--port <n>', 'with --serve: port to listen on (any that is free)', portNumber);
  addOutputOptions(command).action(runReplay);
}

async function runReplay(capture: string, flags: ReplayFlags, command: Command): Promise<void> {
  if (flags.serve) {
    const said = <Name extends 'speed' | 'loop'>(name: Name): ReplayFlags[Name] | undefined => (command.getOptionValueSource(name) === 'default' ? undefined : flags[name]);
    return serveCapture(capture, flags, said('speed'), said('loop'));
  }
  if (flags.port !== undefined) throw new XdplabError('ERR_USAGE', `--port ${flags.port}: nothing listens without --serve; add it, or leave --port out`);
  const pace = parsePace(flags.speed);
  checkTargets(capture, flags);
  const sources = { ...labSources(flags), ...(isShort(capture, flags.loop) ? { tier: 'quick' as const } : {}) };
  const { lab, highlights, events } = await openLab(flags.check === undefined ? sources : { ...sources, engine: 'interpreter', check: true });
  checkHighlights(lab, highlights);
  const outputs = new ReplayOutputs(lab, flags, events);
  let result: ReplayResult;
  try {
    result = await run(lab, capture, flags, pace, outputs);
  } finally {
    await outputs.close();
  }
  outputs.writeMaps();
  const statistics = lab.statistics();
  summarize(capture, flags, lab, highlights, outputs, result, statistics);
  if (result.damage) throw result.damage;
  if (result.interrupted) process.exitCode = INTERRUPTED_STATUS;
  else checkSomethingRan(capture, statistics);
}

/** Whether the optimising compiler would take longer than it saves. */
function isShort(capture: string, loops: number): boolean {
  const status = capture === '-' ? undefined : statSync(capture, { throwIfNoEntry: false });
  return loops === 1 && status?.isFile() === true && status.size <= SHORT_CAPTURE_BYTES;
}

async function run(lab: Lab, capture: string, flags: ReplayFlags, pace: Pace, outputs: ReplayOutputs): Promise<ReplayResult> {
  const progress = new ProgressLine();
  const abort = new AbortController();
  const interrupt = (): void => abort.abort();
  process.once('SIGINT', interrupt);
  try {
    return await replay(lab, capture, {
      pace,
      loops: flags.loop,
      reader: flags.reader,
      ...(flags.limit === undefined ? {} : { limit: flags.limit }),
      ...(outputs.observer === undefined ? {} : { observer: outputs.observer }),
      onInterface: (index, device, description) => outputs.addInterface(index, device, description),
      onProgress: (now) => {
        // Whoever slows the packets down wants to watch them.
        if (pace.kind !== 'top') outputs.flush();
        progress.update(now);
      },
      signal: abort.signal,
    });
  } finally {
    process.off('SIGINT', interrupt);
    progress.clear();
  }
}

function summarize(
  capture: string,
  flags: ReplayFlags,
  lab: Lab,
  highlights: LabDescription['show'],
  outputs: ReplayOutputs,
  result: ReplayResult,
  statistics: Statistics,
): void {
  const { remarks, verified } = lab;
  const engine = lab.engine.name;
  const maps = highlightTables(lab, highlights);
  const events = outputs.events.counts;
  if (flags.json) {
    const { damage, ...facts } = result;
    printJson({ capture, engine, verified, ...(remarks.length === 0 ? {} : { remarks }), replay: { ...facts, ...(damage === undefined ? {} : { damage: damage.message }) }, statistics, maps, events });
  } else {
    const head = captureLine(capture, engine, result, statistics);
    const foot = [speedLine(result), ...remarkLines(statistics, remarks), ...serveLines(capture)];
    print(drawPicture({ head, foot, statistics, highlights: maps, events }), ownsStandardOutput(flags) ? process.stderr : process.stdout);
  }
}

/** What is on standard input cannot be opened again. */
function serveLines(capture: string): string[] {
  if (capture === '-') return [];
  const again = process.env.npm_lifecycle_event === 'start' ? `${paint('bold', 'npm start -- --serve')}, or ${paint('bold', 'npm run serve')}` : `the same command with ${paint('bold', '--serve')}`;
  return [`Open it in a browser: ${again}`];
}

/** A capture of which no packet could be run is no success. */
function checkSomethingRan(capture: string, { packets, fates, reasons }: Statistics): void {
  if (packets === 0 || fates.some(({ fate }) => fate !== 'rejected')) return;
  throw new XdplabError('ERR_CAPTURE', `${capture}: none of its ${packets} packets could be run: ${reasons.map(({ text }) => text).join(', ')}`);
}
