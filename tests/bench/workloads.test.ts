import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packetsOf, writeWorkload, type Workload } from '../../bench/workloads.ts';
import { MachineMemory } from '../../dataplane/machine/memory.ts';
import { openCapture } from '../../dataplane/packet/open-capture.ts';
import { PacketBatch } from '../../dataplane/packet/packet-batch.ts';

const WORKLOAD: Workload = { packets: 500, flows: 20, frameBytes: 64, gapNs: 1_000_000 };

test.each(['native', 'pcap-parser'] as const)('a workload’s capture holds its packets, and %s reads it', async (reader) => {
  const folder = mkdtempSync(join(tmpdir(), 'xdplab-test-'));
  try {
    const path = join(folder, 'capture.pcap');
    writeWorkload(path, WORKLOAD);
    const memory = new MachineMemory();
    const batch = new PacketBatch(memory, 1000);
    const capture = await openCapture(path, { window: memory.region(1 << 20, 64, 'window'), reader });
    expect(await capture.read(batch)).toBe(WORKLOAD.packets);
    const expected = [...packetsOf(WORKLOAD)];
    expect(Array.from({ length: batch.count }, (_, index) => Buffer.from(batch.packet(index)))).toEqual(expected.map(({ bytes }) => Buffer.from(bytes)));
    const sinceFirst = (index: number): number => Number(batch.timestampNs(index) - batch.timestampNs(0));
    const wanted = Math.floor(expected[499]!.timeNs / 1000) * 1000 - Math.floor(expected[0]!.timeNs / 1000) * 1000;
    expect(sinceFirst(499)).toBe(wanted);
    await capture.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
