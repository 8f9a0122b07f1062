/**
 * Whatever bytes are called a capture, reading them gives packets and then an end or one line of damage: no other
 * error, no address outside the window, no hang.
 */
import * as fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';

import { XdplabError } from '../../dataplane/errors.ts';
import { join8, pattern, pcapFile, PcapngCraft, readCapture, ScratchFolder } from './crafted-capture.ts';
import type { ReadCapture } from './crafted-capture.ts';

const scratch = new ScratchFolder();
afterAll(() => scratch.remove());

const lengths = [60, 0, 14, 1, 1514, 61, 90, 64];
const records = lengths.map((length, index) => ({ bytes: pattern(length, index), seconds: 1_700_000_000 + index }));

function pcapngFile(littleEndian: boolean): Uint8Array {
  const craft = new PcapngCraft(littleEndian);
  const name = craft.option(2, Buffer.from('eth0'));
  const resolution = craft.option(9, Uint8Array.of(9));
  return join8(
    craft.section(),
    craft.interface({ options: [name, resolution] }),
    craft.block(5, pattern(40)),
    ...lengths.map((length, index) => craft.packet(pattern(length, index), { units: BigInt(index) })),
    craft.block(3, join8(craft.fields([4, 30]), pattern(30))),
  );
}

const SEEDS: readonly (readonly [string, Uint8Array])[] = [
  ['pcap', pcapFile({}, records)],
  ['big-endian nanosecond pcap', pcapFile({ magic: 0xa1b23c4d, littleEndian: false }, records)],
  ['modified pcap', pcapFile({ magic: 0xa1b2cd34, extra: 8 }, records)],
  ['pcapng', pcapngFile(true)],
  ['big-endian pcapng', pcapngFile(false)],
];

/** Undefined where opening was refused, properly. */
async function attempt(
  bytes: Uint8Array,
  reader: 'native' | 'pcap-parser' = 'native',
): Promise<ReadCapture | undefined> {
  try {
    return await readCapture(scratch.file(bytes, 'attempt'), { reader });
  } catch (error) {
    if (!(error instanceof XdplabError)) throw error;
    expect(error.message).not.toContain('\n');
    return undefined;
  }
}

function expectSound({ packets, damage, reader }: ReadCapture, sizeBytes: number): void {
  for (const [index, packet] of packets.entries()) {
    expect(packet.number).toBe(index + 1);
    expect(packet.wire).toBeGreaterThanOrEqual(packet.bytes.length);
    expect(packet.interface).toBeLessThan(reader.interfaces.length);
  }
  if (damage === undefined) return;
  expect(damage).toMatch(/^[^\n]*: byte \d+: [^\n]+; what came before it was read$/);
  expect(Number(/byte (\d+)/.exec(damage)![1])).toBeLessThanOrEqual(sizeBytes);
}

/** Bytes overwritten, cut off, left out and put in: what happens to files, and what an attacker writes. */
const mutation = fc.array(
  fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    kind: fc.constantFrom('overwrite', 'remove', 'insert', 'cut'),
    bytes: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 8 }),
      fc.constantFrom([0xff, 0xff, 0xff, 0xff], [0, 0, 0, 0], [0, 0, 0, 0x40]).map((list) => Uint8Array.from(list)),
    ),
  }),
  { minLength: 1, maxLength: 4 },
);

function mutate(bytes: Uint8Array, changes: readonly { at: number; kind: string; bytes: Uint8Array }[]): Uint8Array {
  let result = bytes;
  for (const { at, kind, bytes: change } of changes) {
    const place = Math.floor(at * result.length);
    const behind = kind === 'overwrite' || kind === 'remove' ? place + change.length : place;
    const put = kind === 'overwrite' || kind === 'insert' ? change : new Uint8Array(0);
    result = kind === 'cut' ? result.slice(0, place) : join8(result.slice(0, place), put, result.slice(behind));
  }
  return result;
}

describe.each(SEEDS)('%s', (_name, seed) => {
  test('mutated anyhow still gives packets and then an end or damage', async () => {
    await fc.assert(
      fc.asyncProperty(mutation, async (changes) => {
        const bytes = mutate(seed, changes);
        const read = await attempt(bytes);
        if (read !== undefined) expectSound(read, bytes.length);
      }),
      { numRuns: 400 },
    );
  });

  test('followed by arbitrary bytes gives all of its packets first', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (tail) => {
        const whole = (await attempt(seed))!;
        const read = (await attempt(join8(seed, tail)))!;
        expectSound(read, seed.length + tail.length);
        expect(read.packets.slice(0, whole.packets.length)).toEqual(whole.packets);
      }),
      { numRuns: 100 },
    );
  });

  test('cut anywhere gives a beginning of its packets', async () => {
    const whole = (await attempt(seed))!;
    expect(whole.damage).toBeUndefined();
    for (let length = 0; length < seed.length; length += length < 200 ? 1 : 13) {
      const read = await attempt(seed.slice(0, length));
      if (read !== undefined) expect(read.packets).toEqual(whole.packets.slice(0, read.packets.length));
    }
  });
});

test('arbitrary bytes behind any magic are read or refused', async () => {
  const magics = [
    ...SEEDS.map(([, bytes]) => bytes.slice(0, 24)),
    Uint8Array.of(0x1f, 0x8b, 8, 0),
    Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd),
    new Uint8Array(0),
  ];
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...magics), fc.uint8Array({ maxLength: 300 }), async (magic, tail) => {
      const read = await attempt(join8(magic, tail));
      if (read !== undefined) expectSound(read, magic.length + tail.length);
    }),
    { numRuns: 500 },
  );
});

test('the native reader and pcap-parser agree on mutated microsecond files, packet by packet', async () => {
  const [, seed] = SEEDS[0]!;
  await fc.assert(
    fc.asyncProperty(mutation, async (changes) => {
      const bytes = mutate(seed, changes);
      // Before 2.4 the native reader puts swapped lengths right, and pcap-parser has no other formats.
      bytes.set(seed.subarray(0, 24).slice(0, bytes.length));
      const native = await attempt(bytes);
      const other = await attempt(bytes, 'pcap-parser');
      expect(other?.packets).toEqual(native?.packets);
      expect(other?.damage === undefined).toBe(native?.damage === undefined);
      expect(/byte \d+/.exec(other?.damage ?? '')?.[0]).toBe(/byte \d+/.exec(native?.damage ?? '')?.[0]);
    }),
    { numRuns: 300 },
  );
});
