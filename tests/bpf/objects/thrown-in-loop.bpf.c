/* SPDX-License-Identifier: MIT
 *
 * A program that Linux 6.18 takes for a mistake of its own verifier: it throws in a loop before a state was kept there.
 */
#include "bpf.h"

extern void bpf_throw(__u64 cookie) __ksym;

SEC("xdp")
int throws_in_loop(struct xdp_md *ctx)
{
	for (int round = 0; round < 10; round++) {
		if ((ctx->data_end - ctx->data) & 1)
			bpf_throw(round);
		asm volatile("" : "+r"(round));
	}
	return 2;
}

char _license[] SEC("license") = "Dual MIT/GPL";
