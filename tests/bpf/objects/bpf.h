/* SPDX-License-Identifier: MIT
 *
 * The little that the test objects need of the kernel's and libbpf's headers, in our own words: macros whose output
 * the loader reads, and types that its conventions know.
 */
#ifndef TESTS_BPF_H
#define TESTS_BPF_H

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef _Bool bool;

#define SEC(name) __attribute__((section(name), used))
#define __noinline __attribute__((noinline))
#define __weak __attribute__((weak))
#define __hidden __attribute__((visibility("hidden")))

#define __uint(name, value) int(*name)[value]
#define __ulong(name, value) enum { unique_##name = value } name
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]

#define __kconfig __attribute__((section(".kconfig")))
#define __ksym __attribute__((section(".ksyms")))

enum {
	HASH = 1,
	ARRAY = 2,
	PROG_ARRAY = 3,
	LPM_TRIE = 11,
	ARRAY_OF_MAPS = 12,
	BLOOM_FILTER = 30,
};

struct in_addr {
	__be32 s_addr;
};

struct in6_addr {
	__u8 bytes[16];
};

struct xdp_md {
	__u32 data;
	__u32 data_end;
};

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const tail_call)(void *context, void *map, __u32 index) = (void *)12;
static long (*const for_each_map_elem)(void *map, void *callback, void *context, __u64 flags) = (void *)164;

#endif
