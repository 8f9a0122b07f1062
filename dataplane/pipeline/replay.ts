/**
 * Replays a capture through a lab: reads batches, keeps the pace that was asked for, and tells observers what became
 * of the packets. The packets before any damage are replayed; the damage is in the result.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { XdplabError } from '../errors.ts';
import { LINK_TYPE_ETHERNET, type CaptureInterface, type CaptureReader } from '../packet/capture-reader.ts';
import { openCapture } from '../packet/open-capture.ts';
import { DESCRIPTOR, PacketBatch } from '../packet/packet-batch.ts';
import type { Region } from '../machine/memory.ts';
import type { NetworkDevice } from '../machine/network.ts';
import type { Lab } from './lab.ts';
import type { BatchObserver } from './pipeline.ts';

/** `top`: as fast as it goes. `factor`: time runs that many times as fast as in the capture. */
export type Pace = { readonly kind: 'top' } | { readonly kind: 'factor'; readonly factor: number } | { readonly kind: 'rate'; readonly packetsPerSecond: number };

export interface ReplayOptions {
  readonly reader?: 'native' | 'pcap-parser';
  /** Packets to replay at most, over all loops. */
  readonly limit?: number;
  /** How often to replay the capture; each round's timestamps follow on the one before. 1 unless said. */
  readonly loops?: number;
  readonly pace?: Pace;
  readonly observer?: BatchObserver;
  /** Called when the capture describes an interface, before its first packet runs. */
  readonly onInterface?: (index: number, device: NetworkDevice | undefined, description: CaptureInterface) => void;
  /** Called between batches, and in slow motion whenever packets have run. */
  readonly onProgress?: (progress: ReplayProgress) => void;
  /** Ends the replay after the batch that runs; waiting for bytes or for a packet's time ends at once. */
  readonly signal?: AbortSignal;
}

export interface ReplayProgress {
  readonly packets: number;
  readonly bytesRead: number;
  readonly totalBytes: number | undefined;
}

export interface ReplayResult {
  readonly packets: number;
  /** Of the packets as the capture holds them. */
  readonly bytes: number;
  /** Wall-clock time of the replay, opening the capture left out. */
  readonly elapsedNs: number;
  readonly format: CaptureReader['format'];
  readonly compression: CaptureReader['compression'];
  readonly interfaces: CaptureReader['interfaces'];
  /** Why reading ended early: one line with the offset. */
  readonly damage?: XdplabError;
  readonly interrupted: boolean;
}

const BATCH_PACKETS = 256;
const WINDOW_BYTES = 1 << 20;
const NS_PER_SECOND = 1e9;
/** Timers are good to about a millisecond: packets due within it go together. */
const SLACK_NS = 1e6;
/** The most that a timer can wait is 2^31 ms. */
const LONGEST_SLEEP_MS = 1 << 30;
/** Signals and timers are seen only where the replay lets go of the thread: this often. */
const BREATHE_EVERY_MS = 20;

export async function replay(lab: Lab, path: string, options: ReplayOptions = {}): Promise<ReplayResult> {
  const loops = options.loops ?? 1;
  if (path === '-' && loops > 1) throw new XdplabError('ERR_USAGE', 'standard input can be replayed only once; write it to a file to loop over it');
  const run = new Replay(lab, options);
  let reader = await run.open(path);
  // Compiling the packet loop is not part of the replay's time.
  void lab.pipeline;
  const begun = performance.now();
  for (let round = 1; ; round++) {
    await run.round(reader);
    await reader.close();
    await run.breathe();
    if (round === loops || run.finished || reader.damage) break;
    reader = await run.open(path);
    run.nextRound();
  }
  return {
    packets: run.packets,
    bytes: run.bytes,
    elapsedNs: (performance.now() - begun) * 1e6,
    format: reader.format,
    compression: reader.compression,
    interfaces: reader.interfaces,
    // A reader that was closed while it waited for bytes takes their absence for damage.
    ...(reader.damage === undefined || options.signal?.aborted === true ? {} : { damage: reader.damage }),
    interrupted: options.signal?.aborted === true,
  };
}

function capturedBytes(batch: PacketBatch): number {
  const { u32 } = batch.memory;
  let bytes = 0;
  for (let index = 0; index < batch.count; index++) bytes += u32[(batch.descriptor(index) + DESCRIPTOR.captured) >>> 2]!;
  return bytes;
}

/** Which device packets of a capture interface arrive at: the one of its name, else the first. */
function deviceOfInterface(lab: Lab, name: string | undefined): NetworkDevice {
  return lab.devices.find((device) => device.name === name) ?? lab.devices[0]!;
}

class Replay {
  packets = 0;
  bytes = 0;
  readonly #lab: Lab;
  readonly #options: ReplayOptions;
  readonly #batch: PacketBatch;
  readonly #window: Region;
  readonly #pace: Pacer;
  #breatheAtMs = performance.now() + BREATHE_EVERY_MS;
  #interfaces = 0;
  /** What is added to numbers and timestamps of later rounds. */
  #packetsBefore = 0;
  #shiftNs = 0n;
  #firstNs: bigint | undefined;
  #lastNs = 0n;

  constructor(lab: Lab, options: ReplayOptions) {
    this.#lab = lab;
    this.#options = options;
    this.#batch = new PacketBatch(lab.machine.memory, BATCH_PACKETS);
    this.#window = lab.machine.memory.region(WINDOW_BYTES, 4096, 'capture window');
    this.#pace = new Pacer(options.pace ?? { kind: 'top' });
  }

  get finished(): boolean {
    const { limit, signal } = this.#options;
    return signal?.aborted === true || (limit !== undefined && this.packets >= limit);
  }

  open(path: string): Promise<CaptureReader> {
    this.#interfaces = 0;
    const { reader = 'native', signal } = this.#options;
    const opening = openCapture(path, { window: this.#window, reader });
    if (signal === undefined) return opening;
    return new Promise((resolve, reject) => {
      const stop = (): void => reject(new XdplabError('ERR_INTERRUPTED', `${path === '-' ? 'standard input' : path}: interrupted before the capture began`));
      signal.addEventListener('abort', stop, { once: true });
      opening.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
    });
  }

  /** Lets go of the thread when it was held for long. */
  async breathe(): Promise<void> {
    if (performance.now() < this.#breatheAtMs) return;
    await new Promise(setImmediate);
    this.#breatheAtMs = performance.now() + BREATHE_EVERY_MS;
  }

  nextRound(): void {
    // The next round begins a typical gap after the last packet, so that time never stands still or goes back.
    const span = this.#lastNs - (this.#firstNs ?? 0n);
    this.#shiftNs += span + 1000n;
    this.#packetsBefore = this.packets;
  }

  async round(reader: CaptureReader): Promise<void> {
    const { observer, limit } = this.#options;
    const { pipeline } = this.#lab;
    const batch = this.#batch;
    while (!this.finished) {
      const read = reader.read(batch);
      const count = typeof read === 'number' ? read : await this.#waitFor(read, reader);
      if (count === 0) break;
      while (this.#interfaces < reader.interfaces.length) this.#describe(reader, this.#interfaces++);
      if (limit !== undefined) batch.count = Math.min(count, limit - this.packets);
      this.#shift(batch);
      if (this.#pace.immediate) pipeline.run(batch, observer);
      else await this.#paced(batch, reader);
      this.packets += batch.count;
      this.bytes += capturedBytes(batch);
      this.#report(reader, this.packets);
      await this.breathe();
    }
  }

  async #paced(batch: PacketBatch, reader: CaptureReader): Promise<void> {
    const { count } = batch;
    const { observer, signal } = this.#options;
    batch.count = 0;
    while (batch.count < count) {
      const first = batch.count;
      await this.#pace.waitFor(this.packets + first, batch.timestampNs(first), signal);
      if (signal?.aborted === true) return;
      let end = first + 1;
      while (end < count && this.#pace.isDue(this.packets + end, batch.timestampNs(end))) end++;
      batch.count = end;
      this.#lab.pipeline.run(batch, observer, first);
      this.#report(reader, this.packets + end);
    }
  }

  #report({ bytesRead, totalBytes }: CaptureReader, packets: number): void {
    this.#options.onProgress?.({ packets, bytesRead, totalBytes });
  }

  /** Closing the reader is what ends its wait for bytes. */
  async #waitFor(read: Promise<number>, reader: CaptureReader): Promise<number> {
    const { signal } = this.#options;
    const stop = (): void => void reader.close();
    signal?.addEventListener('abort', stop);
    try {
      return await read;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  #describe(reader: CaptureReader, index: number): void {
    const description = reader.interfaces[index]!;
    const device = description.linkType === LINK_TYPE_ETHERNET ? deviceOfInterface(this.#lab, description.name) : undefined;
    this.#lab.pipeline.setInterface(index, device);
    this.#options.onInterface?.(index, device, description);
  }

  #shift(batch: PacketBatch): void {
    this.#firstNs ??= batch.timestampNs(0);
    if (this.#shiftNs !== 0n) {
      const { u64 } = batch.memory;
      for (let index = 0; index < batch.count; index++) {
        const at = batch.descriptor(index) >>> 3;
        u64[at + DESCRIPTOR.timestampNs / 8]! += this.#shiftNs;
        u64[at + DESCRIPTOR.number / 8]! += BigInt(this.#packetsBefore);
      }
    }
    this.#lastNs = batch.timestampNs(batch.count - 1) - this.#shiftNs;
  }
}

/** When packets are due: by their timestamps, or at a rate. */
class Pacer {
  readonly immediate: boolean;
  readonly #pace: Pace;
  #startedMs: number | undefined;
  #firstNs = 0n;

  constructor(pace: Pace) {
    this.#pace = pace;
    this.immediate = pace.kind === 'top';
  }

  /** Returns early when the signal aborts. */
  async waitFor(number: number, timestampNs: bigint, signal: AbortSignal | undefined): Promise<void> {
    if (this.#startedMs === undefined) {
      this.#startedMs = performance.now();
      this.#firstNs = timestampNs;
    }
    while (signal?.aborted !== true && !this.isDue(number, timestampNs)) {
      const waitMs = (this.#dueNs(number, timestampNs) - this.#elapsedNs()) / 1e6;
      await sleep(Math.min(waitMs, LONGEST_SLEEP_MS), undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
        if (signal?.aborted !== true) throw error;
      });
    }
  }

  isDue(number: number, timestampNs: bigint): boolean {
    return this.#dueNs(number, timestampNs) <= this.#elapsedNs() + SLACK_NS;
  }

  #elapsedNs(): number {
    return (performance.now() - this.#startedMs!) * 1e6;
  }

  #dueNs(number: number, timestampNs: bigint): number {
    if (this.#pace.kind === 'rate') return (number * NS_PER_SECOND) / this.#pace.packetsPerSecond;
    if (this.#pace.kind === 'factor') return Number(timestampNs - this.#firstNs) / this.#pace.factor;
    return 0;
  }
}

/** `top`, `original`, `2x`, `10000pps`. Throws ERR_USAGE. */
export function parsePace(text: string): Pace {
  if (text === 'top') return { kind: 'top' };
  if (text === 'original') return { kind: 'factor', factor: 1 };
  const match = /^(\d+(?:\.\d+)?)(x|pps)$/.exec(text);
  const amount = Number(match?.[1]);
  if (!match || !(amount > 0)) throw new XdplabError('ERR_USAGE', `--speed ${text}: expected top, original, <n>x or <n>pps with n above 0`);
  return match[2] === 'x' ? { kind: 'factor', factor: amount } : { kind: 'rate', packetsPerSecond: amount };
}
