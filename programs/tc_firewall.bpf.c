// SPDX-License-Identifier: MIT
/*
 * tc_firewall: a stateful firewall for one host. Two programs share one connection table:
 *
 *   tc_fw_ingress  packets to this host: pass if they belong to a connection, or open one by a rule
 *   tc_fw_egress   packets of this host: open connections, so that the answers are let in
 *
 * A connection is known by its two ends, the local and the remote one, so both directions find the same
 * entry. TCP walks through its states (RFC 9293) as far as flags show them; each state has its timeout.
 * ICMP errors pass if they quote a packet of a known connection.
 *
 * All maps are pinned by name: the two programs share them even when a tool loads each by itself.
 *
 * What passes gets TC_ACT_UNSPEC (TCX_NEXT), so that other programs on the hook still see it.
 */
#include "include/parse.h"

#define MAX_CONNECTIONS 65536
#define MAX_RULES 256
#define MAX_PREFIXES 16384
#define MAX_FRAGMENTS 4096
/* Enough for Ethernet, two tags, IP with options, ICMP, and what an ICMP error quotes. */
#define HEADERS_LENGTH 192
#define NS_PER_SECOND 1000000000ull

enum ct_state {
	CT_NONE = 0,
	CT_SYN_SENT,
	CT_SYN_RECEIVED,
	CT_ESTABLISHED,
	CT_FIN_WAIT,   /* the opener has sent FIN */
	CT_CLOSE_WAIT, /* the other side has */
	CT_LAST_ACK,   /* both have */
	CT_CLOSED,     /* acknowledged, or reset */
	CT_UNREPLIED,  /* all but TCP: only the opener has spoken */
	CT_REPLIED,
	CT_STATES,
};

/* How long a connection may be silent. Read-only data: to be changed before loading. */
const volatile __u32 timeout_seconds[CT_STATES] = {
	[CT_SYN_SENT] = 30,
	[CT_SYN_RECEIVED] = 60,
	[CT_ESTABLISHED] = 7440, /* RFC 5382: no less than 2 hours and 4 minutes */
	[CT_FIN_WAIT] = 120,
	[CT_CLOSE_WAIT] = 120,
	[CT_LAST_ACK] = 30,
	[CT_CLOSED] = 10,
	[CT_UNREPLIED] = 30,
	[CT_REPLIED] = 120, /* RFC 4787: no less than 2 minutes */
};

enum tcp_event {
	TCP_EVENT_SYN,
	TCP_EVENT_SYN_ACK,
	TCP_EVENT_ACK,
	TCP_EVENT_FIN,
	TCP_EVENT_RST,
	TCP_EVENTS,
};

enum ct_side {
	CT_OPENER,
	CT_RESPONDER,
	CT_SIDES,
};

/* The next state; CT_NONE where the segment has no business. */
static const __u8 tcp_next[CT_SIDES][TCP_EVENTS][CT_CLOSED + 1] = {
	[CT_OPENER] = {
		[TCP_EVENT_SYN] = {
			[CT_SYN_SENT] = CT_SYN_SENT,
			[CT_SYN_RECEIVED] = CT_SYN_RECEIVED,
			/* A peer that crashed and begins anew: the answer tells (RFC 9293, 3.5.1). */
			[CT_ESTABLISHED] = CT_ESTABLISHED,
		},
		[TCP_EVENT_ACK] = {
			[CT_SYN_RECEIVED] = CT_ESTABLISHED,
			[CT_ESTABLISHED] = CT_ESTABLISHED,
			[CT_FIN_WAIT] = CT_FIN_WAIT,
			[CT_CLOSE_WAIT] = CT_CLOSE_WAIT,
			[CT_LAST_ACK] = CT_CLOSED,
			[CT_CLOSED] = CT_CLOSED,
		},
		[TCP_EVENT_FIN] = {
			[CT_SYN_RECEIVED] = CT_FIN_WAIT,
			[CT_ESTABLISHED] = CT_FIN_WAIT,
			[CT_FIN_WAIT] = CT_FIN_WAIT,
			[CT_CLOSE_WAIT] = CT_LAST_ACK,
			[CT_LAST_ACK] = CT_LAST_ACK,
			[CT_CLOSED] = CT_CLOSED,
		},
		[TCP_EVENT_RST] = {
			[CT_SYN_SENT] = CT_CLOSED,
			[CT_SYN_RECEIVED] = CT_CLOSED,
			[CT_ESTABLISHED] = CT_CLOSED,
			[CT_FIN_WAIT] = CT_CLOSED,
			[CT_CLOSE_WAIT] = CT_CLOSED,
			[CT_LAST_ACK] = CT_CLOSED,
			[CT_CLOSED] = CT_CLOSED,
		},
	},
	[CT_RESPONDER] = {
		[TCP_EVENT_SYN] = {
			/* Both open at once. */
			[CT_SYN_SENT] = CT_SYN_RECEIVED,
		},
		[TCP_EVENT_SYN_ACK] = {
			[CT_SYN_SENT] = CT_SYN_RECEIVED,
			[CT_SYN_RECEIVED] = CT_SYN_RECEIVED,
			[CT_ESTABLISHED] = CT_ESTABLISHED,
		},
		[TCP_EVENT_ACK] = {
			[CT_SYN_RECEIVED] = CT_SYN_RECEIVED,
			[CT_ESTABLISHED] = CT_ESTABLISHED,
			[CT_FIN_WAIT] = CT_FIN_WAIT,
			[CT_CLOSE_WAIT] = CT_CLOSE_WAIT,
			[CT_LAST_ACK] = CT_CLOSED,
			[CT_CLOSED] = CT_CLOSED,
		},
		[TCP_EVENT_FIN] = {
			[CT_SYN_RECEIVED] = CT_CLOSE_WAIT,
			[CT_ESTABLISHED] = CT_CLOSE_WAIT,
			[CT_FIN_WAIT] = CT_LAST_ACK,
			[CT_CLOSE_WAIT] = CT_CLOSE_WAIT,
			[CT_LAST_ACK] = CT_LAST_ACK,
			[CT_CLOSED] = CT_CLOSED,
		},
		[TCP_EVENT_RST] = {
			[CT_SYN_SENT] = CT_CLOSED,
			[CT_SYN_RECEIVED] = CT_CLOSED,
			[CT_ESTABLISHED] = CT_CLOSED,
			[CT_FIN_WAIT] = CT_CLOSED,
			[CT_CLOSE_WAIT] = CT_CLOSED,
			[CT_LAST_ACK] = CT_CLOSED,
			[CT_CLOSED] = CT_CLOSED,
		},
	},
};

/* What was done with a packet, and why. */
enum ct_verdict {
	CT_PASS_CONNECTION = 0,
	CT_PASS_NEW,
	CT_PASS_RELATED,   /* an ICMP error about a connection */
	CT_PASS_FRAGMENT,  /* its first fragment passed */
	CT_PASS_NEIGHBOUR, /* IPv6 neighbour discovery and multicast listeners */
	CT_PASS_NOT_IP,
	CT_DROP_NO_RULE,
	CT_DROP_UNTRUSTED,
	CT_DROP_NO_CONNECTION, /* TCP, but neither a SYN nor of a known connection */
	CT_DROP_BAD_STATE,     /* of a known connection, but out of turn */
	CT_DROP_UNRELATED,
	CT_DROP_FRAGMENT,
	CT_DROP_BAD_HEADER,
	CT_VERDICTS,
};
ENUM_INDEX(ct_verdict);

enum ct_direction {
	CT_INGRESS,
	CT_EGRESS,
};

struct ct_config {
	/* Only packets to the host are seen here (a one-sided capture, asymmetric routing): the missing
	 * answers are taken for granted. */
	__u8 one_sided;
	/* TCP connections that are already under way may be taken up: allowed ports in, all out. */
	__u8 pick_up;
	__u8 pad[2];
};

struct connection_key {
	struct in6_addr local;
	struct in6_addr remote;
	__be16 local_port; /* for ICMP echo: its identity */
	__be16 remote_port;
	__u8 protocol;
	__u8 pad[3];
};

struct connection {
	__u64 expires_ns;
	struct counter ingress;
	struct counter egress;
	enum ct_state state;
	enum ct_direction opened_by; /* the direction of the first packet */
};

enum rule_from {
	FROM_ANYONE = 0,
	FROM_TRUSTED = 1,
};

struct inbound_key {
	__u8 protocol;
	__u8 pad;
	__be16 port; /* local; for ICMP and ICMPv6 the type; 0: all of the protocol */
};

struct inbound_rule {
	__u32 id;
	enum rule_from from;
};

struct ipv4_prefix {
	__u32 prefixlen;
	__be32 address;
};

struct ipv6_prefix {
	__u32 prefixlen;
	struct in6_addr address;
};

struct both_ways {
	struct counter ingress;
	struct counter egress;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_config);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ct_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_CONNECTIONS);
	__type(key, struct connection_key);
	__type(value, struct connection);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct inbound_key);
	__type(value, struct inbound_rule);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} inbound_rules SEC(".maps");

/* Connections opened by each rule. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_RULES);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} inbound_opened SEC(".maps");

/* For rules with FROM_TRUSTED. The values carry no meaning. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, MAX_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ipv4_prefix);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} trusted_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, MAX_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ipv6_prefix);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} trusted_v6 SEC(".maps");

/* First fragments that passed; the value is the time until which others may follow. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_FRAGMENTS);
	__type(key, struct fragment_key);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ct_fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CT_VERDICTS);
	__type(key, ct_verdict);
	__type(value, struct both_ways);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} ct_counters SEC(".maps");

/* What is known of a packet when it comes to its connection. */
struct packet {
	struct network_layer network;
	struct connection_key key;
	enum ct_direction direction;
	__u32 length;
	__u64 now;
	enum tcp_event event; /* TCP only */
	__be16 rule_port;     /* local port, or ICMP type */
	bool opens;	      /* may be the first of a connection */
};

static __always_inline bool is_trusted(const struct network_layer *network)
{
	if (network->version == 4) {
		struct ipv4_prefix key = { 32, network->v4->source };

		return bpf_map_lookup_elem(&trusted_v4, &key);
	} else {
		struct ipv6_prefix key = { 128, network->v6->source };

		return bpf_map_lookup_elem(&trusted_v6, &key);
	}
}

/* Whether a rule lets this packet open a connection to the host. */
static __always_inline enum ct_verdict ask_rules(const struct packet *packet)
{
	struct inbound_key key = { packet->key.protocol, 0, packet->rule_port };
	struct inbound_rule *rule = bpf_map_lookup_elem(&inbound_rules, &key);
	__u64 *opened;
	__u32 id;

	if (!rule) {
		key.port = 0;
		rule = bpf_map_lookup_elem(&inbound_rules, &key);
	}
	if (!rule)
		return CT_DROP_NO_RULE;
	if (rule->from == FROM_TRUSTED && !is_trusted(&packet->network))
		return CT_DROP_UNTRUSTED;
	id = rule->id;
	opened = bpf_map_lookup_elem(&inbound_opened, &id);
	if (opened)
		(*opened)++;
	return CT_PASS_NEW;
}

static __always_inline __u64 expiry(__u64 now, enum ct_state state)
{
	return now + (state < CT_STATES ? timeout_seconds[state] : 0) * NS_PER_SECOND;
}

static __always_inline enum ct_verdict open_connection(const struct packet *packet)
{
	struct connection connection = { .opened_by = packet->direction };
	struct connection_key key = packet->key;

	if (packet->direction == CT_INGRESS) {
		enum ct_verdict verdict = ask_rules(packet);

		if (verdict != CT_PASS_NEW)
			return verdict;
		connection.ingress = (struct counter){ 1, packet->length };
	} else {
		connection.egress = (struct counter){ 1, packet->length };
	}
	if (key.protocol != IPPROTO_TCP)
		connection.state = CT_UNREPLIED;
	else if (packet->event == TCP_EVENT_SYN)
		connection.state = CT_SYN_SENT;
	else
		connection.state = CT_ESTABLISHED; /* picked up under way */
	connection.expires_ns = expiry(packet->now, connection.state);
	bpf_map_update_elem(&connections, &key, &connection, BPF_ANY);
	return CT_PASS_NEW;
}

static __always_inline enum ct_state next_state(const struct ct_config *config, const struct packet *packet,
						enum ct_state state, enum ct_side side)
{
	enum tcp_event event = packet->event;

	if (packet->key.protocol != IPPROTO_TCP)
		return side == CT_RESPONDER ? CT_REPLIED : state;
	/* The SYN-ACK went another way. */
	if (config->one_sided && state == CT_SYN_SENT && event != TCP_EVENT_SYN && event != TCP_EVENT_SYN_ACK)
		state = CT_SYN_RECEIVED;
	/* The verifier cannot know what a map's value holds. */
	if (state > CT_CLOSED || event >= TCP_EVENTS)
		return CT_NONE;
	return tcp_next[side][event][state];
}

static __always_inline enum ct_verdict judge(const struct ct_config *config, const struct packet *packet)
{
	struct connection_key key = packet->key;
	struct connection *connection = bpf_map_lookup_elem(&connections, &key);
	struct counter *counter;
	enum ct_state state;
	enum ct_side side;

	/* A SYN after the end begins a new connection, which is for the rules to judge. */
	if (!connection || connection->expires_ns <= packet->now ||
	    (connection->state >= CT_LAST_ACK && connection->state <= CT_CLOSED && packet->opens)) {
		if (packet->opens || (config->pick_up && packet->key.protocol == IPPROTO_TCP &&
				      packet->event == TCP_EVENT_ACK))
			return open_connection(packet);
		return packet->key.protocol == IPPROTO_TCP ? CT_DROP_NO_CONNECTION : CT_DROP_UNRELATED;
	}

	side = packet->direction == connection->opened_by ? CT_OPENER : CT_RESPONDER;
	state = next_state(config, packet, connection->state, side);
	if (state == CT_NONE)
		return CT_DROP_BAD_STATE;
	/* Two CPUs may do this at once for the two directions: both write a state that was true. */
	connection->state = state;
	connection->expires_ns = expiry(packet->now, state);
	counter = packet->direction == CT_INGRESS ? &connection->ingress : &connection->egress;
	__sync_fetch_and_add(&counter->packets, 1);
	__sync_fetch_and_add(&counter->bytes, packet->length);
	return CT_PASS_CONNECTION;
}

/* An ICMP error passes if it quotes a packet of a living connection that went the other way. */
static __always_inline enum ct_verdict judge_error(struct cursor *cursor, const struct packet *packet)
{
	bool ingress = packet->direction == CT_INGRESS;
	struct connection_key key = {};
	struct quoted_packet quoted;
	struct connection *connection;

	if (!parse_quoted(cursor, packet->network.version, &quoted))
		return CT_DROP_UNRELATED;
	key.protocol = quoted.protocol;
	key.local = ingress ? quoted.source : quoted.destination;
	key.remote = ingress ? quoted.destination : quoted.source;
	if (quoted.protocol == IPPROTO_TCP || quoted.protocol == IPPROTO_UDP) {
		key.local_port = ingress ? quoted.source_port : quoted.destination_port;
		key.remote_port = ingress ? quoted.destination_port : quoted.source_port;
	} else {
		key.local_port = quoted.echo_id;
	}
	connection = bpf_map_lookup_elem(&connections, &key);
	return connection && connection->expires_ns > packet->now ? CT_PASS_RELATED : CT_DROP_UNRELATED;
}

static __always_inline enum tcp_event classify_tcp(__u8 flags)
{
	if (flags & TCP_RST)
		return TCP_EVENT_RST;
	if (flags & TCP_SYN)
		return flags & TCP_ACK ? TCP_EVENT_SYN_ACK : TCP_EVENT_SYN;
	if (flags & TCP_FIN)
		return TCP_EVENT_FIN;
	return flags & TCP_ACK ? TCP_EVENT_ACK : TCP_EVENTS;
}

static __always_inline void set_ports(struct packet *packet, __be16 source, __be16 destination)
{
	bool ingress = packet->direction == CT_INGRESS;

	packet->key.local_port = ingress ? destination : source;
	packet->key.remote_port = ingress ? source : destination;
	packet->rule_port = packet->key.local_port;
}

static __always_inline bool is_neighbour_message(__u8 type)
{
	return (type >= ICMPV6_ROUTER_SOLICITATION && type <= ICMPV6_REDIRECT) ||
	       (type >= ICMPV6_MLD_QUERY && type <= ICMPV6_MLD_DONE) || type == ICMPV6_MLD2_REPORT;
}

/* Everything from the transport header on. */
static __always_inline enum ct_verdict judge_transport(const struct ct_config *config, struct cursor *cursor,
						       struct packet *packet)
{
	switch (packet->network.protocol) {
	case IPPROTO_TCP: {
		struct tcp_header *tcp = take(cursor, sizeof(*tcp));

		if (!tcp)
			return CT_DROP_BAD_HEADER;
		set_ports(packet, tcp->source, tcp->destination);
		packet->event = classify_tcp(tcp->flags);
		if (packet->event == TCP_EVENTS)
			return CT_DROP_BAD_HEADER;
		packet->opens = packet->event == TCP_EVENT_SYN;
		break;
	}
	case IPPROTO_UDP: {
		struct udp_header *udp = take(cursor, sizeof(*udp));

		if (!udp)
			return CT_DROP_BAD_HEADER;
		set_ports(packet, udp->source, udp->destination);
		packet->opens = true;
		break;
	}
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: {
		struct icmp_header *icmp = take(cursor, sizeof(*icmp));
		__u8 protocol = packet->network.protocol;

		if (!icmp)
			return CT_DROP_BAD_HEADER;
		if (protocol == IPPROTO_ICMPV6 && is_neighbour_message(icmp->type))
			return CT_PASS_NEIGHBOUR;
		if (is_icmp_error(protocol, icmp->type))
			return judge_error(cursor, packet);
		packet->opens = !is_echo_reply(protocol, icmp->type);
		if (is_echo_request(protocol, icmp->type) || is_echo_reply(protocol, icmp->type))
			packet->key.local_port = icmp->echo.id;
		packet->rule_port = bpf_htons(icmp->type);
		break;
	}
	default:
		packet->opens = true;
	}
	return judge(config, packet);
}

static __always_inline enum ct_verdict judge_packet(struct __sk_buff *skb, enum ct_direction direction)
{
	struct packet packet = { .direction = direction, .length = skb->len };
	struct network_layer *network = &packet.network;
	struct cursor cursor = skb_cursor(skb);
	struct fragment_key fragment;
	struct in6_addr source, destination;
	struct ct_config *config;
	struct link_layer link;
	enum ct_verdict verdict;
	__u64 *passed_until;
	__u32 zero = 0;

	config = bpf_map_lookup_elem(&ct_config, &zero);
	if (!config || !parse_link(&cursor, &link))
		return CT_DROP_BAD_HEADER;
	switch (link.type) {
	case bpf_htons(ETH_P_IP):
		if (!parse_ipv4(&cursor, network))
			return CT_DROP_BAD_HEADER;
		break;
	case bpf_htons(ETH_P_IPV6):
		if (!parse_ipv6(&cursor, network))
			return CT_DROP_BAD_HEADER;
		break;
	default:
		return CT_PASS_NOT_IP;
	}
	packet.now = bpf_ktime_get_ns();
	source = source_address(network);
	destination = destination_address(network);
	packet.key.local = direction == CT_INGRESS ? destination : source;
	packet.key.remote = direction == CT_INGRESS ? source : destination;
	packet.key.protocol = network->protocol;
	if (network->fragment == NOT_FRAGMENTED)
		return judge_transport(config, &cursor, &packet);

	fragment = fragment_key(network);
	if (network->fragment == LATER_FRAGMENT) {
		passed_until = bpf_map_lookup_elem(&ct_fragments, &fragment);
		return passed_until && *passed_until > packet.now ? CT_PASS_FRAGMENT : CT_DROP_FRAGMENT;
	}
	verdict = judge_transport(config, &cursor, &packet);
	if (verdict < CT_DROP_NO_RULE) {
		/* A receiver waits no longer for the rest (RFC 8200, 4.5). */
		__u64 until = packet.now + 60 * NS_PER_SECOND;

		bpf_map_update_elem(&ct_fragments, &fragment, &until, BPF_ANY);
	}
	return verdict;
}

static __noinline int act(enum ct_verdict verdict, enum ct_direction direction, __u32 length)
{
	struct both_ways *counters = bpf_map_lookup_elem(&ct_counters, &verdict);

	if (counters)
		count(direction == CT_INGRESS ? &counters->ingress : &counters->egress, length);
	return verdict < CT_DROP_NO_RULE ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

static __always_inline int filter(struct __sk_buff *skb, enum ct_direction direction)
{
	__u32 headers_length = skb->len < HEADERS_LENGTH ? skb->len : HEADERS_LENGTH;

	/* Headers may lie in pages beside the linear part; after this they do not. */
	if ((void *)(long)skb->data + headers_length > (void *)(long)skb->data_end)
		bpf_skb_pull_data(skb, headers_length);
	return act(judge_packet(skb, direction), direction, skb->len);
}

SEC("tc/ingress")
int tc_fw_ingress(struct __sk_buff *skb)
{
	return filter(skb, CT_INGRESS);
}

SEC("tc/egress")
int tc_fw_egress(struct __sk_buff *skb)
{
	return filter(skb, CT_EGRESS);
}

LICENSE("Dual MIT/GPL");
