/** Verdict records in a file, wherever its buffers are: content and names. That they are those of the JSON log is said where the command is tested. */
import { readFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import type { Lab } from '../../dataplane/pipeline/lab.ts';
import { OutputFile, type OutputFileOptions } from '../../dataplane/packet/output-file.ts';
import { DESCRIPTOR, PacketBatch } from '../../dataplane/packet/packet-batch.ts';
import { inTurn } from '../../dataplane/pipeline/pipeline.ts';
import { decodeVerdictFile } from '../../dataplane/server/verdict-decoder.ts';
import { VerdictFile } from '../../dataplane/server/verdict-file.ts';
import { Scratch } from '../cli/run-cli.ts';
import { frame, mapSpec, programSpec, smallLab } from '../pipeline/small-lab.ts';

const scratch = new Scratch();
afterAll(() => scratch.remove());

const BATCH_PACKETS = 1000;
const LAST_BYTE = 'r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr2 = r3\nr2 += -1\nr4 = *(u8 *)(r2 +0)';
/** Packets with an odd last byte pass, others go to eth1 through a slot with a program, which comes to be attached when the first one does. */
const ODD_PASSES = `${LAST_BYTE}\nr0 = 2\nr4 &= 1\nif r4 != 0 goto +4\nr1 = map[slots]\nr2 = 0\nr3 = 0\ncall bpf_redirect_map\nexit`;

function labOfSlots(cpus: number): Lab {
  const inSlot = { ...programSpec('in_slot', 'xdp', 'r0 = 2\nexit', 'xdp/devmap'), attach: 'xdp_devmap' } as const;
  const lab = smallLab('wasm', [{ hook: 'xdp', source: ODD_PASSES }], { cpus, devices: [{ name: 'eth0' }, { name: 'eth1' }], maps: [mapSpec({ name: 'slots', type: 14, maxEntries: 1 })], more: [inSlot] });
  lab.map('slots').fill([{ ifindex: 'eth1', bpf_prog: 'in_slot' }], 'slots');
  return lab;
}

const inMachine = ({ machine }: Lab): OutputFileOptions['room'] => (lengthBytes) => machine.memory.region(lengthBytes, 64, 'verdict records');

interface Found {
  readonly packet: number;
  readonly program: string;
}

/** Runs batches of packets whose last bytes these are, the same throughout a batch. */
async function foundIn(lab: Lab, name: string, lastBytes: readonly number[], options: OutputFileOptions = {}, between: () => void = () => {}): Promise<readonly Found[]> {
  const file = new OutputFile(scratch.at(name), { behind: true, ...options });
  const verdicts = new VerdictFile(lab.pipeline, file);
  const { memory } = lab.machine;
  const batch = new PacketBatch(memory, BATCH_PACKETS);
  const window = memory.allocate(frame().length, 64, 'packet');
  lab.pipeline.setInterface(0, lab.devices[0]);
  let number = 0n;
  for (const last of lastBytes) {
    const packet = frame();
    packet[packet.length - 1] = last;
    memory.u8.set(packet, window);
    batch.count = BATCH_PACKETS;
    for (let index = 0; index < BATCH_PACKETS; index++) {
      const at = batch.descriptor(index);
      memory.view.setUint32(at + DESCRIPTOR.address, window, true);
      memory.view.setUint32(at + DESCRIPTOR.captured, packet.length, true);
      memory.view.setUint32(at + DESCRIPTOR.wire, packet.length, true);
      memory.view.setUint32(at + DESCRIPTOR.interface, 0, true);
      memory.view.setBigUint64(at + DESCRIPTOR.number, ++number, true);
    }
    lab.pipeline.run(batch, inTurn([verdicts, { looksAt: 'records', finished: () => {} }]));
    between();
  }
  await file.settled();
  file.close();
  return [...decodeVerdictFile(readFileSync(scratch.at(name)))].flatMap(({ names, frame: records }) =>
    Array.from({ length: records.count }, (_, index) => ({ packet: records.packet(index), program: names.attachments[records.attachment(index)]!.program })));
}

/** As the packets run: through the second program where the last byte is even. */
const expected = (lastBytes: readonly number[]): readonly Found[] =>
  lastBytes.flatMap((last, nth) => Array.from({ length: BATCH_PACKETS }, (_, index) => nth * BATCH_PACKETS + index + 1).flatMap((packet) => (last % 2 === 1 ? ['program_0'] : ['program_0', 'in_slot']).map((program) => ({ packet, program }))));

const LAST_BYTES = Array.from({ length: 60 }, (_, nth) => (nth < 3 || nth % 4 === 0 ? 1 : 2));

test.each([1, 2])('has every verdict once, in order, and names what comes to be attached before it is named, in buffers of either memory, with %i CPUs', async (cpus) => {
  for (const kind of ['process', 'machine'] as const) {
    const lab = labOfSlots(cpus);
    const found = await foundIn(lab, `${kind}-${cpus}.bin`, LAST_BYTES, kind === 'process' ? {} : { room: inMachine(lab)! });
    lab.close();
    expect(found).toEqual(expected(LAST_BYTES));
  }
});

test('is whole where the machine takes more memory while it is written', async () => {
  const lab = labOfSlots(1);
  const { memory } = lab.machine;
  const before = memory.u8;
  const found = await foundIn(lab, 'growing.bin', LAST_BYTES, { room: inMachine(lab)! }, () => memory.allocate(1 << 20, 64, 'more'));
  // Whoever still had the views of before would have nothing.
  expect(before.length).toBe(0);
  expect(found).toEqual(expected(LAST_BYTES));
});
