/**
 * A lab in its thread: what the server may ask of it, and what it tells by itself. Packets run here and nowhere else;
 * calls are answered between two batches.
 */
import { resolve } from 'node:path';
import { formatMac, formatPrefix } from '../address.ts';
import type { HookName } from '../hooks/hook.ts';
import { hookByName } from '../hooks/index.ts';
import { XdplabError } from '../errors.ts';
import { checkHighlights, highlightTables, type HighlightTable } from '../insight/highlights.ts';
import { InstructionCounts, type ProgramCounts } from '../insight/instruction-counts.ts';
import { Rerunner } from '../insight/rerun.ts';
import { WatchedPrograms } from '../insight/watched-programs.ts';
import { EventLog, type EventCount } from '../pipeline/event-log.ts';
import type { Highlight } from '../pipeline/lab-file.ts';
import type { Lab } from '../pipeline/lab.ts';
import { openLab, parseObject, readBytes, type LabSources, type OpenedLab } from '../pipeline/open-lab.ts';
import type { Attachment } from '../pipeline/pipeline.ts';
import type { Statistics } from '../pipeline/statistics.ts';
import type { Collection } from '../program/collection.ts';
import type { Program } from '../program/program.ts';
import { CacheFolder } from '../system/cache-folder.ts';
import { AttachedRun, type AttachedRequest } from './attached-run.ts';
import { LabMaps, plainValue, type MapContents, type MapDescription, type MapEntry, type UpdateFlag } from './lab-maps.ts';
import { attachmentName, type AttachmentName, type LabNames } from './lab-names.ts';
import { rerunAnswer, type RerunAnswer, type RerunRequest } from './lab-rerun.ts';
import { LabRun, type RunRequest } from './lab-run.ts';
import { openLiveRun, type LiveRequest } from './live-run.ts';
import type { OpenRun, RunDescription } from './open-run.ts';
import { VerdictRingWriter, type VerdictRingBuffers } from './verdict-ring.ts';

/** An object as it was uploaded or named. */
export interface ObjectFile {
  readonly id: string;
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface LabStart {
  readonly name: string;
  readonly epoch: number;
  readonly sources: Omit<LabSources, 'read' | 'proofs'>;
  readonly proofsPath: string;
  /** By absolute path: objects, and the lab file itself. */
  readonly objects: ReadonlyMap<string, ObjectFile>;
  readonly texts: ReadonlyMap<string, Uint8Array>;
  /** Whether what is in neither may be read from the disk: only where the user of this machine named it. */
  readonly readsDisk: boolean;
  readonly ring: VerdictRingBuffers;
}

export interface LabDescription {
  readonly name: string;
  readonly engine: string;
  readonly epoch: number;
  readonly cpus: number;
  /** Whether programs are verified before they run. */
  readonly verifies: boolean;
  /** What is special about it, for people. */
  readonly remarks: readonly string[];
  readonly devices: readonly { readonly name: string; readonly ifindex: number; readonly mac: string; readonly mtu: number; readonly up: boolean; readonly addresses: readonly string[] }[];
  /** Those that run, in the order they run; of those in slots, all that have run. */
  readonly attachments: readonly AttachmentName[];
  readonly objects: readonly { readonly id: string; readonly name: string }[];
}

export interface AttachRequest {
  readonly object: ObjectFile;
  readonly program?: string;
  readonly device?: string;
  readonly hook: HookName;
  readonly mode?: string;
  /** Also where Linux would refuse it. */
  readonly unverified: boolean;
}

export interface LabStatistics extends Statistics {
  readonly epoch: number;
  readonly elapsedNs: number;
  readonly busyNs: number;
  readonly run: RunDescription | null;
  readonly highlights: readonly HighlightTable[];
  readonly events: readonly EventCount[];
}

/** What the lab tells by itself. */
export type LabNews =
  | { readonly news: 'names'; readonly names: LabNames }
  | { readonly news: 'run'; readonly run: RunDescription }
  | { readonly news: 'events'; readonly events: readonly string[]; readonly trace: readonly string[]; readonly lostEvents: number; readonly lostTrace: number };

export const LAB_CALLS = ['describe', 'names', 'attach', 'detach', 'replace', 'unload', 'maps', 'readMap', 'lookup', 'update', 'remove', 'startRun', 'startLive', 'startAttached', 'pauseRun', 'resumeRun', 'stopRun', 'seekRun', 'hurryRun', 'statistics', 'instructionCounts', 'rerun', 'close'] as const satisfies readonly (keyof LabService)[];

/** Lines that wait for the server's thread; a program may print one for every packet. */
const MOST_LINES = 4096;
const EVENTS_EVERY_MS = 25;
/** Highlights look at whole maps: they may take one part in so many of the time. */
const HIGHLIGHT_SHARE = 20;

export class LabService {
  readonly #start: LabStart;
  readonly #lab: Lab;
  readonly #highlights: OpenedLab['highlights'];
  readonly #writer: VerdictRingWriter;
  readonly #tell: (news: LabNews) => void;
  readonly #maps: LabMaps;
  readonly #eventLog: EventLog;
  readonly #counts: InstructionCounts;
  readonly #rerunner: Rerunner;
  readonly #lines = { events: [] as string[], trace: [] as string[], lostEvents: 0, lostTrace: 0 };
  /** Also those that were replaced: verdicts name their programs. */
  readonly #ids = new Map<Collection, string>();
  /** How many attachments the server's thread knows the names of. */
  #toldAttachments = 0;
  #eventTimer: NodeJS.Timeout | undefined;
  #run: OpenRun | undefined;
  #before = { elapsedNs: 0, busyNs: 0 };
  #tables: { readonly tables: readonly HighlightTable[]; readonly untilMs: number } = { tables: [], untilMs: 0 };

  private constructor(start: LabStart, opened: OpenedLab, tell: (news: LabNews) => void) {
    this.#start = start;
    this.#lab = opened.lab;
    this.#highlights = opened.highlights;
    this.#tell = tell;
    this.#maps = new LabMaps(opened.lab, (collection) => this.#idOf(collection));
    const watched = new WatchedPrograms(opened.lab);
    this.#counts = new InstructionCounts(watched);
    this.#rerunner = new Rerunner(opened.lab, watched);
    for (const [path, collection] of opened.objects) this.#know(start.objects.get(path)!, collection);
    checkHighlights(opened.lab, opened.highlights);
    this.#eventLog = new EventLog(opened.lab, opened.events, (line, isTrace) => this.#keepLine(line, isTrace));
    this.#writer = new VerdictRingWriter(start.ring, opened.lab.pipeline);
    this.#writer.onAttachments = () => {
      if (opened.lab.pipeline.attachments.length !== this.#toldAttachments) this.#tellNames();
    };
  }

  static async open(start: LabStart, tell: (news: LabNews) => void): Promise<LabService> {
    const read = async (path: string): Promise<Uint8Array> => {
      const known = start.objects.get(resolve(path))?.bytes ?? start.texts.get(resolve(path));
      if (known !== undefined) return known;
      if (!start.readsDisk) throw new XdplabError('ERR_LAB', `${path}: no object of that name was uploaded; upload it first`);
      return readBytes(path);
    };
    return new LabService(start, await openLab({ ...start.sources, read, proofs: new CacheFolder(start.proofsPath) }), tell);
  }

  describe(): LabDescription {
    const { name, epoch } = this.#start;
    const { devices, engine, machine, remarks, pipeline, collections } = this.#lab;
    const inSlots = pipeline.attachments.filter(({ hook, mode }) => hookByName(hook).modes[mode]!.inSlots);
    return {
      name,
      epoch,
      engine: engine.name,
      cpus: machine.cpus,
      verifies: this.#lab.verifies,
      remarks,
      devices: devices.map((device) => ({ name: device.name, ifindex: device.ifindex, mac: formatMac(device.mac), mtu: device.mtuBytes, up: device.up, addresses: device.addresses.map((address) => formatPrefix(address)) })),
      attachments: [...pipeline.attached, ...inSlots].map((attachment) => this.#nameOf(attachment)),
      objects: collections.map((collection) => ({ id: this.#idOf(collection), name: collection.name })),
    };
  }

  names(): LabNames {
    const { devices, pipeline } = this.#lab;
    this.#toldAttachments = pipeline.attachments.length;
    return { epoch: this.#start.epoch, devices: devices.map(({ name, ifindex }) => ({ name, ifindex })), attachments: pipeline.attachments.map((attachment) => this.#nameOf(attachment)) };
  }

  attach({ object, program, device, hook, mode, unverified }: AttachRequest): AttachmentName {
    this.#expectHere();
    this.#counts.stop();
    const known = this.#collectionOf(object.id);
    const collection = known ?? this.#load(object, unverified);
    try {
      const loaded = collection.program(program);
      this.#lab.attach(loaded, { hook, ...(device === undefined ? {} : { device: this.#lab.device(device) }), ...(mode === undefined ? {} : { mode }) });
      this.#changed();
      // A chain that has grown is a new one, with the newest indexes.
      return this.#nameOf(this.#lab.pipeline.attached.filter((one) => one.program === loaded).toSorted((a, b) => a.index - b.index).at(-1)!);
    } catch (error) {
      if (known === undefined) this.#lab.unload(collection);
      throw error;
    }
  }

  /** Whether there was such an attachment. */
  detach(index: number): boolean {
    const attachment = this.#lab.pipeline.attached.find((one) => one.index === index);
    if (attachment === undefined) return false;
    this.#expectHere();
    this.#lab.detach(attachment);
    this.#changed();
    return true;
  }

  replace(id: string, object: ObjectFile, unverified: boolean): { readonly attachments: readonly AttachmentName[]; readonly keptMaps: readonly string[]; readonly freshMaps: readonly string[] } {
    this.#expectHere();
    const old = this.#collectionOf(id);
    if (old === undefined) throw new XdplabError('ERR_LAB', `object ${id}: the lab does not have it; attach one of its programs first`);
    if (this.#collectionOf(object.id) !== undefined) throw new XdplabError('ERR_LAB', `object ${object.id}: the lab has it already; upload the new version first`);
    this.#counts.stop();
    const { collection, kept, fresh } = this.#lab.replace(old, parseObject(object.bytes, object.name), object.name, unverified ? { verify: false } : {});
    this.#know(object, collection);
    this.#changed();
    return { attachments: this.describe().attachments.filter((one) => one.object === object.id), keptMaps: kept.map(({ name }) => name), freshMaps: fresh.map(({ name }) => name) };
  }

  /** Takes an object out of the lab, where it is there. */
  unload(id: string): void {
    const collection = this.#collectionOf(id);
    if (collection === undefined) return;
    this.#expectHere();
    this.#lab.unload(collection);
    this.#changed();
  }

  maps(): readonly MapDescription[] {
    return this.#maps.all();
  }

  readMap(id: number, offset: number, limit: number): MapContents | undefined {
    return this.#maps.read(id, offset, limit);
  }

  lookup(id: number, key: unknown): MapEntry | undefined {
    return this.#maps.lookup(id, key);
  }

  update(id: number, key: unknown, value: unknown, flags: UpdateFlag): MapEntry | undefined {
    // A value may name a program, which is loaded then.
    this.#counts.stop();
    return this.#maps.update(id, key, value, flags);
  }

  remove(id: number, key: unknown): boolean {
    return this.#maps.remove(id, key);
  }

  startRun(request: RunRequest): RunDescription {
    this.#endLast();
    this.#run = new LabRun(this.#lab, request, this.#writer, (run) => this.#tellRun(run));
    return this.#run.describe();
  }

  async startLive(request: LiveRequest): Promise<RunDescription> {
    this.#endLast();
    this.#run = await openLiveRun(this.#lab, request, this.#writer, (run) => this.#tellRun(run));
    return this.#run.describe();
  }

  startAttached(request: AttachedRequest): RunDescription {
    this.#endLast();
    this.#counts.stop();
    const run = new AttachedRun(this.#lab, request, (now) => this.#tellRun(now));
    this.#run = run;
    return run.describe();
  }

  pauseRun(id: string): RunDescription {
    return this.#openRun(id).pause();
  }

  resumeRun(id: string): RunDescription {
    return this.#openRun(id).resume();
  }

  stopRun(id: string): Promise<RunDescription> {
    return this.#openRun(id).stop();
  }

  seekRun(id: string, place: number): RunDescription {
    return this.#openRun(id).seek(place);
  }

  hurryRun(id: string, speed: string): RunDescription {
    return this.#openRun(id).hurry(speed);
  }

  statistics(): LabStatistics {
    const run = this.#run?.describe() ?? null;
    return {
      epoch: this.#start.epoch,
      elapsedNs: this.#before.elapsedNs + (run?.elapsedNs ?? 0),
      busyNs: this.#before.busyNs + (run?.busyNs ?? 0),
      run,
      ...this.#lab.statistics(),
      highlights: this.#highlightTables(),
      events: this.#eventLog.counts,
    };
  }

  /** Of a program of an object; of one that was not attached, nothing has run. Counting goes on while somebody asks. */
  instructionCounts(id: string, name: string): ProgramCounts {
    const collection = this.#collectionOf(id);
    if (collection === undefined) throw new XdplabError('ERR_LAB', `object ${id}: the lab does not have it; attach one of its programs first`);
    const { name: wanted } = collection.programSpec(name);
    return this.#counts.of(collection.loaded.find(({ spec }) => spec.name === wanted));
  }

  /** Runs a packet, and puts everything back. */
  rerun(request: RerunRequest): RerunAnswer {
    this.#expectHere();
    this.#counts.stop();
    const device = request.device === undefined ? this.#lab.devices[0]! : this.#lab.device(request.device);
    const { bytes, sender, timestampNs } = request;
    return rerunAnswer(request, this.#rerunner.run(bytes, { device, ...(sender === undefined ? {} : { sender }), ...(timestampNs === undefined ? {} : { timestampNs }) }));
  }

  /** Nothing can be asked afterwards. */
  async close(): Promise<void> {
    if (this.#run?.ended === false) await this.#run.stop();
    this.#lab.close();
  }

  #highlightTables(): readonly HighlightTable[] {
    const begunMs = performance.now();
    if (begunMs >= this.#tables.untilMs) {
      const tables = plainValue(this.#highlights.length === 0 ? highlightTables(this.#lab, []) : this.#highlights.flatMap((one) => this.#highlightTable(one)));
      const nowMs = performance.now();
      this.#tables = { tables, untilMs: nowMs + (nowMs - begunMs) * HIGHLIGHT_SHARE };
    }
    return this.#tables.tables;
  }

  /** None where the object of its map was taken out of the lab. */
  #highlightTable(highlight: Highlight): readonly HighlightTable[] {
    try {
      return highlightTables(this.#lab, [highlight]);
    } catch (error) {
      if (error instanceof XdplabError) return [];
      throw error;
    }
  }

  #openRun(id: string): OpenRun {
    if (this.#run?.id !== id || this.#run.ended) throw new XdplabError('ERR_LAB', `run ${id}: has ended`);
    return this.#run;
  }

  /** Throws where the running Linux has the programs and what is in their maps. */
  #expectHere(): void {
    if (!(this.#run instanceof AttachedRun) || this.#run.ended) return;
    throw new XdplabError('ERR_LAB', `run ${this.#run.id}: its programs are attached by the running Linux, and stay as they are meanwhile; stop it first`);
  }

  /** Throws where the last run has not ended. */
  #endLast(): void {
    if (this.#run === undefined) return;
    if (!this.#run.ended) throw new XdplabError('ERR_LAB', `run ${this.#run.id}: has not ended; stop it first`);
    const { elapsedNs, busyNs } = this.#run.describe();
    this.#before = { elapsedNs: this.#before.elapsedNs + elapsedNs, busyNs: this.#before.busyNs + (busyNs ?? 0) };
    this.#run = undefined;
  }

  #tellRun(run: RunDescription): void {
    this.#flushLines();
    this.#tell({ news: 'run', run });
  }

  #load(object: ObjectFile, unverified: boolean): Collection {
    const collection = this.#lab.load(parseObject(object.bytes, object.name), object.name, unverified ? { verify: false } : {});
    this.#know(object, collection);
    return collection;
  }

  #know({ id }: ObjectFile, collection: Collection): void {
    this.#ids.set(collection, id);
  }

  #changed(): void {
    this.#eventLog.watchMaps();
    this.#tellNames();
  }

  #tellNames(): void {
    this.#tell({ news: 'names', names: this.names() });
  }

  #collectionOf(id: string): Collection | undefined {
    return this.#lab.collections.find((collection) => this.#ids.get(collection) === id);
  }

  #idOf(collection: Collection): string {
    return this.#ids.get(collection) ?? '';
  }

  #ownerOf({ id }: Program): Collection | undefined {
    return [...this.#ids.keys()].find((collection) => collection.programName(id) !== undefined);
  }

  #nameOf(attachment: Attachment): AttachmentName {
    const owner = this.#ownerOf(attachment.program);
    return { ...attachmentName(attachment), object: owner === undefined ? '' : this.#idOf(owner) };
  }

  #keepLine(line: string, isTrace: boolean): void {
    const lines = this.#lines[isTrace ? 'trace' : 'events'];
    if (lines.length < MOST_LINES) lines.push(line.trimEnd());
    else this.#lines[isTrace ? 'lostTrace' : 'lostEvents']++;
    this.#eventTimer ??= setTimeout(() => this.#flushLines(), EVENTS_EVERY_MS);
  }

  #flushLines(): void {
    clearTimeout(this.#eventTimer);
    this.#eventTimer = undefined;
    const { events, trace } = this.#lines;
    if (events.length === 0 && trace.length === 0) return;
    this.#tell({ news: 'events', ...this.#lines });
    Object.assign(this.#lines, { events: [], trace: [], lostEvents: 0, lostTrace: 0 });
  }
}
