/** The packets of a capture as bytes and times, one after the other. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Machine } from '../../../dataplane/machine/machine.ts';
import { LINK_TYPE_ETHERNET } from '../../../dataplane/packet/capture-reader.ts';
import { openCapture } from '../../../dataplane/packet/open-capture.ts';
import { DESCRIPTOR, PacketBatch } from '../../../dataplane/packet/packet-batch.ts';

export interface CapturePacket {
  /** Place in the capture, from 1. */
  readonly number: number;
  readonly timestampNs: bigint;
  readonly bytes: Uint8Array;
}

export const TRACES = fileURLToPath(new URL('../../../traces/', import.meta.url));

/** Ethernet packets only; what of the capture is damaged is left out. */
export async function capturePackets(name: string): Promise<CapturePacket[]> {
  const { memory } = new Machine();
  const batch = new PacketBatch(memory, 256);
  const reader = await openCapture(join(TRACES, name), { window: memory.region(1 << 20, 4096, 'window'), reader: 'native' });
  const packets: CapturePacket[] = [];
  for (let number = 1; (await reader.read(batch)) > 0; ) {
    for (let index = 0; index < batch.count; index++, number++) {
      const at = batch.descriptor(index);
      const field = (offset: number): number => memory.view.getUint32(at + offset, true);
      if (reader.interfaces[field(DESCRIPTOR.interface)]?.linkType !== LINK_TYPE_ETHERNET) continue;
      const address = field(DESCRIPTOR.address);
      packets.push({ number, timestampNs: batch.timestampNs(index), bytes: memory.u8.slice(address, address + field(DESCRIPTOR.captured)) });
    }
  }
  await reader.close();
  return packets;
}
