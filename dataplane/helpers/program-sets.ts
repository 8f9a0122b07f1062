/** The groups of program types that Linux gives the same helpers (the func_proto of each type, in net/core/filter.c). */
import type { ProgramType } from '../bpf/spec.ts';

/** Every type: helpers that need no packet. */
export const ANY_PROGRAM: readonly ProgramType[] = ['socket_filter', 'sched_cls', 'sched_act', 'xdp', 'cgroup_skb'];
/** Types whose context is a `struct __sk_buff`. */
export const SKB_PROGRAMS: readonly ProgramType[] = ['socket_filter', 'sched_cls', 'sched_act', 'cgroup_skb'];
/** Those of them that see packets between devices. */
export const SKB_NETWORK_PROGRAMS: readonly ProgramType[] = ['sched_cls', 'sched_act', 'cgroup_skb'];
export const TC_PROGRAMS: readonly ProgramType[] = ['sched_cls', 'sched_act'];
export const XDP_PROGRAMS: readonly ProgramType[] = ['xdp'];
export const TC_AND_XDP_PROGRAMS: readonly ProgramType[] = ['sched_cls', 'sched_act', 'xdp'];
