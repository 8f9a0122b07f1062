import { spawnSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';

import { afterAll, describe, expect, test } from 'vitest';

import { join8, pattern, pcapFile, readCapture, refusal, ScratchFolder } from './crafted-capture.ts';

const scratch = new ScratchFolder();
afterAll(() => scratch.remove());

const read = (bytes: Uint8Array, name?: string) => readCapture(scratch.file(bytes, name));

const records = Array.from({ length: 5000 }, (_, index) => ({ bytes: pattern(60 + (index % 400), index) }));
const plain = pcapFile({}, records);
const zstdTool = spawnSync('zstd', ['--version']).status === 0;
const zstd = (bytes: Uint8Array, ...flags: string[]): Uint8Array =>
  spawnSync('zstd', ['-c', '-q', ...flags], { input: bytes, maxBuffer: 1 << 28 }).stdout;

/** One Zstandard frame by hand (RFC 8878): raw or run-length blocks, so that no tool is needed. */
function zstdFrame(
  blocks: readonly { raw?: Uint8Array; repeat?: number; times?: number }[],
  windowLog = 20,
): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, (windowLog - 10) << 3)];
  for (const [index, { raw, repeat = 0, times = 0 }] of blocks.entries()) {
    const last = index === blocks.length - 1 ? 1 : 0;
    const header = raw === undefined ? (times << 3) | 2 | last : (raw.length << 3) | last;
    parts.push(Uint8Array.of(header, header >> 8, header >> 16), raw ?? Uint8Array.of(repeat));
  }
  return join8(...parts);
}

function inRawBlocks(bytes: Uint8Array): Uint8Array {
  const blocks: { raw: Uint8Array }[] = [];
  for (let at = 0; at < bytes.length; at += 100_000) blocks.push({ raw: bytes.subarray(at, at + 100_000) });
  return zstdFrame(blocks);
}

describe('gzip', () => {
  test('is told by its magic, whatever the name, and gives every packet', async () => {
    const { packets, reader, damage } = await read(gzipSync(plain), 'named.pcap');
    expect([packets.length, damage, reader.compression]).toEqual([5000, undefined, 'gzip']);
    expect(packets.every(({ bytes }, index) => Buffer.from(bytes).equals(records[index]!.bytes))).toBe(true);
    expect(reader.totalBytes).toBe(reader.bytesRead);
  });

  test('members one behind the other are one capture, also when split inside a record', async () => {
    const { packets, damage } = await read(join8(gzipSync(plain.subarray(0, 1003)), gzipSync(plain.subarray(1003))));
    expect([packets.length, damage]).toEqual([5000, undefined]);
  });

  test('cut data gives the packets before the cut, then damage', async () => {
    const packed = gzipSync(plain, { level: 0 });
    const { packets, damage } = await read(packed.subarray(0, packed.length / 2));
    expect(packets.length).toBeGreaterThan(2400);
    expect(packets.length).toBeLessThan(2600);
    expect(damage).toMatch(
      /byte \d+: gzip data is damaged or cut \(unexpected end of file\); what came before it was read/,
    );
  });

  test('a wrong checksum is damage', async () => {
    const packed = gzipSync(plain);
    packed[packed.length - 6]! ^= 1;
    expect((await read(packed)).damage).toMatch(/gzip data is damaged or cut \(incorrect data check\)/);
  });

  test('packed nonsense is no capture', async () => {
    expect(await refusal(read(gzipSync(Buffer.from('hello'))))).toMatch(/found first bytes 68656c6c/);
    expect(await refusal(read(Uint8Array.of(0x1f, 0x8b, 1, 2, 3)))).toMatch(/gzip data is damaged or cut/);
  });

  test('zeros that unpack a thousandfold are held piece by piece', async () => {
    const header = pcapFile({}, []);
    // A foreign pcapng block would be as good; here it is packets of zeros, 16 header bytes and nothing else.
    const packed = join8(gzipSync(header), ...Array.from({ length: 8 }, () => gzipSync(new Uint8Array(8 << 20))));
    const before = process.memoryUsage().arrayBuffers;
    const { packets } = await readCapture(scratch.file(packed), { batchSize: 4096, keep: false });
    expect(packets).toHaveLength(0);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 << 20);
  });
});

describe('zstd', () => {
  test('raw blocks made by hand give every packet', async () => {
    const { packets, reader, damage } = await read(inRawBlocks(plain));
    expect([packets.length, damage, reader.compression]).toEqual([5000, undefined, 'zstd']);
  });

  test('frames one behind the other and skippable ones between are one capture', async () => {
    const skippable = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 1, 2, 3, 4, 5);
    const { packets, damage } = await read(
      join8(inRawBlocks(plain.subarray(0, 5001)), skippable, inRawBlocks(plain.subarray(5001))),
    );
    expect([packets.length, damage]).toEqual([5000, undefined]);
  });

  test('cut data gives the packets before the cut, then damage', async () => {
    const packed = inRawBlocks(plain);
    const { packets, damage } = await read(packed.subarray(0, packed.length - 1000));
    expect(packets.length).toBeGreaterThan(4000);
    expect(damage).toMatch(/byte \d+: zstd data is damaged or cut/);
  });

  test('damaged data is one line', async () => {
    const packed = inRawBlocks(plain);
    packed[6] = 7; // block type 3 is reserved
    expect(await refusal(read(packed))).toMatch(/zstd data is damaged or cut \([^\n]+\)$/);
  });

  test('a frame that asks for a window of gigabytes is refused, the first or a later one', async () => {
    const bomb = zstdFrame([{ repeat: 0, times: 1000 }], 31);
    expect(await refusal(read(bomb))).toMatch(/zstd data is damaged or cut \(.+\)$/);
    const single = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0);
    for (const second of [bomb, single]) {
      const { packets, damage } = await read(join8(inRawBlocks(plain), second));
      expect(packets.length).toBeGreaterThan(4900);
      expect(damage).toMatch(/zstd data is damaged or cut/);
    }
  });

  test('run-length blocks that unpack thirty thousandfold are held piece by piece', async () => {
    const bomb = zstdFrame(Array.from({ length: 1024 }, () => ({ repeat: 0, times: 131_071 })));
    const before = process.memoryUsage().arrayBuffers;
    await readCapture(scratch.file(join8(zstdFrame([{ raw: pcapFile({}, []) }]), bomb)), {
      batchSize: 4096,
      keep: false,
    });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(96 << 20);
  });

  test.skipIf(!zstdTool)('what the zstd tool packs, at several levels, gives every packet (needs zstd)', async () => {
    for (const level of ['-1', '-9', '-19', '--no-check']) {
      const { packets, damage } = await read(zstd(plain, level));
      expect([packets.length, damage]).toEqual([5000, undefined]);
      expect(packets.every(({ bytes }, index) => Buffer.from(bytes).equals(records[index]!.bytes))).toBe(true);
    }
  });
});
