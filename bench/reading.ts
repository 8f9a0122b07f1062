/** Reading alone: how fast packets of a capture turn into descriptors, and how fast npm's pcap-parser emits them. */
import { createReadStream } from 'node:fs';
import { parse } from 'pcap-parser';

import { MachineMemory } from '../dataplane/machine/memory.ts';
import { openCapture } from '../dataplane/packet/open-capture.ts';
import { PacketBatch } from '../dataplane/packet/packet-batch.ts';
import { timedAsync, type Benchmark } from '../dataplane/measure/rounds.ts';

/** As a replay reads: see pipeline/replay.ts. */
const BATCH_PACKETS = 256;
const WINDOW_BYTES = 1 << 20;

export function nativeReading(path: string, packets: number): Benchmark {
  const memory = new MachineMemory();
  const batch = new PacketBatch(memory, BATCH_PACKETS);
  const window = memory.region(WINDOW_BYTES, 4096, 'capture window');
  return {
    name: 'native reader',
    sample: () =>
      perPacket(packets, async () => {
        const reader = await openCapture(path, { window });
        let seen = 0;
        for (;;) {
          const read = reader.read(batch);
          const count = typeof read === 'number' ? read : await read;
          if (count === 0) break;
          seen += count;
        }
        await reader.close();
        expectPackets(path, seen, packets);
      }),
  };
}

/** The package by itself, without the adapter that makes descriptors of what it emits. */
export function pcapParserReading(path: string, packets: number): Benchmark {
  return {
    name: 'pcap-parser',
    sample: () =>
      perPacket(packets, async () => {
        let seen = 0;
        const parser = parse(createReadStream(path));
        parser.on('packet', () => seen++);
        await new Promise((resolve, reject) => parser.on('end', resolve).on('error', reject));
        expectPackets(path, seen, packets);
      }),
  };
}

async function perPacket(packets: number, work: () => Promise<void>): Promise<number> {
  return (await timedAsync(work)) / packets;
}

function expectPackets(path: string, seen: number, packets: number): void {
  if (seen !== packets) throw new Error(`${path}: read ${seen} packets of ${packets}`);
}
