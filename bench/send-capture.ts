/**
 * `node dist/bench/send-capture.js <interface> <capture> [--loop n] [--queued]`: sends the packets of a capture as fast
 * as they go, `--queued` by way of TC egress and taps, and prints how many the kernel took, as JSON. Tests and benchmarks offer load with it, on interfaces of their own.
 */
import { parseArgs } from 'node:util';
import { liveInterface } from '../dataplane/devices/interfaces.ts';
import { PacketSender } from '../dataplane/devices/packet-sender.ts';
import { MachineMemory } from '../dataplane/machine/memory.ts';
import { openCapture } from '../dataplane/packet/open-capture.ts';
import { DESCRIPTOR, PacketBatch } from '../dataplane/packet/packet-batch.ts';

const BATCH_PACKETS = 64;
const WINDOW_BYTES = 64 << 20;

const { values, positionals } = parseArgs({ options: { loop: { type: 'string', default: '1' }, queued: { type: 'boolean', default: false } }, allowPositionals: true });
const [name, capture] = positionals;
if (name === undefined || capture === undefined) throw new Error('usage: send-capture <interface> <capture> [--loop n] [--queued]');

const memory = new MachineMemory();
// The whole capture stays in memory, so that reading it takes no time of sending.
const packets: number[] = [];
const window = memory.region(WINDOW_BYTES, 4096, 'capture');
const reader = await openCapture(capture, { window });
const batch = new PacketBatch(memory, BATCH_PACKETS);
while ((await reader.read(batch)) > 0) {
  for (let index = 0; index < batch.count; index++) {
    const at = batch.descriptor(index) >>> 2;
    packets.push(memory.u32[at + DESCRIPTOR.address / 4]!, memory.u32[at + DESCRIPTOR.captured / 4]!);
  }
}
if (reader.bytesRead > WINDOW_BYTES / 2) throw new Error(`${capture}: larger than ${WINDOW_BYTES / 2} bytes; send a smaller one in a loop`);

const sender = new PacketSender(liveInterface(name), memory, { queued: values.queued });
const begun = performance.now();
for (let round = 0; round < Number(values.loop); round++) {
  for (let index = 0; index < packets.length; index += 2) sender.add(packets[index]!, packets[index + 1]!);
}
sender.flush();
const seconds = (performance.now() - begun) / 1000;
console.log(JSON.stringify({ ...sender.counts, seconds, packetsPerSecond: sender.counts.packets / seconds }));
sender.close();
