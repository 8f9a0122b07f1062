/**
 * Connection tracking (Linux: net/netfilter/nf_conntrack_bpf.c), as on a machine that tracks no connection: arguments are
 * checked as Linux checks them, lookups find nothing, and there is no room for new entries. What takes an entry is only
 * ever verified, since nobody has one.
 */
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import type { HelperFunction } from './helper.ts';
import type { Kfunc } from './kfunc.ts';
import type { ProgramType } from '../bpf/spec.ts';

/** struct bpf_ct_opts, and its size before it had a reserved part. */
const OPTS = { netns_id: 0, error: 4, l4proto: 8, ct_zone_id: 10, reserved: 13, bytes: 16, oldBytes: 12 } as const;
/** Of struct bpf_sock_tuple, by address family. */
const TUPLE_BYTES: ReadonlySet<number> = new Set([12, 36]);
const IPPROTO = { tcp: 6, udp: 17 } as const;
const BPF_F_CURRENT_NETNS = -1;

/** Linux's answer to whoever asks for an entry that is not there. */
function refusal({ memory: { view } }: Machine, tupleBytes: number, opts: number, optsBytes: number, absent: number): number {
  if (optsBytes !== OPTS.bytes && optsBytes !== OPTS.oldBytes) return ERRNO.EINVAL;
  const byte = (at: number): number => view.getUint8(opts + at);
  if (optsBytes === OPTS.bytes ? byte(OPTS.reserved) !== 0 || byte(OPTS.reserved + 1) !== 0 || byte(OPTS.reserved + 2) !== 0 : view.getUint16(opts + OPTS.ct_zone_id, true) !== 0) return ERRNO.EINVAL;
  const network = view.getInt32(opts + OPTS.netns_id, true);
  const protocol = byte(OPTS.l4proto);
  if (network < BPF_F_CURRENT_NETNS) return ERRNO.EINVAL;
  if (protocol !== IPPROTO.tcp && protocol !== IPPROTO.udp) return ERRNO.EPROTO;
  if (!TUPLE_BYTES.has(tupleBytes)) return ERRNO.EAFNOSUPPORT;
  return network >= 0 ? ERRNO.ENONET : absent;
}

const asking =
  (absent: number) =>
  (machine: Machine): HelperFunction =>
  (_context, tuple, tupleBytes, opts, optsBytes) => {
    // Linux writes the error also where the options end before it.
    if (optsBytes! >>> 0 < OPTS.error + 4) return 0;
    const at = opts! >>> 0;
    const errno = tuple === 0 ? ERRNO.EINVAL : refusal(machine, tupleBytes! >>> 0, at, optsBytes! >>> 0, absent);
    machine.memory.view.setInt32(at + OPTS.error, -errno, true);
    return 0;
  };

const ARGUMENTS = ['ctx', 'memory_inout', 'size_or_zero', 'memory_inout', 'size_or_zero'] as const;
const TYPES: readonly (readonly [prefix: string, programs: readonly ProgramType[]])[] = [['bpf_xdp_ct', ['xdp']], ['bpf_skb_ct', ['sched_cls']]];
const NOTHING: Kfunc['implementation'] = { kind: 'js', bind: () => () => 0 };
const PROGRAMS: readonly ProgramType[] = ['xdp', 'sched_cls'];
const NO_ENTRY = 'NULL, and `opts->error` -ENOENT: no connection is tracked';
const NEVER = 'never runs: nobody has an entry';

const entry = (name: string, args: Kfunc['args'], object: string, more: Partial<Kfunc> = {}): Kfunc => ({ name, args, returns: 'u32', programs: PROGRAMS, objects: [object], trustedArguments: true, remark: NEVER, implementation: NOTHING, ...more });

export const CONNTRACK_KFUNCS: readonly Kfunc[] = [
  ...TYPES.flatMap(([prefix, programs]): readonly Kfunc[] => [
    { name: `${prefix}_lookup`, args: ARGUMENTS, returns: 'btf_or_null', struct: 'nf_conn', programs, acquires: true, trustedArguments: true, remark: NO_ENTRY, implementation: { kind: 'js', bind: asking(ERRNO.ENOENT) } },
    { name: `${prefix}_alloc`, args: ARGUMENTS, returns: 'btf_or_null', struct: 'nf_conn___init', programs, acquires: true, trustedArguments: true, remark: 'NULL, and `opts->error` -ENOMEM: there is no table', implementation: { kind: 'js', bind: asking(ERRNO.ENOMEM) } },
  ]),
  entry('bpf_ct_insert_entry', ['object'], 'nf_conn___init', { returns: 'btf_or_null', struct: 'nf_conn', acquires: true, releases: true }),
  entry('bpf_ct_release', ['object'], 'nf_conn', { returns: 'void', releases: true }),
  entry('bpf_ct_set_timeout', ['object', 'u32'], 'nf_conn___init', { returns: 'void' }),
  entry('bpf_ct_change_timeout', ['object', 'u32'], 'nf_conn'),
  entry('bpf_ct_set_status', ['object', 'u32'], 'nf_conn___init'),
  entry('bpf_ct_change_status', ['object', 'u32'], 'nf_conn'),
];
