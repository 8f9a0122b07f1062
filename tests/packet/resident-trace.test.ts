/** A trace that lies in machine memory and is shown piece by piece. */
import { expect, test } from 'vitest';
import { MachineMemory } from '../../dataplane/machine/memory.ts';
import { DESCRIPTOR } from '../../dataplane/packet/packet-batch.ts';
import { packTrace } from '../../dataplane/packet/packet-trace.ts';
import { ResidentTrace } from '../../dataplane/packet/resident-trace.ts';

/** So long that three of them are more than 32 bits of nanoseconds. */
const GAP_NS = 1_700_000_000;
const packets = [20, 30, 40, 50, 60].map((length, index) => new Uint8Array(length).fill(index));

function shown(resident: ResidentTrace): { number: bigint; timestampNs: bigint; length: number; first: number }[] {
  const { batch } = resident;
  return Array.from({ length: batch.count }, (_, index) => ({
    number: batch.memory.u64[(batch.descriptor(index) + DESCRIPTOR.number) >>> 3]!,
    timestampNs: batch.timestampNs(index),
    length: batch.packet(index).length,
    first: batch.packet(index)[0]!,
  }));
}

test('each packet has its bytes, its number and its time, in every window', () => {
  const resident = new ResidentTrace(new MachineMemory(), packTrace('five packets', packets, GAP_NS), 3);
  const [begin] = shown(resident);
  resident.show(0, 5);
  const first = shown(resident);
  resident.show(3, 5);
  const all = [...first, ...shown(resident)];
  expect(all.map(({ number, length, first: byte }) => [number, length, byte])).toEqual([[1n, 20, 0], [2n, 30, 1], [3n, 40, 2], [4n, 50, 3], [5n, 60, 4]]);
  expect(all.map(({ timestampNs }) => timestampNs - begin!.timestampNs)).toEqual([0n, 1n, 2n, 3n, 4n].map((index) => index * BigInt(GAP_NS)));
});

test('a round begins a gap behind the end of the one before', () => {
  const resident = new ResidentTrace(new MachineMemory(), packTrace('five packets', packets, GAP_NS));
  const last = shown(resident).at(-1)!;
  resident.advance();
  expect(shown(resident)[0]).toEqual({ number: 1n, timestampNs: last.timestampNs + BigInt(GAP_NS), length: 20, first: 0 });
});

test('packets are as they were once they are restored', () => {
  const resident = new ResidentTrace(new MachineMemory(), packTrace('five packets', packets, GAP_NS));
  resident.batch.packet(2).fill(0xff);
  expect(shown(resident)[2]!.first).toBe(0xff);
  resident.restore();
  expect(shown(resident)[2]!.first).toBe(2);
});
