import { afterAll, describe, expect, test } from 'vitest';

import { PCAP_MAGIC } from '../../dataplane/packet/pcap.ts';
import { pattern, pcapFile, readCapture, refusal, ScratchFolder } from './crafted-capture.ts';

const scratch = new ScratchFolder();
afterAll(() => scratch.remove());

const read = (bytes: Uint8Array) => readCapture(scratch.file(bytes));

describe('classic pcap', () => {
  const units = { microseconds: 1000n, nanoseconds: 1n, modified: 1000n } as const;
  for (const [kind, magic] of Object.entries(PCAP_MAGIC)) {
    for (const littleEndian of [true, false]) {
      test(`${kind} in ${littleEndian ? 'little' : 'big'} byte order keeps bytes, lengths, times and numbers`, async () => {
        const extra = kind === 'modified' ? 8 : 0;
        const records = [
          { seconds: 0xffff_ffff, fraction: 999_999, bytes: pattern(60), wire: 1500 },
          { seconds: 1_700_000_001, fraction: 1, bytes: pattern(0) },
          { seconds: 0, fraction: 0, bytes: pattern(1514, 3) },
        ];
        const { packets, reader, damage } = await read(pcapFile({ magic, littleEndian, extra }, records));
        expect(damage).toBeUndefined();
        expect(reader.format).toBe('pcap');
        const unit = units[kind as keyof typeof units];
        expect(packets).toEqual(
          records.map(({ seconds, fraction, bytes, wire }, index) => ({
            bytes,
            wire: wire ?? bytes.length,
            interface: 0,
            timestampNs: BigInt(seconds) * 1_000_000_000n + BigInt(fraction) * unit,
            number: index + 1,
          })),
        );
      });
    }
  }

  test('a fraction beyond its second is added up, not cut', async () => {
    const { packets } = await read(pcapFile({}, [{ seconds: 5, fraction: 0xffff_ffff, bytes: pattern(14) }]));
    expect(packets[0]!.timestampNs).toBe(5_000_000_000n + 0xffff_ffffn * 1000n);
  });

  test('the link type is told apart from the FCS bits beside it, and the FCS is left out as a NIC would', async () => {
    const { packets, reader } = await read(
      pcapFile({ linkField: 0x2400_0001 }, [
        { bytes: pattern(64) },
        { bytes: pattern(60), wire: 1000 },
        { bytes: pattern(62), wire: 64 },
        { bytes: pattern(2) },
      ]),
    );
    expect(reader.interfaces).toEqual([{ linkType: 1, snapLength: 65_535, resolution: '10^-6', fcsBytes: 4 }]);
    expect(packets.map(({ bytes, wire }) => [bytes.length, wire])).toEqual([
      [60, 60],
      [60, 996],
      [60, 60],
      [0, 0],
    ]);
  });

  test('other link types are delivered and named', async () => {
    const { packets, reader } = await read(pcapFile({ linkField: 113 }, [{ bytes: pattern(20) }]));
    expect(reader.interfaces[0]!.linkType).toBe(113);
    expect(packets).toHaveLength(1);
  });

  test('a wire length below the captured one is raised to it', async () => {
    const { packets } = await read(pcapFile({}, [{ bytes: pattern(60), wire: 4 }]));
    expect(packets[0]!.wire).toBe(60);
  });

  test('captured lengths beyond the snap length are taken as they are', async () => {
    const { packets, damage } = await read(pcapFile({ snapLength: 10 }, [{ bytes: pattern(60) }]));
    expect([packets.length, damage]).toEqual([1, undefined]);
  });

  test('files before version 2.4 may have the two lengths the other way round', async () => {
    const { packets } = await read(pcapFile({ minor: 2 }, [{ captured: 1500, wire: 60, bytes: pattern(60) }]));
    expect(packets[0]).toMatchObject({ wire: 1500, bytes: pattern(60) });
  });

  test('the longest packet allowed is read, one byte more is damage', async () => {
    const whole = await read(pcapFile({}, [{ bytes: pattern(262_144) }, { bytes: pattern(60) }]));
    expect(whole.packets.map(({ bytes }) => bytes.length)).toEqual([262_144, 60]);
    const beyond = await read(pcapFile({}, [{ bytes: pattern(60) }, { bytes: pattern(262_145) }]));
    expect(beyond.packets).toHaveLength(1);
    expect(beyond.damage).toMatch(/byte 100: record 2 says 262145 bytes were captured, expected at most 262144/);
  });

  test('records that straddle the window, many times over, arrive whole', async () => {
    const records = Array.from({ length: 3000 }, (_, index) => ({ bytes: pattern((index * 37) % 1600, index) }));
    const { packets, damage } = await read(pcapFile({}, records));
    expect(damage).toBeUndefined();
    expect(packets.length).toBe(3000);
    expect(packets.every(({ bytes }, index) => Buffer.from(bytes).equals(records[index]!.bytes))).toBe(true);
  });
});

describe('damaged pcap', () => {
  const file = pcapFile({}, [{ bytes: pattern(60) }, { bytes: pattern(60) }]);

  test('a file cut inside a packet gives the packets before it, then the place', async () => {
    const { packets, damage } = await read(file.subarray(0, file.length - 1));
    expect(packets).toHaveLength(1);
    expect(damage).toMatch(/: byte 100: found 59 bytes of record 2, expected 60; what came before it was read$/);
  });

  test('a file cut inside a record header says so', async () => {
    const { packets, damage } = await read(file.subarray(0, 105));
    expect(packets).toHaveLength(1);
    expect(damage).toMatch(/byte 100: found 5 bytes of the header of record 2, expected 16/);
  });

  test('a length of 0xffffffff is damage at once, however long the file', async () => {
    const { packets, damage } = await read(
      pcapFile({}, [{ bytes: pattern(60) }, { captured: 0xffff_ffff, bytes: pattern(2_000_000) }]),
    );
    expect(packets).toHaveLength(1);
    expect(damage).toMatch(/byte 100: record 2 says 4294967295 bytes/);
  });

  test('the same damage is found behind a full batch', async () => {
    const records = Array.from({ length: 64 }, () => ({ bytes: pattern(60) }));
    const { packets, damage } = await read(pcapFile({}, [...records, { captured: 1 << 30, bytes: pattern(60) }]));
    expect(packets).toHaveLength(64);
    expect(damage).toMatch(/record 65 says 1073741824/);
  });

  test('a capture without packets is a capture', async () => {
    expect(await read(file.subarray(0, 24))).toMatchObject({ packets: [], damage: undefined });
  });

  test('what is no capture is named in one line', async () => {
    const cases: readonly [Uint8Array, RegExp][] = [
      [new Uint8Array(0), /found an empty file, expected a pcap or pcapng capture/],
      [Uint8Array.of(1, 2), /found first bytes 0102, expected/],
      [Buffer.from('hello, world, this is not a capture'), /found first bytes 68656c6c, expected/],
      [Buffer.from('\u007fELF and so on, for an object file'), /found an ELF file \(an eBPF object\?\), expected/],
      [file.subarray(0, 10), /found 10 bytes of a pcap file header, expected 24/],
      [pcapFile({ major: 3 }, []), /found pcap version 3\.4, expected 2\.0 to 2\.4/],
      [pcapFile({ minor: 9 }, []), /found pcap version 2\.9/],
    ];
    for (const [bytes, expected] of cases) {
      const message = await refusal(read(bytes));
      expect(message).toMatch(expected);
      expect(message).not.toContain('\n');
    }
  });

  test('a missing file, a folder and an unreadable place are named', async () => {
    expect(await refusal(readCapture('/nowhere/at/all.pcap'))).toBe('/nowhere/at/all.pcap: there is no such file');
    expect(await refusal(readCapture(scratch.path))).toMatch(/is a directory, expected a capture file/);
  });
});
