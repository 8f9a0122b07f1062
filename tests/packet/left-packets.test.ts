import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import * as fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';

import { MachineMemory } from '../../dataplane/machine/memory.ts';
import { openCaptureWriter } from '../../dataplane/packet/capture-writer.ts';
import { DESCRIPTOR, NO_VERDICT, PacketBatch } from '../../dataplane/packet/packet-batch.ts';
import { pattern, readCapture, ScratchFolder } from './crafted-capture.ts';

const scratch = new ScratchFolder();
afterAll(() => scratch.remove());

const verdict = fc.oneof(fc.constant(NO_VERDICT), fc.integer({ min: -3, max: 8 }), fc.integer());
const left = fc.record({
  at: fc.nat(50),
  length: fc.oneof(fc.nat(150), fc.nat(3000)),
  cutOff: fc.nat(2000),
  input: fc.nat(3),
  leftIfindex: fc.constantFrom(0, 2, 7, 99),
  xdp: verdict,
  tcIngress: verdict,
  tcEgress: verdict,
  time: fc.bigInt(0n, (1n << 62n) - 1n),
});
type Left = typeof left extends fc.Arbitrary<infer T> ? T : never;

/** A device has interface 0 or 1 of the capture that is written, the input's second interface has 2 there. */
const INTERFACES = { ofDevice: new Map([[2, 0], [7, 1]]), ofInput: [0, 2] };
const interfaceOf = ({ leftIfindex, input }: Left): number => (leftIfindex === 0 ? INTERFACES.ofInput[input] : INTERFACES.ofDevice.get(leftIfindex)) ?? 0;

function batchOf(packets: readonly Left[], memory: MachineMemory, source: number): PacketBatch {
  const batch = new PacketBatch(memory, packets.length);
  batch.count = packets.length;
  for (const [index, packet] of packets.entries()) {
    const d = batch.descriptor(index);
    const fields = { captured: packet.length, wire: packet.length + packet.cutOff, interface: packet.input, leftAddress: source + packet.at, leftLength: packet.length, leftIfindex: packet.leftIfindex, xdp: packet.xdp, tcIngress: packet.tcIngress, tcEgress: packet.tcEgress } as const;
    for (const [field, value] of Object.entries(fields)) memory.view.setInt32(d + DESCRIPTOR[field as keyof typeof fields], value, true);
    memory.view.setBigUint64(d + DESCRIPTOR.timestampNs, packet.time, true);
  }
  return batch;
}

function written(name: string, write: (writer: ReturnType<typeof openCaptureWriter>) => void): Buffer {
  const path = join(scratch.path, name);
  const writer = openCaptureWriter(path);
  for (const device of ['eth0', 'eth1', 'tun0']) writer.addInterface({ name: device });
  write(writer);
  writer.close();
  return readFileSync(path);
}

test.each(['left.pcapng', 'left.pcap'])('packets of a batch are written to %s as packets one by one are', (name) => {
  fc.assert(
    fc.property(fc.array(left, { minLength: 1, maxLength: 30 }), (packets) => {
      const memory = new MachineMemory();
      const source = memory.allocate(4000, 64, 'packets');
      memory.u8.set(pattern(4000, 5), source);
      const batch = batchOf(packets, memory, source);
      const together = written(name, (writer) => writer.writeLeft(batch, 0, packets.length, INTERFACES));
      const oneByOne = written(name, (writer) => {
        for (const packet of packets) {
          const tc = packet.tcEgress === NO_VERDICT ? packet.tcIngress : packet.tcEgress;
          writer.write(interfaceOf(packet), Number(packet.time & 0xffff_ffffn), Number(packet.time >> 32n), packet.length + packet.cutOff, memory.u8, source + packet.at, packet.length, packet.xdp, tc);
        }
      });
      expect(together.equals(oneByOne)).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test.each(['more.pcapng', 'more.pcap'])('more than fits at once is all written to %s, and a length that a program made up is none', async (name) => {
  const memory = new MachineMemory();
  const source = memory.allocate(262_144, 64, 'packets');
  memory.u8.set(pattern(262_144, 3), source);
  const one: Left = { at: 0, length: 262_144, cutOff: 0, input: 0, leftIfindex: 2, xdp: 2, tcIngress: NO_VERDICT, tcEgress: NO_VERDICT, time: 5n };
  const batch = batchOf([...Array.from({ length: 9 }, () => one), { ...one, length: 0x7fff_ffff, cutOff: 0 }, { ...one, length: 60, at: -source - 61 }], memory, source);
  written(name, (writer) => writer.writeLeft(batch, 0, batch.count, INTERFACES));
  const { packets, damage } = await readCapture(join(scratch.path, name), { batchSize: 2 });
  expect(damage).toBeUndefined();
  expect(packets.map(({ bytes }) => bytes.length)).toEqual([...Array.from({ length: 9 }, () => 262_144), 0, 0]);
  expect(packets[8]!.bytes).toEqual(pattern(262_144, 3));
});

test.each(['end.pcapng', 'end.pcap'])('a packet that lies where memory ends is written to %s', async (name) => {
  const memory = new MachineMemory();
  const one: Left = { at: 0, length: 61, cutOff: 0, input: 0, leftIfindex: 2, xdp: 2, tcIngress: NO_VERDICT, tcEgress: NO_VERDICT, time: 5n };
  const batch = batchOf([one], memory, memory.allocate(64, 64, 'packet'));
  written(name, (writer) => {
    // After which nothing more is allocated.
    writer.writeLeft(batch, 0, 1, INTERFACES);
    memory.u8.set(pattern(61, 7), memory.u8.length - 61);
    memory.view.setUint32(batch.descriptor(0) + DESCRIPTOR.leftAddress, memory.u8.length - 61, true);
    writer.writeLeft(batch, 0, 1, INTERFACES);
  });
  const { packets } = await readCapture(join(scratch.path, name), { batchSize: 2 });
  expect(packets[1]!.bytes).toEqual(pattern(61, 7));
});
