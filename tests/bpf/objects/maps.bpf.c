/* SPDX-License-Identifier: MIT
 *
 * Every attribute of a map declared by BTF.
 */
#include "bpf.h"

struct flow {
	__be32 address;
	__be16 port;
	__u16 pad;
};

struct {
	__uint(type, HASH);
	__type(key, struct flow);
	__type(value, __u64);
	__uint(max_entries, 1000);
	__uint(map_flags, 1);
	__uint(numa_node, 2);
	__uint(pinning, 1);
} flows SEC(".maps");

struct {
	__uint(type, BLOOM_FILTER);
	__uint(value_size, 4);
	__uint(max_entries, 64);
	__ulong(map_extra, 5);
} seen SEC(".maps");

struct inner {
	__uint(type, ARRAY);
	__uint(key_size, 4);
	__type(value, __u32);
	__uint(max_entries, 8);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, ARRAY_OF_MAPS);
	__uint(key_size, 4);
	__uint(max_entries, 4);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { [1] = &first, [3] = &second },
};

int next_program(struct xdp_md *context);

struct {
	__uint(type, PROG_ARRAY);
	__uint(key_size, 4);
	__uint(max_entries, 3);
	__array(values, int(struct xdp_md *));
} jumps SEC(".maps") = {
	.values = { [2] = next_program },
};

SEC("xdp")
int first_program(struct xdp_md *context)
{
	struct flow key = { .port = 80 };
	if (map_lookup(&flows, &key) && map_lookup(&outer, &key))
		tail_call(context, &jumps, 2);
	return 1;
}

SEC("?xdp.frags/devmap")
int next_program(struct xdp_md *context)
{
	return 2;
}

char _license[] SEC("license") = "Dual MIT/GPL";
