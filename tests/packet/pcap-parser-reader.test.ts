import { afterAll, expect, test } from 'vitest';

import { pattern, pcapFile, PcapngCraft, readCapture, refusal, ScratchFolder } from './crafted-capture.ts';
import type { ReadCapture } from './crafted-capture.ts';

const scratch = new ScratchFolder();
afterAll(() => scratch.remove());

const read = (bytes: Uint8Array) => readCapture(scratch.file(bytes), { reader: 'pcap-parser' });
const records = Array.from({ length: 3000 }, (_, index) => ({
  seconds: 1_700_000_000 + index,
  fraction: (index * 7919) % 1_000_000,
  bytes: pattern((index * 13) % 1500, index),
  wire: 1500,
}));

/** Strings are compared faster than arrays of bytes. */
const asText = ({ packets }: ReadCapture) =>
  packets.map((packet) => ({ ...packet, bytes: Buffer.from(packet.bytes).toString('hex') }));

test.each([true, false])(
  'both readers deliver the same of a microsecond file (little-endian: %s)',
  async (littleEndian) => {
    const path = scratch.file(pcapFile({ littleEndian }, records));
    const native = await readCapture(path);
    const other = await readCapture(path, { reader: 'pcap-parser' });
    expect(asText(other)).toEqual(asText(native));
    expect(other.reader.interfaces).toEqual(native.reader.interfaces);
    expect([native.packets.length, native.damage, other.damage]).toEqual([3000, undefined, undefined]);
  },
);

test('FCS bits are taken out of the link type, and the FCS off the packets', async () => {
  const path = scratch.file(pcapFile({ linkField: 0x2400_0001 }, [{ bytes: pattern(64) }]));
  const other = await readCapture(path, { reader: 'pcap-parser' });
  expect(other.packets).toEqual((await readCapture(path)).packets);
  expect(other.reader.interfaces[0]).toMatchObject({ linkType: 1, fcsBytes: 4 });
});

test('a file that ends inside a record is damage, which pcap-parser itself passes over in silence', async () => {
  const file = pcapFile({}, [{ bytes: pattern(60) }, { bytes: pattern(60) }]);
  for (const length of [file.length - 1, 105, 116]) {
    const { packets, damage } = await read(file.subarray(0, length));
    expect(packets).toHaveLength(1);
    expect(damage).toMatch(/byte 100: found \d+ bytes of record 2, expected it whole/);
  }
});

test('a nonsense length ends the reading at once, where pcap-parser would collect the rest of the file', async () => {
  const file = pcapFile({}, [{ bytes: pattern(60) }, { captured: 0xffff_ffff, bytes: new Uint8Array(30_000_000) }]);
  const { packets, damage, reader } = await read(file);
  expect(packets).toHaveLength(1);
  expect(damage).toMatch(/byte 100: record 2 says 4294967295 bytes were captured, expected at most 262144/);
  expect(reader.bytesRead).toBeLessThan(1_000_000);
});

test('what it cannot read is refused in one line that says what can', async () => {
  const craft = new PcapngCraft();
  expect(await refusal(read(craft.section()))).toMatch(
    /found first bytes 0a0d0d0a, but the pcap-parser reader knows microsecond pcap only; leave out --reader$/,
  );
  expect(await refusal(read(pcapFile({ magic: 0xa1b23c4d }, [])))).toMatch(/first bytes 4d3cb2a1/);
  expect(await refusal(read(pcapFile({ major: 3 }, [])))).toMatch(/pcap version 3\.4/);
  expect(await refusal(read(pcapFile({ minor: 9 }, [])))).toMatch(/pcap version 2\.9/);
  expect(await refusal(read(new Uint8Array(10)))).toMatch(/found 10 bytes, expected a pcap capture/);
  expect(await refusal(read(new Uint8Array(0)))).toMatch(/found 0 bytes, expected a pcap capture/);
  expect(await refusal(readCapture('/nowhere/x.pcap', { reader: 'pcap-parser' }))).toBe(
    '/nowhere/x.pcap: there is no such file',
  );
});
