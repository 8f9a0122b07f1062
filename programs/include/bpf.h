/* SPDX-License-Identifier: MIT
 *
 * The part of the eBPF programming interface these programs use: integer types, section and map
 * macros, contexts, return codes and helpers. Names, numbers and layouts are Linux's
 * (include/uapi/linux/bpf.h); nothing is included from the system, so that an object depends on
 * this folder and the compiler only.
 */
#ifndef PROGRAMS_BPF_H
#define PROGRAMS_BPF_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;

/* Big endian on the wire. The type names stay in BTF: that is how tools know what to print as an
 * address (__be32, struct in6_addr) or a port (__be16). */
typedef __u16 __be16;
typedef __u32 __be32;

typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))

/* A BTF-defined map is a struct in the section ".maps" whose member types carry the numbers. */
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

/* To the kernel an array's key is an integer, not an enum. A typedef of the enum's name satisfies both it
 * and the tools that want to print names for indexes. */
#define ENUM_INDEX(name) typedef __u32 name

#define LICENSE(name) char _license[] SEC("license") = name

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

/* Constants fold at compile time; for the rest the compiler emits the BPF_END instruction. */
#define bpf_htons(x) ((__be16)__builtin_bswap16(x))
#define bpf_ntohs(x) ((__u16)__builtin_bswap16(x))
#define bpf_htonl(x) ((__be32)__builtin_bswap32(x))
#define bpf_ntohl(x) ((__u32)__builtin_bswap32(x))

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_EXIST = 2,
	BPF_F_NO_PREALLOC = 1, /* map flag; LPM tries need it */
};

/* What libbpf makes of a map's `pinning`: one map of that name for all objects that declare it. */
enum libbpf_pin_type {
	LIBBPF_PIN_NONE = 0,
	LIBBPF_PIN_BY_NAME = 1,
};

enum xdp_action {
	XDP_ABORTED = 0,
	XDP_DROP = 1,
	XDP_PASS = 2,
	XDP_TX = 3,
	XDP_REDIRECT = 4,
};

/* tcx reads these four as NEXT, PASS, DROP and REDIRECT; cls_bpf with direct-action agrees. */
enum tc_action {
	TC_ACT_UNSPEC = -1, /* not decided here: the next program of the hook decides */
	TC_ACT_OK = 0,
	TC_ACT_SHOT = 2,
	TC_ACT_REDIRECT = 7,
};

struct xdp_md {
	__u32 data;
	__u32 data_end;
	__u32 data_meta;
	__u32 ingress_ifindex;
	__u32 rx_queue_index;
	__u32 egress_ifindex;
};

/* Only as far as these programs read; offsets are Linux's. */
struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
};

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static long (*const bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)23;
static long (*const bpf_skb_pull_data)(struct __sk_buff *skb, __u32 length) = (void *)39;
static long (*const bpf_xdp_adjust_head)(struct xdp_md *ctx, int delta) = (void *)44;
static long (*const bpf_ringbuf_output)(void *map, void *data, __u64 size, __u64 flags) = (void *)130;

/* What every counter of these programs holds. In per-CPU maps each CPU has its own copy, so plain
 * additions are enough. */
struct counter {
	__u64 packets;
	__u64 bytes;
};

static __always_inline void count(struct counter *counter, __u64 bytes)
{
	if (counter) {
		counter->packets++;
		counter->bytes += bytes;
	}
}

#endif
