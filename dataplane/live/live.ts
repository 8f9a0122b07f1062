/**
 * Runs the packets of live interfaces through a lab, as they come in: what pipeline/replay.ts is for captures. The clock is the
 * packets' own. Nothing is sent, and nothing of the interface is changed, unless an observer does.
 *
 *   const source = await BACKENDS[0].open(liveInterface('eth0'), { memory: lab.machine.memory });
 *   const { accounting } = await live(lab, [source], { signal, onSnapshot: show });
 *   source.close();
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { PacketSource } from '../devices/device.ts';
import type { RingImage } from '../devices/ring-reader.ts';
import { XdplabError } from '../errors.ts';
import type { HookName } from '../hooks/hook.ts';
import type { NetworkDevice } from '../machine/network.ts';
import { DESCRIPTOR, PacketBatch } from '../packet/packet-batch.ts';
import { Account, type Accounting } from './accounting.ts';
import type { Lab } from '../pipeline/lab.ts';
import type { BatchObserver } from '../pipeline/pipeline.ts';

export interface LiveOptions {
  /** Packets to judge at most; all that come in unless said. */
  readonly count?: number;
  /** Time after which nothing more is taken in. */
  readonly durationMs?: number;
  readonly observer?: BatchObserver;
  /** Called before any packet runs, for every interface of descriptors; the devices are those of `devicesFor`. */
  readonly onInterface?: (index: number, device: NetworkDevice, source: PacketSource) => void;
  /** How often `onSnapshot` is called. */
  readonly snapshotMs?: number;
  readonly onSnapshot?: (snapshot: LiveSnapshot) => void;
  /** Nothing more is taken in; what has come in is still judged. */
  readonly signal?: AbortSignal;
  /** What has come in is not judged any more, but left in flight. */
  readonly abandon?: AbortSignal;
}

export interface LiveSnapshot {
  /** Judged so far. */
  readonly packets: number;
  /** Of the packets as they came in. */
  readonly bytes: number;
  readonly elapsedNs: number;
  /** Time spent in the packet loop, and with whoever looks at what it did. */
  readonly busyNs: number;
  readonly accounting: Accounting;
}

export interface LiveResult extends LiveSnapshot {
  readonly interrupted: boolean;
  /** Why nothing came in any more. */
  readonly failure?: XdplabError;
}

const BATCH_PACKETS = 256;
/** Where several CPUs run: to wake them has its price, so they get all that a source has at once. */
const PARALLEL_BATCH_PACKETS = 4096;
/** Timers and signals are seen only where the run lets go of the thread: this often. */
const BREATHE_EVERY_MS = 20;
/** How often an idle interface is asked whether it is still there. */
const FAILURE_EVERY_MS = 500;
/** How long the system may take to hand over the last packets. */
const PATIENCE_MS = 1000;

export async function live(lab: Lab, sources: readonly PacketSource[], options: LiveOptions = {}): Promise<LiveResult> {
  // Threads of CPUs start here, before packets wait for them.
  lab.pipeline.prepare(options.observer);
  const run = new LiveRun(lab, sources, options);
  await run.untilEnd();
  if (!run.hasCounted) await run.drain();
  return { ...run.snapshot(), interrupted: options.signal?.aborted === true, ...(run.failure === undefined ? {} : { failure: run.failure }) };
}

/** Which devices of the lab stand for interfaces: those of their names, for others the next that stands for none. */
export function devicesFor(lab: Lab, interfaces: readonly string[]): (NetworkDevice | undefined)[] {
  const free = lab.devices.filter((device) => !interfaces.includes(device.name));
  return interfaces.map((name) => lab.devices.find((device) => device.name === name) ?? free.shift());
}

/** The same, where each is to have one. */
export function deviceOfEach(lab: Lab, interfaces: readonly string[]): NetworkDevice[] {
  return devicesFor(lab, interfaces).map((device, index) => {
    if (device === undefined) throw new XdplabError('ERR_LAB', `interface '${interfaces[index]}': the lab has no device left for it; add one of its name`);
    return device;
  });
}

/** Whether packets meet a program there. */
export function hasPrograms(lab: Lab, hook: HookName, device: NetworkDevice): boolean {
  return lab.pipeline.attached.some((each) => each.hook === hook && each.device === device);
}

class LiveRun {
  failure: XdplabError | undefined;
  readonly #lab: Lab;
  readonly #sources: readonly PacketSource[];
  readonly #options: LiveOptions;
  readonly #batch: PacketBatch;
  readonly #account: Account;
  readonly #waitMs: number;
  readonly #startedMs: number;
  #packets = 0;
  #bytes = 0;
  #busyMs = 0;
  #breatheAtMs = 0;
  #snapshotAtMs: number;
  #failureAtMs: number;

  constructor(lab: Lab, sources: readonly PacketSource[], options: LiveOptions) {
    this.#lab = lab;
    this.#sources = sources;
    this.#options = options;
    this.#batch = new PacketBatch(lab.machine.memory, lab.machine.parallel ? PARALLEL_BATCH_PACKETS : BATCH_PACKETS);
    this.#account = new Account(lab.pipeline, sources);
    this.#waitMs = Math.min(...sources.map(({ waitMs }) => waitMs));
    const devices = deviceOfEach(lab, sources.map((source) => source.interface.name));
    sources.forEach((source, index) => {
      const device = devices[index]!;
      lab.pipeline.setInterface(source.index, device, 'wire');
      options.onInterface?.(source.index, device, source);
      if (source.outgoingIndex === undefined) return;
      lab.pipeline.setInterface(source.outgoingIndex, device, 'host');
      options.onInterface?.(source.outgoingIndex, device, source);
    });
    this.#startedMs = performance.now();
    this.#snapshotAtMs = this.#startedMs + (options.snapshotMs ?? Infinity);
    this.#failureAtMs = this.#startedMs + FAILURE_EVERY_MS;
  }

  get hasCounted(): boolean {
    return this.#packets >= (this.#options.count ?? Infinity);
  }

  snapshot(): LiveSnapshot {
    return { packets: this.#packets, bytes: this.#bytes, elapsedNs: Math.round((performance.now() - this.#startedMs) * 1e6), busyNs: Math.round(this.#busyMs * 1e6), accounting: this.#account.read() };
  }

  /** Until the count is reached, the time is over, the signal aborts or an interface fails. */
  async untilEnd(): Promise<void> {
    const { durationMs = Infinity, signal } = this.#options;
    const endMs = this.#startedMs + durationMs;
    while (!this.hasCounted && this.failure === undefined && signal?.aborted !== true) {
      const ran = this.#runWaiting();
      const now = performance.now();
      if (now >= endMs) return;
      if (now >= this.#snapshotAtMs) this.#tellSnapshot(now);
      if (ran === 0) await this.#wait(now, endMs);
      else await this.#breathe();
    }
  }

  /** Judges what has come in, after which nothing does. */
  async drain(): Promise<void> {
    for (const source of this.#sources) source.stop();
    let giveUpMs = performance.now() + PATIENCE_MS;
    while (!this.hasCounted && this.#options.abandon?.aborted !== true && performance.now() < giveUpMs) {
      if (this.#runWaiting() > 0) {
        giveUpMs = performance.now() + PATIENCE_MS;
        await this.#breathe();
      } else {
        if (this.#account.read().inFlight === 0) return;
        await sleep(this.#waitMs);
      }
    }
  }

  /** A batch of each source, where there is one; how many packets ran. */
  #runWaiting(): number {
    let ran = 0;
    for (const source of this.#sources) ran += (source.rings && this.#receive(source.rings)) ?? this.#readAndRun(source);
    return ran;
  }

  /** What CPUs receive by themselves; undefined where one runs all packets. */
  #receive(rings: readonly RingImage[]): number | undefined {
    const { count = Infinity, observer } = this.#options;
    const begunMs = performance.now();
    const received = this.#lab.pipeline.receive(rings, this.#batch, this.#packets + 1, count - this.#packets, observer);
    if (received === undefined) return undefined;
    if (received.packets > 0) this.#busyMs += performance.now() - begunMs;
    this.#packets += received.packets;
    this.#bytes += received.bytes;
    return received.packets;
  }

  #readAndRun(source: PacketSource): number {
    const { count = Infinity, observer } = this.#options;
    const batch = this.#batch;
    const got = Math.min(source.read(batch), count - this.#packets);
    if (got === 0) return 0;
    batch.count = got;
    this.#number(batch);
    const begunMs = performance.now();
    this.#lab.pipeline.run(batch, observer);
    this.#busyMs += performance.now() - begunMs;
    return got;
  }

  #number({ memory, count, region }: PacketBatch): void {
    const { u32 } = memory;
    let at = region.address >>> 2;
    for (let index = 0; index < count; index++, at += DESCRIPTOR.size / 4) {
      const number = ++this.#packets;
      u32[at + DESCRIPTOR.number / 4] = number;
      u32[at + DESCRIPTOR.number / 4 + 1] = number / 4_294_967_296;
      this.#bytes += u32[at + DESCRIPTOR.captured / 4]!;
    }
  }

  /** Lets go of the thread when it was held for long. */
  async #breathe(): Promise<void> {
    if (performance.now() < this.#breatheAtMs) return;
    await new Promise(setImmediate);
    this.#breatheAtMs = performance.now() + BREATHE_EVERY_MS;
  }

  #tellSnapshot(now: number): void {
    this.#options.onSnapshot?.(this.snapshot());
    this.#snapshotAtMs = now + this.#options.snapshotMs!;
  }

  async #wait(now: number, endMs: number): Promise<void> {
    if (now >= this.#failureAtMs) {
      this.#failureAtMs = now + FAILURE_EVERY_MS;
      this.failure = this.#sources.map((source) => source.failure()).find((failure) => failure !== undefined);
    }
    await sleep(Math.max(1, Math.min(this.#waitMs, endMs - now)));
  }
}
