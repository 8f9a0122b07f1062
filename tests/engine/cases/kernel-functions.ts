/** Kernel functions (kfuncs) that need nothing but the packet and the stack. */
import { single, type Case } from './case.ts';

/** Adds up what an iterator from `start` to `end` gives, and 1000 for each number. */
function sum(start: number, end: number): string {
  return `
    r6 = 0
    r1 = r10
    r1 += -8
    r2 = ${start}
    r3 = ${end}
    call bpf_iter_num_new
    again: r1 = r10
    r1 += -8
    call bpf_iter_num_next
    if r0 == 0 goto out
    r1 = *(s32 *)(r0 +0)
    r6 += r1
    r6 += 1000
    goto again
    out: r1 = r10
    r1 += -8
    call bpf_iter_num_destroy
    r0 = r6
    exit`;
}

/** What bpf_iter_num_new answers. */
function begun(start: number, end: number): string {
  return `r1 = r10\nr1 += -8\nr2 = ${start}\nr3 = ${end}\ncall bpf_iter_num_new\nr6 = r0\nr1 = r10\nr1 += -8\ncall bpf_iter_num_destroy\nr0 = r6\nexit`;
}

const ITERATORS: readonly Case[] = [
  single('an iterator gives the numbers from the first to below the last', sum(0, 10), 10_045n),
  single('an iterator of one number', sum(7, 8), 1007n),
  single('an iterator of no number', sum(5, 5), 0n),
  single('an iterator over negative numbers', sum(-3, 2), 4995n),
  single('an iterator that would go downwards gives nothing', sum(5, 1), 0n),
  single('an iterator of more than 8,388,608 numbers gives nothing', sum(0, 8_388_609), 0n),
  single('an iterator from the least to the greatest number gives nothing', sum(-2_147_483_648, 2_147_483_647), 0n),
  single('an iterator at the end of the range', sum(2_147_483_644, 2_147_483_647), BigInt(3 * 2_147_483_645 + 3000)),
  single('bpf_iter_num_new answers 0', begun(0, 10), 0n),
  single('bpf_iter_num_new answers 0 for 8,388,608 numbers', begun(0, 8_388_608), 0n),
  single('bpf_iter_num_new answers -EINVAL where the end is before the start', begun(1, 0), 0xffff_ffean),
  single('bpf_iter_num_new answers -E2BIG for more than 8,388,608 numbers', begun(0, 8_388_609), 0xffff_fff9n),
  single('an iterator that was left early, and another at the same place', sum(0, 3).replace('goto again', 'if r6 < 2000 goto again').replace('exit', `r1 = r10\nr1 += -8\nr2 = 0\nr3 = 1\ncall bpf_iter_num_new\nr1 = r10\nr1 += -8\ncall bpf_iter_num_next\nif r0 == 0 goto none\nr6 += 5\nnone: r1 = r10\nr1 += -8\ncall bpf_iter_num_destroy\nr0 = r6\nexit`), 2006n),
  single(
    'an iterator in an iterator',
    `
    r6 = 0
    r1 = r10
    r1 += -8
    r2 = 0
    r3 = 4
    call bpf_iter_num_new
    outer: r1 = r10
    r1 += -8
    call bpf_iter_num_next
    if r0 == 0 goto done
    r7 = *(u32 *)(r0 +0)
    r1 = r10
    r1 += -16
    r2 = 0
    r3 = 5
    call bpf_iter_num_new
    inner: r1 = r10
    r1 += -16
    call bpf_iter_num_next
    if r0 == 0 goto next
    r1 = *(u32 *)(r0 +0)
    r1 *= r7
    r6 += r1
    goto inner
    next: r1 = r10
    r1 += -16
    call bpf_iter_num_destroy
    goto outer
    done: r1 = r10
    r1 += -8
    call bpf_iter_num_destroy
    r0 = r6
    exit`,
    60n,
  ),
  single('an iterator that a function of the program is handed', `r6 = r10\nr6 += -8\nr1 = r6\nr2 = 3\nr3 = 6\ncall bpf_iter_num_new\nr1 = r6\ncall walk\nr7 = r0\nr1 = r6\ncall bpf_iter_num_destroy\nr0 = r7\nexit\nwalk: r6 = r1\nr7 = 0\nagain: r1 = r6\ncall bpf_iter_num_next\nif r0 == 0 goto out\nr1 = *(u32 *)(r0 +0)\nr7 += r1\ngoto again\nout: r0 = r7\nexit`, 12n),
];


/** `body` runs with a dynptr of the packet at r10-16, and the context in r6. */
function withPacket(kind: 'xdp' | 'skb', body: string): string {
  return `r6 = r1\nr2 = 0\nr3 = r10\nr3 += -16\ncall bpf_dynptr_from_${kind}\nr7 = r0\n${body}\nexit`;
}

const argument = 'r1 = r10\nr1 += -16\n';
const call = (name: string, rest = ''): string => `${argument}${rest}call bpf_dynptr_${name}\n`;
const slice = (name: 'slice' | 'slice_rdwr', offset: number, size: number, buffer = 'r3 = r10\nr3 += -64'): string => `${argument}r2 = ${offset}\n${buffer}\nr4 = ${size}\ncall bpf_dynptr_${name}\n`;
const read = (offset: number, size: number): string => `*(u64 *)(r10 -64) = 0\nr1 = r10\nr1 += -64\nr2 = ${size}\nr3 = r10\nr3 += -16\nr4 = ${offset}\nr5 = 0\ncall bpf_dynptr_read\n`;
const EINVAL = 0xffff_ffean;

/** Bytes of the packet count up from 0, to 63. */
const PACKETS: readonly Case[] = (['xdp', 'skb'] as const).flatMap((kind) => {
  const type = kind === 'xdp' ? 'xdp' : 'sched_cls';
  const one = (name: string, body: string, expected: bigint): Case => single(`${kind}: ${name}`, withPacket(kind, body), expected, { type });
  return [
    one('a dynptr of a packet is made', 'r0 = r7', 0n),
    single(`${kind}: a dynptr of a packet with flags is not made`, withPacket(kind, 'r0 = r7').replace('r2 = 0', 'r2 = 1'), EINVAL, { type }),
    single(`${kind}: a dynptr that was not made is null`, withPacket(kind, `${call('is_null')}r0 &= 255`).replace('r2 = 0', 'r2 = 1'), 1n, { type }),
    single(`${kind}: a dynptr that was not made has no size`, withPacket(kind, call('size')).replace('r2 = 0', 'r2 = 1'), EINVAL, { type }),
    one('its size is the packet\'s', call('size'), 64n),
    one('it is not null', `${call('is_null')}r0 &= 255`, 0n),
    one('it may be written', `${call('is_rdonly')}r0 &= 255`, 0n),
    one('a slice is the packet', `${slice('slice', 10, 8)}if r0 == 0 goto end\nr0 = *(u32 *)(r0 +0)\nend:`, 0x0d0c_0b0an),
    one('a slice without a buffer is the packet', `${slice('slice', 10, 8, 'r3 = 0')}if r0 == 0 goto end\nr0 = *(u32 *)(r0 +4)\nend:`, 0x1110_0f0en),
    one('a slice up to the last byte', `${slice('slice', 60, 4)}if r0 == 0 goto end\nr0 = *(u32 *)(r0 +0)\nend:`, 0x3f3e_3d3cn),
    one('a slice beyond the last byte is NULL', slice('slice', 61, 4), 0n),
    one('a slice that begins beyond the last byte is NULL', slice('slice', 64, 1), 0n),
    one('a slice whose end wraps around is NULL', slice('slice', -1, 4), 0n),
    one('what is written to a slice is in the packet', `${slice('slice_rdwr', 20, 4)}if r0 == 0 goto end\n*(u32 *)(r0 +0) = 305419896\n${read(20, 4)}r0 = *(u32 *)(r10 -64)\nend:`, 0x1234_5678n),
    one('bpf_dynptr_data of a packet is NULL', `${argument}r2 = 0\nr3 = 4\ncall bpf_dynptr_data`, 0n),
    one('bpf_dynptr_read reads the packet', `${read(30, 8)}r0 = *(u64 *)(r10 -64)`, 0x2524_2322_2120_1f1en),
    one('bpf_dynptr_read beyond the end answers -E2BIG', read(60, 8), -7n & 0xffff_ffff_ffff_ffffn),
    one('bpf_dynptr_write writes the packet', `*(u64 *)(r10 -72) = 7\n${argument}r2 = 40\nr3 = r10\nr3 += -72\nr4 = 8\nr5 = 0\ncall bpf_dynptr_write\n${read(38, 4)}r0 = *(u32 *)(r10 -64)`, 0x0007_2726n),
    one('bpf_dynptr_write beyond the end answers -E2BIG', `*(u64 *)(r10 -72) = 7\n${argument}r2 = 60\nr3 = r10\nr3 += -72\nr4 = 8\nr5 = 0\ncall bpf_dynptr_write`, -7n & 0xffff_ffff_ffff_ffffn),
    one('bpf_dynptr_write with a flag that nobody knows answers -EINVAL', `*(u64 *)(r10 -72) = 7\n${argument}r2 = 40\nr3 = r10\nr3 += -72\nr4 = 8\nr5 = 8\ncall bpf_dynptr_write`, -22n & 0xffff_ffff_ffff_ffffn),
    one('an adjusted dynptr begins later', `${call('adjust', 'r2 = 14\nr3 = 34\n')}${slice('slice', 0, 4)}if r0 == 0 goto end\nr0 = *(u32 *)(r0 +0)\nend:`, 0x1110_0f0en),
    one('an adjusted dynptr ends earlier', `${call('adjust', 'r2 = 14\nr3 = 34\n')}${call('size')}`, 20n),
    one('a slice beyond the end of an adjusted dynptr is NULL', `${call('adjust', 'r2 = 14\nr3 = 34\n')}${slice('slice', 18, 4)}`, 0n),
    one('a dynptr is adjusted to nothing', `${call('adjust', 'r2 = 64\nr3 = 64\n')}${call('size')}`, 0n),
    one('adjusting beyond the end answers -ERANGE', call('adjust', 'r2 = 0\nr3 = 65\n'), 0xffff_ffden),
    one('adjusting to an end before the start answers -EINVAL', call('adjust', 'r2 = 9\nr3 = 8\n'), EINVAL),
    one('a clone is about the same part', `${call('adjust', 'r2 = 14\nr3 = 34\n')}${call('clone', 'r2 = r10\nr2 += -32\n')}r1 = r10\nr1 += -32\ncall bpf_dynptr_size`, 20n),
    one('a clone is adjusted by itself', `${call('clone', 'r2 = r10\nr2 += -32\n')}r1 = r10\nr1 += -32\nr2 = 1\nr3 = 3\ncall bpf_dynptr_adjust\n${call('size')}`, 64n),
    one('bpf_dynptr_copy copies within a packet', `${argument}r2 = 0\nr3 = r1\nr4 = 32\nr5 = 4\ncall bpf_dynptr_copy\n${read(0, 4)}r0 = *(u32 *)(r10 -64)`, 0x2322_2120n),
    one('bpf_dynptr_copy beyond the end answers -E2BIG', `${argument}r2 = 0\nr3 = r1\nr4 = 62\nr5 = 4\ncall bpf_dynptr_copy`, 0xffff_fff9n),
    one('bpf_dynptr_memset fills the packet', `${call('memset', 'r2 = 5\nr3 = 2\nr4 = 255\n')}${read(4, 4)}r0 = *(u32 *)(r10 -64)`, 0x07ff_ff04n),
    one('bpf_dynptr_memset beyond the end answers -E2BIG', call('memset', 'r2 = 62\nr3 = 4\nr4 = 255\n'), 0xffff_fff9n),
  ];
});

const READ_ONLY: readonly Case[] = [
  single('a dynptr of a packet in a socket filter may not be written', withPacket('skb', `${call('is_rdonly')}r0 &= 255`), 1n, { type: 'socket_filter' }),
  single('bpf_dynptr_write to what may not be written answers -EINVAL', withPacket('skb', `*(u64 *)(r10 -72) = 7\n${argument}r2 = 0\nr3 = r10\nr3 += -72\nr4 = 8\nr5 = 0\ncall bpf_dynptr_write`), -22n & 0xffff_ffff_ffff_ffffn, { type: 'socket_filter' }),
  single('bpf_dynptr_memset of what may not be written answers -EINVAL', withPacket('skb', call('memset', 'r2 = 0\nr3 = 4\nr4 = 0\n')), EINVAL, { type: 'socket_filter' }),
];

/** `opts->error` after a lookup of a connection, with a tuple of so many bytes, and options. */
function tracked(name: string, tuple: number, network: number, protocol: number, more: { readonly size?: number; readonly zone?: number; readonly reserved?: number } = {}): string {
  const { size = 16, zone = 0, reserved = 0 } = more;
  return `
    *(u64 *)(r10 -64) = 0
    *(u64 *)(r10 -56) = 0
    *(u64 *)(r10 -48) = 0
    *(u64 *)(r10 -40) = 0
    *(u64 *)(r10 -32) = 0
    *(u32 *)(r10 -16) = ${network}
    *(u32 *)(r10 -12) = 0
    *(u32 *)(r10 -8) = ${protocol}
    *(u16 *)(r10 -6) = ${zone}
    *(u32 *)(r10 -4) = ${reserved}
    r2 = r10
    r2 += -64
    r3 = ${tuple}
    r4 = r10
    r4 += -16
    r5 = ${size}
    call bpf_${name}
    if r0 == 0 goto none
    r1 = r0
    ${name.endsWith('alloc') ? 'call bpf_ct_insert_entry\n    if r0 == 0 goto none\n    r1 = r0\n    ' : ''}call bpf_ct_release
    r0 = 1
    exit
    none: r0 = *(s32 *)(r10 -12)
    exit`;
}

const negative = (errno: number): bigint => BigInt.asUintN(64, BigInt(-errno));
const [ENOENT, EINVAL_64, ENONET, EPROTO, EAFNOSUPPORT] = [negative(2), negative(22), negative(64), negative(71), negative(97)];

const CONNECTIONS: readonly Case[] = ([['xdp', 'xdp'], ['skb', 'sched_cls']] as const).flatMap(([prefix, type]) => {
  const one = (name: string, expected: bigint, ...[tuple, network, protocol, more]: [number, number, number, Parameters<typeof tracked>[4]?]): Case => single(`${name} (${prefix})`, tracked(`${prefix}_ct_lookup`, tuple, network, protocol, more), expected, { type });
  return [
    one('no TCP connection is tracked', ENOENT, 12, -1, 6),
    one('no UDP connection is tracked', ENOENT, 12, -1, 17),
    one('no connection over IPv6 is tracked', ENOENT, 36, -1, 6),
    one('a lookup with the options of old programs', ENOENT, 12, -1, 6, { size: 12 }),
    one('a lookup in a zone', ENOENT, 12, -1, 6, { zone: 5 }),
    one('a lookup in a zone with the options of old programs is wrong', EINVAL_64, 12, -1, 6, { size: 12, zone: 5 }),
    one('a lookup with options of another size is wrong', EINVAL_64, 12, -1, 6, { size: 14 }),
    { ...one('a lookup with options too small for the error says nothing', 0n, 12, -1, 6, { size: 4 }), notOnLinux: 'Linux writes the error behind them' },
    one('a lookup with a reserved byte is wrong', EINVAL_64, 12, -1, 6, { reserved: 0x100 }),
    one('a lookup of a connection of ICMP is no protocol', EPROTO, 12, -1, 1),
    one('a lookup with a tuple of another size is no address family', EAFNOSUPPORT, 16, -1, 6),
    one('a lookup with no tuple at all is no address family', EAFNOSUPPORT, 0, -1, 6),
    one('a lookup in a network below those there are is wrong', EINVAL_64, 12, -2, 6),
    one('a lookup in a network that is not there', ENONET, 12, 12_345, 6),
  ];
});

const IPSEC = (bytes: number, network: number): string => `
    *(u64 *)(r10 -40) = 0
    *(u64 *)(r10 -32) = 0
    *(u64 *)(r10 -24) = 0
    *(u64 *)(r10 -16) = 0
    *(u64 *)(r10 -8) = 0
    *(u32 *)(r10 -36) = ${network}
    r2 = r10
    r2 += -40
    r3 = ${bytes}
    call bpf_xdp_get_xfrm_state
    if r0 == 0 goto none
    r1 = r0
    call bpf_xdp_xfrm_state_release
    r0 = 1
    exit
    none: r0 = *(s32 *)(r10 -40)
    exit`;

const STATES: readonly Case[] = [
  single('there is no IPsec state', IPSEC(36, -1), ENOENT),
  single('an IPsec state with options of another size is wrong', IPSEC(32, -1), EINVAL_64),
  single('an IPsec state with options of no size says nothing', IPSEC(0, -1), 0n),
  single('an IPsec state in a network below those there are is wrong', IPSEC(36, -2), EINVAL_64),
  single('an IPsec state in a network that is not there', IPSEC(36, 12_345), ENONET),
];

const SECTIONS: readonly Case[] = [
  single('an RCU section leaves everything as it is', 'r6 = 7\ncall bpf_rcu_read_lock\nr6 += 1\ncall bpf_rcu_read_unlock\nr0 = r6\nexit', 8n),
  single('preemption is disabled twice, and enabled twice', 'r6 = 7\ncall bpf_preempt_disable\ncall bpf_preempt_disable\nr6 += 1\ncall bpf_preempt_enable\ncall bpf_preempt_enable\nr0 = r6\nexit', 8n),
];

const OF_THE_CARD: readonly Case[] = (['rx_timestamp', 'rx_hash', 'rx_vlan_tag'] as const).map((name) =>
  single(`a card says nothing of packets (${name})`, `*(u64 *)(r10 -8) = 0\nr2 = r10\nr2 += -8\nr3 = r2\ncall bpf_xdp_metadata_${name}\nexit`, BigInt.asUintN(32, -95n), { notOnLinux: 'Linux runs such programs on their device only' }),
);

export const KERNEL_FUNCTION_CASES: readonly Case[] = [...ITERATORS, ...PACKETS, ...READ_ONLY, ...CONNECTIONS, ...STATES, ...SECTIONS, ...OF_THE_CARD];
