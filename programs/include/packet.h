/* SPDX-License-Identifier: MIT
 *
 * Protocol headers as they stand on the wire (IEEE 802.3 and 802.1Q, RFC 791, 8200, 9293, 768, 792,
 * 4443), and the checksum arithmetic of RFC 1071 and RFC 1624. All multi-byte fields are big endian.
 */
#ifndef PROGRAMS_PACKET_H
#define PROGRAMS_PACKET_H

#include "bpf.h"

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define ETH_ADDRESS_LENGTH 6

#define IPPROTO_HOPOPTS 0
#define IPPROTO_ICMP 1
#define IPPROTO_IPIP 4
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_IPV6 41
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_ICMPV6 58
#define IPPROTO_DSTOPTS 60

#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET_MASK 0x1fff /* in units of 8 bytes */
#define IPV6_MF 0x0001
#define IPV6_OFFSET_MASK 0xfff8 /* in bytes */

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20

#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12

#define ICMPV6_UNREACHABLE 1
#define ICMPV6_PACKET_TOO_BIG 2
#define ICMPV6_PARAMETER_PROBLEM 4 /* 1 to 4 are the errors about a packet that was sent */
#define ICMPV6_ECHO 128
#define ICMPV6_ECHO_REPLY 129
#define ICMPV6_ROUTER_SOLICITATION 133
#define ICMPV6_REDIRECT 137 /* 133 to 137 are neighbour discovery */
#define ICMPV6_MLD_QUERY 130
#define ICMPV6_MLD_DONE 132
#define ICMPV6_MLD2_REPORT 143

struct ethernet_header {
	__u8 destination[ETH_ADDRESS_LENGTH];
	__u8 source[ETH_ADDRESS_LENGTH];
	__be16 type;
};

/* A tag sits where the Ethernet type was; the type moves behind it. */
struct vlan_tag {
	__be16 protocol; /* 802.1Q or 802.1ad */
	__be16 tci;
};

struct ipv4_header {
	__u8 version_ihl; /* version in the upper half, header length in 4-byte words in the lower */
	__u8 tos;
	__be16 total_length;
	__be16 id;
	__be16 fragment; /* reserved, DF, MF, 13 bits of offset */
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__be32 source;
	__be32 destination;
};

struct in6_addr {
	__be32 words[4];
};

struct ipv6_header {
	__be32 version_class_flow; /* 4 bits version, 8 traffic class, 20 flow label */
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	struct in6_addr source;
	struct in6_addr destination;
};

/* Hop-by-hop, routing and destination options begin alike. */
struct ipv6_extension {
	__u8 next_header;
	__u8 length; /* in 8 bytes, less the first 8 */
	__u8 options[6];
};

struct ipv6_fragment {
	__u8 next_header;
	__u8 reserved;
	__be16 fragment; /* 13 bits of offset, 2 reserved, M */
	__be32 id;
};

struct tcp_header {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledgement;
	__u8 data_offset; /* header length in 4-byte words in the upper half */
	__u8 flags;
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};

struct udp_header {
	__be16 source;
	__be16 destination;
	__be16 length;
	__be16 checksum;
};

/* ICMP and ICMPv6 alike. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	union {
		struct {
			__be16 id;
			__be16 sequence;
		} echo;
		__be32 rest;
	};
};

static __always_inline bool is_icmp_error(__u8 protocol, __u8 type)
{
	if (protocol == IPPROTO_ICMPV6)
		return type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER_PROBLEM;
	return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER_PROBLEM;
}

static __always_inline bool is_echo_request(__u8 protocol, __u8 type)
{
	return type == (protocol == IPPROTO_ICMPV6 ? ICMPV6_ECHO : ICMP_ECHO);
}

static __always_inline bool is_echo_reply(__u8 protocol, __u8 type)
{
	return type == (protocol == IPPROTO_ICMPV6 ? ICMPV6_ECHO_REPLY : ICMP_ECHO_REPLY);
}

/* Maps hold an IPv4 address as the IPv4-mapped IPv6 address ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2),
 * so that one map and one code path serve both families. */
static __always_inline struct in6_addr mapped_address(__be32 ipv4)
{
	struct in6_addr address = { { 0, 0, bpf_htonl(0xffff), ipv4 } };

	return address;
}

static __always_inline bool is_mapped(const struct in6_addr *address)
{
	return !(address->words[0] | address->words[1]) && address->words[2] == bpf_htonl(0xffff);
}

static __always_inline bool same_address(const struct in6_addr *a, const struct in6_addr *b)
{
	return !((a->words[0] ^ b->words[0]) | (a->words[1] ^ b->words[1]) |
		 (a->words[2] ^ b->words[2]) | (a->words[3] ^ b->words[3]));
}

/* One's complement sums do not care about byte order (RFC 1071), so words are added as they are. */
static __always_inline __be16 fold_checksum(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__be16)~sum;
}

/* RFC 1624, equation 3: the checksum after one 16-bit word changed. */
static __always_inline __be16 update_checksum(__be16 checksum, __be16 from, __be16 to)
{
	return fold_checksum((__u64)(__u16)~checksum + (__u16)~from + to);
}

#endif
