// SPDX-License-Identifier: MIT
/*
 * xdp_lb: a layer 4 load balancer in the manner of Katran.
 *
 * Packets to a virtual IP (VIP) are wrapped in another IP header (IP in IP, RFC 2003 and 2473) and sent
 * to one of the VIP's backends, which unwraps them and answers the client directly. A flow finds its
 * backend in this order:
 *   1. lb_flows, the table of known connections; a TCP SYN does not look, for it begins a new one
 *   2. the VIP's Maglev ring (lb_rings), indexed by a hash of the flow; the choice is remembered
 * Several load balancers with the same rings agree without talking to each other, and a ring that
 * changes moves only flows that the table has forgotten.
 *
 * Besides: echo requests to a VIP are answered here, ICMP errors about a flow follow that flow to its
 * backend, and later fragments follow their first fragment. All else is passed on untouched.
 */
#include "include/parse.h"

#define MAX_VIPS 64
#define MAX_BACKENDS 1024
/* A prime, as Maglev asks, and some 100 times the backends of a VIP for an even spread. */
#define RING_SIZE 4093
#define MAX_FLOWS 65536
#define MAX_FRAGMENTS 4096
#define OUTER_TTL 64

enum vip_flags {
	VIP_STATELESS = 1,	 /* keep no table: for short flows, such as DNS queries */
	VIP_SOURCE_AFFINITY = 2, /* all flows of a client go to one backend */
};

enum backend_state {
	BACKEND_NONE = 0,
	BACKEND_UP = 1,	  /* to drain it, take it out of the rings and leave it up */
	BACKEND_DOWN = 2, /* its flows choose again */
};

enum lb_event {
	LB_PASSED = 0,
	LB_FORWARDED,
	LB_ECHO_ANSWERED,
	LB_NEW_FLOW,
	LB_FLOW_UNKNOWN, /* not a beginning and not in the table: the ring had to guess */
	LB_ICMP_ERROR,
	LB_FRAGMENT,
	LB_FRAGMENT_UNKNOWN,
	LB_BAD_PACKET,
	LB_NO_BACKEND,
	LB_TOO_BIG,
	LB_NO_HEADROOM,
	LB_EVENTS,
};
ENUM_INDEX(lb_event);

struct lb_config {
	__be32 source_v4; /* outer source addresses */
	struct in6_addr source_v6;
	__u8 gateway_mac[ETH_ADDRESS_LENGTH]; /* next hop; all zero: back to the sender of the packet */
	__u8 source_mac[ETH_ADDRESS_LENGTH];  /* all zero: the address the packet came to */
	__u32 egress_ifindex; /* redirect there; 0: transmit where the packet came in */
	__u32 mtu;	      /* of the way to the backends; 0: unlimited */
	__u8 spread_source;   /* take the lower 16 bits of source_v4 from the flow's hash, so that the
			       * backend's NIC spreads flows over its queues */
	__u8 pad[3];
};

/* IPv4 addresses are IPv4-mapped: ::ffff:10.0.0.100. */
struct vip_key {
	struct in6_addr address;
	__be16 port; /* 0 for ICMP and ICMPv6 */
	__u8 protocol;
	__u8 pad;
};

struct vip {
	__u32 id; /* its ring in lb_rings and its counters in vip_stats */
	enum vip_flags flags;
};

struct backend {
	struct in6_addr address;
	enum backend_state state;
};

struct flow_key {
	struct in6_addr client;
	struct in6_addr vip;
	__be16 client_port;
	__be16 vip_port;
	__u8 protocol;
	__u8 pad[3];
};

/* Where a packet goes and on whose account; what a first fragment leaves for the later ones. */
struct route {
	__u32 vip;
	__u32 backend;
	__u32 hash;
};

struct lb_counter {
	__u64 packets;
	__u64 bytes;
	__u64 flows;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lb_config);
} lb_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_VIPS);
	__type(key, struct vip_key);
	__type(value, struct vip);
} vips SEC(".maps");

/* Number 0 stays empty: it is what an unfilled ring points to. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_BACKENDS);
	__type(key, __u32);
	__type(value, struct backend);
} backends SEC(".maps");

/* One ring after the other: slot s of VIP v is element v * RING_SIZE + s, a backend's number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_VIPS * RING_SIZE);
	__type(key, __u32);
	__type(value, __u32);
} lb_rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_FLOWS);
	__type(key, struct flow_key);
	__type(value, __u32); /* a backend's number */
} lb_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_FRAGMENTS);
	__type(key, struct fragment_key);
	__type(value, struct route);
} lb_fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_VIPS);
	__type(key, __u32);
	__type(value, struct lb_counter);
} vip_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_BACKENDS);
	__type(key, __u32);
	__type(value, struct lb_counter);
} backend_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LB_EVENTS);
	__type(key, lb_event);
	__type(value, __u64);
} lb_counters SEC(".maps");

static __always_inline void count_event(enum lb_event event)
{
	__u64 *counter = bpf_map_lookup_elem(&lb_counters, &event);

	if (counter)
		(*counter)++;
}

/* The end of all that is not forwarded; out of line, because there are many. */
static __noinline int end(enum lb_event event, int action)
{
	count_event(event);
	return action;
}

/* All bits of the result depend on all bits of the input: multiply and shift, as in MurmurHash. */
static __always_inline __u64 mix(__u64 hash, __u64 value)
{
	hash = (hash ^ value) * 0xff51afd7ed558ccdull;
	return hash ^ hash >> 32;
}

/* The VIP does not enter: each has a ring of its own. */
static __always_inline __u32 hash_flow(const struct flow_key *flow, bool source_only)
{
	__u64 hash = (__u64)flow->client.words[0] << 32 | flow->client.words[1];

	hash = mix(hash, (__u64)flow->client.words[2] << 32 | flow->client.words[3]);
	if (!source_only)
		hash = mix(hash, (__u64)flow->protocol << 32 | (__u32)flow->client_port << 16 | flow->vip_port);
	return mix(hash, 0x9e3779b97f4a7c15ull) >> 32;
}

static __always_inline struct backend *usable_backend(__u32 number)
{
	struct backend *backend = bpf_map_lookup_elem(&backends, &number);

	return backend && backend->state == BACKEND_UP ? backend : NULL;
}

enum flow_stage {
	FLOW_BEGINS,	/* TCP SYN: what the table holds is an older flow with the same ports */
	FLOW_MAY_BEGIN, /* UDP has no beginning to see */
	FLOW_CONTINUES,
	FLOW_IN_QUOTES, /* inside an ICMP error: not to be remembered */
};

/* The backend of a flow, or NULL if none is usable; fills route. */
static __always_inline struct backend *choose_backend(const struct vip *vip, struct flow_key *flow,
						      enum flow_stage stage, struct route *route)
{
	bool stateless = vip->flags & VIP_STATELESS;
	struct lb_counter *counter;
	struct backend *backend;
	__u32 slot, *number;

	route->vip = vip->id;
	route->hash = hash_flow(flow, vip->flags & VIP_SOURCE_AFFINITY);
	if (!stateless && stage != FLOW_BEGINS) {
		number = bpf_map_lookup_elem(&lb_flows, flow);
		if (number) {
			route->backend = *number;
			backend = usable_backend(*number);
			if (backend)
				return backend;
		}
	}

	/* Multiply and shift maps the hash to 0..RING_SIZE-1 evenly, without a division. */
	slot = vip->id * RING_SIZE + (__u32)((__u64)route->hash * RING_SIZE >> 32);
	number = bpf_map_lookup_elem(&lb_rings, &slot);
	if (!number)
		return NULL;
	route->backend = *number;
	backend = usable_backend(*number);
	if (!backend || stateless || stage == FLOW_IN_QUOTES)
		return backend;

	bpf_map_update_elem(&lb_flows, flow, number, BPF_ANY);
	if (stage == FLOW_CONTINUES) {
		count_event(LB_FLOW_UNKNOWN);
		return backend;
	}
	count_event(LB_NEW_FLOW);
	counter = bpf_map_lookup_elem(&vip_stats, &route->vip);
	if (counter)
		counter->flows++;
	counter = bpf_map_lookup_elem(&backend_stats, &route->backend);
	if (counter)
		counter->flows++;
	return backend;
}

/* An Ethernet address as a number, 0 if it is all zero. Two bytes behind it are read, too. */
static __always_inline __u64 read_mac(const __u8 *mac)
{
	return *(const __u64 *)mac << 16 >> 16;
}

static __always_inline void write_mac(__u8 *to, __u64 mac)
{
	*(__u32 *)to = mac;
	*(__u16 *)(to + 4) = mac >> 32;
}

static __always_inline void write_outer_v4(struct ipv4_header *outer, const struct lb_config *config,
					   const struct backend *backend, __u32 inner_length, __u8 traffic_class,
					   __u8 protocol, __u32 hash)
{
	__be16 version_ihl_tos = bpf_htons((4 << 4 | sizeof(*outer) / 4) << 8 | traffic_class);
	__be16 total_length = bpf_htons(sizeof(*outer) + inner_length);
	__be16 ttl_protocol = bpf_htons(OUTER_TTL << 8 | protocol);
	__be32 source = config->source_v4, destination = backend->address.words[3];

	if (config->spread_source)
		source = (source & bpf_htonl(0xffff0000)) | bpf_htonl(hash & 0xffff);
	*(__be16 *)&outer->version_ihl = version_ihl_tos;
	outer->total_length = total_length;
	outer->id = 0; /* never fragmented, so it needs no identity (RFC 6864) */
	outer->fragment = bpf_htons(IP_DF);
	*(__be16 *)&outer->ttl = ttl_protocol;
	outer->source = source;
	outer->destination = destination;
	/* From registers: to read what was just written in other pieces makes a processor wait. */
	outer->checksum = fold_checksum((__u64)version_ihl_tos + total_length + bpf_htons(IP_DF) + ttl_protocol +
					source + destination);
}

static __always_inline void write_outer_v6(struct ipv6_header *outer, const struct lb_config *config,
					   const struct backend *backend, __u32 inner_length, __u8 traffic_class,
					   __u8 protocol, __u32 hash)
{
	/* The flow label tells routers and NICs flows apart (RFC 6438). */
	outer->version_class_flow = bpf_htonl(6u << 28 | (__u32)traffic_class << 20 | (hash & 0xfffff));
	outer->payload_length = bpf_htons(inner_length);
	outer->next_header = protocol;
	outer->hop_limit = OUTER_TTL;
	outer->source = config->source_v6;
	outer->destination = backend->address;
}

/*
 * Puts the outer header between the link layer and the packet:
 *
 *   | destination | source | tags | type | inner IP ...
 *   | destination | source | tags | type | outer IP | inner IP ...
 *   ^ data, moved towards the headroom
 */
static __always_inline int encapsulate(struct xdp_md *ctx, const struct lb_config *config,
				       const struct link_layer *link, const struct network_layer *network,
				       const struct backend *backend, __u32 hash)
{
	bool outer_v4 = is_mapped(&backend->address);
	__u32 outer_length = outer_v4 ? sizeof(struct ipv4_header) : sizeof(struct ipv6_header);
	__u32 inner_length = network->total_length;
	__u8 protocol = network->version == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	/* DSCP and congestion marks must be seen on the way (RFC 6040). */
	__u8 traffic_class = network->version == 4 ? network->v4->tos :
						     bpf_ntohl(network->v6->version_class_flow) >> 20;
	const struct vlan_tag *old_tags = (void *)link->ethernet + 2 * ETH_ADDRESS_LENGTH;
	__u64 to = read_mac(config->gateway_mac), from = read_mac(config->source_mac);
	struct vlan_tag tags[MAX_VLAN_TAGS] = {};
	__u32 tag_count = link->tags;
	struct ethernet_header *ethernet;
	__be16 *type;
	void *data_end, *outer;

	/* Where there are none, those of the packet, which are still there. */
	if (!to)
		to = read_mac(link->ethernet->source);
	if (!from)
		from = read_mac(link->ethernet->destination);
	if (inner_length + outer_length > (config->mtu ? config->mtu : 65535))
		return end(LB_TOO_BIG, XDP_DROP);
	if (tag_count > 0)
		tags[0] = old_tags[0];
	if (tag_count > 1)
		tags[1] = old_tags[1];

	if (bpf_xdp_adjust_head(ctx, -(int)outer_length))
		return end(LB_NO_HEADROOM, XDP_DROP);
	/* The packet may have moved: every pointer into it is void now. */
	ethernet = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;

	type = &ethernet->type;
	if ((void *)(ethernet + 1) + sizeof(tags) > data_end)
		return end(LB_BAD_PACKET, XDP_DROP);
	write_mac(ethernet->destination, to);
	write_mac(ethernet->source, from);
	if (tag_count > 0) {
		*(struct vlan_tag *)type = tags[0];
		type += sizeof(struct vlan_tag) / sizeof(*type);
	}
	if (tag_count > 1) {
		*(struct vlan_tag *)type = tags[1];
		type += sizeof(struct vlan_tag) / sizeof(*type);
	}
	outer = type + 1;
	if (outer_v4) {
		if (outer + sizeof(struct ipv4_header) > data_end)
			return end(LB_BAD_PACKET, XDP_DROP);
		*type = bpf_htons(ETH_P_IP);
		write_outer_v4(outer, config, backend, inner_length, traffic_class, protocol, hash);
	} else {
		if (outer + sizeof(struct ipv6_header) > data_end)
			return end(LB_BAD_PACKET, XDP_DROP);
		*type = bpf_htons(ETH_P_IPV6);
		write_outer_v6(outer, config, backend, inner_length, traffic_class, protocol, hash);
	}
	count_event(LB_FORWARDED);
	return config->egress_ifindex ? bpf_redirect(config->egress_ifindex, 0) : XDP_TX;
}

static __always_inline void count_traffic(void *stats, __u32 number, __u64 bytes)
{
	struct lb_counter *counter = bpf_map_lookup_elem(stats, &number);

	if (counter) {
		counter->packets++;
		counter->bytes += bytes;
	}
}

static __always_inline void swap_macs(struct ethernet_header *ethernet)
{
	__u8 mac[ETH_ADDRESS_LENGTH];

	__builtin_memcpy(mac, ethernet->source, sizeof(mac));
	__builtin_memcpy(ethernet->source, ethernet->destination, sizeof(mac));
	__builtin_memcpy(ethernet->destination, mac, sizeof(mac));
}

/* Turns an echo request into its reply. Swapping addresses changes no checksum; type and TTL do. */
static __always_inline int answer_echo(const struct link_layer *link, const struct network_layer *network,
				       struct icmp_header *icmp)
{
	__be16 request = bpf_htons(icmp->type << 8);

	swap_macs(link->ethernet);
	if (network->version == 4) {
		struct ipv4_header *ip = network->v4;
		__be32 client = ip->source;

		ip->source = ip->destination;
		ip->destination = client;
		ip->checksum = update_checksum(ip->checksum, bpf_htons(ip->ttl << 8), bpf_htons(OUTER_TTL << 8));
		ip->ttl = OUTER_TTL;
		icmp->type = ICMP_ECHO_REPLY;
	} else {
		struct ipv6_header *ip = network->v6;
		struct in6_addr client = ip->source;

		ip->source = ip->destination;
		ip->destination = client;
		ip->hop_limit = OUTER_TTL;
		icmp->type = ICMPV6_ECHO_REPLY;
	}
	icmp->checksum = update_checksum(icmp->checksum, request, bpf_htons(icmp->type << 8));
	return end(LB_ECHO_ANSWERED, XDP_TX);
}

/* Replaces the flow of an ICMP error by the one it speaks of: it quotes a packet that a backend sent in
 * the VIP's name, so source and destination change places. False if the quote is none of ours. */
static __always_inline bool quoted_flow(struct cursor *cursor, __u8 version, struct flow_key *flow)
{
	struct quoted_packet quoted;

	if (!parse_quoted(cursor, version, &quoted) || !same_address(&quoted.source, &flow->vip))
		return false;
	if (quoted.protocol != IPPROTO_TCP && quoted.protocol != IPPROTO_UDP)
		return false;
	flow->client = quoted.destination;
	flow->client_port = quoted.destination_port;
	flow->vip_port = quoted.source_port;
	flow->protocol = quoted.protocol;
	return true;
}

static __always_inline struct vip *find_vip(const struct flow_key *flow)
{
	struct vip_key key = { flow->vip, flow->vip_port, flow->protocol, 0 };

	return bpf_map_lookup_elem(&vips, &key);
}

SEC("xdp")
int xdp_lb(struct xdp_md *ctx)
{
	struct cursor cursor = xdp_cursor(ctx);
	enum flow_stage stage = FLOW_MAY_BEGIN;
	struct network_layer network;
	struct flow_key flow = {};
	struct link_layer link;
	struct route route = {};
	struct backend *backend;
	struct lb_config *config;
	struct vip *vip;
	__u32 zero = 0;

	config = bpf_map_lookup_elem(&lb_config, &zero);
	if (!config)
		return XDP_ABORTED;

	if (!parse_link(&cursor, &link))
		return end(LB_BAD_PACKET, XDP_DROP);
	switch (link.type) {
	case bpf_htons(ETH_P_IP):
		if (!parse_ipv4(&cursor, &network))
			return end(LB_BAD_PACKET, XDP_DROP);
		break;
	case bpf_htons(ETH_P_IPV6):
		if (!parse_ipv6(&cursor, &network))
			return end(LB_BAD_PACKET, XDP_DROP);
		break;
	default:
		return end(LB_PASSED, XDP_PASS);
	}
	flow.client = source_address(&network);
	flow.vip = destination_address(&network);
	flow.protocol = network.protocol;

	if (network.fragment == LATER_FRAGMENT) {
		struct fragment_key fragment = fragment_key(&network);
		struct route *found = bpf_map_lookup_elem(&lb_fragments, &fragment);

		/* Overtook its first fragment, or goes to no VIP: who is to say? */
		if (!found)
			return end(LB_FRAGMENT_UNKNOWN, XDP_PASS);
		route = *found;
		backend = usable_backend(route.backend);
		goto forward;
	}

	switch (network.protocol) {
	case IPPROTO_TCP: {
		struct tcp_header *tcp = take(&cursor, sizeof(*tcp));

		if (!tcp)
			return end(LB_BAD_PACKET, XDP_DROP);
		flow.client_port = tcp->source;
		flow.vip_port = tcp->destination;
		stage = (tcp->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN ? FLOW_BEGINS : FLOW_CONTINUES;
		break;
	}
	case IPPROTO_UDP: {
		struct udp_header *udp = take(&cursor, sizeof(*udp));

		if (!udp)
			return end(LB_BAD_PACKET, XDP_DROP);
		flow.client_port = udp->source;
		flow.vip_port = udp->destination;
		break;
	}
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: {
		struct icmp_header *icmp = take(&cursor, sizeof(*icmp));

		if (!icmp)
			return end(LB_BAD_PACKET, XDP_DROP);
		if (is_echo_request(network.protocol, icmp->type)) {
			vip = find_vip(&flow);
			if (!vip || network.fragment != NOT_FRAGMENTED)
				return end(LB_PASSED, XDP_PASS);
			count_traffic(&vip_stats, vip->id, cursor.frame_length);
			return answer_echo(&link, &network, icmp);
		}
		if (!is_icmp_error(network.protocol, icmp->type) || !quoted_flow(&cursor, network.version, &flow))
			return end(LB_PASSED, XDP_PASS);
		stage = FLOW_IN_QUOTES;
		break;
	}
	default:
		return end(LB_PASSED, XDP_PASS);
	}

	vip = find_vip(&flow);
	if (!vip)
		return end(LB_PASSED, XDP_PASS);
	if (stage == FLOW_IN_QUOTES)
		count_event(LB_ICMP_ERROR);
	backend = choose_backend(vip, &flow, stage, &route);
	if (backend && network.fragment == FIRST_FRAGMENT) {
		struct fragment_key fragment = fragment_key(&network);

		bpf_map_update_elem(&lb_fragments, &fragment, &route, BPF_ANY);
	}

forward:
	if (network.fragment != NOT_FRAGMENTED)
		count_event(LB_FRAGMENT);
	count_traffic(&vip_stats, route.vip, cursor.frame_length);
	if (!backend)
		return end(LB_NO_BACKEND, XDP_DROP);
	count_traffic(&backend_stats, route.backend, cursor.frame_length);
	return encapsulate(ctx, config, &link, &network, backend, route.hash);
}

LICENSE("Dual MIT/GPL");
