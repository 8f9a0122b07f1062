/* SPDX-License-Identifier: MIT
 *
 * What real objects hold beside the programs of a hook: programs for tracing, and a map whose size their loader sets.
 */
#include "bpf.h"

struct {
	__uint(type, ARRAY);
	__type(key, __u32);
	__type(value, __u64);
} per_cpu_counters SEC(".maps");

SEC("xdp")
int pass(struct xdp_md *context)
{
	return 2;
}

SEC("xdp")
int count(struct xdp_md *context)
{
	__u32 key = 0;
	__u64 *value = map_lookup(&per_cpu_counters, &key);

	if (value)
		*value += 1;
	return 2;
}

SEC("kprobe/tcp_connect")
int connecting(void *context)
{
	return 0;
}
