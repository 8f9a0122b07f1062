import { describe, expect, test } from 'vitest';
import { parseAddress, parseMac, parsePrefix } from '../../dataplane/address.ts';
import type { Route } from '../../dataplane/machine/network.ts';
import type { ProgramType } from '../../dataplane/bpf/spec.ts';
import { Bench } from './bench.ts';

const INSIDE = 3;
const OUTSIDE = 4;
const DOWN = 5;
const CLOSED = 6;

const INSIDE_MAC = '02:00:00:00:00:10';
const OUTSIDE_MAC = '02:00:00:00:00:11';
const GATEWAY_MAC = '02:00:00:00:01:12';
const GATEWAY6_MAC = '02:00:00:00:01:62';

const address = (text: string): Uint8Array => parseAddress(text)!;

function networkBench(type: ProgramType, packetBytes = 64): Bench {
  const bench = new Bench(type, new Uint8Array(packetBytes));
  const { network } = bench.machine;
  const device = (ifindex: number, mac: string, mtuBytes: number, state: { up: boolean; forwarding: boolean }, ...prefixes: string[]): void =>
    network.addDevice({ ifindex, name: `eth${ifindex}`, mac: parseMac(mac)!, mtuBytes, ...state, addresses: prefixes.map((text) => parsePrefix(text)!) });
  device(INSIDE, INSIDE_MAC, 1500, { up: true, forwarding: true }, '10.0.0.1/24', '2001:db8::1/64');
  device(OUTSIDE, OUTSIDE_MAC, 1400, { up: true, forwarding: true }, '10.0.1.1/24', '2001:db8:1::1/64');
  device(DOWN, '02:00:00:00:00:12', 1500, { up: false, forwarding: true }, '10.0.2.1/24');
  device(CLOSED, '02:00:00:00:00:13', 1500, { up: true, forwarding: false });
  const route = (prefix: string, fields: Omit<Route, 'prefix'>): void => network.addRoute({ prefix: parsePrefix(prefix)!, ...fields });
  route('0.0.0.0/0', { type: 'unicast', ifindex: OUTSIDE, via: address('10.0.1.2') });
  route('192.168.0.0/16', { type: 'unicast', ifindex: INSIDE, via: address('10.0.0.2'), metric: 20 });
  route('192.168.5.0/24', { type: 'unicast', ifindex: OUTSIDE, via: address('10.0.1.2'), metric: 7 });
  route('192.168.5.0/24', { type: 'unicast', ifindex: INSIDE, via: address('10.0.0.2'), metric: 9 });
  route('172.16.0.0/16', { type: 'blackhole', ifindex: 0 });
  route('172.17.0.0/16', { type: 'unreachable', ifindex: 0 });
  route('172.18.0.0/16', { type: 'prohibit', ifindex: 0 });
  route('198.51.100.0/24', { type: 'unicast', ifindex: OUTSIDE, via: address('2001:db8:1::2') });
  route('203.0.113.0/24', { type: 'unicast', ifindex: OUTSIDE, via: address('10.0.1.2'), mtuBytes: 1000, source: address('10.0.0.1') });
  route('198.18.0.0/16', { type: 'unicast', ifindex: INSIDE, via: address('10.0.0.2'), table: 100 });
  route('::/0', { type: 'unicast', ifindex: OUTSIDE, via: address('2001:db8:1::2') });
  route('2001:db8:b::/48', { type: 'blackhole', ifindex: 0 });
  network.addNeighbour({ ifindex: OUTSIDE, address: address('10.0.1.2'), mac: parseMac(GATEWAY_MAC)! });
  network.addNeighbour({ ifindex: OUTSIDE, address: address('2001:db8:1::2'), mac: parseMac(GATEWAY6_MAC)! });
  network.addNeighbour({ ifindex: INSIDE, address: address('10.0.0.9'), mac: parseMac('02:00:00:00:01:09')! });
  return bench;
}

interface Question {
  readonly to: string;
  readonly ifindex?: number;
  readonly lengthBytes?: number;
  readonly flags?: number;
  readonly table?: number;
  readonly packetBytes?: number;
  readonly type?: ProgramType;
}

interface Answer {
  readonly result: unknown;
  readonly ifindex: number;
  readonly metric: number;
  readonly mtuBytes: number;
  readonly family: number;
  readonly nextHop: string;
  readonly source: string;
  readonly smac: string;
  readonly dmac: string;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const mac = (bytes: Uint8Array): string => hex(bytes).replace(/..(?!$)/g, '$&:');

function ask({ to, ifindex = INSIDE, lengthBytes = 0, flags = 0, table = 0, packetBytes = 64, type = 'xdp' }: Question): Answer {
  const bench = networkBench(type, packetBytes);
  const destination = address(to);
  const family = destination.length === 4 ? 2 : 10;
  const params = bench.bytes(new Uint8Array(64));
  const { view, u8 } = bench.machine.memory;
  view.setUint8(params, family);
  view.setUint16(params + 6, lengthBytes, true);
  view.setUint32(params + 8, ifindex, true);
  u8.set(destination, params + 32);
  view.setUint32(params + 48, table, true);
  const result = bench.call('fib_lookup', bench.ctx, params, 64, flags);
  const after = view.getUint8(params);
  const nextHopBytes = after === 2 ? 4 : 16;
  return {
    result,
    ifindex: view.getUint32(params + 8, true),
    metric: view.getUint32(params + 12, true),
    mtuBytes: view.getUint16(params + 6, true),
    family: after,
    nextHop: hex(bench.read(params + 32, nextHopBytes)),
    source: hex(bench.read(params + 16, destination.length)),
    smac: mac(bench.read(params + 52, 6)),
    dmac: mac(bench.read(params + 58, 6)),
  };
}

const FLAG = { direct: 1, output: 2, skipNeighbour: 4, table: 8, source: 16 } as const;

describe('fib_lookup', () => {
  test('follows a route to its gateway', () => {
    expect(ask({ to: '8.8.8.8' })).toMatchObject({ result: 0, ifindex: OUTSIDE, nextHop: '0a000102', smac: OUTSIDE_MAC, dmac: GATEWAY_MAC, mtuBytes: 1400, metric: 0 });
    expect(ask({ to: '2607::1' })).toMatchObject({ result: 0, ifindex: OUTSIDE, dmac: GATEWAY6_MAC, metric: 1024 });
  });

  test('reaches an address on the link without a gateway', () => {
    expect(ask({ to: '10.0.0.9', ifindex: OUTSIDE })).toMatchObject({ result: 0, ifindex: INSIDE, nextHop: '0a000009', dmac: '02:00:00:00:01:09', mtuBytes: 1500 });
  });

  // BPF_FIB_LKUP_RET_*.
  test.each([
    ['a blackhole', '172.16.1.1', 1],
    ['an unreachable route', '172.17.1.1', 2],
    ['a prohibited route', '172.18.1.1', 3],
    ['an IPv6 blackhole', '2001:db8:b::1', 1],
    ['an address of our own', '10.0.1.1', 4],
    ['a broadcast address', '10.0.0.255', 4],
    ['a neighbour nobody knows', '10.0.0.77', 7],
    ['an IPv6 neighbour nobody knows', '2001:db8::77', 7],
  ])('answers for %s', (_sentence, to, result) => {
    expect(ask({ to }).result).toBe(result);
  });

  test('needs forwarding where the packet came in, and a device that exists', () => {
    expect(ask({ to: '8.8.8.8', ifindex: CLOSED }).result).toBe(5);
    expect(ask({ to: '8.8.8.8', ifindex: 99 }).result).toBe('ENODEV');
  });

  test('prefers the longer prefix, then the lower metric', () => {
    expect(ask({ to: '192.168.4.1', flags: FLAG.skipNeighbour })).toMatchObject({ ifindex: INSIDE, metric: 20 });
    expect(ask({ to: '192.168.5.1', flags: FLAG.skipNeighbour })).toMatchObject({ ifindex: OUTSIDE, metric: 7 });
  });

  test('sees no routes of a device that is down', () => {
    expect(ask({ to: '10.0.2.9' })).toMatchObject({ result: 0, ifindex: OUTSIDE });
  });

  test('an IPv4 route may have an IPv6 gateway', () => {
    expect(ask({ to: '198.51.100.5' })).toMatchObject({ result: 0, family: 10, nextHop: hex(address('2001:db8:1::2')), dmac: GATEWAY6_MAC });
  });

  test('a missing neighbour still says where the packet would leave', () => {
    expect(ask({ to: '192.168.4.1' })).toMatchObject({ result: 7, ifindex: INSIDE, nextHop: '0a000002', dmac: '00:00:00:00:00:00' });
  });

  test('the length is checked against the MTU of the route or device', () => {
    expect(ask({ to: '8.8.8.8', lengthBytes: 1400 })).toMatchObject({ result: 0, mtuBytes: 1400 });
    expect(ask({ to: '8.8.8.8', lengthBytes: 1401 })).toMatchObject({ result: 8, mtuBytes: 1400, ifindex: INSIDE });
    expect(ask({ to: '203.0.113.1', lengthBytes: 1001 })).toMatchObject({ result: 8, mtuBytes: 1000 });
  });

  test('an skb without a length is measured itself', () => {
    expect(ask({ to: '8.8.8.8', type: 'sched_cls', packetBytes: 1418 })).toMatchObject({ result: 0, mtuBytes: 1400 });
    expect(ask({ to: '8.8.8.8', type: 'sched_cls', packetBytes: 1419 })).toMatchObject({ result: 8, mtuBytes: 1400 });
    expect(ask({ to: '8.8.8.8', type: 'sched_cls', packetBytes: 1419, lengthBytes: 100 })).toMatchObject({ result: 0 });
  });

  test('a direct lookup sees one table, without local addresses', () => {
    expect(ask({ to: '10.0.1.1', flags: FLAG.direct }).result).toBe(7);
    expect(ask({ to: '198.18.0.1', flags: FLAG.direct | FLAG.table | FLAG.skipNeighbour, table: 100 })).toMatchObject({ result: 0, ifindex: INSIDE });
    expect(ask({ to: '198.18.0.1', flags: FLAG.direct | FLAG.table, table: 77 }).result).toBe(4);
    expect(ask({ to: '198.18.0.1', flags: FLAG.skipNeighbour })).toMatchObject({ ifindex: OUTSIDE });
  });

  test('an output lookup leaves by the given device', () => {
    expect(ask({ to: '192.168.5.1', ifindex: INSIDE, flags: FLAG.output | FLAG.skipNeighbour })).toMatchObject({ result: 0, ifindex: INSIDE, metric: 9 });
  });

  test('the source address is the route’s, or the device’s', () => {
    expect(ask({ to: '203.0.113.1', flags: FLAG.source }).source).toBe('0a000001');
    expect(ask({ to: '8.8.8.8', flags: FLAG.source }).source).toBe('0a000101');
    expect(ask({ to: '2607::1', flags: FLAG.source }).source).toBe(hex(address('2001:db8:1::1')));
  });

  test('what cannot be asked is refused', () => {
    const bench = networkBench('xdp');
    const params = bench.bytes(new Uint8Array(64));
    expect(bench.call('fib_lookup', bench.ctx, params, 63, 0)).toBe('EINVAL');
    expect(bench.call('fib_lookup', bench.ctx, params, 64, 64)).toBe('EINVAL');
    expect(bench.call('fib_lookup', bench.ctx, params, 64, 0)).toBe('EAFNOSUPPORT');
    expect(() => bench.call('fib_lookup', bench.ctx, 0xffff_fff0, 64, 0)).toThrow(RangeError);
  });
});

describe('check_mtu', () => {
  test.each([
    ['a packet that just fits', 'xdp', 1414, OUTSIDE, 0, 0, 0],
    ['a byte more', 'xdp', 1415, OUTSIDE, 0, 0, 1],
    ['a packet that is about to grow', 'xdp', 1414, OUTSIDE, 1, 0, 1],
    ['a packet that is about to shrink', 'sched_cls', 1434, OUTSIDE, -20, 0, 0],
    ['a length instead of the packet', 'sched_cls', 3000, OUTSIDE, 0, 1400, 0],
    ['too long a length', 'sched_cls', 64, OUTSIDE, 0, 1401, 1],
    ['a length that is negative as an int, as Linux takes it', 'sched_cls', 120, OUTSIDE, 16, 0x958e8780, 0],
    ['a difference past the largest int, which wraps', 'sched_cls', 120, OUTSIDE, 0x7fff_ffff, 0, 0],
    ['a device that does not exist', 'xdp', 64, 99, 0, 0, 'ENODEV'],
  ] as const)('%s', (_sentence, type, packetBytes, ifindex, difference, given, result) => {
    const bench = networkBench(type, packetBytes);
    const length = bench.bytes(Array.from({ length: 4 }, (_, byte) => (given >>> (8 * byte)) & 0xff));
    expect(bench.call('check_mtu', bench.ctx, ifindex, length, difference, 0n)).toBe(result);
    expect(bench.machine.memory.view.getUint32(length, true)).toBe(result === 'ENODEV' ? given : 1400);
  });

  test('segments are for skbs, and for nothing else at the same time', () => {
    const xdp = networkBench('xdp');
    expect(xdp.call('check_mtu', xdp.ctx, OUTSIDE, xdp.bytes([0]), 0, 1n)).toBe('EINVAL');
    const skb = networkBench('sched_cls');
    expect(skb.call('check_mtu', skb.ctx, OUTSIDE, skb.bytes([0]), 0, 1n)).toBe(0);
    expect(skb.call('check_mtu', skb.ctx, OUTSIDE, skb.bytes([0]), 4, 1n)).toBe('EINVAL');
  });
});
