/**
 * A trace in machine memory, to be run round after round: time goes on from one to the next. The descriptors are a window
 * onto it, as long as its batch: all of it unless said.
 */
import type { MachineMemory } from '../machine/memory.ts';
import { DESCRIPTOR, PacketBatch } from './packet-batch.ts';
import { packetCount, type PacketTrace } from './packet-trace.ts';

/** Any time: programs see differences only. */
const START_NS = 1_700_000_000n * 1_000_000_000n;
const TWO_32 = 4_294_967_296;

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

  /**
   * Makes the batch that of `count` packets from `first` on; of fewer where the trace ends, or the batch is full. Without
   * BigInts, whose memory would take the packets' place in the caches.
   */
  show(first: number, count: number): void {
    const { offsets, gapNs } = this.#trace;
    const { u32 } = this.batch.memory;
    this.batch.count = Math.min(count, this.batch.capacity, packetCount(this.#trace) - first);
    const beginNs = START_NS + (this.#round * BigInt(packetCount(this.#trace)) + BigInt(first)) * BigInt(gapNs);
    let [low, high] = [Number(beginNs & 0xffff_ffffn), Number(beginNs >> 32n)];
    for (let index = 0; index < this.batch.count; index++) {
      const word = this.batch.descriptor(index) >>> 2;
      const offset = offsets[first + index]!;
      const length = offsets[first + index + 1]! - offset;
      u32[word + DESCRIPTOR.address / 4] = this.#address + offset;
      u32[word + DESCRIPTOR.captured / 4] = length;
      u32[word + DESCRIPTOR.wire / 4] = length;
      u32[word + DESCRIPTOR.number / 4] = first + index + 1;
      u32[word + DESCRIPTOR.number / 4 + 1] = 0;
      u32[word + DESCRIPTOR.timestampNs / 4] = low;
      u32[word + DESCRIPTOR.timestampNs / 4 + 1] = high;
      low += gapNs;
      if (low >= TWO_32) [low, high] = [low - TWO_32, high + 1];
    }
  }

  /** From now on packets come behind the last of the round before. */
  advance(): void {
    this.#round++;
    this.show(0, this.batch.capacity);
  }
}
