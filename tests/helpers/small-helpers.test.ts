import { describe, expect, test } from 'vitest';
import { XDP_MD } from '../../dataplane/packet/frame.ts';
import { Bench } from './bench.ts';

const PACKET = Uint8Array.from({ length: 64 }, (_, index) => index);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('bytes of an XDP packet', () => {
  test('load and store stay inside the packet', () => {
    const bench = new Bench('xdp', PACKET);
    const out = bench.bytes(new Uint8Array(4).fill(0xff));
    expect(bench.call('xdp_get_buff_len', bench.ctx)).toBe(64);
    expect(bench.call('xdp_load_bytes', bench.ctx, 61, out, 4)).toBe('EINVAL');
    expect(hex(bench.read(out, 4))).toBe('ffffffff');
    expect(bench.call('xdp_load_bytes', bench.ctx, 60, out, 4)).toBe(0);
    expect(hex(bench.read(out, 4))).toBe('3c3d3e3f');
    expect(bench.call('xdp_store_bytes', bench.ctx, 0, out, 4)).toBe(0);
    expect(bench.call('xdp_store_bytes', bench.ctx, 61, out, 4)).toBe('EINVAL');
    expect(hex(bench.packet.subarray(0, 5))).toBe('3c3d3e3f04');
    expect(bench.call('xdp_load_bytes', bench.ctx, 0x1_0000, out, 4)).toBe('EFAULT');
  });

  test('fragments belong to the packet', () => {
    const bench = new Bench('xdp', PACKET);
    bench.set(XDP_MD.data_end, bench.get(XDP_MD.data) + 20);
    const out = bench.bytes(new Uint8Array(4));
    expect(bench.call('xdp_get_buff_len', bench.ctx)).toBe(64);
    expect(bench.call('xdp_load_bytes', bench.ctx, 18, out, 4)).toBe(0);
    expect(hex(bench.read(out, 4))).toBe('12131415');
  });
});

describe('strings', () => {
  test('snprintf writes what fits and answers the whole length', () => {
    const bench = new Bench('xdp');
    const out = bench.bytes(new Uint8Array(8).fill(0xff));
    const words = bench.bytes(new Uint8Array(new BigUint64Array([123456n]).buffer));
    expect(bench.call('snprintf', out, 8, bench.text('n=%d'), words, 8)).toBe(9);
    expect(hex(bench.read(out, 8))).toBe(hex(new TextEncoder().encode('n=12345\0')));
    expect(bench.call('snprintf', out, 0, bench.text('n=%d'), words, 8)).toBe(9);
    expect(bench.call('snprintf', out, 8, bench.text('%d %d'), words, 8)).toBe('EINVAL');
    expect(bench.call('snprintf', out, 8, bench.text('x'), words, 7)).toBe('EINVAL');
  });

  test('strncmp compares up to the size or the end', () => {
    const bench = new Bench('xdp');
    const compare = (a: string, size: number, b: string): unknown => bench.answer('strncmp', bench.text(a), size, bench.text(b));
    expect([compare('abc', 3, 'abd'), compare('abd', 3, 'abc'), compare('abc', 2, 'abd'), compare('ab', 8, 'ab'), compare('ab', 8, 'abc')]).toEqual([-1, 1, 0, 0, -1]);
  });
});

describe('what there is none of', () => {
  test('no sockets are found', () => {
    const bench = new Bench('sched_cls', PACKET);
    const tuple = bench.bytes(new Uint8Array(12));
    for (const helper of ['sk_lookup_tcp', 'sk_lookup_udp', 'skc_lookup_tcp']) expect(bench.call(helper, bench.ctx, tuple, 12, -1n, 0n)).toBe(0);
    expect(bench.call('get_socket_cookie', bench.ctx)).toBe(0n);
    expect(bench.call('get_socket_uid', bench.ctx)).toBe(65_534);
    expect(bench.call('get_netns_cookie', bench.ctx)).toBe(1n);
    expect(bench.call('get_cgroup_classid', bench.ctx)).toBe(0);
  });

  test('a spin lock is taken and given back', () => {
    const bench = new Bench('xdp');
    const lock = bench.bytes(new Uint8Array(4));
    bench.call('spin_lock', lock);
    expect(bench.machine.memory.view.getUint32(lock, true)).toBe(1);
    bench.call('spin_unlock', lock);
    expect(bench.machine.memory.view.getUint32(lock, true)).toBe(0);
  });
});
