/** A trace in machine memory behind a batch of descriptors, to be run round after round: time goes on from one to the next. */
import type { MachineMemory } from '../machine/memory.ts';
import { DESCRIPTOR, PacketBatch } from './packet-batch.ts';
import { packetCount, type PacketTrace } from './packet-trace.ts';

/** Any time: programs see differences only. */
const START_NS = 1_700_000_000n * 1_000_000_000n;

export class ResidentTrace {
  readonly batch: PacketBatch;
  readonly #trace: PacketTrace;
  readonly #address: number;
  #round = 0n;

  constructor(memory: MachineMemory, trace: PacketTrace) {
    const count = packetCount(trace);
    this.#trace = trace;
    this.batch = new PacketBatch(memory, count);
    this.#address = memory.allocate(trace.bytes.length, 64, 'packets');
    this.batch.count = count;
    this.restore();
    const { u32, u64 } = memory;
    for (let index = 0; index < count; index++) {
      const at = this.batch.descriptor(index);
      const length = trace.offsets[index + 1]! - trace.offsets[index]!;
      u32[(at + DESCRIPTOR.address) >>> 2] = this.#address + trace.offsets[index]!;
      u32[(at + DESCRIPTOR.captured) >>> 2] = length;
      u32[(at + DESCRIPTOR.wire) >>> 2] = length;
      u64[(at + DESCRIPTOR.number) >>> 3] = BigInt(index + 1);
    }
    this.#writeTimes();
  }

  /** Puts the packets back as they were. */
  restore(): void {
    this.batch.memory.u8.set(this.#trace.bytes, this.#address);
  }

  /** Moves every packet's time on, behind that of the last. */
  advance(): void {
    this.#round++;
    this.#writeTimes();
  }

  #writeTimes(): void {
    const { u64 } = this.batch.memory;
    const gap = BigInt(this.#trace.gapNs);
    let time = START_NS + this.#round * BigInt(packetCount(this.#trace)) * gap;
    for (let index = 0; index < packetCount(this.#trace); index++, time += gap) u64[(this.batch.descriptor(index) + DESCRIPTOR.timestampNs) >>> 3] = time;
  }
}
