/* SPDX-License-Identifier: MIT
 *
 * Calls of every kind: static and global, nested, shared by two programs, across sections, and as callbacks.
 */
#include "bpf.h"

struct {
	__uint(type, ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 4);
} counters SEC(".maps");

static __noinline int leaf(int value)
{
	return value * 3 + 1;
}

static __noinline int middle(int value)
{
	return leaf(value ^ 7) + leaf(value);
}

__noinline int shared(int value)
{
	return middle(value) - 2;
}

__noinline __hidden int hidden(int value)
{
	return value * value * 5;
}

static long visit(void *map, const void *key, __u64 *value, __u32 *sum)
{
	*sum += leaf(*value);
	return 0;
}

SEC("xdp")
int nested(struct xdp_md *context)
{
	return shared(context->data) + hidden(context->data_end);
}

SEC("xdp")
int callback(struct xdp_md *context)
{
	__u32 sum = 0;

	for_each_map_elem(&counters, visit, &sum, 0);
	return sum;
}

SEC("tc")
int alone(void *context)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
