/* SPDX-License-Identifier: MIT
 *
 * Maps as objects declared them before BTF: libbpf's five words, or with -DIPROUTE2 that loader's nine.
 */
#include "bpf.h"

struct map {
	__u32 type, key_bytes, value_bytes, max_entries, flags;
#ifdef IPROUTE2
	__u32 id, pinning, inner_id, inner_slot;
#endif
};

#ifdef IPROUTE2
#define INNER , .id = 42, .inner_slot = 1
#define OUTER , .id = 1, .pinning = 2, .inner_id = 42, .inner_slot = -1
#else
#define INNER
#define OUTER
#endif

struct map SEC("maps") inner = { .type = ARRAY, .key_bytes = 4, .value_bytes = 8, .max_entries = 16 INNER };
struct map SEC("maps") outer = { .type = ARRAY_OF_MAPS, .key_bytes = 4, .value_bytes = 4, .max_entries = 2, .flags = 0 OUTER };

#ifdef IPROUTE2
struct map SEC("maps") jumps = { .type = PROG_ARRAY, .key_bytes = 4, .value_bytes = 4, .max_entries = 4, .id = 7, .inner_slot = -1 };

SEC("7/3")
int tail(void *context)
{
	return 2;
}
#endif

SEC("classifier")
int lookup(void *context)
{
	__u32 key = 1;

	return map_lookup(&inner, &key) && map_lookup(&outer, &key);
}

char _license[] SEC("license") = "MIT";
