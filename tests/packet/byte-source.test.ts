import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { afterAll, expect, test } from 'vitest';

import { MachineMemory } from '../../dataplane/machine/memory.ts';
import { MIN_WINDOW_BYTES } from '../../dataplane/packet/capture-window.ts';
import { openCapture } from '../../dataplane/packet/open-capture.ts';
import { PacketBatch } from '../../dataplane/packet/packet-batch.ts';
import { pattern, pcapFile, readCapture, refusal, ScratchFolder } from './crafted-capture.ts';

const scratch = new ScratchFolder();
afterAll(() => scratch.remove());

const records = Array.from({ length: 4000 }, (_, index) => ({ bytes: pattern(60 + (index % 900), index) }));
const plain = pcapFile({}, records);

/** A pipe that a child fills with `path` in two pieces, the second a moment later. */
function pipeOf(path: string, name: string, firstBytes: number): string {
  const pipe = join(scratch.path, name);
  spawnSync('mkfifo', [pipe]);
  const script = `(head -c ${firstBytes} "$0"; sleep 0.1; tail -c +${firstBytes + 1} "$0") > "$1"`;
  spawn('sh', ['-c', script, path, pipe], { stdio: 'ignore' });
  return pipe;
}

test.each([0, 2, 23, 24, 30, 100_001])('a pipe that stalls after %i bytes gives every packet', async (firstBytes) => {
  const { packets, damage, reader } = await readCapture(pipeOf(scratch.file(plain), `pipe-${firstBytes}`, firstBytes));
  expect([packets.length, damage]).toEqual([4000, undefined]);
  expect(packets.every(({ bytes }, index) => Buffer.from(bytes).equals(records[index]!.bytes))).toBe(true);
  expect(reader.bytesRead).toBe(plain.length);
  expect(reader.totalBytes).toBeUndefined();
});

test('a pipe may be packed too', async () => {
  const packed = gzipSync(plain);
  const { packets, damage } = await readCapture(pipeOf(scratch.file(packed), 'pipe-gz', 3));
  expect([packets.length, damage]).toEqual([4000, undefined]);
});

test('a pipe that nobody writes a capture into is refused', async () => {
  expect(await refusal(readCapture(pipeOf(scratch.file(new Uint8Array(0)), 'pipe-empty', 0)))).toMatch(
    /found an empty file/,
  );
});

test('a file never asks to be waited for, and a batch is the whole of what one call gives', async () => {
  const memory = new MachineMemory();
  const window = memory.region(MIN_WINDOW_BYTES, 4096, 'window');
  const batch = new PacketBatch(memory, 256);
  const reader = await openCapture(scratch.file(plain), { window });
  expect(reader.totalBytes).toBe(plain.length);
  let packets = 0;
  for (let count = reader.read(batch); count !== 0; count = reader.read(batch)) {
    expect(count).toBeTypeOf('number');
    expect(batch.count).toBe(count);
    packets += batch.count;
    // Whoever gets the packets may grow the memory, which replaces every view of it.
    memory.allocate(100_000, 8, 'something else');
  }
  expect(packets).toBe(4000);
  expect(reader.read(batch)).toBe(0);
  expect(reader.bytesRead).toBe(plain.length);
  await reader.close();
  await reader.close();
});

test('a window too small for the longest packet is refused', async () => {
  const memory = new MachineMemory();
  const window = memory.region(65_536, 4096, 'window');
  expect(await refusal(openCapture(scratch.file(plain), { window }))).toMatch(
    `the capture window has 65536 bytes, but needs ${MIN_WINDOW_BYTES}`,
  );
});
