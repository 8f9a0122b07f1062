/**
 * What `xdplab replay` and `xdplab live` write besides their summary: a capture, logs of verdicts and of events, the contents of maps.
 *
 * Invariant: a file is created before the first packet runs, so that a bad path is known at once, and is complete
 * after `close`, however the replay ended.
 */
import { mkdirSync, statSync, type Stats } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { XdplabError } from '../errors.ts';
import type { NetworkDevice } from '../machine/network.ts';
import { fileError } from '../packet/byte-source.ts';
import type { CaptureInterface } from '../packet/capture-reader.ts';
import { OutputFile, type OutputFileOptions } from '../packet/output-file.ts';
import { CaptureOutput } from '../pipeline/capture-output.ts';
import { EventLog } from '../pipeline/event-log.ts';
import { jsonText } from '../pipeline/json-text.ts';
import type { Lab } from '../pipeline/lab.ts';
import { inTurn, type BatchObserver } from '../pipeline/pipeline.ts';
import { VerdictLog } from '../pipeline/verdict-log.ts';
import type { MapDump } from '../program/typed-map.ts';
import { VerdictFile } from '../server/verdict-file.ts';

export interface OutputFlags {
  readonly out?: string;
  readonly verdicts?: string;
  readonly events?: string;
  readonly mapsOut?: string;
  readonly json?: true;
}

export function addOutputOptions(command: Command): Command {
  return command
    .option('--out <file>', 'write every packet as it left, with its verdicts (.pcapng, .pcap, either with .gz; - for standard output)')
    .option('--verdicts <file>', 'write a JSON line for every packet (- for standard output), or to a .bin file every verdict as a record of 32 bytes')
    .option('--events <file>', 'write a JSON line for everything programs sent: ring buffers, perf events, trace_printk (- for standard output)')
    .option('--maps-out <folder>', 'write the contents of every map, a JSON file each')
    .option('--json', 'print the summary as JSON');
}

const STANDARD_STREAM = '-';

/** The options that write where `-` may stand. */
const STREAMS = ['out', 'verdicts', 'events'] as const;

/** Whether standard output carries data, so that the picture has to go elsewhere. */
export function ownsStandardOutput(flags: OutputFlags): boolean {
  return STREAMS.some((name) => flags[name] === STANDARD_STREAM);
}

/** Throws ERR_USAGE where two would write to one place, or one over the capture; ERR_FILE where there is no capture. */
export function checkTargets(capture: string | undefined, flags: OutputFlags): void {
  const toStandardOutput = [...STREAMS.filter((name) => flags[name] === STANDARD_STREAM).map((name) => `--${name} -`), ...(flags.json ? ['--json'] : [])];
  if (toStandardOutput.length > 1) {
    throw new XdplabError('ERR_USAGE', `${toStandardOutput.join(' and ')} both write to standard output; give one of them a file`);
  }
  const taken = new Map<string, string>();
  if (capture !== undefined && capture !== STANDARD_STREAM) taken.set(identity(capture, statusOf(capture) ?? missing(capture)), 'the capture itself');
  for (const name of STREAMS) {
    const path = flags[name];
    if (path === undefined || path === STANDARD_STREAM) continue;
    const target = identity(path, statusOf(path));
    const other = taken.get(target);
    if (other !== undefined) throw new XdplabError('ERR_USAGE', `--${name} ${path}: is ${other}; give another file`);
    taken.set(target, `where --${name} writes`);
  }
}

/** Undefined where there is nothing yet. A folder may keep even that from this user. */
function statusOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw fileError(path, error);
  }
}

function missing(capture: string): never {
  throw fileError(capture, { code: 'ENOENT' });
}

/** Of devices and pipes any number may be written to. */
function identity(path: string, status: Stats | undefined): string {
  if (status === undefined) return resolve(path);
  return status.isFile() ? `${status.dev}:${status.ino}` : `${resolve(path)} ${Math.random()}`;
}

export class ReplayOutputs {
  /** Undefined where nobody wants to see the packets: the replay is faster then. */
  readonly observer: BatchObserver | undefined;
  readonly events: EventLog;
  readonly #lab: Lab;
  readonly #mapsFolder: string | undefined;
  readonly #capture: CaptureOutput | undefined;
  readonly #files: OutputFile[] = [];
  /** By capture interface; undefined for those whose packets cannot be run. */
  readonly #devices: (NetworkDevice | undefined)[] = [];

  constructor(lab: Lab, flags: OutputFlags, eventTypes: ReadonlyMap<string, string>) {
    this.#lab = lab;
    this.events = new EventLog(lab, eventTypes, flags.events === undefined ? undefined : this.#lines(flags.events));
    this.#mapsFolder = flags.mapsOut;
    if (flags.mapsOut !== undefined) makeFolder(flags.mapsOut);
    const observers: BatchObserver[] = [];
    if (flags.out !== undefined) observers.push((this.#capture = new CaptureOutput(lab.pipeline, flags.out)));
    if (flags.verdicts !== undefined) observers.push(this.#verdicts(flags.verdicts));
    this.observer = observers.length === 0 ? undefined : inTurn(observers);
  }

  /** An interface of the input, before its first packet. One that is no device has to be described. */
  addInterface(index: number, device: NetworkDevice | undefined, description?: CaptureInterface): void {
    this.#devices[index] = device;
    this.#capture?.addInput(index, device, description);
  }

  /** Lets others see what was written so far. */
  flush(): void {
    this.#capture?.flush();
    for (const file of this.#files) file.flush();
  }

  writeMaps(): void {
    if (this.#mapsFolder === undefined) return;
    for (const map of this.#lab.maps) {
      const name = this.#lab.mapName(map).replaceAll(/[^\w.-]/g, '_');
      writeMap(join(this.#mapsFolder, `${name}.json`), this.#lab.typed(map).dump(), this.#lab.verified);
    }
  }

  /** All of them, also where one fails: then that error is thrown afterwards. */
  async close(): Promise<void> {
    const failures: unknown[] = [];
    const outputs = [...(this.#capture === undefined ? [] : [this.#capture]), ...this.#files];
    for (const end of outputs.flatMap((output) => [() => output.settled(), () => output.close()])) {
      try {
        await end();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  #verdicts(path: string): BatchObserver {
    if (/\.bin(\.gz)?$/.test(path)) return new VerdictFile(this.#lab.pipeline, this.#open(path, { room: (lengthBytes) => this.#lab.machine.memory.region(lengthBytes, 64, 'verdict records that are written') }));
    return new VerdictLog(this.#lab.pipeline, (index) => this.#devices[index]?.name ?? '', this.#lines(path));
  }

  #lines(path: string): (text: string) => void {
    const file = this.#open(path);
    return (text) => file.writeText(text);
  }

  #open(path: string, options: OutputFileOptions = {}): OutputFile {
    const file = new OutputFile(path, { behind: true, ...options });
    this.#files.push(file);
    return file;
  }
}

/** JSON with an entry on each line, for people, for diff and for maps that are too long for one text. */
function writeMap(path: string, { entries, ...facts }: MapDump, verified: boolean): void {
  const file = new OutputFile(path);
  file.writeText(`${jsonText({ ...facts, ...(verified ? {} : { verified }) }).slice(0, -1)},"entries":[`);
  entries.forEach((entry, index) => file.writeText(`${index === 0 ? '' : ','}\n${jsonText(entry)}`));
  file.writeText('\n]}\n');
  file.close();
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST' && code !== 'ENOTDIR') throw fileError(path, error);
    throw new XdplabError('ERR_FILE', `${path}: is not a folder, but map contents need one; give another name`, { cause: error });
  }
}
