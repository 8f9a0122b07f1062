/* SPDX-License-Identifier: MIT
 *
 * From a frame to its Ethernet and IP headers, and from an ICMP error to the packet it quotes. A cursor
 * walks from data to data_end; each step compares with data_end before it reads, which is what the
 * verifier asks for, and the lengths that headers claim are checked against the frame and each other.
 */
#ifndef PROGRAMS_PARSE_H
#define PROGRAMS_PARSE_H

#include "packet.h"

#define MAX_VLAN_TAGS 2
#define MAX_IPV6_EXTENSIONS 4 /* more is taken for an attempt to hide something */

struct cursor {
	void *position;
	void *end;
	void *frame;
	__u64 frame_length; /* may reach beyond `end`: an skb's tail is not in its linear part */
};

static __always_inline struct cursor xdp_cursor(const struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;

	return (struct cursor){ data, data_end, data, data_end - data };
}

static __always_inline struct cursor skb_cursor(const struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;

	return (struct cursor){ data, (void *)(long)skb->data_end, data, skb->len };
}

/* The next `length` bytes, or NULL when the frame ends before. */
static __always_inline void *take(struct cursor *cursor, __u32 length)
{
	void *header = cursor->position;

	/* Spares the test for a header at address 0, which the callers' `if (!header)` would become. */
	__builtin_assume(header != NULL);
	if (header + length > cursor->end)
		return NULL;
	cursor->position = header + length;
	return header;
}

struct link_layer {
	struct ethernet_header *ethernet;
	__be16 type; /* what follows the last tag */
	__u8 tags;
};

static __always_inline bool parse_link(struct cursor *cursor, struct link_layer *link)
{
	struct ethernet_header *ethernet = take(cursor, sizeof(*ethernet));

	if (!ethernet)
		return false;
	link->ethernet = ethernet;
	link->type = ethernet->type;
	link->tags = 0;
#pragma unroll
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		__be16 *tag;

		if (link->type != bpf_htons(ETH_P_8021Q) && link->type != bpf_htons(ETH_P_8021AD))
			break;
		/* The cursor stands behind the tag's protocol: its TCI and the next type follow. */
		tag = take(cursor, sizeof(struct vlan_tag));
		if (!tag)
			return false;
		link->type = tag[1];
		link->tags++;
	}
	return true;
}

enum fragment_position {
	NOT_FRAGMENTED,
	FIRST_FRAGMENT, /* holds the transport header */
	LATER_FRAGMENT, /* does not */
};

/* What IPv4 and IPv6 have in common. */
struct network_layer {
	union {
		struct ipv4_header *v4;
		struct ipv6_header *v6;
	};
	__u32 total_length; /* IP header and all that it says follows; Ethernet padding does not count */
	__u32 payload_length; /* the part behind IP header, options and extension headers */
	__u32 fragment_offset; /* in bytes */
	__be32 fragment_id;
	enum fragment_position fragment;
	__u8 version; /* 4, 6, or 0 while there is no header */
	__u8 protocol; /* of the payload */
	bool options; /* IPv4 options, or IPv6 hop-by-hop, routing or destination options */
};

/* Sets the cursor behind the options. */
static __always_inline bool parse_ipv4(struct cursor *cursor, struct network_layer *network)
{
	struct ipv4_header *header = take(cursor, sizeof(*header));
	__u32 header_length, total_length;
	__u16 fragment;

	if (!header || header->version_ihl >> 4 != 4)
		return false;
	header_length = (header->version_ihl & 0x0f) * 4;
	total_length = bpf_ntohs(header->total_length);
	if (header_length < sizeof(*header) || total_length < header_length)
		return false;
	if ((__u64)((void *)header - cursor->frame) + total_length > cursor->frame_length)
		return false;
	fragment = bpf_ntohs(header->fragment);
	network->v4 = header;
	network->version = 4;
	network->total_length = total_length;
	network->payload_length = total_length - header_length;
	network->fragment_offset = (fragment & IP_OFFSET_MASK) * 8;
	network->fragment_id = header->id;
	network->fragment = network->fragment_offset ? LATER_FRAGMENT :
			    fragment & IP_MF	     ? FIRST_FRAGMENT :
						       NOT_FRAGMENTED;
	network->protocol = header->protocol;
	network->options = header_length > sizeof(*header);
	cursor->position = (void *)header + header_length;
	return true;
}

static __always_inline bool is_ipv6_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_FRAGMENT ||
	       protocol == IPPROTO_DSTOPTS;
}

/* Sets the cursor behind the extension headers. AH and ESP are not among them: they are protocols here,
 * as they are in IPv4. */
static __always_inline bool parse_ipv6(struct cursor *cursor, struct network_layer *network)
{
	struct ipv6_header *header = take(cursor, sizeof(*header));
	__u64 extensions_length;
	__u32 payload_length;
	__be32 fragment_id = 0;
	__u16 fragment_bits = 0;
	__u8 protocol;

	if (!header || bpf_ntohl(header->version_class_flow) >> 28 != 6)
		return false;
	payload_length = bpf_ntohs(header->payload_length);
	if ((__u64)((void *)(header + 1) - cursor->frame) + payload_length > cursor->frame_length)
		return false;
	network->v6 = header;
	network->version = 6;
	network->total_length = sizeof(*header) + payload_length;
	network->options = false;
	protocol = header->next_header;

	/* Lengths are compared once, behind the loop: each branch in it multiplies the paths that the
	 * verifier has to walk. */
	for (int i = 0; i < MAX_IPV6_EXTENSIONS; i++) {
		struct ipv6_extension *extension;

		if (protocol == IPPROTO_FRAGMENT) {
			struct ipv6_fragment *fragment = take(cursor, sizeof(*fragment));

			if (!fragment)
				return false;
			protocol = fragment->next_header;
			fragment_bits = bpf_ntohs(fragment->fragment);
			fragment_id = fragment->id;
			if (fragment_bits & IPV6_OFFSET_MASK)
				break; /* what follows is the middle of something, no header */
		} else if (is_ipv6_extension(protocol)) {
			extension = take(cursor, sizeof(*extension));
			if (!extension)
				return false;
			protocol = extension->next_header;
			cursor->position = (void *)extension + (extension->length + 1) * 8;
			network->options = true;
		} else {
			break;
		}
	}

	if (!(fragment_bits & IPV6_OFFSET_MASK) && is_ipv6_extension(protocol))
		return false;
	extensions_length = cursor->position - (void *)(header + 1);
	if (extensions_length > payload_length)
		return false;
	network->payload_length = payload_length - extensions_length;
	network->protocol = protocol;
	network->fragment_offset = fragment_bits & IPV6_OFFSET_MASK;
	network->fragment_id = fragment_id;
	/* Neither offset nor "more": an atomic fragment, which is a whole packet (RFC 6946). */
	network->fragment = network->fragment_offset	? LATER_FRAGMENT :
			    fragment_bits & IPV6_MF	? FIRST_FRAGMENT :
							  NOT_FRAGMENTED;
	return true;
}

static __always_inline struct in6_addr source_address(const struct network_layer *network)
{
	return network->version == 4 ? mapped_address(network->v4->source) : network->v6->source;
}

static __always_inline struct in6_addr destination_address(const struct network_layer *network)
{
	return network->version == 4 ? mapped_address(network->v4->destination) : network->v6->destination;
}

/* What the fragments of one packet have in common. RFC 791 counts the protocol in; RFC 8200 does not, and
 * indeed there each fragment may show another one. */
struct fragment_key {
	struct in6_addr source;
	struct in6_addr destination;
	__be32 id;
	__u32 protocol;
};

static __always_inline struct fragment_key fragment_key(const struct network_layer *network)
{
	return (struct fragment_key){ source_address(network), destination_address(network), network->fragment_id,
				      network->version == 4 ? network->protocol : IPPROTO_FRAGMENT };
}

/* The beginning of a packet, as an ICMP error quotes it. */
struct quoted_packet {
	struct in6_addr source;
	struct in6_addr destination;
	__be16 source_port;	 /* TCP and UDP */
	__be16 destination_port; /* TCP and UDP */
	__be16 echo_id;		 /* ICMP echo */
	__u8 protocol;
};

/* Reads the quote behind an ICMP header. False if it is too short, a later fragment, or none of the
 * protocols that have ports or an echo identity. */
static __always_inline bool parse_quoted(struct cursor *cursor, __u8 version, struct quoted_packet *quoted)
{
	__be16 *words;

	if (version == 4) {
		struct ipv4_header *header = take(cursor, sizeof(*header));
		__u32 header_length;

		if (!header || header->fragment & bpf_htons(IP_OFFSET_MASK))
			return false;
		header_length = (header->version_ihl & 0x0f) * 4;
		if (header_length < sizeof(*header))
			return false;
		cursor->position = (void *)header + header_length;
		quoted->source = mapped_address(header->source);
		quoted->destination = mapped_address(header->destination);
		quoted->protocol = header->protocol;
	} else {
		struct ipv6_header *header = take(cursor, sizeof(*header));

		if (!header)
			return false;
		quoted->source = header->source;
		quoted->destination = header->destination;
		quoted->protocol = header->next_header;
	}
	/* RFC 792 promises 8 bytes of the transport header, no more. */
	words = take(cursor, 8);
	if (!words)
		return false;
	switch (quoted->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		quoted->source_port = words[0];
		quoted->destination_port = words[1];
		return true;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		quoted->echo_id = words[2];
		return true;
	default:
		return false;
	}
}

#endif
