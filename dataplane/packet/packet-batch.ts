/**
 * A batch of packets on its way through the machine: 64-byte descriptors in machine memory, one cache line each.
 * A reader fills the first half, the pipeline the second. Little-endian.
 *
 *    0 u32 address        of the packet's bytes in machine memory (the reader's window)
 *    4 u32 captured       bytes present
 *    8 u32 wire           bytes the packet had on the wire
 *   12 u32 interface      the capture's interface index; a Lab maps it to a device
 *   16 u64 timestampNs    since the epoch
 *   24 u64 number         place in the capture, from 1
 *   Where CPUs run at once, until the packet has run: 32 u32 queue it arrived at, 40 u64 time it is then.
 *
 *   32 u32 leftAddress    where the packet's bytes are after the hooks
 *   36 u32 leftLength     and how many
 *   40 u32 leftIfindex    the device it left through, 0 if none
 *   44 i32 xdp            last verdict of each hook, NO_VERDICT where it did not run
 *   48 i32 tcIngress
 *   52 i32 tcEgress
 *   56 u16 outcome        see pipeline/outcome.ts
 *   58 u16 reason         why it was dropped, 0 if it was not
 */
import type { MachineMemory, Region } from '../machine/memory.ts';

export const DESCRIPTOR = {
  size: 64,
  address: 0,
  captured: 4,
  wire: 8,
  interface: 12,
  timestampNs: 16,
  number: 24,
  queue: 32,
  now: 40,
  leftAddress: 32,
  leftLength: 36,
  leftIfindex: 40,
  xdp: 44,
  tcIngress: 48,
  tcEgress: 52,
  outcome: 56,
  reason: 58,
} as const;

/** Interfaces of a capture whose packets can be run. */
export const MAX_INTERFACES = 1024;

/** In a descriptor's verdict fields: the hook did not run. */
export const NO_VERDICT = 0x7fff_ffff;

export class PacketBatch {
  readonly memory: MachineMemory;
  readonly region: Region;
  readonly capacity: number;
  /** Descriptors in use, from the first. */
  count = 0;

  constructor(memory: MachineMemory, capacity: number) {
    this.memory = memory;
    this.capacity = capacity;
    this.region = memory.region(capacity * DESCRIPTOR.size, 64, 'packet batch');
  }

  /** The address of descriptor `index`. */
  descriptor(index: number): number {
    return this.region.address + index * DESCRIPTOR.size;
  }

  /** Borrowed: the packet's bytes as they came in, valid until the next batch. */
  packet(index: number): Uint8Array {
    const word = this.descriptor(index) >>> 2;
    const { u32 } = this.memory;
    return this.memory.bytes(u32[word]!, u32[word + 1]!);
  }

  timestampNs(index: number): bigint {
    return this.memory.u64[(this.descriptor(index) + DESCRIPTOR.timestampNs) >>> 3]!;
  }
}
