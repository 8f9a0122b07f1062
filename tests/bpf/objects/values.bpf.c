/* SPDX-License-Identifier: MIT
 *
 * Types of keys and values, one map for each: what the conventions of network code recognise, and plain C.
 */
#include "bpf.h"

enum state { CLOSED, OPEN = 5, LISTENING = -2 };
enum large { SMALL = 1, HUGE = 0x100000000ull };

struct vip {
	struct in6_addr address;
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

struct prefix4 {
	__u32 prefixlen;
	__be32 address;
};

struct prefix6 {
	__u32 prefix_len;
	struct in6_addr address;
};

struct trie_key {
	__u32 prefixlen;
	__u8 data[0];
};

struct nested_prefix {
	struct trie_key key;
	__u8 data[4];
};

struct not_prefix {
	__u32 prefixlen;
	__be32 address;
	__u32 zone;
};

struct numbers {
	__u8 u8;
	__s8 s8;
	__u16 u16;
	__s16 s16;
	__u32 u32;
	__s32 s32;
	__u64 u64;
	__s64 s64;
	__int128 i128;
	bool yes;
	__u8 list[3];
	enum state state;
	enum large large;
	double ratio;
	void *pointer;
};

struct network {
	__be64 cookie;
	__be32 source;
	__be32 seq;
	__u32 saddr;
	struct in_addr router;
	__u8 ip[4];
	__u32 dst_v6[4];
	__be32 words[4];
	__u8 mac[6];
	char name[14];
};

struct bits {
	__u32 version : 4;
	__u32 length : 4;
	__u32 flags : 3;
	__u32 offset : 13;
	__u32 rest : 8;
	__s32 delta : 20;
	enum state state : 12;
};

struct choices {
	union {
		__be32 ip4;
		__u32 words[4];
	};
	union {
		struct {
			__u16 low;
			__u16 high;
		};
		__u32 both;
	} named;
	struct {
		__u8 inner;
		struct {
			__u8 deeper;
		};
	};
	__u8 _pad2[2];
	struct vip nested[2];
};

struct hostile {
	__u32 __proto__;
	__u32 constructor;
};

#define MAP(name, map_type, key_type, value_type) \
	struct {                                  \
		__uint(type, map_type);           \
		__type(key, key_type);            \
		__type(value, value_type);        \
		__uint(max_entries, 1);           \
	} name SEC(".maps")

MAP(vips, HASH, struct vip, __u32);
MAP(prefixes4, LPM_TRIE, struct prefix4, __u32);
MAP(prefixes6, LPM_TRIE, struct prefix6, __u32);
MAP(nested_prefixes, LPM_TRIE, struct nested_prefix, struct not_prefix);
MAP(numbers, HASH, __u32, struct numbers);
MAP(networks, HASH, __u32, struct network);
MAP(bitfields, HASH, __u32, struct bits);
MAP(choices, HASH, __u32, struct choices);
MAP(hostiles, HASH, __u32, struct hostile);
