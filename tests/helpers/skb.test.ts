import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checksum, checksumAdd, checksumFinish } from '../../dataplane/packet/checksum.ts';
import { CHECKSUM, SK_BUFF } from '../../dataplane/packet/frame.ts';
import { Bench } from './bench.ts';

const ETH_P_IP = 0x0008;
const ETH_P_IPV6 = 0xdd86;
const ETH_P_8021Q = 0x0081;
const ETH_P_8021AD = 0xa888;
const LINK_BYTES = 14;
const IPV4_CHECKSUM = LINK_BYTES + 10;
const TCP_CHECKSUM = LINK_BYTES + 20 + 16;

/** Ethernet, IPv4 without options, TCP, 10 bytes of data: 64 bytes with valid checksums. */
function tcpPacket(): Uint8Array {
  const packet = Uint8Array.from({ length: 64 }, (_, index) => index);
  packet.set([0x08, 0x00, 0x45, 0, 0, 50, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 12);
  new DataView(packet.buffer).setUint16(IPV4_CHECKSUM, checksum(packet, 14, 34));
  packet.set([0, 0], TCP_CHECKSUM);
  new DataView(packet.buffer).setUint16(TCP_CHECKSUM, tcpChecksum(packet));
  return packet;
}

/** 0 over a segment that holds its valid checksum. */
function tcpChecksum(packet: Uint8Array): number {
  return checksumFinish(checksumAdd(6 + packet.length - 34, packet, 26, packet.length));
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('VLAN tags of an skb', () => {
  test('the first tag is kept beside the packet, the second moves the first into it', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    expect(bench.call('skb_vlan_push', bench.ctx, ETH_P_8021Q, 0xa064)).toBe(0);
    expect([bench.get(SK_BUFF.len), bench.get(SK_BUFF.vlan_present), bench.get(SK_BUFF.vlan_tci), bench.get(SK_BUFF.protocol)]).toEqual([64, 1, 0xa064, ETH_P_IP]);
    expect(bench.call('skb_vlan_push', bench.ctx, ETH_P_8021AD, 7)).toBe(0);
    expect([bench.get(SK_BUFF.len), bench.get(SK_BUFF.vlan_proto), bench.get(SK_BUFF.vlan_tci), bench.get(SK_BUFF.protocol)]).toEqual([68, ETH_P_8021AD, 7, ETH_P_8021Q]);
    expect(hex(bench.packet.subarray(12, 20))).toBe('8100a06408004500');
  });

  test('popping undoes pushing, and does nothing once there is no tag', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    bench.call('skb_vlan_push', bench.ctx, ETH_P_8021Q, 5);
    bench.call('skb_vlan_push', bench.ctx, ETH_P_8021Q, 6);
    expect(bench.call('skb_vlan_pop', bench.ctx)).toBe(0);
    expect([bench.get(SK_BUFF.vlan_tci), bench.get(SK_BUFF.len)]).toEqual([5, 64]);
    expect(bench.call('skb_vlan_pop', bench.ctx)).toBe(0);
    expect([bench.get(SK_BUFF.vlan_present), bench.get(SK_BUFF.vlan_tci), bench.get(SK_BUFF.vlan_proto)]).toEqual([0, 0, 0]);
    expect(bench.call('skb_vlan_pop', bench.ctx)).toBe(0);
    expect(bench.get(SK_BUFF.vlan_present)).toBe(0);
    expect(hex(bench.packet)).toBe(hex(tcpPacket()));
  });

  test('a protocol that is no VLAN protocol becomes 802.1Q', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    bench.call('skb_vlan_push', bench.ctx, ETH_P_IP, 1);
    expect(bench.get(SK_BUFF.vlan_proto)).toBe(ETH_P_8021Q);
  });
});

describe('room in an skb', () => {
  // On a 64-byte IPv4 packet; mode 0 is NET, 1 is MAC. That the rules are Linux's is for skb-recorded.test.ts to show.
  test.each([
    ['20 bytes behind the IP header', 20, 0, 0n, 0, 84, ETH_P_IP],
    ['20 bytes before the IP header', 20, 1, 0n, 0, 84, ETH_P_IP],
    ['an outer IPv4 header', 20, 1, 2n, 0, 84, ETH_P_IP],
    ['an outer IPv6 header', 40, 1, 4n, 0, 104, ETH_P_IPV6],
    ['both outer headers', 40, 1, 6n, 'EINVAL', 64, ETH_P_IP],
    ['GRE and UDP', 28, 1, 2n | 8n | 16n, 'EINVAL', 64, ETH_P_IP],
    ['an inner Ethernet header that says too short a length', 40, 1, 2n | 64n, 'EINVAL', 64, ETH_P_IP],
    ['an inner Ethernet header', 50, 1, 2n | 16n | 64n | (14n << 56n), 0, 114, ETH_P_IP],
    ['an inner header longer than the room', 8, 1, 2n | (9n << 56n), 'EINVAL', 64, ETH_P_IP],
    ['a flag that does not exist', 20, 1, 512n, 'EINVAL', 64, ETH_P_IP],
    ['a mode that does not exist', 20, 2, 0n, 'ENOTSUPP', 64, ETH_P_IP],
    ['more than 4095 bytes', 4096, 1, 0n, 'EFAULT', 64, ETH_P_IP],
    ['20 bytes less', -20, 1, 0n, 0, 44, ETH_P_IP],
    ['less than an IP header left', -31, 1, 0n, 'ENOTSUPP', 64, ETH_P_IP],
    ['an IPv6 packet out of it', -10, 1, 256n, 0, 54, ETH_P_IPV6],
    ['too little for the IPv6 packet that comes out', -11, 1, 256n, 'ENOTSUPP', 64, ETH_P_IP],
    ['growing to take a header out', 20, 1, 128n, 'EINVAL', 64, ETH_P_IP],
    ['shrinking to put a header in', -20, 1, 2n, 'EINVAL', 64, ETH_P_IP],
  ] as const)('adjust_room: %s', (_sentence, difference, mode, flags, answer, lengthBytes, protocol) => {
    const bench = new Bench('sched_cls', tcpPacket());
    expect(bench.call('skb_adjust_room', bench.ctx, difference, mode, flags)).toBe(answer);
    expect([bench.get(SK_BUFF.len), bench.get(SK_BUFF.protocol)]).toEqual([lengthBytes, protocol]);
    const [before, after] = [tcpPacket(), bench.packet];
    expect(hex(after.subarray(0, LINK_BYTES))).toBe(hex(before.subarray(0, LINK_BYTES)));
    if (answer !== 0 || difference < 0) return;
    const at = mode === 0 ? LINK_BYTES + 20 : LINK_BYTES;
    expect(after.subarray(at, at + difference).every((byte) => byte === 0)).toBe(true);
    expect(hex(after.subarray(at + difference))).toBe(hex(before.subarray(at)));
  });

  test('a packet is encapsulated once', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    expect(bench.call('skb_adjust_room', bench.ctx, 20, 1, 2n)).toBe(0);
    expect(bench.call('skb_adjust_room', bench.ctx, 20, 1, 2n)).toBe('EALREADY');
    expect(bench.call('skb_change_tail', bench.ctx, 60, 0n)).toBe('ENOTSUPP');
  });

  test('what the NIC vouched for is forgotten, unless the program says not to', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    bench.set(SK_BUFF.ip_summed, CHECKSUM.unnecessary);
    bench.call('skb_adjust_room', bench.ctx, 8, 1, 32n);
    expect(bench.get(SK_BUFF.ip_summed)).toBe(CHECKSUM.unnecessary);
    bench.call('skb_adjust_room', bench.ctx, 8, 1, 0n);
    expect(bench.get(SK_BUFF.ip_summed)).toBe(CHECKSUM.none);
  });

  test('change_proto makes 20 bytes of room for an IPv6 header and takes them back', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    expect(bench.call('skb_change_proto', bench.ctx, ETH_P_IPV6, 0n)).toBe(0);
    expect([bench.get(SK_BUFF.len), bench.get(SK_BUFF.protocol)]).toEqual([84, ETH_P_IPV6]);
    expect(bench.call('skb_change_proto', bench.ctx, ETH_P_IPV6, 0n)).toBe('ENOTSUPP');
    expect(bench.call('skb_change_proto', bench.ctx, ETH_P_IP, 1n)).toBe('EINVAL');
    expect(bench.call('skb_change_proto', bench.ctx, ETH_P_IP, 0n)).toBe(0);
    expect(hex(bench.packet)).toBe(hex(tcpPacket()));
  });

  test('change_tail cuts down to the transport header and grows with zeros', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    bench.set(SK_BUFF.transport_offset, 34);
    expect(bench.call('skb_change_tail', bench.ctx, 33, 0n)).toBe('EINVAL');
    expect(bench.call('skb_change_tail', bench.ctx, 34, 0n)).toBe(0);
    expect(bench.call('skb_change_tail', bench.ctx, 38, 0n)).toBe(0);
    expect(hex(bench.packet.subarray(34))).toBe('00000000');
    expect(bench.call('skb_change_tail', bench.ctx, 16_065, 0n)).toBe('EINVAL');
  });

  test('change_head makes room for a link-layer header', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    expect(bench.call('skb_change_head', bench.ctx, 14, 0n)).toBe(0);
    expect([bench.get(SK_BUFF.len), bench.get(SK_BUFF.network_offset)]).toEqual([78, 28]);
    expect(bench.packet.subarray(0, 14).every((byte) => byte === 0)).toBe(true);
    expect(bench.call('skb_change_head', bench.ctx, -1, 0n)).toBe('EINVAL');
  });

  test('a packet that needs more headroom than there is moves into the tailroom', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    bench.set(SK_BUFF.head, bench.get(SK_BUFF.data) - 10);
    expect(bench.call('skb_change_head', bench.ctx, 100, 0n)).toBe(0);
    expect(hex(bench.packet.subarray(100))).toBe(hex(tcpPacket()));
    bench.set(SK_BUFF.end, bench.get(SK_BUFF.data_end));
    expect(bench.call('skb_change_tail', bench.ctx, 164 + 20, 0n)).toBe('ENOMEM');
  });
});

describe('bytes of an skb', () => {
  test('a read past the end leaves zeros', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    const out = bench.bytes(new Uint8Array(8).fill(0xff));
    expect(bench.call('skb_load_bytes', bench.ctx, 60, out, 8)).toBe('EFAULT');
    expect(hex(bench.read(out, 8))).toBe('0000000000000000');
    expect(bench.call('skb_load_bytes', bench.ctx, 60, out, 4)).toBe(0);
    expect(hex(bench.read(out, 4))).toBe('3c3d3e3f');
  });

  test('relative reads start at the link layer or the network layer', () => {
    const bench = new Bench('cgroup_skb', tcpPacket());
    const out = bench.bytes(new Uint8Array(4));
    expect(bench.call('skb_load_bytes_relative', bench.ctx, 12, out, 4, 1)).toBe(0);
    expect(hex(bench.read(out, 4))).toBe('0a000001');
    expect(bench.call('skb_load_bytes_relative', bench.ctx, 12, out, 4, 0)).toBe(0);
    expect(hex(bench.read(out, 4))).toBe('08004500');
    expect(bench.call('skb_load_bytes_relative', bench.ctx, 12, out, 4, 2)).toBe('EFAULT');
  });

  test('a write past the end changes nothing', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    expect(bench.call('skb_store_bytes', bench.ctx, 62, bench.bytes([1, 2, 3]), 3, 0n)).toBe('EFAULT');
    expect(bench.call('skb_store_bytes', bench.ctx, 0, bench.bytes([1, 2, 3]), 3, 4n)).toBe('EINVAL');
    expect(hex(bench.packet)).toBe(hex(tcpPacket()));
  });

  test('pull_data asks for no more than there is', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    expect(bench.call('skb_pull_data', bench.ctx, 0)).toBe(0);
    expect(bench.call('skb_pull_data', bench.ctx, 64)).toBe(0);
    expect(bench.call('skb_pull_data', bench.ctx, 65)).toBe('ENOMEM');
  });

  test('addresses outside memory are a fault and change no packet', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    expect(() => bench.call('skb_store_bytes', bench.ctx, 0, 0xffff_fff0, 40, 0n)).toThrow(RangeError);
    expect(() => bench.call('skb_load_bytes', bench.ctx, 0, 0xffff_fff0, 40)).toThrow(RangeError);
    expect(hex(bench.packet)).toBe(hex(tcpPacket()));
  });
});

describe('checksums of an skb', () => {
  const address = fc.uint8Array({ minLength: 4, maxLength: 4 });

  test('replacing an address keeps the IP and TCP checksums valid', () => {
    fc.assert(
      fc.property(address, (fresh) => {
        const packet = tcpPacket();
        const bench = new Bench('sched_cls', packet);
        const from = BigInt(new DataView(packet.buffer).getUint32(26, true));
        const to = BigInt(new DataView(fresh.buffer, fresh.byteOffset).getUint32(0, true));
        expect(bench.call('l4_csum_replace', bench.ctx, TCP_CHECKSUM, from, to, 0x14n)).toBe(0);
        expect(bench.call('l3_csum_replace', bench.ctx, IPV4_CHECKSUM, from, to, 4n)).toBe(0);
        expect(bench.call('skb_store_bytes', bench.ctx, 26, bench.bytes(fresh), 4, 0n)).toBe(0);
        expect(checksum(bench.packet, 14, 34)).toBe(0);
        expect(tcpChecksum(bench.packet)).toBe(0);
      }),
    );
  });

  test('replacing a port, or anything by its difference, keeps the TCP checksum valid', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff }), fc.boolean(), (port, byDifference) => {
        const packet = tcpPacket();
        const bench = new Bench('sched_cls', packet);
        const from = new DataView(packet.buffer).getUint16(34, true);
        const fresh = bench.bytes([port & 0xff, port >> 8, 0, 0]);
        const before = bench.bytes([from & 0xff, from >> 8, 0, 0]);
        const difference = bench.call('csum_diff', before, 4, fresh, 4, 0);
        const answer = byDifference
          ? bench.call('l4_csum_replace', bench.ctx, TCP_CHECKSUM, 0n, BigInt(difference as number), 0n)
          : bench.call('l4_csum_replace', bench.ctx, TCP_CHECKSUM, BigInt(from), BigInt(port), 2n);
        expect(answer).toBe(0);
        bench.call('skb_store_bytes', bench.ctx, 34, fresh, 2, 0n);
        expect(tcpChecksum(bench.packet)).toBe(0);
      }),
    );
  });

  test('a UDP checksum of 0 stays 0, and is never made', () => {
    const bench = new Bench('sched_cls', new Uint8Array(64));
    expect(bench.call('l4_csum_replace', bench.ctx, 40, 0n, 0x1234n, 0x22n)).toBe(0);
    expect(hex(bench.packet.subarray(40, 42))).toBe('0000');
    expect(bench.call('l4_csum_replace', bench.ctx, 40, 0n, 0xffffn, 0x62n)).toBe(0);
    expect(hex(bench.packet.subarray(40, 42))).toBe('ffff');
  });

  test('skb->csum follows bytes that are stored with BPF_F_RECOMPUTE_CSUM', () => {
    const packet = tcpPacket();
    const bench = new Bench('sched_cls', packet);
    bench.set(SK_BUFF.ip_summed, CHECKSUM.complete);
    bench.set(SK_BUFF.csum, sumOf(packet));
    bench.call('skb_store_bytes', bench.ctx, 51, bench.bytes([9, 8, 7]), 3, 1n);
    expect(bench.get(SK_BUFF.csum) % 0xffff).toBe(sumOf(bench.packet));
    expect(bench.call('csum_update', bench.ctx, 1)).toBe(BigInt(bench.get(SK_BUFF.csum)));
  });

  test('there is no skb->csum to update otherwise', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    expect(BigInt.asIntN(64, bench.call('csum_update', bench.ctx, 1) as bigint)).toBe(-524n);
  });

  test('levels count what the NIC vouches for', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    const level = (operation: bigint): unknown => bench.call('csum_level', bench.ctx, operation);
    expect([level(0n), level(1n), level(0n), level(1n), level(0n), level(2n), level(0n), level(3n), level(0n), level(4n)]).toEqual([
      'EACCES', 0, 0, 0, 1, 0, 0, 0, 'EACCES', 'EINVAL',
    ]);
  });
});

function hashOf(packet: Uint8Array): unknown {
  const bench = new Bench('sched_cls', packet);
  return bench.call('get_hash_recalc', bench.ctx);
}

function sumOf(bytes: Uint8Array): number {
  return bytes.reduce((total, byte, index) => total + (byte << (8 * (index & 1))), 0) % 0xffff;
}

describe('what an skb carries', () => {
  test('the packet type changes among those of received packets', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    expect([3, 4].map((type) => bench.call('skb_change_type', bench.ctx, type))).toEqual([0, 'EINVAL']);
    bench.set(SK_BUFF.pkt_type, 4);
    expect(bench.call('skb_change_type', bench.ctx, 0)).toBe('EINVAL');
  });

  test('packets of a flow have one hash, and another flow another', () => {
    const other = tcpPacket();
    other[34]! ^= 1;
    const sameFlow = tcpPacket();
    sameFlow[60]! ^= 1;
    expect(hashOf(sameFlow)).toBe(hashOf(tcpPacket()));
    expect(hashOf(other)).not.toBe(hashOf(tcpPacket()));
  });

  test('congestion is marked where the transport speaks ECN, and the header checksum follows', () => {
    const packet = tcpPacket();
    packet[15] = 2;
    packet.set([0, 0], IPV4_CHECKSUM);
    new DataView(packet.buffer).setUint16(IPV4_CHECKSUM, checksum(packet, 14, 34));
    const bench = new Bench('sched_cls', packet);
    expect(bench.call('skb_ecn_set_ce', bench.ctx)).toBe(1);
    expect(bench.packet[15]).toBe(3);
    expect(checksum(bench.packet, 14, 34)).toBe(0);
    expect(bench.call('skb_ecn_set_ce', bench.ctx)).toBe(1);
    const plain = new Bench('sched_cls', tcpPacket());
    expect(plain.call('skb_ecn_set_ce', plain.ctx)).toBe(0);
  });

  test('a tunnel key that was set reads back with source and destination exchanged', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    const key = new Uint8Array(44);
    const view = new DataView(key.buffer);
    view.setUint32(0, 77, true);
    view.setUint32(4, 0x0a00_0002, true);
    view.setUint32(28, 0x0a00_0001, true);
    view.setUint8(21, 64);
    const out = bench.bytes(new Uint8Array(44).fill(0xff));
    expect(bench.call('skb_get_tunnel_key', bench.ctx, out, 44, 0n)).toBe('EINVAL');
    expect(bench.read(out, 44).every((byte) => byte === 0)).toBe(true);
    expect(bench.call('skb_set_tunnel_key', bench.ctx, bench.bytes(key), 44, 0n)).toBe(0);
    expect(bench.call('skb_get_tunnel_key', bench.ctx, out, 44, 0n)).toBe(0);
    const got = bench.machine.memory.view;
    expect([got.getUint32(out, true), got.getUint32(out + 4, true), got.getUint32(out + 28, true), got.getUint8(out + 21)]).toEqual([77, 0x0a00_0001, 0x0a00_0002, 64]);
    expect(bench.call('skb_get_tunnel_key', bench.ctx, out, 44, 1n)).toBe('EPROTO');
  });

  test('tunnel options go with a key', () => {
    const bench = new Bench('sched_cls', tcpPacket());
    const options = bench.bytes([1, 2, 3, 4, 5, 6, 7, 8]);
    const out = bench.bytes(new Uint8Array(12).fill(0xff));
    expect(bench.call('skb_set_tunnel_opt', bench.ctx, options, 8)).toBe('EINVAL');
    bench.call('skb_set_tunnel_key', bench.ctx, bench.bytes(new Uint8Array(44)), 44, 0n);
    expect(bench.call('skb_get_tunnel_opt', bench.ctx, out, 12)).toBe('ENOENT');
    expect(bench.call('skb_set_tunnel_opt', bench.ctx, options, 6)).toBe('EINVAL');
    expect(bench.call('skb_set_tunnel_opt', bench.ctx, options, 8)).toBe(0);
    expect(bench.call('skb_get_tunnel_opt', bench.ctx, out, 4)).toBe('ENOMEM');
    expect(bench.call('skb_get_tunnel_opt', bench.ctx, out, 12)).toBe(8);
    expect(hex(bench.read(out, 12))).toBe('010203040506070800000000');
  });
});

test('any sequence of skb helpers keeps the packet inside its buffer', () => {
  const size = fc.oneof(fc.integer({ min: -60, max: 200 }), fc.integer());
  const flags = fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: 511n }), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }));
  const step = fc.oneof(
    fc.record({ helper: fc.constantFrom('skb_change_head', 'skb_change_tail', 'skb_change_proto'), args: fc.tuple(fc.oneof(size, fc.constantFrom(ETH_P_IP, ETH_P_IPV6)), flags) }),
    fc.record({ helper: fc.constant('skb_adjust_room'), args: fc.tuple(size, fc.integer({ min: 0, max: 2 }), flags) }),
    fc.record({ helper: fc.constant('skb_vlan_push'), args: fc.tuple(fc.constantFrom(ETH_P_8021Q, ETH_P_8021AD), fc.integer({ min: 0, max: 0xffff })) }),
    fc.record({ helper: fc.constant('skb_vlan_pop'), args: fc.constant([]) }),
    fc.record({ helper: fc.constant('skb_pull_data'), args: fc.tuple(size) }),
    fc.record({ helper: fc.constant('skb_ecn_set_ce'), args: fc.constant([]) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 0, max: 2 }), (steps, summed) => {
      const bench = new Bench('sched_cls', tcpPacket());
      bench.set(SK_BUFF.ip_summed, summed);
      const [head, end] = [bench.get(SK_BUFF.head), bench.get(SK_BUFF.end)];
      const outside = (): string => hex(bench.read(head - 64, 64)) + hex(bench.read(end, 64));
      const before = outside();
      for (const { helper, args } of steps) {
        bench.call(helper, bench.ctx, ...args);
        const [data, dataEnd, length] = [bench.get(SK_BUFF.data), bench.get(SK_BUFF.data_end), bench.get(SK_BUFF.len)];
        expect(dataEnd - data).toBe(length);
        expect(data).toBeGreaterThanOrEqual(head);
        expect(dataEnd).toBeLessThanOrEqual(end);
        expect(bench.get(SK_BUFF.data_meta)).toBeLessThanOrEqual(data);
      }
      expect(outside()).toBe(before);
    }),
  );
});
