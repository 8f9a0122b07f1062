import { describe, expect, test } from 'vitest';
import { makeTrace, WORKLOADS, type WorkloadName, type WorkloadOptions } from '../../dataplane/measure/workload.ts';
import { checksum } from '../../dataplane/packet/checksum.ts';
import { flowKey, formatFlow } from '../../dataplane/packet/flow.ts';
import { packetAt, packetCount, withoutOpening, type PacketTrace } from '../../dataplane/packet/packet-trace.ts';
import { readTcp, TCP_FLAG } from '../../dataplane/packet/tcp.ts';

const MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const make = (name: WorkloadName, options: Partial<WorkloadOptions> = {}): PacketTrace => makeTrace({ name, to: '10.0.0.100:80', mac: MAC, ...options });
const packetsOf = (trace: PacketTrace, from = 0): Uint8Array[] => Array.from({ length: packetCount(trace) - from }, (_, index) => packetAt(trace, from + index));
const flowsOf = (packets: readonly Uint8Array[]): Set<string> => new Set(packets.map((packet) => formatFlow(flowKey(packet)!)));

describe.each(['single', '1k', 'imix', 'zipf'] as const)('%s', (name) => {
  const trace = make(name);

  test('opens as many flows as it says, each by a SYN, and stays within them', () => {
    const opening = packetsOf(trace).slice(0, trace.opening);
    const opened = flowsOf(opening);
    expect(opened.size).toBe(WORKLOADS[name].flows);
    expect(opening.every((packet) => readTcp(packet, 34)!.flags === TCP_FLAG.syn)).toBe(true);
    const round = packetsOf(trace, trace.opening);
    expect([...flowsOf(round)].every((flow) => opened.has(flow))).toBe(true);
    expect(round.every((packet) => readTcp(packet, 34)!.flags === TCP_FLAG.ack)).toBe(true);
  });

  test('has right checksums and lengths', () => {
    for (const packet of packetsOf(trace).slice(0, 2000)) {
      expect(checksum(packet, 14, 34)).toBe(0);
      expect(new DataView(packet.buffer, packet.byteOffset).getUint16(16)).toBe(packet.length - 14);
    }
  });
});

test('equal shares give each flow as many packets, in a shuffled order', () => {
  const trace = make('1k');
  const counts = new Map<string, number>();
  for (const packet of packetsOf(trace, trace.opening)) counts.set(formatFlow(flowKey(packet)!), (counts.get(formatFlow(flowKey(packet)!)) ?? 0) + 1);
  expect(new Set(counts.values()).size).toBe(1);
});

test('shares by Zipf’s law give the first flow twice as much as the second', () => {
  const trace = make('zipf');
  const counts = new Map<string, number>();
  for (const packet of packetsOf(trace, trace.opening)) counts.set(formatFlow(flowKey(packet)!), (counts.get(formatFlow(flowKey(packet)!)) ?? 0) + 1);
  const [first, second] = [...counts.values()].toSorted((a, b) => b - a);
  expect(first! / second!).toBeGreaterThan(1.7);
  expect(first! / second!).toBeLessThan(2.3);
});

test('a mix of sizes has seven small packets to four and one larger ones', () => {
  const trace = make('imix');
  const lengths = packetsOf(trace, trace.opening).map(({ length }) => length);
  const part = (length: number): number => lengths.filter((each) => each === length).length / lengths.length;
  expect(part(64)).toBeCloseTo(7 / 12, 1);
  expect(part(590)).toBeCloseTo(4 / 12, 1);
  expect(part(1514)).toBeCloseTo(1 / 12, 1);
});

test('of a SYN flood each packet begins a flow', () => {
  const trace = make('syn-flood', { flows: 5000 });
  expect(trace.opening).toBe(0);
  expect(flowsOf(packetsOf(trace)).size).toBe(5000);
});

test('flows do not repeat, however many', () => {
  const trace = make('1k', { flows: 300_000 });
  const keys = new Set(packetsOf(trace).slice(0, 300_000).map((packet) => Buffer.from(packet.subarray(26, 38)).toString('latin1')));
  expect(keys.size).toBe(300_000);
});

test('one hot packet is one packet', () => {
  const trace = make('1k', { hot: true });
  expect([packetCount(trace), trace.opening]).toEqual([2, 1]);
});

test('on the way out, the host answers its clients', () => {
  const [packet] = packetsOf(make('1k', { outward: true }));
  expect(flowKey(packet!)).toMatchObject({ source: '10.0.0.100', sourcePort: 80 });
  expect([...packet!.subarray(6, 12)]).toEqual([...MAC]);
});

test('the packets that open flows can be left out', () => {
  const trace = make('1k');
  const rest = withoutOpening(trace);
  expect(packetCount(rest)).toBe(packetCount(trace) - trace.opening);
  expect([...packetAt(rest, 7)]).toEqual([...packetAt(trace, trace.opening + 7)]);
});

test.each(['10.0.0.100', '10.0.0.100:0', 'fd00::1:80', 'host:80'])('a service %s is refused', (to) => {
  expect(() => make('single', { to })).toThrow(/expected an IPv4 address and a port/);
});
