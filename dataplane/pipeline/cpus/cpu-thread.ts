/** The thread of a CPU: waits for its turn, runs its ring through the packet loop, says what happened. */
import { receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import { XdplabError } from '../../errors.ts';
import { RingReader } from '../../devices/ring-reader.ts';
import { instantiateImage } from '../../engine/program-image.ts';
import { CPU_BLOCK } from '../../machine/cpu.ts';
import { Machine } from '../../machine/machine.ts';
import { instantiateMap } from '../../maps/map-image.ts';
import { mapsOf } from '../../maps/map-registry.ts';
import { takeRecords } from '../../maps/ringbuf.ts';
import { DESCRIPTOR } from '../../packet/packet-batch.ts';
import { LoopRunner } from '../loop-runner.ts';
import { countSent } from '../loop-tables.ts';
import { KEPT, type Kept } from '../loop/loop-code.ts';
import type { PacketLoop } from '../packet-loop.ts';
import { RING_PACKETS, TURN, TURN_FLAG, type CpuNews, type CpuReport, type CpuStart } from './ring.ts';

class CpuThread {
  readonly #machine: Machine;
  readonly #start: CpuStart;
  readonly #runner: LoopRunner;
  readonly #loops = new Map<Kept, PacketLoop>();
  readonly #names = new Map<number, string>();
  readonly #port: MessagePort;
  #reader: RingReader | undefined;
  #flags = 0;
  #events: CpuReport['events'][number][] = [];
  #copies: CpuReport['copies'][number][] = [];

  constructor(start: CpuStart) {
    this.#start = start;
    this.#port = start.port;
    const machine = new Machine({}, start.image);
    this.#machine = machine;
    this.#runner = new LoopRunner(machine, start.at, {
      copy: (ifindex, bytes) => this.#copy(ifindex, bytes),
      // All that are in slots have been attached before.
      attachInSlot: () => 0,
      version: () => undefined,
      programName: (id) => this.#names.get(id),
    });
    machine.onEvent = (event) => void this.#events.push({ packet: this.#packet, event });
    machine.onRecords = () => this.#takeRecords();
    machine.network.onClone = ({ ifindex, toIngress, bytes }) => (toIngress ? countSent(machine.memory, start.at, ifindex, bytes.length) : this.#copy(ifindex, bytes));
  }

  /** Never returns: the thread ends when it is terminated. */
  serve(): never {
    let turn = 0;
    this.#finished(turn);
    for (;;) {
      const { i32: words } = this.#machine.memory;
      Atomics.wait(words, (this.#start.turn + TURN.turn) >>> 2, turn);
      turn = Atomics.load(words, (this.#start.turn + TURN.turn) >>> 2);
      try {
        this.#take();
      } catch (error) {
        this.#report(error instanceof XdplabError ? { code: error.code, message: error.message } : { message: String(error instanceof Error ? error.stack : error) });
      }
      this.#finished(turn);
    }
  }

  #take(): void {
    const { memory } = this.#machine;
    memory.refresh();
    const turn = this.#start.turn;
    this.#flags = memory.view.getUint32(turn + TURN.flags, true);
    if ((this.#flags & TURN_FLAG.news) !== 0) this.#read();
    if ((this.#flags & TURN_FLAG.receive) !== 0) {
      memory.view.setUint32(turn + TURN.count, this.#receive(), true);
      return;
    }
    const count = memory.view.getUint32(turn + TURN.count, true);
    const first = memory.view.getUint32(turn + TURN.first, true);
    const loop = this.#loops.get(KEPT[memory.view.getUint32(turn + TURN.keeps, true)]!)!;
    if ((this.#flags & TURN_FLAG.resume) !== 0) {
      this.#runner.resume(loop, memory.u32.slice(this.#start.list >>> 2, (this.#start.list >>> 2) + count));
      this.#tell();
      return;
    }
    let ended = 0;
    while (ended < count) {
      const ran = this.#runner.run(loop, first + ended * DESCRIPTOR.size, count - ended);
      if (ran === 0) throw new RangeError(`CPU ${this.#machine.cpu}: no room for packet ${ended} of ${count}`);
      ended += ran;
    }
    this.#tell();
  }

  /** Describes all that waits and has room; how many packets. */
  #receive(): number {
    const reader = this.#reader!;
    reader.begin();
    let received = 0;
    for (let more = -1; more !== 0 && received < RING_PACKETS; received += more) more = reader.read(this.#start.ring + received * DESCRIPTOR.size, RING_PACKETS - received);
    return received;
  }

  #tell(): void {
    if (this.#events.length > 0 || this.#copies.length > 0) this.#report();
  }

  #read(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { readonly message: CpuNews } | undefined;
      if (received === undefined) return;
      const { maps, programs, network, loop, names, ring } = received.message;
      for (const [id, name] of names) this.#names.set(id, name);
      if (ring !== undefined) this.#reader = new RingReader(this.#machine.memory, ring);
      if (network !== undefined) this.#machine.network.restore(network);
      for (const map of maps) instantiateMap(this.#machine, map);
      for (const program of programs) {
        this.#machine.makeRoomFor(program.id);
        instantiateImage(this.#machine, program);
      }
      if (loop === undefined) continue;
      this.#loops.set(loop.keeps, this.#runner.instantiate(loop.module));
      this.#runner.lookAheadOf(loop.programs);
    }
  }

  #report(failure?: CpuReport['failure']): void {
    this.#port.postMessage({ events: this.#events, copies: this.#copies, ...(failure === undefined ? {} : { failure }) } satisfies CpuReport);
    this.#events = [];
    this.#copies = [];
    this.#machine.memory.view.setUint32(this.#start.turn + TURN.reports, 1, true);
  }

  #finished(turn: number): void {
    const { i32: words } = this.#machine.memory;
    const done = (this.#start.turn + TURN.done) >>> 2;
    Atomics.store(words, done, turn);
    Atomics.notify(words, done);
  }

  /** The packet that runs: the low half of its number. */
  get #packet(): number {
    return this.#machine.memory.view.getUint32(this.#machine.cell(CPU_BLOCK.descriptor) + DESCRIPTOR.number, true);
  }

  #takeRecords(): void {
    if ((this.#flags & TURN_FLAG.records) === 0) return;
    for (const map of mapsOf(this.#machine)) {
      if (map.type.holds !== 'records') continue;
      for (const { bytes, packet } of takeRecords(map.geometry)) {
        this.#events.push({ packet, event: { source: 'ringbuf', cpu: this.#machine.cpu, timestampNs: this.#machine.nowNs, map: map.name, bytes } });
      }
    }
  }

  #copy(ifindex: number, bytes: Uint8Array): void {
    countSent(this.#machine.memory, this.#start.at, ifindex, bytes.length);
    if ((this.#flags & TURN_FLAG.copies) !== 0) this.#copies.push({ packet: this.#packet, ifindex, bytes: bytes.slice() });
  }
}

new CpuThread(workerData as CpuStart).serve();
