import { describe, expect, test } from 'vitest';
import { CPU_BLOCK, REDIRECT } from '../../dataplane/machine/cpu.ts';
import type { PacketClone } from '../../dataplane/machine/network.ts';
import { Bench } from './bench.ts';

const FAR_FLAG = 1n << 40n;

function noted(bench: Bench): { kind: number; target: number; flags: number } {
  const { machine } = bench;
  return { kind: machine.cell(CPU_BLOCK.redirect), target: machine.cell(CPU_BLOCK.redirectTarget), flags: machine.cell(CPU_BLOCK.redirectFlags) };
}

describe('redirecting to a device', () => {
  // Answers of Linux 6.18.
  test.each([
    ['XDP answers XDP_REDIRECT', 'xdp', 'redirect', 0n, 4],
    ['XDP takes no flags', 'xdp', 'redirect', 1n, 0],
    ['XDP looks at all 64 bits of flags', 'xdp', 'redirect', FAR_FLAG, 0],
    ['TC answers TC_ACT_REDIRECT', 'sched_cls', 'redirect', 0n, 7],
    ['TC takes BPF_F_INGRESS', 'sched_cls', 'redirect', 1n, 7],
    ['TC shoots at other flags', 'sched_cls', 'redirect', 2n, 2],
    ['TC looks at all 64 bits of flags', 'sched_cls', 'redirect', FAR_FLAG, 2],
    ['a peer takes no flags', 'sched_cls', 'redirect_peer', 1n, 2],
    ['a peer is redirected to', 'sched_cls', 'redirect_peer', 0n, 7],
  ] as const)('%s', (_sentence, type, helper, flags, answer) => {
    const bench = new Bench(type);
    expect(bench.call(helper, 3, flags)).toBe(answer);
    const done = answer === 4 || answer === 7;
    const kind = helper === 'redirect' ? REDIRECT.ifindex : REDIRECT.peer;
    expect(noted(bench)).toEqual(done ? { kind, target: 3, flags: Number(flags) } : { kind: REDIRECT.none, target: 0, flags: 0 });
  });

  test('a refused redirect leaves the one before in place', () => {
    const bench = new Bench('xdp');
    bench.call('redirect', 5, 0n);
    bench.call('redirect', 6, 1n);
    expect(noted(bench)).toMatchObject({ kind: REDIRECT.ifindex, target: 5 });
  });

  // Answers of Linux 6.18: struct bpf_redir_neigh has 20 bytes.
  test.each([
    ['without a next hop', 0, 0n, 7],
    ['with a next hop', 20, 0n, 7],
    ['with too short a next hop', 8, 0n, 2],
    ['with a flag', 20, 1n, 2],
  ])('a neighbour %s', (_sentence, sizeBytes, flags, answer) => {
    const bench = new Bench('sched_cls');
    const nextHop = bench.bytes([2, 0, 0, 0, 10, 0, 0, 1, ...new Uint8Array(12)]);
    expect(bench.call('redirect_neigh', 4, sizeBytes === 0 ? 0 : nextHop, sizeBytes, flags)).toBe(answer);
    if (answer !== 7) return;
    expect(noted(bench)).toEqual({ kind: REDIRECT.neigh, target: 4, flags: 0 });
    const kept = bench.machine.cell(CPU_BLOCK.redirectMap);
    if (sizeBytes === 0) expect(kept).toBe(0);
    else expect([...bench.read(kept, 8)]).toEqual([2, 0, 0, 0, 10, 0, 0, 1]);
  });
});

describe('clone_redirect', () => {
  test('sends a copy of the packet as it is', () => {
    const bench = new Bench('sched_cls', Uint8Array.from({ length: 20 }, (_, index) => index));
    const { network } = bench.machine;
    const clones: PacketClone[] = [];
    network.onClone = (clone) => clones.push(clone);
    network.addDevice({ ifindex: 4, name: 'eth4', mac: new Uint8Array(6), mtuBytes: 1500, up: true, forwarding: true, addresses: [] });
    expect(bench.call('clone_redirect', bench.ctx, 4, 0n)).toBe(0);
    bench.call('skb_store_bytes', bench.ctx, 0, bench.bytes([9]), 1, 0n);
    expect(bench.call('clone_redirect', bench.ctx, 4, 1n)).toBe(0);
    expect(clones.map(({ ifindex, toIngress, bytes }) => [ifindex, toIngress, bytes.length, bytes[0]])).toEqual([[4, false, 20, 0], [4, true, 20, 9]]);
  });

  test('needs a device, and takes no other flags', () => {
    const bench = new Bench('sched_cls');
    expect(bench.call('clone_redirect', bench.ctx, 9, 0n)).toBe('EINVAL');
    expect(bench.call('clone_redirect', bench.ctx, 9, 2n)).toBe('EINVAL');
  });
});
