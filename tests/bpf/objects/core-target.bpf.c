/* SPDX-License-Identifier: MIT
 *
 * The kernel that core.bpf.c is fitted to: its types in another order, with other sizes, or not at all.
 */
#include "bpf.h"

struct inner {
	__u64 before;
	__u64 wide;
	int number;
};

struct shape {
	__u8 more;
	struct inner *b;
	int a;
};

struct moved {
	__u64 before[2];
	__u32 grows;
	int first;
	__u16 filler;
	__u32 low : 10;
	__u32 flags : 3;
	__s32 delta : 9;
	int list[8];
	struct {
		int x;
		union {
			int in_anonymous;
			float f;
		};
	};
	struct inner array[3];
	struct inner inner;
	__s64 signedness;
	const void *volatile pointer;
	struct inner other_kind;
	char flexible[];
};

enum color { RED = 10, GREEN = 20, VIOLET = 90 };
enum wide { SMALL = 1, LARGE = 0x2ffffffff };
typedef int (*callback)(int, struct inner *);
typedef __u32 number;

struct moved *keep_moved;
struct shape *keep_shape;
enum color keep_color;
enum wide keep_wide;
callback keep_callback;
number keep_number;
