/** Which capability a program's loader needs for a helper (kernel/bpf/helpers.c: bpf_base_func_proto, and what tracing adds to it). */
import { HELPER_NAMES } from './names.ts';

const idsOf = (names: readonly string[]): ReadonlySet<number> => new Set(names.map((name) => HELPER_NAMES.indexOf(name)));

const CAP_BPF = idsOf([
  'get_cgroup_classid', 'current_task_under_cgroup', 'get_current_cgroup_id', 'spin_lock', 'spin_unlock', 'jiffies64',
  'get_current_ancestor_cgroup_id', 'per_cpu_ptr', 'this_cpu_ptr', 'task_storage_get', 'task_storage_delete', 'for_each_map_elem', 'timer_init',
  'timer_set_callback', 'timer_start', 'timer_cancel', 'loop', 'kptr_xchg', 'dynptr_from_mem', 'ringbuf_reserve_dynptr', 'ringbuf_submit_dynptr',
  'ringbuf_discard_dynptr', 'dynptr_read', 'dynptr_write', 'dynptr_data', 'user_ringbuf_drain', 'cgrp_storage_get', 'cgrp_storage_delete',
]);

/** They show the kernel's memory, or other programs of the machine. */
const CAP_PERFMON = idsOf([
  'trace_printk', 'get_current_comm', 'perf_event_read', 'get_current_task', 'perf_event_read_value', 'send_signal', 'probe_read_user',
  'probe_read_kernel', 'probe_read_user_str', 'probe_read_kernel_str', 'send_signal_thread', 'skc_to_tcp6_sock', 'skc_to_tcp_sock',
  'skc_to_tcp_timewait_sock', 'skc_to_tcp_request_sock', 'skc_to_udp6_sock', 'get_task_stack', 'copy_from_user', 'snprintf_btf',
  'get_current_task_btf', 'snprintf', 'task_pt_regs', 'get_branch_snapshot', 'trace_vprintk', 'skc_to_unix_sock', 'find_vma', 'copy_from_user_task',
  'skc_to_mptcp_sock',
]);

/** Undefined where whoever may load the program may call it. */
export function capabilityFor(id: number): 'bpf' | 'perfmon' | undefined {
  return CAP_BPF.has(id) ? 'bpf' : CAP_PERFMON.has(id) ? 'perfmon' : undefined;
}
