/* SPDX-License-Identifier: MIT
 *
 * CO-RE relocations of every kind, against the types of core-target.bpf.c. Each line of `answers` is a question to the
 * target; the test reads what the loader put into the instructions.
 */
#include "bpf.h"

#define __core __attribute__((preserve_access_index))
#define OFFSET 0
#define SIZE 1
#define EXISTS 2
#define SIGNED 3
#define LSHIFT 4
#define RSHIFT 5
#define FIELD(access, kind) __builtin_preserve_field_info(access, kind)
#define TYPE_EXISTS(type) __builtin_preserve_type_info(*(typeof(type) *)0, 0)
#define TYPE_SIZE(type) __builtin_preserve_type_info(*(typeof(type) *)0, 1)
#define TYPE_MATCHES(type) __builtin_preserve_type_info(*(typeof(type) *)0, 2)
#define TYPE_ID_LOCAL(type) __builtin_btf_type_id(*(typeof(type) *)0, 0)
#define TYPE_ID_TARGET(type) __builtin_btf_type_id(*(typeof(type) *)0, 1)
#define ENUM_EXISTS(type, value) __builtin_preserve_enum_value(*(typeof(type) *)value, 0)
#define ENUM_VALUE(type, value) __builtin_preserve_enum_value(*(typeof(type) *)value, 1)

struct inner {
	int number;
	__u64 wide;
} __core;

struct moved {
	int first;
	__u16 grows;
	int list[4];
	struct inner inner;
	struct inner array[2];
	__u32 flags : 3;
	__s32 delta : 7;
	int signedness;
	void *pointer;
	int in_anonymous;
	int other_kind;
	char flexible[];
} __core;

/* Another kernel's version of the same struct. */
struct moved___old {
	int gone;
	int first;
} __core;

struct absent {
	int x;
} __core;

struct shape {
	int a;
	struct inner *b;
} __core;

struct shape___wrong {
	int a;
	long long *b;
} __core;

enum color { RED = 1, GREEN = 2, BLUE = 3 };
enum color___new { VIOLET___new = 9 };
enum wide { SMALL = 1, LARGE = 0x1ffffffff };
typedef int (*callback)(int, struct inner *);
typedef __u32 number;

enum { LINES = 40 };
__u64 answers[LINES];

SEC("tc")
int questions(void *context)
{
	struct moved *moved = context;
	struct moved___old *old = context;
	struct absent *absent = context;

	answers[0] = FIELD(moved->first, OFFSET);
	answers[1] = FIELD(moved->list[2], OFFSET);
	answers[2] = FIELD(moved->inner.wide, OFFSET);
	answers[3] = FIELD(moved->array[1].number, OFFSET);
	answers[4] = FIELD(moved->grows, SIZE);
	answers[5] = FIELD(moved->list, SIZE);
	answers[6] = FIELD(moved->in_anonymous, OFFSET);
	answers[7] = FIELD(moved->first, EXISTS);
	answers[8] = FIELD(old->gone, EXISTS);
	answers[9] = FIELD(absent->x, EXISTS);
	answers[10] = FIELD(moved->other_kind, EXISTS);
	answers[11] = FIELD(moved->signedness, SIGNED);
	answers[12] = FIELD(moved->grows, SIGNED);
	answers[13] = FIELD(moved->flags, OFFSET);
	answers[14] = FIELD(moved->flags, SIZE);
	answers[15] = FIELD(moved->flags, LSHIFT);
	answers[16] = FIELD(moved->flags, RSHIFT);
	answers[17] = FIELD(moved->delta, LSHIFT);
	answers[18] = FIELD(moved->delta, SIGNED);
	answers[19] = FIELD(moved[3].first, OFFSET);
	answers[20] = FIELD(moved->flexible[5], OFFSET);
	answers[21] = TYPE_EXISTS(struct moved);
	answers[22] = TYPE_EXISTS(struct absent);
	answers[23] = TYPE_SIZE(struct moved___old);
	answers[24] = TYPE_SIZE(struct absent);
	answers[25] = TYPE_MATCHES(struct shape);
	answers[26] = TYPE_MATCHES(struct shape___wrong);
	answers[27] = TYPE_EXISTS(struct shape___wrong);
	answers[28] = TYPE_EXISTS(callback);
	answers[29] = TYPE_EXISTS(number);
	answers[30] = TYPE_ID_TARGET(struct inner);
	answers[31] = TYPE_ID_TARGET(struct absent);
	answers[32] = ENUM_EXISTS(enum color, GREEN);
	answers[33] = ENUM_EXISTS(enum color, BLUE);
	answers[34] = ENUM_VALUE(enum color, GREEN);
	answers[35] = ENUM_VALUE(enum color___new, VIOLET___new);
	answers[36] = ENUM_VALUE(enum wide, LARGE);
	answers[37] = TYPE_MATCHES(enum color);
	answers[38] = TYPE_SIZE(enum wide);
	answers[39] = TYPE_MATCHES(callback);
	return 0;
}

/* Loads and stores change their offset and, for unsigned integers and pointers, their width. */
SEC("tc")
int accesses(struct moved *moved)
{
	moved->first = 7;
	moved->list[1] = moved->grows;
	if (moved->pointer)
		return moved->in_anonymous;
	return 1;
}

/* What is not there is poison where nobody asks before. */
SEC("tc")
int guarded(struct moved___old *old)
{
	if (FIELD(old->gone, EXISTS))
		return old->gone;
	return 5;
}

SEC("tc")
int unguarded(struct absent *absent)
{
	return absent->x;
}

/* A signed integer that has grown cannot be loaded by the old instruction. */
SEC("tc")
int resized(struct moved *moved)
{
	return moved->signedness;
}

SEC("tc")
__u64 missing_value(void *context)
{
	return ENUM_VALUE(enum color, BLUE);
}

/* Keeps the local type ids in the code. */
SEC("tc")
int local_id(void *context)
{
	return TYPE_ID_LOCAL(struct inner) > 0;
}

char _license[] SEC("license") = "GPL";
