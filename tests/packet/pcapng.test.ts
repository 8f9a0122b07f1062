import { afterAll, describe, expect, test } from 'vitest';

import { join8, pattern, PcapngCraft, readCapture, ScratchFolder } from './crafted-capture.ts';

const scratch = new ScratchFolder();
afterAll(() => scratch.remove());

const read = (...blocks: readonly Uint8Array[]) => readCapture(scratch.file(join8(...blocks)));
const little = new PcapngCraft(true);
const big = new PcapngCraft(false);

/** An interface that counts time in the resolution octet given. */
const interfaceOf = (craft: PcapngCraft, resolution: number, ...more: readonly Uint8Array[]) =>
  craft.interface({ options: [craft.option(9, Uint8Array.of(resolution)), ...more] });

async function timeOf(resolution: number, units: bigint, offsetSeconds?: bigint): Promise<bigint> {
  const offset = offsetSeconds === undefined ? [] : [little.option(14, little.fields([8, offsetSeconds]))];
  const { packets, damage } = await read(
    little.section(),
    interfaceOf(little, resolution, ...offset),
    little.packet(pattern(60), { units }),
  );
  expect(damage).toBeUndefined();
  return packets[0]!.timestampNs;
}

describe('pcapng', () => {
  for (const [order, craft] of [
    ['little', little],
    ['big', big],
  ] as const) {
    test(`enhanced, simple and obsolete packets are read in ${order} byte order`, async () => {
      const obsolete = join8(craft.fields([2, 0], [2, 7], [4, 1], [4, 2], [4, 5], [4, 500]), pattern(5, 3));
      const { packets, reader, damage } = await read(
        craft.section(),
        craft.interface({ snapLength: 100 }),
        craft.packet(pattern(61, 1), { units: 1_700_000_000_123_456n, wire: 1500 }),
        craft.block(3, join8(craft.fields([4, 2000]), pattern(100, 2))),
        craft.block(2, obsolete),
      );
      expect(damage).toBeUndefined();
      expect(reader.format).toBe('pcapng');
      expect(packets).toEqual([
        { bytes: pattern(61, 1), wire: 1500, interface: 0, timestampNs: 1_700_000_000_123_456_000n, number: 1 },
        { bytes: pattern(100, 2), wire: 2000, interface: 0, timestampNs: 0n, number: 2 },
        { bytes: pattern(5, 3), wire: 500, interface: 0, timestampNs: 0x1_0000_0002n * 1000n, number: 3 },
      ]);
    });
  }

  test('interfaces keep their names, link types, snap lengths and resolutions; control characters do not pass', async () => {
    const { reader } = await read(
      little.section(),
      little.interface({ linkType: 1, snapLength: 96, options: [little.option(2, Buffer.from('eth0'))] }),
      interfaceOf(little, 0x94, little.option(2, Buffer.from('\u001b[31mred'))),
      little.interface({
        linkType: 113,
        options: [little.option(13, Uint8Array.of(4)), little.option(9, Uint8Array.of(9))],
      }),
    );
    expect(reader.interfaces).toEqual([
      { linkType: 1, name: 'eth0', snapLength: 96, resolution: '10^-6', fcsBytes: 0 },
      { linkType: 1, name: '\uFFFD[31mred', snapLength: 0, resolution: '2^-20', fcsBytes: 0 },
      { linkType: 113, snapLength: 0, resolution: '10^-9', fcsBytes: 4 },
    ]);
  });

  test('each section numbers its interfaces anew and may turn the byte order round', async () => {
    const { packets, reader } = await read(
      little.section(),
      little.interface({ linkType: 1 }),
      little.packet(pattern(60)),
      big.section(),
      big.interface({ linkType: 113 }),
      big.interface({ linkType: 228 }),
      big.packet(pattern(61), { interface: 1 }),
      little.section(),
      little.interface({ linkType: 1 }),
      little.packet(pattern(62)),
    );
    expect(reader.interfaces.map(({ linkType }) => linkType)).toEqual([1, 113, 228, 1]);
    expect(packets.map((packet) => [packet.interface, packet.bytes.length])).toEqual([
      [0, 60],
      [2, 61],
      [3, 62],
    ]);
  });

  test('packets of forty interfaces keep apart whose they are, and each its own time', async () => {
    const interfaces = Array.from({ length: 40 }, (_, index) => interfaceOf(little, index % 10, little.option(13, Uint8Array.of(index % 3))));
    const order = Array.from({ length: 200 }, (_, index) => (index * 7) % 40);
    const { packets, damage } = await read(little.section(), ...interfaces, ...order.map((from) => little.packet(pattern(60, from), { interface: from, units: 5n })));
    expect(damage).toBeUndefined();
    expect(packets.map((packet) => packet.interface)).toEqual(order);
    expect(packets.map((packet) => packet.timestampNs)).toEqual(order.map((from) => 5n * 10n ** BigInt(9 - (from % 10))));
    expect(packets.map((packet) => packet.bytes.length)).toEqual(order.map((from) => 60 - (from % 3)));
  });

  test('blocks and options that nobody knows are passed over', async () => {
    const { packets, damage } = await read(
      little.section(),
      little.block(0x0bad_beef, pattern(1000)),
      little.block(0x8000_0001, new Uint8Array(0)),
      little.interface({ options: [little.option(0x7777, pattern(3)), little.option(1, Buffer.from('a comment'))] }),
      little.block(5, pattern(60)),
      little.packet(pattern(60)),
    );
    expect([packets.length, damage]).toEqual([1, undefined]);
  });

  test('a foreign block longer than the window passes by', async () => {
    const { packets, damage } = await read(
      little.section(),
      little.interface(),
      little.packet(pattern(60, 1)),
      little.block(4, new Uint8Array(3_000_000)),
      little.packet(pattern(60, 2)),
    );
    expect(damage).toBeUndefined();
    expect(packets.map(({ bytes }) => bytes)).toEqual([pattern(60, 1), pattern(60, 2)]);
  });
});

describe('pcapng time', () => {
  const someUnits = 0x1234_5678_9abc_def0n;
  const largest = (1n << 64n) - 1n;

  test('every power of ten is exact, down to the ones that leave nothing', async () => {
    for (let exponent = 0; exponent <= 127; exponent++) {
      const units = exponent < 9 ? someUnits / 10n ** BigInt(9 - exponent) : someUnits;
      const expected = (units * 1_000_000_000n) / 10n ** BigInt(exponent);
      expect(await timeOf(exponent, units), `10^-${exponent}`).toBe(expected);
    }
  });

  test('every power of two is exact', async () => {
    for (let exponent = 0; exponent <= 127; exponent++) {
      const units = exponent < 30 ? 0xffff_ffffn : someUnits;
      expect(await timeOf(0x80 | exponent, units), `2^-${exponent}`).toBe((units * 1_000_000_000n) >> BigInt(exponent));
    }
  });

  test('times that 64 bits of nanoseconds cannot hold become the last that can', async () => {
    expect(await timeOf(0, 18_446_744_073n)).toBe(18_446_744_073_000_000_000n);
    for (const resolution of [0, 3, 6, 0x80, 0x8a]) expect(await timeOf(resolution, largest)).toBe(largest);
    expect(await timeOf(9, largest)).toBe(largest);
  });

  test('an offset of whole seconds is added, and does not go below 1970', async () => {
    expect(await timeOf(6, 5_000_000n, 1_700_000_000n)).toBe(1_700_000_005_000_000_000n);
    expect(await timeOf(9, 5_000_000_000n, -2n)).toBe(3_000_000_000n);
    expect(await timeOf(6, 0n, -1n)).toBe(0n);
    expect(await timeOf(6, 0n, (1n << 63n) - 1n)).toBe(largest);
  });

  test('times may go backwards', async () => {
    const { packets } = await read(
      little.section(),
      interfaceOf(little, 9),
      little.packet(pattern(60), { units: 9n }),
      little.packet(pattern(60), { units: 3n }),
    );
    expect(packets.map(({ timestampNs }) => timestampNs)).toEqual([9n, 3n]);
  });
});

describe('damaged pcapng', () => {
  const good = [little.section(), little.interface(), little.packet(pattern(60))];
  const goodBytes = join8(...good).length;

  const cases: readonly (readonly [string, Uint8Array, RegExp])[] = [
    [
      'a length that is no multiple of four',
      little.block(6, pattern(30), { total: 43 }),
      /says it has 43 bytes, expected a multiple of 4 from 32/,
    ],
    [
      'a length of zero',
      little.block(5, pattern(30), { total: 0 }),
      /type 5 says it has 0 bytes, expected a multiple of 4 from 12/,
    ],
    [
      'a packet block too short for its fields',
      little.block(6, pattern(8)),
      /type 6 says it has 20 bytes, expected a multiple of 4 from 32/,
    ],
    ['a packet block of gigabytes', little.block(6, pattern(40), { total: 0x4000_0000 }), /expected at most 524288/],
    [
      'two lengths that differ',
      little.block(6, pattern(40), { trailer: 48 }),
      /a block of 52 bytes ends with 48, expected its length again/,
    ],
    [
      'a packet longer than its block',
      little.packet(pattern(60), { captured: 64 }),
      /packet 2 says 64 bytes were captured, expected at most 60/,
    ],
    [
      'a packet of an interface not described',
      little.packet(pattern(60), { interface: 1 }),
      /interface 1, but its section has described 1/,
    ],
    [
      'a section with another magic',
      little.block(0x0a0d0d0a, new Uint8Array(16)),
      /byte-order magic 0x0, expected 0x1a2b3c4d/,
    ],
    ['a section of another version', little.section(2), /pcapng version 2, expected 1/],
    [
      'an option that leaves its block',
      little.interface({ options: [little.option(2, pattern(4), 400)] }),
      /an interface option of 400 bytes, expected at most 8/,
    ],
    [
      'an option that reaches into the next block',
      join8(little.interface({ options: [little.option(2, pattern(4), 40)] }), little.packet(pattern(60))),
      /an interface option of 40 bytes, expected at most 8/,
    ],
    [
      'a resolution of two bytes',
      little.interface({ options: [little.option(9, pattern(2))] }),
      /option 9 has 2 bytes, expected 1/,
    ],
    [
      'a simple packet longer than its block',
      little.block(3, little.fields([4, 100])),
      /packet 2 says 100 bytes were captured, expected at most 0/,
    ],
  ];
  for (const [what, block, expected] of cases) {
    test(`${what} is damage, and the packet before it was delivered`, async () => {
      const { packets, damage } = await read(...good, block, little.packet(pattern(60)));
      expect(packets).toHaveLength(1);
      expect(damage).toMatch(expected);
      expect(damage).toMatch(/: byte \d+: /);
      expect(Number(/byte (\d+)/.exec(damage!)![1])).toBeGreaterThanOrEqual(goodBytes);
      expect(damage).not.toContain('\n');
    });
  }

  test('a packet before any interface is damage', async () => {
    expect((await read(little.section(), little.packet(pattern(60)))).damage).toMatch(
      /interface 0, but its section has described 0/,
    );
    expect((await read(little.section(), little.block(3, little.fields([4, 0])))).damage).toMatch(/has described 0/);
    const { packets, damage } = await read(...good, little.section(), little.packet(pattern(60)));
    expect(packets).toHaveLength(1);
    expect(damage).toMatch(/has described 0/);
  });

  test('a file cut anywhere gives its whole packets and says where it was cut', async () => {
    const whole = join8(...good, little.packet(pattern(60, 2)), little.block(5, pattern(24)));
    for (let length = 24; length < whole.length; length++) {
      const { packets, damage } = await readCapture(scratch.file(whole.subarray(0, length), 'cut.pcapng'));
      expect(packets.length, `cut to ${length}`).toBe(length < goodBytes ? 0 : length < whole.length - 36 ? 1 : 2);
      const starts = [28, 48, goodBytes, goodBytes + 92];
      if (starts.includes(length)) expect(damage).toBeUndefined();
      else expect(damage, `cut to ${length}`).toMatch(/found \d+ bytes of a block, expected/);
    }
  });

  test('a file cut inside a block longer than the window says how much is missing', async () => {
    const whole = join8(...good, little.block(4, new Uint8Array(2_000_000)));
    const { packets, damage } = await read(whole.subarray(0, whole.length - 10));
    expect(packets).toHaveLength(1);
    expect(damage).toMatch(/the bytes end 10 short of the end of a block/);
  });

  test('more interfaces than anybody has are damage, not memory', async () => {
    const many = Buffer.alloc(20 * 70_000, little.interface());
    expect((await read(little.section(), many)).damage).toMatch(/more than 65536 interfaces/);
  });
});
