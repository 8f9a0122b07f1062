/**
 * A trace in machine memory, to be run round after round: time goes on from one to the next. The descriptors are a window
 * onto it, as long as its batch: all of it unless said.
 */
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

  constructor(memory: MachineMemory, trace: PacketTrace, batchPackets: number = packetCount(trace)) {
    this.#trace = trace;
    this.batch = new PacketBatch(memory, Math.min(batchPackets, packetCount(trace)));
    this.#address = memory.allocate(trace.bytes.length, 64, 'packets');
    this.restore();
    this.show(0, this.batch.capacity);
  }

  /** Puts the packets back as they were. */
  restore(): void {
    this.batch.memory.u8.set(this.#trace.bytes, this.#address);
  }

  /** Makes the batch that of `count` packets from `first` on; of fewer where the trace ends, or the batch is full. */
  show(first: number, count: number): void {
    const { offsets, gapNs } = this.#trace;
    const { u32, u64 } = this.batch.memory;
    const gap = BigInt(gapNs);
    this.batch.count = Math.min(count, this.batch.capacity, packetCount(this.#trace) - first);
    let time = START_NS + (this.#round * BigInt(packetCount(this.#trace)) + BigInt(first)) * gap;
    for (let index = 0; index < this.batch.count; index++, time += gap) {
      const at = this.batch.descriptor(index);
      const offset = offsets[first + index]!;
      const length = offsets[first + index + 1]! - offset;
      u32[(at + DESCRIPTOR.address) >>> 2] = this.#address + offset;
      u32[(at + DESCRIPTOR.captured) >>> 2] = length;
      u32[(at + DESCRIPTOR.wire) >>> 2] = length;
      u64[(at + DESCRIPTOR.number) >>> 3] = BigInt(first + index + 1);
      u64[(at + DESCRIPTOR.timestampNs) >>> 3] = time;
    }
  }

  /** From now on packets come behind the last of the round before. */
  advance(): void {
    this.#round++;
    this.show(0, this.batch.capacity);
  }
}
