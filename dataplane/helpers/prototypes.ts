/**
 * Helpers that Linux 6.18 offers the program types here, and that have no implementation here: a program that calls one
 * can be verified, and not be run. Each is what its bpf_func_proto says (kernel/bpf/helpers.c, kernel/trace/bpf_trace.c,
 * net/core/filter.c).
 */
import type { ProgramType } from '../bpf/spec.ts';
import type { ArgumentKind, HelperPrototype, ReturnKind } from './helper.ts';
import { ANY_PROGRAM, SKB_NETWORK_PROGRAMS, TC_PROGRAMS } from './program-sets.ts';

const CGROUP_PROGRAMS = ['cgroup_skb'] as const;

type More = Omit<HelperPrototype, 'id' | 'name' | 'programs' | 'args' | 'returns'>;

const row = (id: number, name: string, programs: readonly ProgramType[], args: readonly ArgumentKind[], returns: ReturnKind, more: More = {}): HelperPrototype => ({
  id, name, args, returns, programs, ...more,
});

export const PROTOTYPES: readonly HelperPrototype[] = [
  row(14, 'get_current_pid_tgid', ANY_PROGRAM, [], 'int'),
  row(15, 'get_current_uid_gid', ANY_PROGRAM, [], 'int'),
  row(16, 'get_current_comm', ANY_PROGRAM, ['memory_out', 'size'], 'int'),
  row(22, 'perf_event_read', ANY_PROGRAM, ['map', 'u64'], 'int', { gplOnly: true }),
  row(33, 'skb_under_cgroup', TC_PROGRAMS, ['ctx', 'map', 'u64'], 'int'),
  row(35, 'get_current_task', ANY_PROGRAM, [], 'int', { gplOnly: true }),
  row(37, 'current_task_under_cgroup', ANY_PROGRAM, ['map', 'u64'], 'int'),
  row(55, 'perf_event_read_value', ANY_PROGRAM, ['map', 'u64', 'memory_out', 'size'], 'int', { gplOnly: true }),
  row(66, 'skb_get_xfrm_state', TC_PROGRAMS, ['ctx', 'u64', 'memory_out', 'size', 'u64'], 'int'),
  row(80, 'get_current_cgroup_id', ANY_PROGRAM, [], 'int'),
  row(81, 'get_local_storage', CGROUP_PROGRAMS, ['map', 'u64'], 'map_value'),
  row(105, 'strtol', ANY_PROGRAM, ['memory', 'size', 'u64', 'long_out'], 'int', { sizes: [undefined, undefined, undefined, 8] }),
  row(106, 'strtoul', ANY_PROGRAM, ['memory', 'size', 'u64', 'long_out'], 'int', { sizes: [undefined, undefined, undefined, 8] }),
  row(107, 'sk_storage_get', SKB_NETWORK_PROGRAMS, ['map', 'socket', 'map_value_or_null', 'u64'], 'map_value_or_null'),
  row(108, 'sk_storage_delete', SKB_NETWORK_PROGRAMS, ['map', 'socket'], 'int'),
  row(109, 'send_signal', ANY_PROGRAM, ['u64'], 'int'),
  row(112, 'probe_read_user', ANY_PROGRAM, ['memory_out', 'size_or_zero', 'u64'], 'int', { gplOnly: true }),
  row(113, 'probe_read_kernel', ANY_PROGRAM, ['memory_out', 'size_or_zero', 'u64'], 'int', { gplOnly: true }),
  row(114, 'probe_read_user_str', ANY_PROGRAM, ['memory_out', 'size_or_zero', 'u64'], 'int', { gplOnly: true }),
  row(115, 'probe_read_kernel_str', ANY_PROGRAM, ['memory_out', 'size_or_zero', 'u64'], 'int', { gplOnly: true }),
  row(117, 'send_signal_thread', ANY_PROGRAM, ['u64'], 'int'),
  row(120, 'get_ns_current_pid_tgid', ANY_PROGRAM, ['u64', 'u64', 'memory_out', 'size'], 'int'),
  row(123, 'get_current_ancestor_cgroup_id', ANY_PROGRAM, ['u64'], 'int'),
  row(128, 'sk_cgroup_id', CGROUP_PROGRAMS, ['socket'], 'int'),
  row(129, 'sk_ancestor_cgroup_id', CGROUP_PROGRAMS, ['socket', 'u64'], 'int'),
  row(136, 'skc_to_tcp6_sock', ANY_PROGRAM, ['socket'], 'btf_or_null', { casts: true, struct: 'tcp6_sock' }),
  row(137, 'skc_to_tcp_sock', ANY_PROGRAM, ['socket'], 'btf_or_null', { casts: true, struct: 'tcp_sock' }),
  row(138, 'skc_to_tcp_timewait_sock', ANY_PROGRAM, ['socket'], 'btf_or_null', { casts: true, struct: 'tcp_timewait_sock' }),
  row(139, 'skc_to_tcp_request_sock', ANY_PROGRAM, ['socket'], 'btf_or_null', { casts: true, struct: 'tcp_request_sock' }),
  row(140, 'skc_to_udp6_sock', ANY_PROGRAM, ['socket'], 'btf_or_null', { casts: true, struct: 'udp6_sock' }),
  row(141, 'get_task_stack', ANY_PROGRAM, ['task', 'memory_out', 'size_or_zero', 'u64'], 'int'),
  row(148, 'copy_from_user', ANY_PROGRAM, ['memory_out', 'size_or_zero', 'u64'], 'int', { mightSleep: true }),
  row(149, 'snprintf_btf', ANY_PROGRAM, ['memory_inout', 'size', 'memory', 'size', 'u64'], 'int'),
  row(153, 'per_cpu_ptr', ANY_PROGRAM, ['percpu_variable', 'u64'], 'percpu_or_null'),
  row(154, 'this_cpu_ptr', ANY_PROGRAM, ['percpu_variable'], 'percpu'),
  row(156, 'task_storage_get', ANY_PROGRAM, ['map', 'task_or_null', 'map_value_or_null', 'u64'], 'map_value_or_null'),
  row(157, 'task_storage_delete', ANY_PROGRAM, ['map', 'task_or_null'], 'int'),
  row(158, 'get_current_task_btf', ANY_PROGRAM, [], 'btf_trusted', { gplOnly: true, struct: 'task_struct' }),
  row(175, 'task_pt_regs', ANY_PROGRAM, ['task'], 'btf', { gplOnly: true, struct: 'pt_regs' }),
  row(176, 'get_branch_snapshot', ANY_PROGRAM, ['memory_out', 'size_or_zero'], 'int', { gplOnly: true }),
  row(178, 'skc_to_unix_sock', ANY_PROGRAM, ['socket'], 'btf_or_null', { struct: 'unix_sock' }),
  row(180, 'find_vma', ANY_PROGRAM, ['task', 'u64', 'callback', 'callback_ctx', 'u64'], 'int'),
  row(191, 'copy_from_user_task', ANY_PROGRAM, ['memory_out', 'size_or_zero', 'u64', 'task'], 'int', { gplOnly: true, mightSleep: true }),
  row(196, 'skc_to_mptcp_sock', ANY_PROGRAM, ['sock_common'], 'btf_or_null', { casts: true, struct: 'mptcp_sock' }),
  row(209, 'user_ringbuf_drain', ANY_PROGRAM, ['map', 'callback', 'callback_ctx', 'u64'], 'int'),
  row(210, 'cgrp_storage_get', ANY_PROGRAM, ['map', 'cgroup_or_null', 'map_value_or_null', 'u64'], 'map_value_or_null'),
  row(211, 'cgrp_storage_delete', ANY_PROGRAM, ['map', 'cgroup_or_null'], 'int'),
];
