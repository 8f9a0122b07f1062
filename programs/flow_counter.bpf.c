// SPDX-License-Identifier: MIT
/*
 * flow_counter: counts packets and bytes per 5-tuple and passes everything. The smallest program that
 * parses, looks up and updates; a start for programs of your own, and a workload for benchmarks.
 */
#include "include/parse.h"

#define MAX_FLOWS 65536

struct flow {
	struct in6_addr source;
	struct in6_addr destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 pad[3]; /* a key is compared byte by byte: no byte may be left to chance */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_FLOWS);
	__type(key, struct flow);
	__type(value, struct counter);
} flows SEC(".maps");

SEC("xdp")
int flow_counter(struct xdp_md *ctx)
{
	struct cursor cursor = xdp_cursor(ctx);
	struct network_layer network;
	struct link_layer link;
	struct flow flow = {};
	struct counter *counter;

	if (!parse_link(&cursor, &link))
		return XDP_PASS;
	if (link.type == bpf_htons(ETH_P_IP)) {
		if (!parse_ipv4(&cursor, &network))
			return XDP_PASS;
	} else if (link.type == bpf_htons(ETH_P_IPV6)) {
		if (!parse_ipv6(&cursor, &network))
			return XDP_PASS;
	} else {
		return XDP_PASS;
	}
	flow.source = source_address(&network);
	flow.destination = destination_address(&network);
	flow.protocol = network.protocol;
	if (network.fragment != LATER_FRAGMENT &&
	    (network.protocol == IPPROTO_TCP || network.protocol == IPPROTO_UDP)) {
		/* Both begin with the two ports. */
		struct udp_header *ports = take(&cursor, sizeof(*ports));

		if (ports) {
			flow.source_port = ports->source;
			flow.destination_port = ports->destination;
		}
	}

	counter = bpf_map_lookup_elem(&flows, &flow);
	if (counter) {
		/* Shared by all CPUs, unlike a per-CPU map's value. */
		__sync_fetch_and_add(&counter->packets, 1);
		__sync_fetch_and_add(&counter->bytes, cursor.frame_length);
	} else {
		struct counter first = { 1, cursor.frame_length };

		/* A full table refuses: the flow stays uncounted, the packet passes. */
		bpf_map_update_elem(&flows, &flow, &first, BPF_NOEXIST);
	}
	return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
