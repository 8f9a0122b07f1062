/**
 * Packets to be run again and again, one behind the other in one buffer. The first `opening` of them open the flows:
 * they run once, before anything is measured; the others run round after round.
 */
import { MachineMemory } from '../machine/memory.ts';
import { XdplabError } from '../errors.ts';
import { LINK_TYPE_ETHERNET } from './capture-reader.ts';
import { DESCRIPTOR, PacketBatch } from './packet-batch.ts';
import { openCapture } from './open-capture.ts';

export interface PacketTrace {
  /** What it is, in a few words. */
  readonly text: string;
  readonly bytes: Uint8Array;
  /** Where each packet begins, and where the last one ends. */
  readonly offsets: Uint32Array;
  readonly opening: number;
  /** Time between packets. */
  readonly gapNs: number;
}

export function packetCount({ offsets }: PacketTrace): number {
  return offsets.length - 1;
}

export function packetAt({ bytes, offsets }: PacketTrace, index: number): Uint8Array {
  return bytes.subarray(offsets[index], offsets[index + 1]);
}

/** The same without the packets that open flows. */
export function withoutOpening(trace: PacketTrace): PacketTrace {
  const first = trace.offsets[trace.opening]!;
  return { ...trace, opening: 0, offsets: trace.offsets.subarray(trace.opening).map((offset) => offset - first), bytes: trace.bytes.subarray(first) };
}

export function packTrace(text: string, packets: readonly Uint8Array[], gapNs: number): PacketTrace {
  const offsets = new Uint32Array(packets.length + 1);
  packets.forEach((packet, index) => (offsets[index + 1] = offsets[index]! + packet.length));
  const bytes = new Uint8Array(offsets[packets.length]!);
  packets.forEach((packet, index) => bytes.set(packet, offsets[index]));
  return { text, bytes, offsets, opening: 0, gapNs };
}

const WINDOW_BYTES = 1 << 20;
const BATCH_PACKETS = 256;
/** More would be gigabytes; the first are as good as any. */
const MOST_PACKETS = 2_000_000;

/** The Ethernet packets of a capture, at its mean rate. ERR_CAPTURE where there are none. */
export async function readTrace(path: string): Promise<PacketTrace> {
  const memory = new MachineMemory();
  const batch = new PacketBatch(memory, BATCH_PACKETS);
  const reader = await openCapture(path, { window: memory.region(WINDOW_BYTES, 4096, 'capture window') });
  const packets: Uint8Array[] = [];
  let [first, last] = [0n, 0n];
  while (packets.length < MOST_PACKETS && (await reader.read(batch)) > 0) {
    for (let index = 0; index < batch.count; index++) {
      const wire = memory.u32[(batch.descriptor(index) + DESCRIPTOR.interface) >>> 2]!;
      if (reader.interfaces[wire]?.linkType !== LINK_TYPE_ETHERNET) continue;
      last = batch.timestampNs(index);
      if (packets.length === 0) first = last;
      packets.push(batch.packet(index).slice());
    }
  }
  const { damage } = reader;
  await reader.close();
  if (packets.length === 0) throw damage ?? new XdplabError('ERR_CAPTURE', `${path}: has no Ethernet packets, so there is nothing to measure`);
  return packTrace(`${packets.length} packets of ${path}`, packets, Math.max(1, Math.round(Number(last - first) / packets.length)));
}
