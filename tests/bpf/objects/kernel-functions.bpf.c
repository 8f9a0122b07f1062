/* Programs that call kernel functions: iterators, may_goto, dynptrs of packets and of ring buffer records, connections. */
#include "bpf.h"

struct __sk_buff;
struct task_struct {
	int of_the_kernel;
};

struct bpf_iter_num {
	__u64 opaque;
} __attribute__((aligned(8)));
struct bpf_dynptr {
	__u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_sock_tuple {
	__u32 addresses[2];
	__u16 ports[2];
};
struct bpf_ct_opts {
	int netns_id;
	int error;
	__u8 l4proto;
	__u8 dir;
	__u16 zone;
	__u8 zone_dir;
	__u8 reserved[3];
};
struct nf_conn {
	__u32 mark;
	unsigned long status;
} __attribute__((preserve_access_index));

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
extern int bpf_dynptr_from_xdp(struct xdp_md *xdp, __u64 flags, struct bpf_dynptr *ptr) __ksym __weak;
extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *ptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *ptr, __u32 offset, void *buffer, __u32 size) __ksym;
extern __u32 bpf_dynptr_size(const struct bpf_dynptr *ptr) __ksym;
extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *xdp, struct bpf_sock_tuple *tuple, __u32 size, struct bpf_ct_opts *options, __u32 options_size) __ksym;
extern void bpf_ct_release(struct nf_conn *connection) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;
extern void bpf_of_another_kernel(void) __ksym __weak;

static long (*const bpf_ringbuf_reserve_dynptr)(void *map, __u32 size, __u64 flags, struct bpf_dynptr *ptr) = (void *)198;
static void (*const bpf_ringbuf_submit_dynptr)(struct bpf_dynptr *ptr, __u64 flags) = (void *)199;
static void *(*const bpf_kptr_xchg)(void *field, void *given) = (void *)194;
static long (*const bpf_dynptr_write)(const struct bpf_dynptr *ptr, __u32 offset, void *from, __u32 size, __u64 flags) = (void *)202;

struct {
	__uint(type, 27);
	__uint(max_entries, 4096);
} records SEC(".maps");

struct {
	__uint(type, 2);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} sums SEC(".maps");

struct kept {
	__u64 count;
	struct task_struct __attribute__((btf_type_tag("kptr"))) *task;
};

struct {
	__uint(type, 2);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kept);
} tasks SEC(".maps");

static void keep(__u32 key, __u64 value)
{
	__u64 *sum = map_lookup(&sums, &key);

	if (sum)
		*sum += value;
}

/* Adds up the bytes of the packet, 64 at most, by an iterator over slices. */
SEC("xdp")
int sum_packet(struct xdp_md *ctx)
{
	struct bpf_dynptr packet;
	struct bpf_iter_num it;
	__u64 sum = 0;
	int *index;

	if (!bpf_dynptr_from_xdp || bpf_of_another_kernel)
		return 0;
	bpf_dynptr_from_xdp(ctx, 0, &packet);
	bpf_iter_num_new(&it, 0, 64);
	while ((index = bpf_iter_num_next(&it))) {
		__u8 buffer, *byte = bpf_dynptr_slice(&packet, *index, &buffer, 1);

		if (!byte)
			break;
		sum += *byte;
	}
	bpf_iter_num_destroy(&it);
	keep(0, sum);
	return 2;
}

/* Sends the beginning of the packet as a record as long as the packet, in 16-byte pieces while may_goto goes on. */
SEC("tc")
int copy_packet(struct __sk_buff *skb)
{
	struct bpf_dynptr packet, record;
	__u32 offset = 0;

	bpf_dynptr_from_skb(skb, 0, &packet);
	if (!bpf_ringbuf_reserve_dynptr(&records, bpf_dynptr_size(&packet), 0, &record)) {
		for (;;) {
			__u8 buffer[16], *piece;

			asm volatile goto("1: .byte 0xe5, 0; .long ((%l[done] - 1b - 8) / 8) & 0xffff; .short 0" : : : : done);
			piece = bpf_dynptr_slice(&packet, offset, buffer, sizeof(buffer));
			if (!piece)
				break;
			__builtin_memcpy(buffer, piece, sizeof(buffer));
			if (bpf_dynptr_write(&record, offset, buffer, sizeof(buffer), 0))
				break;
			offset += sizeof(buffer);
		}
	}
done:
	bpf_ringbuf_submit_dynptr(&record, 0);
	keep(1, offset);
	return 0;
}

/* Keeps what the packet's connection is marked with, or why there is none. */
SEC("xdp")
int ask_connection(struct xdp_md *ctx)
{
	struct bpf_sock_tuple tuple = { { 1, 2 }, { 3, 4 } };
	struct bpf_ct_opts options = { .netns_id = -1, .l4proto = 6 };
	struct nf_conn *connection;

	bpf_rcu_read_lock();
	connection = bpf_xdp_ct_lookup(ctx, &tuple, sizeof(tuple), &options, sizeof(options));
	if (connection) {
		if (connection->status & 8)
			keep(2, connection->mark);
		connection->mark = 7;
		bpf_ct_release(connection);
	} else {
		keep(3, -options.error);
	}
	bpf_rcu_read_unlock();
	return 2;
}

/* Takes the task that a map keeps, and counts how often there was none. */
SEC("tc")
int take_task(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct kept *kept = map_lookup(&tasks, &key);
	struct task_struct *task;

	if (!kept)
		return 0;
	task = bpf_kptr_xchg(&kept->task, (void *)0);
	if (task)
		bpf_task_release(task);
	else if (!kept->task)
		kept->count++;
	return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
