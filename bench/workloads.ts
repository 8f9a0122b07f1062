/**
 * The packets that benchmarks run over, made by the generator of traces/: TCP conversations, 64-byte frames, flow sizes
 * by Zipf's law. In a capture file, freshly written and so in the page cache, or in machine memory behind a batch of
 * descriptors.
 */
import { readFileSync, writeFileSync } from 'node:fs';

import type { MachineMemory } from '../dataplane/machine/memory.ts';
import { DESCRIPTOR, PacketBatch } from '../dataplane/packet/packet-batch.ts';
import { PCAP, PCAP_MAGIC } from '../dataplane/packet/pcap.ts';
import { LOCAL, VIP } from '../traces/network.ts';
import { flowTraffic } from '../traces/profiles.ts';
import type { TracePacket } from '../traces/trace-packet.ts';
import { writeTrace } from '../traces/write-trace.ts';

/**
 * What is talked about: clients' packets to the services behind the load balancer, which answer by another way, or both
 * directions of what clients and the host itself have to say to each other.
 */
const TRAFFIC = {
  balanced: { services: [VIP.http, VIP.https], answers: false },
  host: { services: [LOCAL.web], answers: true },
} as const;
export type Traffic = keyof typeof TRAFFIC;

export interface Workload {
  readonly traffic: Traffic;
  readonly packets: number;
  readonly flows: number;
  /** Of a frame without its checksum; empty acknowledgments have 60, and SYNs 66 for their options. */
  readonly frameBytes: number;
  /** Mean time between packets on the trace's clock. */
  readonly gapNs: number;
}

const SEED = 1;
/** Any time: programs see differences only. */
const START_NS = 1_700_000_000 * 1e9;
const TWO_32 = 4_294_967_296;

export function packetsOf({ traffic, packets, flows, frameBytes, gapNs }: Workload): Generator<TracePacket, void> {
  return flowTraffic({ ...TRAFFIC[traffic], packets, flows, size: frameBytes, gapNs, seed: SEED });
}

/** Microsecond pcap, the one kind that every reader knows. */
export function writeWorkload(path: string, workload: Workload): void {
  writeTrace(path, packetsOf(workload));
  const bytes = readFileSync(path);
  bytes.writeUInt32LE(PCAP_MAGIC.microseconds, 0);
  for (let at: number = PCAP.headerLength; at < bytes.length; at += PCAP.recordLength + bytes.readUInt32LE(at + 8)) {
    bytes.writeUInt32LE(Math.floor(bytes.readUInt32LE(at + 4) / 1000), at + 4);
  }
  writeFileSync(path, bytes);
}

/** A workload in machine memory, to be run again and again: time goes on from one pass to the next. */
export class ResidentWorkload {
  readonly batch: PacketBatch;
  readonly #durationNs: number;

  constructor(memory: MachineMemory, workload: Workload) {
    const packets = [...packetsOf(workload)];
    this.#durationNs = workload.packets * workload.gapNs;
    this.batch = new PacketBatch(memory, packets.length);
    this.batch.count = packets.length;
    let address = memory.allocate(
      packets.reduce((total, { bytes }) => total + bytes.length, 0),
      64,
      'packets',
    );
    for (const [index, { bytes, timeNs }] of packets.entries()) {
      const { u8, u32, u64 } = memory;
      const at = this.batch.descriptor(index);
      u8.set(bytes, address);
      u32[(at + DESCRIPTOR.address) >>> 2] = address;
      u32[(at + DESCRIPTOR.captured) >>> 2] = bytes.length;
      u32[(at + DESCRIPTOR.wire) >>> 2] = bytes.length;
      u64[(at + DESCRIPTOR.timestampNs) >>> 3] = BigInt(START_NS) + BigInt(timeNs);
      u64[(at + DESCRIPTOR.number) >>> 3] = BigInt(index + 1);
      address += bytes.length;
    }
  }

  /** Moves every packet's time on by the trace's duration. */
  advance(): void {
    const { u32 } = this.batch.memory;
    for (let index = 0; index < this.batch.count; index++) {
      const word = (this.batch.descriptor(index) + DESCRIPTOR.timestampNs) >>> 2;
      const low = u32[word]! + this.#durationNs;
      u32[word] = low;
      u32[word + 1]! += Math.floor(low / TWO_32);
    }
  }
}
