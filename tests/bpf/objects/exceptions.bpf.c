/* SPDX-License-Identifier: MIT
 *
 * Programs that throw: from the entry function, from functions below it, below a tail call, with and without a callback.
 */
#include "bpf.h"

struct __sk_buff {
	__u32 len;
};

extern void bpf_throw(__u64 cookie) __ksym;

#define catches(name) __attribute__((btf_decl_tag("exception_callback:" #name)))

struct {
	__uint(type, ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 4);
} thrown SEC(".maps");

int thrower(struct xdp_md *ctx);

struct {
	__uint(type, PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, int(void *));
} next SEC(".maps") = {
	.values = { [0] = (void *)&thrower },
};

static __noinline int count(__u32 key, __u64 cookie)
{
	__u64 *sum = map_lookup(&thrown, &key);

	if (sum)
		*sum += cookie + 1;
	return key;
}

/* Drops short packets, after it has kept how short they were. */
__noinline int too_short(__u64 cookie)
{
	return count(1, cookie);
}

__noinline int negative(__u64 cookie)
{
	return -(int)(cookie & 0xffff);
}

static __noinline int check(struct xdp_md *ctx, int least)
{
	__u32 length = ctx->data_end - ctx->data;

	if (length < least)
		bpf_throw(length);
	return length;
}

static __noinline int check_twice(struct xdp_md *ctx)
{
	return check(ctx, 60) + check(ctx, 65) - 129;
}

__noinline int odd(__u32 number)
{
	if (number & 1)
		bpf_throw(3);
	return number / 2;
}

SEC("xdp")
int thrower(struct xdp_md *ctx)
{
	count(2, 0);
	bpf_throw(4);
	return 2;
}

/* The length of the packet is the verdict, where it is short. */
SEC("xdp")
int without_callback(struct xdp_md *ctx)
{
	count(0, check_twice(ctx));
	return 2;
}

catches(too_short)
SEC("xdp")
int with_callback(struct xdp_md *ctx)
{
	count(0, check_twice(ctx));
	return 2;
}

SEC("xdp")
int global_function(struct xdp_md *ctx)
{
	return odd(ctx->data_end - ctx->data);
}

static __noinline int leave(struct xdp_md *ctx)
{
	volatile int ret = 10;

	tail_call(ctx, &next, 0);
	return ret;
}

/* What the program throws that is called instead of a function ends that function, not this program. */
catches(too_short)
SEC("xdp")
int around_tail_call(struct xdp_md *ctx)
{
	volatile int ret = leave(ctx);

	return ret + 8;
}

catches(negative)
SEC("tc")
int of_tc(struct __sk_buff *skb)
{
	count(3, odd(skb->len));
	bpf_throw(0x10000 | skb->len);
	return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
