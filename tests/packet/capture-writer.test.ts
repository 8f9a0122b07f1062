import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import * as fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';

import { XdplabError } from '../../dataplane/errors.ts';
import { DIRECTION, openCaptureWriter } from '../../dataplane/packet/capture-writer.ts';
import { NO_VERDICT } from '../../dataplane/packet/packet-batch.ts';
import { pattern, readCapture, ScratchFolder } from './crafted-capture.ts';

const scratch = new ScratchFolder();
afterAll(() => scratch.remove());

const low = (time: bigint) => Number(time & 0xffff_ffffn);
const high = (time: bigint) => Number(time >> 32n);

describe.each(['out.pcap', 'out.pcapng', 'out.pcap.gz', 'out.pcapng.gz'])('%s', (name) => {
  const path = join(scratch.path, name);

  test('holds what was written, whatever its length, time and place in the source array', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            length: fc.oneof(fc.nat(140), fc.nat(3000)),
            at: fc.nat(50),
            time: fc.bigInt(0n, (1n << 32n) * 1_000_000_000n - 1n),
            more: fc.nat(5000),
          }),
          { maxLength: 30 },
        ),
        async (packets) => {
          const source = pattern(4000, 5).subarray(3);
          const writer = openCaptureWriter(path);
          writer.addInterface({ name: 'eth0' });
          for (const { length, at, time, more } of packets) {
            writer.write(0, low(time), high(time), length + more, source, at, length, NO_VERDICT, NO_VERDICT);
          }
          writer.close();
          expect(writer.packets).toBe(packets.length);
          const read = await readCapture(path);
          expect(read.damage).toBeUndefined();
          expect(read.packets).toEqual(
            packets.map(({ length, at, time, more }, index) => ({
              bytes: source.slice(at, at + length),
              wire: length + more,
              interface: 0,
              timestampNs: time,
              number: index + 1,
            })),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  test('is whole although it is longer than the buffer many times over', async () => {
    const source = pattern(262_144);
    const writer = openCaptureWriter(path);
    writer.addInterface({});
    for (let index = 0; index < 40; index++)
      writer.write(0, index, 0, 262_144, source, 0, 262_144 - index, NO_VERDICT, NO_VERDICT);
    writer.close();
    const { packets, damage } = await readCapture(path, { batchSize: 3 });
    expect([packets.length, damage]).toEqual([40, undefined]);
    expect(packets.every(({ bytes }, index) => Buffer.from(bytes).equals(source.subarray(0, 262_144 - index)))).toBe(
      true,
    );
  });

  test('without packets is a capture all the same', async () => {
    openCaptureWriter(path).close();
    expect(await readCapture(path)).toMatchObject({ packets: [], damage: undefined });
  });
});

test('sources of different arrays and views follow one another', async () => {
  const path = join(scratch.path, 'views.pcap');
  const writer = openCaptureWriter(path);
  writer.addInterface({});
  const whole = pattern(100);
  const pieces = [
    whole.subarray(0, 8),
    whole.subarray(0, 40),
    whole.subarray(13, 60),
    pattern(60, 2),
    whole.subarray(40),
  ];
  for (const piece of pieces) writer.write(0, 0, 0, piece.length, piece, 0, piece.length, NO_VERDICT, NO_VERDICT);
  writer.close();
  expect((await readCapture(path)).packets.map(({ bytes }) => bytes)).toEqual(pieces.map((piece) => piece.slice()));
});

/** The last block of a capture with one packet. */
function block(write: (writer: ReturnType<typeof openCaptureWriter>) => void): Uint8Array {
  const path = join(scratch.path, 'block.pcapng');
  const writer = openCaptureWriter(path);
  writer.addInterface({});
  const before = writer.lengthBytes;
  write(writer);
  writer.close();
  return new Uint8Array(readFileSync(path).subarray(before));
}

describe('an enhanced packet block', () => {
  const ones = Uint8Array.of(1, 1, 1);

  test('has verdicts as xdpdump writes them: a kind and eight sign-extended bytes', () => {
    const bytes = block((writer) => writer.write(0, 5, 6, 3, ones, 0, 3, 2, -1));
    const words = [
      '06000000 48000000 00000000 06000000 05000000 03000000 03000000 01010100',
      '07000900 02020000 00000000 00000000',
      '07000900 01ffffff ffffffff ff000000',
      '00000000 48000000',
    ];
    expect(Buffer.from(bytes).toString('hex')).toBe(words.join('').replaceAll(' ', ''));
  });

  test('has no options where no hook ran', () => {
    expect(block((writer) => writer.write(0, 0, 0, 3, ones, 0, 3, NO_VERDICT, NO_VERDICT))).toHaveLength(36);
  });

  test('may say a direction and a comment', () => {
    const notes = { direction: DIRECTION.outbound, comment: 'dropped: no route' };
    const bytes = block((writer) => writer.write(0, 0, 0, 3, ones, 0, 3, NO_VERDICT, NO_VERDICT, notes));
    expect([...bytes.subarray(32, 40)]).toEqual([2, 0, 4, 0, 2, 0, 0, 0]);
    expect([...bytes.subarray(40, 44)]).toEqual([1, 0, 17, 0]);
    expect(Buffer.from(bytes.subarray(44, 61)).toString()).toBe('dropped: no route');
  });
});

test('a folder that is not there is named', () => {
  expect(() => openCaptureWriter('/nowhere/at/all.pcap')).toThrow(
    new XdplabError('ERR_FILE', '/nowhere/at/all.pcap: cannot be created, its folder does not exist'),
  );
});

test.skipIf(!existsSync('/dev/full'))('a full disk is one line that names the file (needs /dev/full)', () => {
  const writer = openCaptureWriter('/dev/full');
  writer.addInterface({});
  expect(() => writer.close()).toThrow(/^\/dev\/full: .*no space left on device/i);
});
