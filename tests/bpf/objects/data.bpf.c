/* SPDX-License-Identifier: MIT
 *
 * Global and static variables, string constants, and what is expected of the kernel.
 */
#include "bpf.h"

const volatile __u32 limit = 100;
const volatile char device[8] = "eth0";
static volatile const __u16 ports[3] = { 22, 80, 443 };
__u64 packets;
static volatile __u64 bytes;
__s32 balance = -5;
static volatile __u8 mode = 3;
__u32 hits SEC(".data.counters") = 7;

enum libbpf_tristate { TRI_NO = 0, TRI_MODULE = 1, TRI_YES = 2 };

extern __u32 LINUX_KERNEL_VERSION __kconfig;
extern int CONFIG_HZ __kconfig;
extern bool CONFIG_BPF __kconfig;
extern enum libbpf_tristate CONFIG_IPV6 __kconfig;
extern char CONFIG_INET __kconfig;
extern __u64 CONFIG_NOT_THERE __kconfig __weak;

extern const void missing_symbol __ksym __weak;
extern const void needed_symbol __ksym;
extern int missing_function(void) __ksym __weak;
extern int wanted_function(int value) __ksym;

SEC("tc")
int variables(void *context)
{
	packets++;
	bytes += limit + ports[2];
	balance -= mode;
	hits++;
	return device[1] == 't' ? 1 : 2;
}

SEC("tc/ingress")
int kernel(void *context)
{
	__u64 sum = LINUX_KERNEL_VERSION + CONFIG_HZ + CONFIG_NOT_THERE;

	if (CONFIG_BPF && CONFIG_IPV6 == TRI_YES && CONFIG_INET == 'y')
		sum++;
	if (&missing_symbol)
		sum = 0;
	sum += (__u64)&needed_symbol;
	if (missing_function)
		sum += missing_function();
	return sum + wanted_function(1);
}

char _license[] SEC("license") = { 'M', 'I', 'T' }; /* without NUL */
