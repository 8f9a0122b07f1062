/**
 * The capture that reading and replaying are measured with, made by the generator of traces/: TCP conversations, 64-byte
 * frames, flow sizes by Zipf's law. Freshly written, and so in the page cache.
 */
import { readFileSync, writeFileSync } from 'node:fs';

import { PCAP, PCAP_MAGIC } from '../dataplane/packet/pcap.ts';
import { VIP } from '../traces/network.ts';
import { flowTraffic } from '../traces/profiles.ts';
import type { TracePacket } from '../traces/trace-packet.ts';
import { writeTrace } from '../traces/write-trace.ts';

export interface Workload {
  readonly packets: number;
  readonly flows: number;
  /** Of a frame without its checksum; empty acknowledgments have 60, and SYNs 66 for their options. */
  readonly frameBytes: number;
  /** Mean time between packets on the trace's clock. */
  readonly gapNs: number;
}

const SEED = 1;
/** Clients' packets to the services behind the load balancer, which answer by another way. */
const TRAFFIC = { services: [VIP.http, VIP.https], answers: false };

export function packetsOf({ packets, flows, frameBytes, gapNs }: Workload): Generator<TracePacket, void> {
  return flowTraffic({ ...TRAFFIC, packets, flows, size: frameBytes, gapNs, seed: SEED });
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
