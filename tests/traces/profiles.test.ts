import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { flowKey, formatFlow } from '../../dataplane/packet/flow.ts';
import { readIpv4 } from '../../dataplane/packet/ipv4.ts';
import { readTcp, TCP_FLAG } from '../../dataplane/packet/tcp.ts';
import { MALFORMED } from '../../traces/malformed.ts';
import { flowTraffic, PROFILES, zipfShares } from '../../traces/profiles.ts';
import { VIP } from '../../traces/network.ts';
import { Random } from '../../dataplane/random.ts';

const options = { packets: 500, flows: 20, size: 64, seed: 3, gapNs: 1000 } as const;

describe.each(Object.entries(PROFILES))('the profile %s', (_name, profile) => {
  test('gives as many packets as asked for, in order of time', () => {
    const packets = [...profile(options)];
    expect(packets).toHaveLength(500);
    const times = packets.map(({ timeNs }) => timeNs);
    expect(times).toEqual(times.toSorted((left, right) => left - right));
    expect([...profile({ ...options, packets: 1 })]).toHaveLength(1);
  });

  test('is a function of its seed', () => {
    expect([...profile(options)]).toEqual([...profile(options)]);
    const others = [...profile({ ...options, seed: 4 })];
    expect(others.some(({ bytes }, index) => !Buffer.from(bytes).equals([...profile(options)][index]!.bytes))).toBe(
      true,
    );
  });
});

test('Zipf shares add up, and nobody goes without', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(5000), (flows, more) => {
      const shares = zipfShares(flows + more, flows);
      expect(shares).toHaveLength(flows);
      expect(shares.reduce((sum, share) => sum + share, 0)).toBe(flows + more);
      expect(Math.min(...shares)).toBeGreaterThanOrEqual(1);
    }),
  );
  const shares = zipfShares(1_000_000, 1024);
  expect(shares[0]! / shares[9]!).toBeCloseTo(10, 1);
});

test('traffic of N flows has N keys, and as many packets each as its share says', () => {
  const counts = new Map<string, number>();
  for (const { bytes } of PROFILES.tcp({ ...options, packets: 5000, flows: 100 })) {
    const key = formatFlow(flowKey(bytes)!);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const sorted = [...counts.values()].toSorted((left, right) => right - left);
  expect(sorted).toEqual(zipfShares(5000, 100).toSorted((left, right) => right - left));
});

test.each([true, false])(
  'a TCP conversation opens, talks and closes with sequence numbers that fit (answers: %s)',
  (answers) => {
    const packets = [
      ...flowTraffic({ ...options, packets: 40, flows: 1, size: 'requests', services: [VIP.http], answers }),
    ];
    const segments = packets.map(({ bytes }) => {
      const { totalLength } = readIpv4(bytes, 14)!;
      const tcp = readTcp(bytes, 34)!;
      return { ...tcp, length: totalLength - 20 - tcp.headerLength, fromClient: tcp.destinationPort === 80 };
    });
    const flags = segments.map((segment) => segment.flags);
    const { syn, ack, fin } = TCP_FLAG;
    expect(flags.slice(0, answers ? 3 : 2)).toEqual(answers ? [syn, syn | ack, ack] : [syn, ack]);
    expect(flags.slice(answers ? -3 : -2)).toEqual(answers ? [fin | ack, fin | ack, ack] : [fin | ack, ack]);
    const next = new Map<boolean, number>();
    for (const segment of segments) {
      const expected = next.get(segment.fromClient);
      if (expected !== undefined) expect(segment.sequence).toBe(expected);
      const advance = segment.length + (segment.flags & (syn | fin) ? 1 : 0);
      next.set(segment.fromClient, (segment.sequence + advance) >>> 0);
      const peer = next.get(!segment.fromClient);
      if (segment.flags & ack && peer !== undefined) expect(segment.acknowledgment).toBe(peer);
    }
  },
);

test('frames have the size asked for where their headers fit', () => {
  const sizes = new Set(
    [...PROFILES.tcp({ ...options, size: 64 })].filter((_, index) => index > 100).map(({ bytes }) => bytes.length),
  );
  expect([...sizes].every((size) => size >= 60 && size <= 66)).toBe(true);
  for (const { bytes } of PROFILES.udp({ ...options, size: 1000 })) expect(bytes.length).toBe(1000);
});

test('malformed kinds have names of their own', () => {
  expect(new Set(MALFORMED.map(({ name }) => name)).size).toBe(MALFORMED.length);
});

test('random numbers are those of the generator, and evenly spread', () => {
  const random = new Random(42);
  const counts = Array.from({ length: 10 }, () => 0);
  for (let index = 0; index < 100_000; index++) counts[random.below(10)]!++;
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  expect(new Random(7).u32()).toBe(new Random(7).u32());
  expect(new Random(7).u32()).not.toBe(new Random(2 ** 40 + 7).u32());
});
