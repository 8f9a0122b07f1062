/** `xdplab replay`: a capture through the programs of a lab, and a picture of what happened. */
import type { Command } from 'commander';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Option } from 'commander';
import { highlightTables } from '../insight/highlights.ts';
import { CaptureOutput } from '../pipeline/capture-output.ts';
import { openLab } from '../pipeline/open-lab.ts';
import type { BatchObserver } from '../pipeline/pipeline.ts';
import { parsePace, replay, type ReplayResult } from '../pipeline/replay.ts';
import { VerdictLog } from '../pipeline/verdict-log.ts';
import { EventLog } from '../pipeline/event-log.ts';
import type { NetworkDevice } from '../machine/network.ts';
import { OutputFile } from '../packet/output-file.ts';
import type { Lab } from '../pipeline/lab.ts';
import { addLabOptions, labSources, wholeNumber, type LabFlags } from './lab-options.ts';
import { drawPicture } from './picture.ts';
import { ProgressLine } from './progress.ts';
import { toJson } from './json.ts';

interface ReplayFlags extends LabFlags {
  readonly limit?: number;
  readonly loop: number;
  readonly speed: string;
  readonly reader: 'native' | 'pcap-parser';
  readonly out?: string;
  readonly verdicts?: string;
  readonly events?: string;
  readonly mapsOut?: string;
  readonly json?: true;
}

const INTERRUPTED_STATUS = 130;
const FAILURE_STATUS = 1;

export function addReplay(program: Command): void {
  const command = program
    .command('replay')
    .description('replay a capture (pcap or pcapng, also gzip or zstd packed; - for standard input) through XDP and TC programs')
    .argument('<capture>');
  addLabOptions(command)
    .option('--limit <n>', 'stop after this many packets', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option('--loop <n>', 'replay the capture this many times', wholeNumber(1, Number.MAX_SAFE_INTEGER), 1)
    .option('--speed <pace>', 'top, original, <n>x or <n>pps', 'top')
    .addOption(new Option('--reader <name>', 'what reads the capture').choices(['native', 'pcap-parser']).default('native'))
    .option('--out <file>', 'write every packet as it left, with its verdicts (.pcapng, .pcap, either with .gz)')
    .option('--verdicts <file>', 'write a JSON line for every packet (- for standard output)')
    .option('--events <file>', 'write a JSON line for everything programs sent: ring buffers, perf events, trace_printk (- for standard output)')
    .option('--maps-out <folder>', 'write the contents of every map, a JSON file each')
    .option('--json', 'print the summary as JSON')
    .action(runReplay);
}

async function runReplay(capture: string, flags: ReplayFlags): Promise<void> {
  const pace = parsePace(flags.speed);
  const { lab, highlights, events: eventTypes } = await openLab(labSources(flags));
  const outputs = openOutputs(lab, flags, eventTypes);
  const progress = new ProgressLine();
  const abort = new AbortController();
  const interrupt = (): void => abort.abort();
  process.once('SIGINT', interrupt);
  let result: ReplayResult;
  try {
    result = await replay(lab, capture, {
      pace,
      loops: flags.loop,
      reader: flags.reader,
      ...(flags.limit === undefined ? {} : { limit: flags.limit }),
      ...(outputs.observer === undefined ? {} : { observer: outputs.observer }),
      onInterface: (index, device) => (outputs.devices[index] = device),
      onProgress: (now) => {
        outputs.events.drain();
        progress.update(now);
      },
      signal: abort.signal,
    });
  } finally {
    process.off('SIGINT', interrupt);
    progress.clear();
    outputs.close();
  }
  const statistics = lab.statistics();
  if (flags.mapsOut !== undefined) writeMaps(lab, flags.mapsOut);
  if (flags.json) {
    process.stdout.write(`${toJson({ capture, engine: lab.engine.name, replay: summary(result), statistics, maps: highlightTables(lab, highlights), events: outputs.events.counts })}\n`);
  } else if (flags.verdicts !== '-' && flags.events !== '-') {
    process.stdout.write(drawPicture({ capture, engine: lab.engine.name, result, statistics, highlights: highlightTables(lab, highlights), events: outputs.events.counts }));
  }
  if (result.damage) throw result.damage;
  if (result.interrupted) process.exitCode = INTERRUPTED_STATUS;
  else if (statistics.packets === 0 && result.packets > 0) process.exitCode = FAILURE_STATUS;
}

function summary({ damage, ...result }: ReplayResult): object {
  return { ...result, ...(damage === undefined ? {} : { damage: damage.message }) };
}

interface Outputs {
  readonly observer: BatchObserver | undefined;
  readonly events: EventLog;
  /** By capture interface; undefined for those whose packets cannot be run. */
  readonly devices: (NetworkDevice | undefined)[];
  close(): void;
}

/** Opens what the flags ask for. Files are created before the first packet runs, so a bad path is known at once. */
function openOutputs(lab: Lab, flags: ReplayFlags, eventTypes: ReadonlyMap<string, string>): Outputs {
  const observers: BatchObserver[] = [];
  const closers: (() => void)[] = [];
  const lines = (path: string): ((text: string) => void) => {
    const file = new OutputFile(path);
    closers.push(() => file.close());
    return (text) => file.writeText(text);
  };
  const devices: (NetworkDevice | undefined)[] = [];
  if (flags.out !== undefined) {
    const output = new CaptureOutput(lab.pipeline, flags.out, (index) => devices[index]?.ifindex ?? 0);
    observers.push(output);
    closers.push(() => output.close());
  }
  if (flags.verdicts !== undefined) observers.push(new VerdictLog(lab.pipeline, (index) => devices[index]?.name ?? '', lines(flags.verdicts)));
  const events = new EventLog(lab, eventTypes, flags.events === undefined ? undefined : lines(flags.events));
  const [first, ...others] = observers;
  const observer: BatchObserver | undefined =
    first === undefined || others.length === 0 ? first : { finished: (...args) => observers.forEach((each) => each.finished(...args)) };
  return {
    observer,
    events,
    devices,
    close: () => {
      events.drain();
      for (const close of closers) close();
    },
  };
}

function writeMaps(lab: Lab, folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const { name } of lab.maps) writeFileSync(join(folder, `${name.replaceAll(/[^\w.-]/g, '_')}.json`), `${toJson(lab.map(name).dump())}\n`);
}
