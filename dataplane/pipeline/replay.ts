/**
 * Replays a capture through a lab: reads batches, keeps the pace that was asked for, and tells observers what became
 * of the packets. The packets before any damage are replayed; the damage is in the result.
 */
import { XdplabError } from '../errors.ts';
import { LINK_TYPE_ETHERNET, type CaptureInterface, type CaptureReader } from '../packet/capture-reader.ts';
import { openCapture } from '../packet/open-capture.ts';
import { DESCRIPTOR, PacketBatch } from '../packet/packet-batch.ts';
import type { Region } from '../machine/memory.ts';
import type { NetworkDevice } from '../machine/network.ts';
import type { Lab } from './lab.ts';
import { LOOP } from './layout.ts';
import { Pacer, type Pace } from './pace.ts';
import type { BatchObserver } from './pipeline.ts';
import { ReplayControl } from './replay-control.ts';

export interface ReplayOptions {
  readonly reader?: 'native' | 'pcap-parser';
  /** Packets to replay at most, over all loops. */
  readonly limit?: number;
  /** How often to replay the capture; each round's timestamps follow on the one before. 1 unless said. */
  readonly loops?: number;
  readonly pace?: Pace;
  /** To pause, seek or change the pace meanwhile; it says the pace then. */
  readonly control?: ReplayControl;
  readonly observer?: BatchObserver;
  /** Called when the capture describes an interface, before its first packet runs. */
  readonly onInterface?: (index: number, device: NetworkDevice | undefined, description: CaptureInterface) => void;
  /** Called between batches, and in slow motion whenever packets have run. */
  readonly onProgress?: (progress: ReplayProgress) => void;
  /** Ends the replay after the batch that runs; waiting for bytes or for a packet's time ends at once. */
  readonly signal?: AbortSignal;
}

export interface ReplayProgress {
  /** That ran. */
  readonly packets: number;
  /** Of the packets as the capture holds them, up to the last whole batch. */
  readonly bytes: number;
  /** Place in the capture of the last packet that ran, from 1. */
  readonly place: number;
  /** From 1. */
  readonly round: number;
  /** Time spent in the packet loop. */
  readonly busyNs: number;
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

const TWO_32 = 4_294_967_296;
const BATCH_PACKETS = 1024;
const WINDOW_BYTES = 1 << 20;
/** Where several CPUs run: they take turns with what reads, and to take turns has its price. */
const PARALLEL_BATCH_PACKETS = 32_768;
const PARALLEL_WINDOW_BYTES = 8 << 20;
/**
 * Signals, timers and written buffers are seen only where the replay lets go of the thread: this often. A buffer that comes
 * back soon is still in a cache, and to fill one that is not takes longer than to fill it twice.
 */
const BREATHE_EVERY_MS = 2;
/** A stretch of packets that takes longer is too long to wait for: the next one is shorter. */
const SLOW_MS = 50;
/** Where the capture begins anew, or is gone back in: a typical gap between two packets. */
const GAP_NS = 1000n;

export async function replay(lab: Lab, path: string, options: ReplayOptions = {}): Promise<ReplayResult> {
  const loops = options.loops ?? 1;
  if (path === '-' && loops > 1) throw new XdplabError('ERR_USAGE', 'standard input can be replayed only once; write it to a file to loop over it');
  const run = new Replay(lab, options);
  let reader = await run.open(path);
  // Compiling the packet loop is not part of the replay's time.
  lab.pipeline.prepare(options.observer);
  const begun = performance.now();
  for (let round = 1; ; round++) {
    reader = await run.round(path, reader);
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

/** Which device packets of a capture interface arrive at: the one of its name, else the first. */
function deviceOfInterface(lab: Lab, name: string | undefined): NetworkDevice {
  return lab.devices.find((device) => device.name === name) ?? lab.devices[0]!;
}

interface Buffers {
  readonly batch: PacketBatch;
  readonly window: Region;
}

/** A lab replays one capture after the other, and its memory is never freed. */
const BUFFERS = new WeakMap<Lab, Buffers>();

function buffersOf(lab: Lab): Buffers {
  const { memory, parallel } = lab.machine;
  const [packets, bytes] = parallel ? [PARALLEL_BATCH_PACKETS, PARALLEL_WINDOW_BYTES] : [BATCH_PACKETS, WINDOW_BYTES];
  const buffers = BUFFERS.get(lab) ?? { batch: new PacketBatch(memory, packets), window: memory.region(bytes, 4096, 'capture window') };
  BUFFERS.set(lab, buffers);
  return buffers;
}

class Replay {
  packets = 0;
  readonly #lab: Lab;
  readonly #options: ReplayOptions;
  readonly #control: ReplayControl;
  readonly #batch: PacketBatch;
  readonly #window: Region;
  #pace: Pacer;
  /** Packets that are run before somebody looks whether to go on: as many as take little time. */
  #stretch = 1;
  #breatheAtMs = performance.now() + BREATHE_EVERY_MS;
  #interfaces = 0;
  /** Ends the waiting when something changes. */
  #waiting = new AbortController();
  #round = 1;
  #busyMs = 0;
  /** Place in the capture of the last packet that ran or was skipped. */
  #place = 0;
  /** Packets before this place are skipped. */
  #from = 1;
  #sought = false;
  /** What the lab's packets had before this replay. */
  readonly #bytesBefore: number;
  /** What is added to numbers and timestamps of later rounds. */
  #packetsBefore = 0;
  #shiftNs = 0n;
  #firstNs: bigint | undefined;
  #lastNs = 0n;

  constructor(lab: Lab, options: ReplayOptions) {
    this.#lab = lab;
    this.#options = options;
    ({ batch: this.#batch, window: this.#window } = buffersOf(lab));
    this.#bytesBefore = lab.pipeline.counter(LOOP.bytes);
    this.#control = options.control ?? new ReplayControl({ pace: options.pace ?? { kind: 'top' } });
    this.#pace = new Pacer(this.#control.pace);
    this.#control.onChange = () => this.#look();
    options.signal?.addEventListener('abort', () => this.#look(), { once: true });
  }

  get bytes(): number {
    return this.#lab.pipeline.counter(LOOP.bytes) - this.#bytesBefore;
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
    // So that time never stands still or goes back.
    const span = this.#lastNs - (this.#firstNs ?? 0n);
    this.#shiftNs += span + GAP_NS;
    this.#packetsBefore += this.#place;
    this.#place = 0;
    this.#from = 1;
    this.#round++;
  }

  /** Answers the reader that is open at the end: another one where there was a seek. */
  async round(path: string, first: CaptureReader): Promise<CaptureReader> {
    const { observer } = this.#options;
    const batch = this.#batch;
    let reader = first;
    while (!this.finished) {
      await this.#whilePaused();
      const place = this.#control.takePlace();
      if (place !== undefined) {
        reader = await this.#reopen(path, reader, place);
        continue;
      }
      const read = reader.read(batch);
      const count = typeof read === 'number' ? read : await this.#waitFor(read, reader);
      if (count === 0) break;
      while (this.#interfaces < reader.interfaces.length) this.#describe(reader, this.#interfaces++);
      const begin = Math.max(0, Math.min(count, this.#from - 1 - this.#place));
      this.#place += begin;
      if (begin < count) await this.#run(batch, begin, reader, observer);
      await this.breathe();
    }
    return reader;
  }

  async #run(batch: PacketBatch, begin: number, reader: CaptureReader, observer: BatchObserver | undefined): Promise<void> {
    const { limit } = this.#options;
    const count = limit === undefined ? batch.count : Math.min(batch.count, begin + limit - this.packets);
    this.#shift(batch, begin);
    const [packetsBefore, placeBefore] = [this.packets - begin, this.#place - begin];
    batch.count = begin;
    while (batch.count < count && !this.#isLeaving) {
      const first = batch.count;
      let end = Math.min(count, first + this.#stretch);
      if (!this.#pace.immediate) {
        const { signal } = this.#waiting;
        await this.#pace.waitFor(packetsBefore + first, batch.timestampNs(first), signal);
        if (signal.aborted) {
          await this.#whilePaused();
          continue;
        }
        const most = end;
        end = first + 1;
        while (end < most && this.#pace.isDue(packetsBefore + end, batch.timestampNs(end))) end++;
      }
      batch.count = end;
      const begun = performance.now();
      // Asked for each time: what is attached may have changed meanwhile.
      this.#lab.pipeline.run(batch, observer, first);
      const tookMs = performance.now() - begun;
      this.#busyMs += tookMs;
      // Programs that nobody verified may take a quarter of a second for each packet.
      if (tookMs < BREATHE_EVERY_MS) this.#stretch = Math.max(this.#stretch, 2 * (end - first));
      else if (tookMs > SLOW_MS) this.#stretch = Math.max(1, Math.floor((end - first) / 2));
      this.packets = packetsBefore + end;
      this.#place = placeBefore + end;
      this.#report(reader);
      if (end < count) await this.breathe();
    }
  }

  /** Whether the rest of the batch is not wanted any more. */
  get #isLeaving(): boolean {
    return this.#options.signal?.aborted === true || this.#control.seeking;
  }

  /** Something was changed: whoever waits shall look at it. Time begins anew, with whatever packet comes next. */
  #look(): void {
    this.#waiting.abort();
    this.#waiting = new AbortController();
    this.#pace = new Pacer(this.#control.pace);
  }

  async #whilePaused(): Promise<void> {
    while (this.#control.paused && !this.#isLeaving) {
      const { signal } = this.#waiting;
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    }
  }

  async #reopen(path: string, reader: CaptureReader, place: number): Promise<CaptureReader> {
    await reader.close();
    this.#from = place;
    this.#place = 0;
    this.#sought = true;
    const opened = await this.open(path);
    this.#report(opened);
    return opened;
  }

  #report({ bytesRead, totalBytes }: CaptureReader): void {
    const { packets, bytes } = this;
    this.#options.onProgress?.({ packets, bytes, place: Math.max(this.#place, this.#from - 1), round: this.#round, busyNs: this.#busyMs * 1e6, bytesRead, totalBytes });
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

  /** Numbers and times go on from round to round. After a seek backwards only time does. */
  #shift(batch: PacketBatch, begin: number): void {
    const first = batch.timestampNs(begin);
    if (this.#firstNs === undefined) this.#firstNs = first;
    else if (this.#sought) this.#goOnAfterLast(first);
    this.#sought = false;
    if (this.#shiftNs !== 0n || this.#packetsBefore !== 0) {
      const [time, number] = [halves(this.#shiftNs), halves(BigInt(this.#packetsBefore))];
      const { u32 } = batch.memory;
      for (let index = 0; index < batch.count; index++) {
        const at = batch.descriptor(index) >>> 2;
        add(u32, at + DESCRIPTOR.timestampNs / 4, time);
        add(u32, at + DESCRIPTOR.number / 4, number);
      }
    }
    this.#lastNs = batch.timestampNs(batch.count - 1) - this.#shiftNs;
  }

  #goOnAfterLast(timestampNs: bigint): void {
    const shiftNs = this.#lastNs + this.#shiftNs + GAP_NS - timestampNs;
    if (shiftNs > this.#shiftNs) this.#shiftNs = shiftNs;
  }
}

interface Halves {
  readonly low: number;
  readonly high: number;
}

const halves = (value: bigint): Halves => ({ low: Number(BigInt.asUintN(32, value)), high: Number(BigInt.asUintN(32, value >> 32n)) });

/** To a u64, without a bigint: two of them for each packet take longer than a short program. */
function add(u32: Uint32Array, word: number, { low, high }: Halves): void {
  const sum = u32[word]! + low;
  u32[word] = sum;
  u32[word + 1]! += high + Number(sum >= TWO_32);
}
