import { expect, test } from 'vitest';
import { MemorySnapshot } from '../../dataplane/machine/memory-snapshot.ts';
import { MachineMemory } from '../../dataplane/machine/memory.ts';

const PAGE_BYTES = 65_536;

test('a snapshot brings back what was changed, on pages that were empty too', () => {
  const memory = new MachineMemory();
  const used = memory.allocate(100, 8, 'test');
  const empty = memory.allocate(4 * PAGE_BYTES, PAGE_BYTES, 'test');
  memory.u8.fill(7, used, used + 100);
  const snapshot = new MemorySnapshot(memory);
  memory.u8.fill(9, used + 10, used + 20);
  memory.u8.fill(1, empty + PAGE_BYTES - 5, empty + PAGE_BYTES + 5);
  snapshot.restore();
  expect(memory.bytes(used, 100).every((byte) => byte === 7)).toBe(true);
  expect(memory.bytes(empty, 4 * PAGE_BYTES).every((byte) => byte === 0)).toBe(true);
});

test('a snapshot survives the growth of memory and leaves alone what was allocated after it', () => {
  const memory = new MachineMemory();
  const before = memory.allocate(8, 8, 'test');
  memory.u8[before] = 3;
  const snapshot = new MemorySnapshot(memory);
  const after = memory.allocate(8 * PAGE_BYTES, 8, 'test');
  memory.u8[before] = 4;
  memory.u8[after] = 5;
  snapshot.restore();
  expect([memory.u8[before], memory.u8[after]]).toEqual([3, 5]);
});
