// SPDX-License-Identifier: MIT
/*
 * xdp_firewall: a stateless firewall in front of everything else.
 *
 * A packet passes these gates in order; the first that decides ends the walk:
 *   1. headers    lengths and flags that no honest sender makes are dropped
 *   2. allow list its source is in allow_v4 or allow_v6: passed
 *   3. deny list  its source is in deny_v4 or deny_v6: dropped
 *   4. fragments  dropped if so configured
 *   5. rules      by protocol and destination port; then by protocol alone; then the default
 *   6. SYN rate   a TCP SYN takes a token from the bucket of its source, or is dropped
 *
 * Every list entry and rule carries a number of your choice; rule_stats counts by that number.
 * Every drop counts under its reason in fw_counters and, sampled, becomes a record in fw_drops.
 */
#include "include/parse.h"

#define MAX_RULES 256
#define MAX_PREFIXES 65536
#define MAX_SOURCES 65536
#define NS_PER_SECOND 1000000000u

enum fw_action {
	FW_PASS = 0,
	FW_DROP = 1,
};

enum fw_reason {
	FW_PASSED = 0,
	FW_DENY_LIST,
	FW_RULE,
	FW_DEFAULT,
	FW_SYN_RATE,
	FW_FRAGMENT,
	FW_IP_OPTIONS,
	FW_TRUNCATED_FRAME,
	FW_VLAN_DEPTH,
	FW_BAD_IP_HEADER,
	FW_BAD_ADDRESS,
	FW_BAD_FRAGMENT,
	FW_TRUNCATED_TRANSPORT,
	FW_BAD_TCP_HEADER,
	FW_BAD_TCP_FLAGS,
	FW_BAD_UDP_LENGTH,
	FW_REASONS,
};
ENUM_INDEX(fw_reason);

struct fw_config {
	enum fw_action default_action;
	__u32 syn_rate;	   /* SYNs per second and source; 0: no limit */
	__u32 syn_burst;   /* SYNs that a source may send at once */
	__u32 event_every; /* of the drops of one reason on one CPU, report each n-th; 0: none */
	__u8 drop_fragments;
	__u8 drop_ip_options;
	__u8 pad[2];
};

struct ipv4_prefix {
	__u32 prefixlen;
	__be32 address;
};

struct ipv6_prefix {
	__u32 prefixlen;
	struct in6_addr address;
};

struct rule_key {
	__u8 protocol;
	__u8 pad;
	__be16 port; /* of the destination; for ICMP and ICMPv6 the type; 0: all of the protocol */
};

struct rule {
	__u32 id;
	enum fw_action action;
};

struct drop_event {
	__u64 time_ns;
	enum fw_reason reason;
	__u32 rule;
	struct in6_addr source;
	struct in6_addr destination;
	__be16 source_port;
	__be16 destination_port;
	__be16 ether_type;
	__u8 protocol;
	__u8 tcp_flags;
	__u32 ifindex;
	__u32 length_bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fw_config);
} fw_config SEC(".maps");

/* The value of a list entry is its rule number. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, MAX_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ipv4_prefix);
	__type(value, __u32);
} allow_v4 SEC(".maps"), deny_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, MAX_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ipv6_prefix);
	__type(value, __u32);
} allow_v6 SEC(".maps"), deny_v6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct rule_key);
	__type(value, struct rule);
} fw_rules SEC(".maps");

/* Rule 0 is what no list and no rule decided. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_RULES);
	__type(key, __u32);
	__type(value, struct counter);
} rule_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FW_REASONS);
	__type(key, fw_reason);
	__type(value, struct counter);
} fw_counters SEC(".maps");

/* A token bucket in one word: the time at which it will be full again (see take_token). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_SOURCES);
	__type(key, struct in6_addr);
	__type(value, __u64);
} syn_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} fw_drops SEC(".maps");

/* What the gates learn about a packet, for counters and events. */
struct packet {
	struct link_layer link;
	struct network_layer network;
	__u32 rule;
	__be16 source_port;
	__be16 destination_port; /* for ICMP the type */
	__u8 tcp_flags;
};

/* Out of line: drops are reported rarely, and the common path stays short. */
static __noinline long report(struct drop_event *event)
{
	return bpf_ringbuf_output(&fw_drops, event, sizeof(*event), 0);
}

/* Whether a TCP header's flags belong together. */
static __always_inline bool sane_tcp_flags(__u8 flags)
{
	switch (flags & (TCP_SYN | TCP_FIN | TCP_RST)) {
	case 0:
		/* Every segment of a connection carries ACK: null and Xmas scans do not. */
		return flags & TCP_ACK;
	case TCP_SYN:
	case TCP_RST:
		return true;
	case TCP_FIN:
		return flags & TCP_ACK;
	default:
		return false;
	}
}

static __always_inline enum fw_reason check_transport(struct cursor *cursor, struct packet *packet)
{
	const struct network_layer *network = &packet->network;

	switch (network->protocol) {
	case IPPROTO_TCP: {
		struct tcp_header *tcp = take(cursor, sizeof(*tcp));
		__u32 header_length;

		if (!tcp || network->payload_length < sizeof(*tcp))
			return FW_TRUNCATED_TRANSPORT;
		packet->source_port = tcp->source;
		packet->destination_port = tcp->destination;
		packet->tcp_flags = tcp->flags;
		header_length = (tcp->data_offset >> 4) * 4;
		if (header_length < sizeof(*tcp) || header_length > network->payload_length)
			return FW_BAD_TCP_HEADER;
		return sane_tcp_flags(tcp->flags) ? FW_PASSED : FW_BAD_TCP_FLAGS;
	}
	case IPPROTO_UDP: {
		struct udp_header *udp = take(cursor, sizeof(*udp));
		__u32 length;

		if (!udp || network->payload_length < sizeof(*udp))
			return FW_TRUNCATED_TRANSPORT;
		packet->source_port = udp->source;
		packet->destination_port = udp->destination;
		length = bpf_ntohs(udp->length);
		if (length < sizeof(*udp))
			return FW_BAD_UDP_LENGTH;
		/* A first fragment holds only the beginning of the datagram. */
		if (network->fragment == NOT_FRAGMENTED && length > network->payload_length)
			return FW_BAD_UDP_LENGTH;
		return FW_PASSED;
	}
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: {
		struct icmp_header *icmp = take(cursor, sizeof(*icmp));

		if (!icmp || network->payload_length < sizeof(*icmp))
			return FW_TRUNCATED_TRANSPORT;
		packet->destination_port = bpf_htons(icmp->type);
		return FW_PASSED;
	}
	default:
		return FW_PASSED;
	}
}

static __always_inline bool bad_source_v4(__be32 source, __be32 destination)
{
	__u32 address = bpf_ntohl(source);

	/* Loopback, multicast and class E (with it broadcast) send nothing; "land" packets are sent
	 * by nobody to himself. 0.0.0.0 does: DHCP. */
	return address >> 24 == 127 || address >> 28 >= 0xe || source == destination;
}

static __always_inline bool bad_source_v6(const struct in6_addr *source, const struct in6_addr *destination)
{
	__u32 first = bpf_ntohl(source->words[0]);
	bool loopback = !(source->words[0] | source->words[1] | source->words[2]) &&
			source->words[3] == bpf_htonl(1);

	return first >> 24 == 0xff || loopback || is_mapped(source) || same_address(source, destination);
}

static __always_inline enum fw_reason check_fragment(const struct network_layer *network)
{
	if (!network->payload_length)
		return FW_BAD_FRAGMENT;
	/* Reassembled longer than a packet can be: the "ping of death". */
	if (network->fragment_offset + network->payload_length > 65535)
		return FW_BAD_FRAGMENT;
	/* Offset 8 would rewrite the TCP flags that the first fragment showed (RFC 1858). */
	if (network->fragment_offset == 8 && network->protocol == IPPROTO_TCP)
		return FW_BAD_FRAGMENT;
	return FW_PASSED;
}

static __always_inline enum fw_reason check_headers(struct cursor *cursor, struct packet *packet)
{
	struct network_layer *network = &packet->network;

	if (network->version == 4) {
		if (bad_source_v4(network->v4->source, network->v4->destination))
			return FW_BAD_ADDRESS;
	} else {
		if (bad_source_v6(&network->v6->source, &network->v6->destination))
			return FW_BAD_ADDRESS;
	}
	if (network->fragment != NOT_FRAGMENTED) {
		enum fw_reason reason = check_fragment(network);

		if (reason || network->fragment == LATER_FRAGMENT)
			return reason;
	}
	return check_transport(cursor, packet);
}

static __always_inline __u32 *find_prefix(void *v4_list, void *v6_list, const struct network_layer *network)
{
	if (network->version == 4) {
		struct ipv4_prefix key = { 32, network->v4->source };

		return bpf_map_lookup_elem(v4_list, &key);
	} else {
		struct ipv6_prefix key = { 128, network->v6->source };

		return bpf_map_lookup_elem(v6_list, &key);
	}
}

static __always_inline struct rule *find_rule(const struct packet *packet)
{
	struct rule_key key = { .protocol = packet->network.protocol };
	struct rule *rule;

	/* Later fragments show no port: only the rule for the whole protocol can speak of them. */
	if (packet->destination_port) {
		key.port = packet->destination_port;
		rule = bpf_map_lookup_elem(&fw_rules, &key);
		if (rule)
			return rule;
		key.port = 0;
	}
	return bpf_map_lookup_elem(&fw_rules, &key);
}

/*
 * Takes a token from the bucket of this source; false if there is none.
 *
 * With one token every `interval` ns and room for `burst` of them, a bucket that lacks n tokens is full
 * again n * interval from now. So the one number kept is that time: a taken token moves it `interval`
 * ahead, and the bucket is empty when it lies more than burst * interval ahead. One 64-bit word needs
 * no lock, only a compare-and-swap, and nothing is lost to rounding.
 */
static __always_inline bool take_token(const struct fw_config *config, const struct network_layer *network)
{
	struct in6_addr source = source_address(network);
	__u64 interval = NS_PER_SECOND / config->syn_rate;
	__u64 capacity = interval * config->syn_burst;
	__u64 now = bpf_ktime_get_ns();
	__u64 *full_at;

	/* A host on IPv6 commands its whole /64. */
	if (network->version == 6)
		source.words[2] = source.words[3] = 0;
	full_at = bpf_map_lookup_elem(&syn_buckets, &source);
	if (!full_at) {
		__u64 first = now + interval;

		bpf_map_update_elem(&syn_buckets, &source, &first, BPF_ANY);
		return true;
	}
	for (int attempt = 0; attempt < 4; attempt++) {
		__u64 before = *(volatile __u64 *)full_at;
		__u64 after = (before > now ? before : now) + interval;

		if (after > now + capacity)
			return false;
		if (__sync_val_compare_and_swap(full_at, before, after) == before)
			return true;
	}
	return false; /* four times beaten by other CPUs: this source is in no need of tokens */
}

static __always_inline enum fw_reason judge(const struct fw_config *config, struct cursor *cursor,
					    struct packet *packet)
{
	struct network_layer *network = &packet->network;
	enum fw_action action = config->default_action;
	enum fw_reason reason;
	struct rule *rule;
	__u32 *list;

	if (!parse_link(cursor, &packet->link))
		return FW_TRUNCATED_FRAME;
	switch (packet->link.type) {
	case bpf_htons(ETH_P_IP):
		if (!parse_ipv4(cursor, network))
			return FW_BAD_IP_HEADER;
		break;
	case bpf_htons(ETH_P_IPV6):
		if (!parse_ipv6(cursor, network))
			return FW_BAD_IP_HEADER;
		break;
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		return FW_VLAN_DEPTH;
	default:
		return FW_PASSED; /* ARP, LLDP and the like are not this firewall's business */
	}

	reason = check_headers(cursor, packet);
	if (reason)
		return reason;
	if (network->options && config->drop_ip_options)
		return FW_IP_OPTIONS;

	list = find_prefix(&allow_v4, &allow_v6, network);
	if (list) {
		packet->rule = *list;
		return FW_PASSED;
	}
	list = find_prefix(&deny_v4, &deny_v6, network);
	if (list) {
		packet->rule = *list;
		return FW_DENY_LIST;
	}
	if (network->fragment != NOT_FRAGMENTED && config->drop_fragments)
		return FW_FRAGMENT;

	reason = FW_DEFAULT;
	rule = find_rule(packet);
	if (rule) {
		packet->rule = rule->id;
		action = rule->action;
		reason = FW_RULE;
	}
	if (action != FW_PASS)
		return reason;

	if (config->syn_rate && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
	    !take_token(config, network))
		return FW_SYN_RATE;
	return FW_PASSED;
}

SEC("xdp")
int xdp_firewall(struct xdp_md *ctx)
{
	struct cursor cursor = xdp_cursor(ctx);
	struct packet packet = {};
	struct fw_config *config;
	struct counter *counter;
	enum fw_reason reason;
	__u32 zero = 0, rule;

	config = bpf_map_lookup_elem(&fw_config, &zero);
	if (!config)
		return XDP_ABORTED;

	reason = judge(config, &cursor, &packet);

	/* A copy: a helper that takes the address of a field would hold the whole packet in memory. */
	rule = packet.rule;
	count(bpf_map_lookup_elem(&rule_stats, &rule), cursor.frame_length);
	counter = bpf_map_lookup_elem(&fw_counters, &reason);
	if (!counter)
		return XDP_ABORTED;
	count(counter, cursor.frame_length);
	if (reason == FW_PASSED)
		return XDP_PASS;

	/* The counter was raised above: the first drop of each reason is always told. */
	if (config->event_every && (counter->packets - 1) % config->event_every == 0) {
		struct drop_event event = {
			.time_ns = bpf_ktime_get_ns(),
			.reason = reason,
			.rule = rule,
			.source_port = packet.source_port,
			.destination_port = packet.destination_port,
			.ether_type = packet.link.type,
			.protocol = packet.network.protocol,
			.tcp_flags = packet.tcp_flags,
			.ifindex = ctx->ingress_ifindex,
			.length_bytes = cursor.frame_length,
		};

		if (packet.network.version) {
			event.source = source_address(&packet.network);
			event.destination = destination_address(&packet.network);
		}
		report(&event);
	}
	return XDP_DROP;
}

LICENSE("Dual MIT/GPL");
