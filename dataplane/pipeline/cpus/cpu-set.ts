/**
 * The CPUs of a lab, each a thread over one memory. A batch is spread over their rings as a NIC would, they run at once,
 * and what they leave is put in the order of the capture before anybody sees it: to observers and listeners it looks as
 * if one CPU had run. The caller waits meanwhile, so that between two batches nothing runs and all may be changed.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import type { RingImage } from '../../devices/ring-reader.ts';
import { XdplabError } from '../../errors.ts';
import type { Engine } from '../../engine/engine.ts';
import type { Machine, MachineEvent } from '../../machine/machine.ts';
import type { Region } from '../../machine/memory.ts';
import { mapImage } from '../../maps/map-image.ts';
import { mapsOf } from '../../maps/map-registry.ts';
import { DESCRIPTOR, type PacketBatch } from '../../packet/packet-batch.ts';
import { workerFile } from '../../system/worker-file.ts';
import { compileModule } from '../../wasm/compile.ts';
import { HANDOVER, RECORD } from '../layout.ts';
import { tablesOverwritten, type LoopTables } from '../loop-tables.ts';
import { emitPacketLoop } from '../packet-loop.ts';
import { KEPT, type Kept } from '../loop/loop-code.ts';
import type { Attachment, BatchObserver } from '../pipeline.ts';
import { DONE, RING_PACKETS, SPREAD, TURN, TURN_FLAG, type CpuEnd, type CpuNews, type CpuReport, type CpuStart } from './ring.ts';
import { emitSpread, type SpreadCode } from './spread-code.ts';

const STARTER = 'pipeline/cpus/cpu-starter';
/** For what JavaScript of a CPU allocates: buffers of helpers. */
const CPU_HEAP_BYTES = 1 << 20;
const START_MS = 60_000;
const NO_FRAMES_NEEDED = 0xffff_ffff;

export interface CpuSetListeners {
  readonly observer: BatchObserver | undefined;
  /** Undefined where nobody wants the copies. */
  readonly onCopy: ((ifindex: number, bytes: Uint8Array) => void) | undefined;
  readonly wantsRecords: boolean;
}

export interface Received {
  readonly packets: number;
  readonly bytes: number;
}

/** Chains of programs, another list whenever that changes. */
type Attached = readonly (readonly Attachment[])[];

/** A CPU's side in this thread. */
interface Cpu {
  readonly cpu: number;
  readonly tables: LoopTables;
  readonly turn: number;
  readonly row: number;
  readonly ring: number;
  readonly list: number;
  turns: number;
  /** Messages that its thread has to read. */
  hasNews: boolean;
  /** To its thread, once that was started. */
  port: MessagePort | undefined;
  /** What its thread knows. */
  readonly knows: { maps: number; programs: number; network: number; ring: RingImage | undefined; readonly loops: Map<Kept, unknown> };
}

export class CpuSet {
  readonly #machine: Machine;
  readonly #parallel: NonNullable<Engine['parallel']>;
  readonly #cpus: readonly Cpu[];
  /** The thread that has started theirs, and what it says of those that have ended. */
  #starter: { readonly worker: Worker; readonly ends: MessagePort } | undefined;
  readonly #code: SpreadCode;
  readonly #now: number;
  /** Time that CPUs were at their turns, all at once: without the spreading, which a NIC does, and without the gathering. */
  turnsNs = 0;
  readonly #records: Region;
  /** By CPU, where they receive packets by themselves. */
  #rings: readonly RingImage[] = [];
  /** Whether the lab has a CPUMAP. */
  #handsOver = false;
  /** Packets that surely have room for their records. */
  readonly #mostObserved: number;

  /** `oneQueueEach`: no device has more queues than there are CPUs. */
  constructor(machine: Machine, tables: readonly LoopTables[], parallel: NonNullable<Engine['parallel']>, oneQueueEach: boolean) {
    this.#machine = machine;
    this.#parallel = parallel;
    const { memory } = machine;
    const [first] = tables;
    const { recordBytesPerPacket, interfaces, interfaceCount } = first!.at;
    this.#mostObserved = Math.min(RING_PACKETS, Math.floor(first!.records.lengthBytes / recordBytesPerPacket));
    const rows = memory.allocate(tables.length * SPREAD.size, 64, 'CPUs');
    this.#cpus = tables.map((each, cpu) => ({
      cpu,
      tables: each,
      turn: memory.allocate(TURN.size, 64, 'CPUs'),
      row: rows + cpu * SPREAD.size,
      ring: memory.allocate(RING_PACKETS * DESCRIPTOR.size, 64, 'ring of a CPU'),
      // All that all CPUs may leave.
      list: memory.allocate(4 * tables.length * this.#mostObserved, 4, 'packets for a CPU'),
      turns: 0,
      hasNews: false,
      port: undefined,
      knows: { maps: 0, programs: 0, network: -1, ring: undefined, loops: new Map() },
    }));
    this.#records = memory.region(first!.records.lengthBytes * tables.length, 64, 'verdict records');
    this.#now = memory.allocate(16, 8, 'time');
    const module = new WebAssembly.Module(emitSpread({ cpus: tables.length, rows, now: this.#now, interfaces, interfaceCount, oneQueueEach }));
    this.#code = new WebAssembly.Instance(module, { machine: { memory: memory.wasm } }).exports as unknown as SpreadCode;
  }

  /** Starts all threads, and waits until they have what packets run through. */
  prepare(wanted: Kept, attached: Attached): void {
    const keeps = this.#keptAtLeast(wanted);
    this.#tell(this.#cpus, keeps, attached);
    // A turn without packets, in which they make what they were sent.
    for (const { row } of this.#cpus) this.#machine.memory.view.setUint32(row + SPREAD.count, 0, true);
    const { turnsNs } = this;
    this.#take(this.#cpus, keeps, 0);
    this.turnsNs = turnsNs;
    this.#expectNoFailure(this.#cpus.flatMap((each) => this.#reportsOf(each)));
  }

  run(batch: PacketBatch, first: number, wanted: Kept, attached: Attached, listeners: CpuSetListeners): void {
    const keeps = this.#keptAtLeast(wanted);
    for (let done = first; done < batch.count; ) {
      const taken = this.#spread(batch, done, keeps);
      this.#runTaken(batch, done, taken, keeps, attached, listeners);
      done += taken;
    }
  }

  /** Lets CPUs receive what has come to their rings, one for each, and runs it, numbered from `number` on. How many packets at most; answers how many, and their bytes. */
  receive(rings: readonly RingImage[], batch: PacketBatch, number: number, most: number, wanted: Kept, attached: Attached, listeners: CpuSetListeners): Received {
    const keeps = this.#keptAtLeast(wanted);
    const { view } = this.#machine.memory;
    this.#rings = rings;
    this.#tell(this.#cpus, keeps, attached);
    for (const { row } of this.#cpus) view.setUint32(row + SPREAD.count, 0, true);
    this.#take(this.#cpus, keeps, TURN_FLAG.receive);
    this.#expectNoFailure(this.#cpus.flatMap((each) => this.#reportsOf(each)));
    const received = this.#cpus.map(({ turn }) => this.#word(turn + TURN.count));
    const ran = this.#cpus.map(() => 0);
    view.setBigUint64(this.#now + 8, 0n, true);
    let packets = 0;
    for (let taken = -1; taken !== 0 && packets < most; packets += taken) {
      this.#cpus.forEach(({ row, ring }, cpu) => {
        this.#makeRoom(row, cpu, ring + ran[cpu]! * DESCRIPTOR.size, keeps);
        view.setUint32(row + SPREAD.received, received[cpu]! - ran[cpu]!, true);
      });
      taken = this.#code.collect(batch.descriptor(0), Math.min(batch.capacity, most - packets), this.#mostInRing(keeps), BigInt(number + packets));
      batch.count = taken;
      if (taken === 0) break;
      this.#runTaken(batch, 0, taken, keeps, attached, listeners);
      this.#cpus.forEach(({ row }, cpu) => (ran[cpu]! += this.#word(row + SPREAD.count)));
    }
    return { packets, bytes: Number(view.getBigUint64(this.#now + 8, true)) };
  }

  /** Those that are in the rings, as `batch` has them in order. */
  #runTaken(batch: PacketBatch, first: number, count: number, keeps: Kept, attached: Attached, listeners: CpuSetListeners): void {
    const { observer, onCopy, wantsRecords } = listeners;
    const active = this.#cpus.filter(({ row }) => this.#word(row + SPREAD.count) > 0);
    this.#tell(active, keeps, attached);
    const flags = (wantsRecords ? TURN_FLAG.records : 0) | (onCopy === undefined ? 0 : TURN_FLAG.copies);
    this.#take(active, keeps, flags);
    const resumed = this.#handsOver ? this.#handOver() : [];
    this.#tell(resumed, keeps, attached);
    this.#take(resumed, keeps, flags | TURN_FLAG.resume);
    this.#machine.nowNs = this.#machine.memory.view.getBigUint64(this.#now, true);
    this.#deliver([...new Set([...active, ...resumed])], batch, first, listeners);
    if (observer) this.#show(batch, first, count, observer);
  }

  /** Where a CPUMAP may hand packets to other CPUs, they have frames of their own. */
  #keptAtLeast(wanted: Kept): Kept {
    const handsOver = [...mapsOf(this.#machine)].some(({ type }) => type.holds === 'cpus');
    if (handsOver !== this.#handsOver) for (const { knows } of this.#cpus) knows.loops.clear();
    this.#handsOver = handsOver;
    return handsOver ? 'packets' : wanted;
  }

  close(): void {
    // Those of CPUs end with it.
    void this.#starter?.worker.terminate();
    this.#starter?.ends.close();
    this.#starter = undefined;
    for (const each of this.#cpus) {
      each.port?.close();
      each.port = undefined;
    }
  }

  /** Lists for each CPU what others have left for it, in the order of the capture; answers which have something to do. */
  #handOver(): readonly Cpu[] {
    const { view, u32 } = this.#machine.memory;
    const left = this.#cpus.flatMap(({ tables }) => tables.handedOver).map((handover) => ({ handover, cpu: this.#word(handover + HANDOVER.cpu), number: view.getBigUint64(this.#word(handover + HANDOVER.descriptor) + DESCRIPTOR.number, true) }));
    left.sort((a, b) => (a.number < b.number ? -1 : 1));
    return this.#cpus.filter(({ cpu, row, list, tables }) => {
      const mine = left.filter((each) => each.cpu === cpu);
      u32.set(mine.map(({ handover }) => handover), list >>> 2);
      view.setUint32(row + SPREAD.later, tables.recordsEnd ?? tables.recordsAt, true);
      view.setUint32(row + SPREAD.count, mine.length, true);
      return mine.length > 0;
    });
  }

  #spread(batch: PacketBatch, first: number, keeps: Kept): number {
    this.#cpus.forEach(({ row, ring }, cpu) => this.#makeRoom(row, cpu, ring, keeps));
    return this.#code.spread(batch.descriptor(first), batch.count - first, this.#mostInRing(keeps));
  }

  /** Of a CPU whose descriptors will begin at `ring`. */
  #makeRoom(row: number, cpu: number, ring: number, keeps: Kept): void {
    const { view } = this.#machine.memory;
    const { tables } = this.#cpus[cpu]!;
    tables.drain();
    view.setUint32(row + SPREAD.later, 0, true);
    view.setUint32(row + SPREAD.ring, ring, true);
    view.setUint32(row + SPREAD.count, 0, true);
    view.setUint32(row + SPREAD.room, keeps === 'packets' ? tables.at.arenaEnd - tables.at.arena : NO_FRAMES_NEEDED, true);
    view.setUint32(row + SPREAD.gathered, 0, true);
    view.setBigUint64(this.#now, this.#machine.nowNs, true);
  }

  #mostInRing(keeps: Kept): number {
    if (keeps === 'counters') return RING_PACKETS;
    // What others leave for a CPU has to have room for its records too.
    return this.#handsOver ? Math.max(1, Math.floor(this.#mostObserved / this.#cpus.length)) : this.#mostObserved;
  }

  /** Starts threads that are not there, and sends all what is new. */
  #tell(cpus: readonly Cpu[], keeps: Kept, attached: Attached): void {
    const fresh = cpus.filter(({ port }) => port === undefined);
    for (const each of fresh) this.#start(each);
    for (const each of fresh) this.#await(each, 0, START_MS);
    for (const each of cpus) {
      const news = this.#newsFor(each, keeps, attached);
      if (news === undefined) continue;
      each.port!.postMessage(news);
      each.hasNews = true;
    }
  }

  #newsFor({ cpu, tables, knows }: Cpu, keeps: Kept, attached: Attached): CpuNews | undefined {
    const machine = this.#machine;
    const { loaded, image } = this.#parallel;
    const maps = [...mapsOf(machine)].slice(knows.maps);
    const programs = loaded.slice(knows.programs);
    const network = machine.network.revision === knows.network ? undefined : machine.network.image;
    const knowsLoop = knows.loops.get(keeps) === attached;
    const ring = this.#rings[cpu] === knows.ring ? undefined : this.#rings[cpu];
    if (maps.length === 0 && programs.length === 0 && network === undefined && ring === undefined && knowsLoop) return undefined;
    const constants = { ...tables.at, keeps, chains: attached.map((chain) => tables.chain(chain)), spread: true, handsOver: this.#handsOver };
    knows.maps += maps.length;
    knows.programs += programs.length;
    knows.network = machine.network.revision;
    knows.ring = this.#rings[cpu];
    knows.loops.set(keeps, attached);
    return {
      maps: maps.map((map) => mapImage(machine, map, cpu)),
      programs: programs.map((program) => image(program, cpu)),
      ...(network === undefined ? {} : { network }),
      ...(ring === undefined ? {} : { ring }),
      ...(knowsLoop ? {} : { loop: { keeps, module: compileModule(emitPacketLoop(constants), machine.tier), programs: attached.flat().map(({ program }) => program.id) } }),
      names: programs.map(({ id, spec }) => [id, spec.name] as const),
    };
  }

  #start(each: Cpu): void {
    const { cpu, tables, turn, ring, list } = each;
    const { memory, cpus, instructionBudget } = this.#machine;
    const heap = memory.allocate(CPU_HEAP_BYTES, 64, 'heap of a CPU');
    memory.i32[(turn + TURN.done) >>> 2] = DONE.notThere;
    const { port1, port2 } = new MessageChannel();
    const { cells, xdpContext, devices, devicesEnd, cpuBlock } = tables.at;
    const start: CpuStart = {
      image: { cpu, cpus, memory: { wasm: memory.wasm, address: heap, lengthBytes: CPU_HEAP_BYTES }, block: cpuBlock, instructionBudget },
      at: { cells, xdpContext, devices, devicesEnd },
      turn,
      ring,
      list,
      port: port2,
    };
    this.#starter ??= startStarter();
    this.#starter.worker.postMessage(start, [port2]);
    port1.unref();
    each.port = port1;
  }

  /** A turn of those CPUs, at once. */
  #take(active: readonly Cpu[], keeps: Kept, flags: number): void {
    const { view, i32: words } = this.#machine.memory;
    const begun = performance.now();
    for (const each of active) {
      const { turn, row, tables } = each;
      view.setUint32(row + SPREAD.records, tables.at.records, true);
      view.setUint32(turn + TURN.count, this.#word(row + SPREAD.count), true);
      view.setUint32(turn + TURN.first, this.#word(row + SPREAD.ring), true);
      view.setUint32(turn + TURN.flags, flags | (each.hasNews ? TURN_FLAG.news : 0), true);
      each.hasNews = false;
      view.setUint32(turn + TURN.keeps, KEPT.indexOf(keeps), true);
      view.setUint32(turn + TURN.reports, 0, true);
      Atomics.store(words, (turn + TURN.turn) >>> 2, ++each.turns);
      Atomics.notify(words, (turn + TURN.turn) >>> 2);
    }
    for (const each of active) this.#await(each, each.turns);
    this.turnsNs += (performance.now() - begun) * 1e6;
  }

  #await({ turn, cpu }: Cpu, wanted: number, mostMs?: number): void {
    const { i32: words } = this.#machine.memory;
    const index = (turn + TURN.done) >>> 2;
    for (let seen = Atomics.load(words, index); seen !== wanted; seen = Atomics.load(words, index)) {
      if (seen === DONE.ended) throw new XdplabError('ERR_MEMORY', `CPU ${cpu}: its thread has ended (${this.#whyEnded(cpu)}), so the run cannot go on; give fewer CPUs, or more memory`);
      if (Atomics.wait(words, index, seen, mostMs) === 'timed-out') throw new XdplabError('ERR_MEMORY', `CPU ${cpu}: its thread did not start; give fewer CPUs`);
    }
  }

  #whyEnded(cpu: number): string {
    for (;;) {
      const received = receiveMessageOnPort(this.#starter!.ends) as { readonly message: CpuEnd } | undefined;
      if (received === undefined) return 'as was said';
      if (received.message.cpu === cpu) return received.message.why;
    }
  }

  /** What programs sent, in the order of their packets. */
  #deliver(active: readonly Cpu[], batch: PacketBatch, first: number, { onCopy }: CpuSetListeners): void {
    const reports = active.flatMap((each) => this.#reportsOf(each));
    this.#expectNoFailure(reports);
    if (reports.length === 0) return;
    const firstNumber = this.#word(batch.descriptor(first) + DESCRIPTOR.number);
    const place = ({ packet }: { readonly packet: number }): number => (packet - firstNumber) >>> 0;
    const inOrder = <T extends { readonly packet: number }>(all: T[]): T[] => all.toSorted((a, b) => place(a) - place(b));
    for (const each of inOrder(reports.flatMap(({ events }) => events))) this.#machine.onEvent(this.#timed(each.event, batch, first + place(each)));
    for (const { ifindex, bytes } of inOrder(reports.flatMap(({ copies }) => copies))) onCopy?.(ifindex, bytes);
  }

  #expectNoFailure(reports: readonly CpuReport[]): void {
    const failure = reports.find((report) => report.failure !== undefined)?.failure;
    if (failure === undefined) return;
    if (failure.code === undefined) throw new Error(failure.message);
    throw new XdplabError(failure.code, failure.message);
  }

  #reportsOf({ turn, port }: Cpu): CpuReport[] {
    if (this.#word(turn + TURN.reports) === 0) return [];
    const reports: CpuReport[] = [];
    for (let received = receiveMessageOnPort(port!); received !== undefined; received = receiveMessageOnPort(port!)) reports.push((received as { readonly message: CpuReport }).message);
    return reports;
  }

  /** A record may have been found by another CPU than the one whose packet it is of. */
  #timed(event: MachineEvent, batch: PacketBatch, index: number): MachineEvent {
    if (event.source !== 'ringbuf' || index >= batch.count) return event;
    return { ...event, timestampNs: this.#machine.memory.view.getBigUint64(batch.descriptor(index) + DESCRIPTOR.now, true) };
  }

  #show(batch: PacketBatch, first: number, count: number, observer: BatchObserver): void {
    const { view } = this.#machine.memory;
    for (const { row, tables } of this.#cpus) {
      const end = tables.recordsEnd;
      if (end === undefined) throw tablesOverwritten('a program');
      const later = this.#word(row + SPREAD.later) || end;
      view.setUint32(row + SPREAD.recordsEnd, later, true);
      view.setUint32(row + SPREAD.later, later, true);
      view.setUint32(row + SPREAD.laterEnd, end, true);
      view.setUint32(row + SPREAD.records, tables.recordsAt, true);
    }
    const end = this.#code.gather(batch.descriptor(first), count, this.#records.address, Number(this.#handsOver));
    const length = end - this.#records.address;
    const { bytes } = this.#records;
    observer.finished(batch, first, count, new DataView(bytes.buffer, bytes.byteOffset, length), length / RECORD.size);
  }

  #word(address: number): number {
    return this.#machine.memory.u32[address >>> 2]!;
  }
}

function startStarter(): { readonly worker: Worker; readonly ends: MessagePort } {
  const file = workerFile(STARTER);
  if (!existsSync(fileURLToPath(file))) throw new XdplabError('ERR_FILE', `${fileURLToPath(file)}: the code of the threads of CPUs is not there; build it with npm run build:code`);
  const { port1: ends, port2 } = new MessageChannel();
  const worker = new Worker(file, { workerData: port2, transferList: [port2], execArgv: [] });
  worker.unref();
  ends.unref();
  return { worker, ends };
}
