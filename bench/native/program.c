// SPDX-License-Identifier: MIT
/*
 * One of the bundled XDP programs as native code, and the loop around it. PROGRAM is its source, ENTRY its function;
 * MAP_LIST is a header with a line for each of its maps: MAP(kind, name, key bytes, value bytes, max_entries).
 *
 * The program finds a map by the address of its declaration, which the compiler knows: what is left of a look-up is the
 * code of that map's kind, inlined.
 */
#define bpf_map_lookup_elem linux_map_lookup_elem
#define bpf_map_update_elem linux_map_update_elem
#define bpf_map_delete_elem linux_map_delete_elem
#define bpf_ktime_get_ns linux_ktime_get_ns
#define bpf_redirect linux_redirect
#define bpf_xdp_adjust_head linux_xdp_adjust_head
#define bpf_ringbuf_output linux_ringbuf_output
#include "bpf.h"
#undef bpf_map_lookup_elem
#undef bpf_map_update_elem
#undef bpf_map_delete_elem
#undef bpf_ktime_get_ns
#undef bpf_redirect
#undef bpf_xdp_adjust_head
#undef bpf_ringbuf_output

#define HEADROOM 256
#define XDP_FRAME 40

static __u64 now, records;
static __u32 redirect_to;
static char *frame;

static __always_inline void *bpf_map_lookup_elem(void *map, const void *key);
static __always_inline long bpf_map_update_elem(void *map, const void *key, const void *value, __u64 flags);

static __always_inline __u64 bpf_ktime_get_ns(void)
{
	return now;
}

static __always_inline long bpf_redirect(__u32 ifindex, __u64 flags)
{
	redirect_to = ifindex;
	return flags ? XDP_ABORTED : XDP_REDIRECT;
}

static __always_inline long bpf_xdp_adjust_head(struct xdp_md *ctx, int delta)
{
	__u32 data = ctx->data + delta;

	if (data < (__u32)(long)frame + XDP_FRAME || data + 14 > ctx->data_end)
		return -22;
	ctx->data = ctx->data_meta = data;
	return 0;
}

static __always_inline long bpf_ringbuf_output(void *map, void *data, __u64 size, __u64 flags)
{
	(void)map, (void)data, (void)size, (void)flags;
	records++;
	return 0;
}

#include PROGRAM

#include "maps.h"

#define MAP(kind, name, key_size, value_size, entries) MAP_##kind(name, key_size, value_size, entries)
#include MAP_LIST
#undef MAP

static __always_inline void *bpf_map_lookup_elem(void *map, const void *key)
{
#define MAP(kind, name, key_size, value_size, entries) if (map == (void *)&name) return name##_lookup(key);
#include MAP_LIST
#undef MAP
	return NULL;
}

static __always_inline long bpf_map_update_elem(void *map, const void *key, const void *value, __u64 flags)
{
	/* BPF_NOEXIST only after a look-up that found nothing. */
	(void)flags;
#define MAP(kind, name, key_size, value_size, entries) if (map == (void *)&name) return name##_update(key, value);
#include MAP_LIST
#undef MAP
	return -22;
}

/* For filling: by place in MAP_LIST. */
long native_put(__u32 place, const void *key, const void *value)
{
	__u32 at = 0;

#define MAP(kind, name, key_size, value_size, entries) if (place == at++) return name##_update(key, value);
#include MAP_LIST
#undef MAP
	return -22;
}

__u64 native_verdicts[16][2], empty_verdicts[16][2];

static __always_inline int nothing(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_DROP;
}

/* What the packet loop does: a frame with its headroom, a context, the program, its verdict counted. */
static __always_inline __u32 run(int (*program)(struct xdp_md *), const char *bytes, const __u32 *offsets, __u32 count, __u32 first, __u32 next, __u32 packets, __u32 gap, __u64 (*verdicts)[2])
{
	struct xdp_md ctx = { .ingress_ifindex = 2 };

	for (; packets; packets--) {
		__u32 length = offsets[next + 1] - offsets[next];
		const char *from = bytes + offsets[next];
		int code;

		for (__u32 at = 0; at < length; at += 16)
			__builtin_memcpy(frame + HEADROOM + at, from + at, 16);
		ctx.data = ctx.data_meta = (__u32)(long)(frame + HEADROOM);
		ctx.data_end = ctx.data + length;
		now += gap;
		code = program(&ctx);
		verdicts[(code + 1) & 15][0]++;
		verdicts[(code + 1) & 15][1] += ctx.data_end - ctx.data;
		if (++next == count)
			next = first;
	}
	return next;
}

/* Where the trace goes on. `memory`: below 4 GiB, for contexts hold 32-bit pointers. */
__u32 native_run(int empty, char *memory, const char *bytes, const __u32 *offsets, __u32 count, __u32 first, __u32 next, __u32 packets, __u32 gap)
{
	frame = memory;
	if (empty)
		return run(nothing, bytes, offsets, count, first, next, packets, gap, empty_verdicts);
	return run(ENTRY, bytes, offsets, count, first, next, packets, gap, native_verdicts);
}
