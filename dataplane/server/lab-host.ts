/**
 * The lab as the server's thread sees it: a worker that can be exchanged for another, the names of what its records
 * say, and the ring that they are in.
 */
import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { EventRing } from './event-ring.ts';
import type { LabNames } from './lab-names.ts';
import type { LabNews, LabService, LabStart } from './lab-service.ts';
import type { RunDescription } from './open-run.ts';
import { ThreadCaller, ThreadEnded } from './thread-call.ts';
import { VerdictRing } from './verdict-ring.ts';
import { workerFile } from '../system/worker-file.ts';

export type LabSetting = Pick<LabStart, 'name' | 'sources' | 'proofsPath' | 'objects' | 'texts' | 'readsDisk'>;

interface LabEvents {
  /** The lab, or what is attached, has changed. */
  names: [LabNames];
  run: [RunDescription];
  events: [];
  /** The thread has ended by itself: a bug, or no memory. */
  failed: [Error];
}

/** How long a lab may take to end what runs. What it has attached is detached with its thread in any case. */
const PATIENCE_MS = 2000;
/** Calls that change nothing: any lab may answer them. */
const LOOKS: ReadonlySet<string> = new Set(['describe', 'maps', 'readMap', 'lookup', 'statistics', 'instructionCounts'] satisfies readonly (keyof LabService)[]);
const NOBODY: LabNames = { epoch: 0, devices: [], attachments: [] };

export class LabHost extends EventEmitter<LabEvents> {
  readonly ring = new VerdictRing();
  readonly events = new EventRing();
  readonly trace = new EventRing();
  #names = NOBODY;
  #setting: LabSetting | undefined;
  #worker: Worker | undefined;
  #caller: ThreadCaller<LabService> | undefined;
  #epoch = 0;
  #opening: Promise<void> = Promise.resolve();

  get names(): LabNames {
    return this.#names;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** A fresh lab; the one before ends, unless the new one cannot be opened. */
  open(setting: LabSetting): Promise<void> {
    const opened = this.#opening.then(() => this.#open(setting));
    this.#opening = opened.catch(() => {});
    return opened;
  }

  async #open(setting: LabSetting): Promise<void> {
    const epoch = this.#epoch + 1;
    // The old one must not write any more when the new one begins; until then nothing of the new one runs.
    const worker = new Worker(workerFile('server/lab-worker'), { workerData: { ...setting, epoch, ring: this.ring.buffers } satisfies LabStart });
    const caller = new ThreadCaller<LabService>(worker);
    let names: LabNames;
    try {
      names = await caller.call('names');
    } catch (error) {
      await worker.terminate();
      throw error;
    }
    await this.close();
    this.ring.clear();
    this.#epoch = epoch;
    this.#setting = setting;
    this.#worker = worker;
    this.#caller = caller;
    this.#setNames(names);
    worker.on('message', (news: Partial<LabNews>) => this.#hear(news as LabNews));
    worker.on('error', (error) => this.#failed(worker, error instanceof Error ? error : new Error(String(error))));
    worker.on('exit', () => this.#failed(worker, new Error('the thread of the lab has ended')));
  }

  /** The same lab as at its start; what it was made of. */
  async reset(): Promise<LabSetting> {
    const setting = this.#setting!;
    await this.open(setting);
    return setting;
  }

  /** A call that only looks, and whose lab ended before it answered, is answered by the lab that takes its place. */
  readonly call: ThreadCaller<LabService>['call'] = (method, ...args) => {
    const caller = this.#caller!;
    return caller.call(method, ...args).catch(async (error: unknown) => {
      if (!(error instanceof ThreadEnded && LOOKS.has(method))) throw error;
      await this.#opening;
      if (this.#caller === caller) throw error;
      return this.call(method, ...args);
    });
  };

  /** What the lab has of the operating system is given back, where that does not take long; the thread ends in any case. */
  async close(): Promise<void> {
    const [worker, caller] = [this.#worker, this.#caller];
    if (worker === undefined || caller === undefined) return;
    this.#worker = undefined;
    await Promise.race([caller.call('close').catch(() => {}), sleep(PATIENCE_MS, undefined, { ref: false })]);
    await worker.terminate();
  }

  #hear(news: LabNews): void {
    if (news.news === 'names') this.#setNames(news.names);
    else if (news.news === 'run') this.emit('run', news.run);
    else if (news.news === 'events') {
      this.events.add(news.events, news.lostEvents);
      this.trace.add(news.trace, news.lostTrace);
      this.emit('events');
    }
  }

  #setNames(names: LabNames): void {
    this.#names = names;
    this.emit('names', names);
  }

  #failed(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    this.emit('failed', error);
  }
}
