/** Packets of many flows, run as one batch through a lab of several CPUs. */
import type { Lab } from '../../../dataplane/pipeline/lab.ts';
import type { BatchObserver } from '../../../dataplane/pipeline/pipeline.ts';
import { DESCRIPTOR, PacketBatch } from '../../../dataplane/packet/packet-batch.ts';

const PACKET_BYTES = 64;

/** A UDP packet from 10.0.0.1 to 10.0.0.2, whose source port is the flow's number. */
export function udp(flow: number): Uint8Array {
  const ethernet = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
  const ip = [0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
  const header = [...ethernet, ...ip, flow >> 8, flow & 255, 0, 53, 0, 30, 0, 0];
  return Uint8Array.from({ length: PACKET_BYTES }, (_, index) => header[index] ?? 0);
}

/** Packet n is of flow n modulo `flows`, and comes in n nanoseconds after the epoch. */
export function runFlows(lab: Lab, packets: number, flows: number, observer?: BatchObserver): void {
  const { memory } = lab.machine;
  const batch = new PacketBatch(memory, packets);
  const at = memory.allocate(flows * PACKET_BYTES, 64, 'packets');
  for (let flow = 0; flow < flows; flow++) memory.u8.set(udp(flow), at + flow * PACKET_BYTES);
  lab.pipeline.setInterface(0, lab.devices[0]);
  batch.count = packets;
  for (let index = 0; index < packets; index++) {
    memory.u32.set([at + (index % flows) * PACKET_BYTES, PACKET_BYTES, PACKET_BYTES, 0], batch.descriptor(index) >>> 2);
    memory.view.setUint32(batch.descriptor(index) + DESCRIPTOR.timestampNs, index, true);
    memory.view.setUint32(batch.descriptor(index) + DESCRIPTOR.number, index + 1, true);
  }
  lab.pipeline.run(batch, observer);
}
