/* SPDX-License-Identifier: MIT
 *
 * Maps of a program as native code: each kind is a macro that defines the functions of one map, specialised to its
 * geometry, so that the compiler inlines them into the program. What they promise is what dataplane/maps promises: values
 * do not move, a full LRU map gives up the oldest entry that was not looked up, the longest prefix wins.
 */
#ifndef NATIVE_MAPS_H
#define NATIVE_MAPS_H

#define ROUND_UP(n, to) (((n) + (to) - 1) / (to) * (to))

static __always_inline __u64 key_word(const void *key, __u32 at, __u32 size)
{
	__u64 word = 0;

	__builtin_memcpy(&word, (const char *)key + at, size - at < 8 ? size - at : 8);
	return word;
}

static __always_inline __u32 hash_key(const void *key, __u32 size)
{
	__u64 sum = 0, factor = 0x9e3779b97f4a7c15ull;

#pragma unroll
	for (__u32 at = 0; at < size; at += 8, factor = factor * 0xbf58476d1ce4e5b9ull | 1)
		sum += key_word(key, at, size) * factor;
	sum = (sum ^ sum >> 32) * 0x94d049bb133111ebull;
	return sum ^ sum >> 32;
}

static __always_inline bool same_key(const void *a, const void *b, __u32 size)
{
	__u64 difference = 0;

#pragma unroll
	for (__u32 at = 0; at < size; at += 8)
		difference |= key_word(a, at, size) ^ key_word(b, at, size);
	return !difference;
}

/* Arrays, and per-CPU arrays of the one CPU there is. */
#define MAP_ARRAY(name, key_size, value_size, entries)                                                                 \
	static char name##_values[(__u64)(entries) * ROUND_UP(value_size, 8)] __attribute__((aligned(64)));            \
	static __always_inline void *name##_lookup(const void *key)                                                    \
	{                                                                                                              \
		__u32 index = *(const __u32 *)key;                                                                     \
		return index < (entries) ? name##_values + (__u64)index * ROUND_UP(value_size, 8) : NULL;              \
	}                                                                                                              \
	static __always_inline long name##_update(const void *key, const void *value)                                  \
	{                                                                                                              \
		void *found = name##_lookup(key);                                                                      \
		if (!found)                                                                                            \
			return -7;                                                                                     \
		__builtin_memcpy(found, value, value_size);                                                            \
		return 0;                                                                                              \
	}

/* Chains of nodes that never move; node 0 is none. `newer` and `older` make a list of all live nodes of an LRU map, with
 * node 0 between the newest and the oldest. */
#define MAP_TABLE(name, key_size, value_size, entries, lru)                                                            \
	struct name##_node {                                                                                           \
		__u32 next, newer, older, referenced;                                                                  \
		char key[ROUND_UP(key_size, 8)];                                                                       \
		char value[ROUND_UP(value_size, 8)];                                                                   \
	};                                                                                                             \
	static struct name##_node name##_nodes[(entries) + 2];                                                         \
	static __u32 name##_buckets[(entries) * 2 <= 16 ? 32 : 1u << (33 - __builtin_clz((entries) - 1))];             \
	static __u32 name##_count, name##_top = 1, name##_free;                                                        \
	static __always_inline __u32 *name##_bucket(const void *key)                                                   \
	{                                                                                                              \
		return name##_buckets + (hash_key(key, key_size) & (sizeof(name##_buckets) / 4 - 1));                  \
	}                                                                                                              \
	static __always_inline __u32 name##_find(const void *key)                                                      \
	{                                                                                                              \
		__u32 node = *name##_bucket(key);                                                                      \
		while (node && !same_key(name##_nodes[node].key, key, key_size))                                       \
			node = name##_nodes[node].next;                                                                \
		return node;                                                                                           \
	}                                                                                                              \
	static __always_inline void *name##_lookup(const void *key)                                                    \
	{                                                                                                              \
		__u32 node = name##_find(key);                                                                         \
		if (!node)                                                                                             \
			return NULL;                                                                                   \
		if (lru && !name##_nodes[node].referenced)                                                             \
			name##_nodes[node].referenced = 1;                                                             \
		return name##_nodes[node].value;                                                                       \
	}                                                                                                              \
	static void name##_leave(__u32 node)                                                                           \
	{                                                                                                              \
		name##_nodes[name##_nodes[node].newer].older = name##_nodes[node].older;                               \
		name##_nodes[name##_nodes[node].older].newer = name##_nodes[node].newer;                               \
	}                                                                                                              \
	static void name##_join(__u32 node, __u32 referenced)                                                          \
	{                                                                                                              \
		__u32 newest = name##_nodes[0].older;                                                                  \
		name##_nodes[node].older = newest;                                                                     \
		name##_nodes[node].newer = 0;                                                                          \
		name##_nodes[newest].newer = node;                                                                     \
		name##_nodes[0].older = node;                                                                          \
		name##_nodes[node].referenced = referenced;                                                            \
	}                                                                                                              \
	static __noinline void name##_evict(void)                                                                      \
	{                                                                                                              \
		__u32 oldest, *link;                                                                                   \
		while (name##_nodes[oldest = name##_nodes[0].newer].referenced) {                                      \
			name##_leave(oldest);                                                                          \
			name##_join(oldest, 0);                                                                        \
		}                                                                                                      \
		for (link = name##_bucket(name##_nodes[oldest].key); *link != oldest; link = &name##_nodes[*link].next) \
			;                                                                                              \
		*link = name##_nodes[oldest].next;                                                                     \
		name##_leave(oldest);                                                                                  \
		name##_nodes[oldest].next = name##_free;                                                               \
		name##_free = oldest;                                                                                  \
		name##_count--;                                                                                        \
	}                                                                                                              \
	static __noinline long name##_update(const void *key, const void *value)                                       \
	{                                                                                                              \
		__u32 node = name##_find(key), *bucket;                                                                \
		if (node) {                                                                                            \
			__builtin_memcpy(name##_nodes[node].value, value, value_size);                                 \
			if (lru) {                                                                                     \
				name##_leave(node);                                                                    \
				name##_join(node, 1);                                                                  \
			}                                                                                              \
			return 0;                                                                                      \
		}                                                                                                      \
		if (name##_count >= (entries)) {                                                                       \
			if (!lru)                                                                                      \
				return -7;                                                                             \
			name##_evict();                                                                                \
		}                                                                                                      \
		node = name##_free;                                                                                    \
		if (node)                                                                                              \
			name##_free = name##_nodes[node].next;                                                         \
		else                                                                                                   \
			node = name##_top++;                                                                           \
		__builtin_memcpy(name##_nodes[node].key, key, key_size);                                               \
		__builtin_memcpy(name##_nodes[node].value, value, value_size);                                         \
		bucket = name##_bucket(key);                                                                           \
		name##_nodes[node].next = *bucket;                                                                     \
		*bucket = node;                                                                                        \
		if (lru)                                                                                               \
			name##_join(node, 0);                                                                          \
		name##_count++;                                                                                        \
		return 0;                                                                                              \
	}

#define MAP_HASH(name, key_size, value_size, entries) MAP_TABLE(name, key_size, value_size, entries, 0)
#define MAP_LRU_HASH(name, key_size, value_size, entries) MAP_TABLE(name, key_size, value_size, entries, 1)

/* Longest prefix of an IPv4 address by tables of 16, 8 and 8 bits; an element is 0, the number of an entry, or with
 * DEEPER the number of a table. Filled once, shortest prefixes first. Longer keys are looked up one by one: no figure is
 * measured with them. */
#define DEEPER 0x80000000u
#define MAP_LPM_TRIE(name, key_size, value_size, entries)                                                              \
	static struct {                                                                                                \
		char key[ROUND_UP(key_size, 8)];                                                                       \
		char value[ROUND_UP(value_size, 8)];                                                                   \
	} name##_entries[(entries) + 1];                                                                               \
	static __u32 name##_first[1 << 16], name##_count, name##_tables;                                               \
	static __u32 name##_deeper[(key_size) == 8 ? 2 * (entries) + 1 : 1][256];                                      \
	static __always_inline void *name##_lookup(const void *key)                                                    \
	{                                                                                                              \
		if ((key_size) == 8) {                                                                                 \
			__u32 address = bpf_ntohl(((const __u32 *)key)[1]), at = name##_first[address >> 16];          \
			if (at & DEEPER)                                                                               \
				at = name##_deeper[at & ~DEEPER][address >> 8 & 255];                                  \
			if (at & DEEPER)                                                                               \
				at = name##_deeper[at & ~DEEPER][address & 255];                                       \
			return at ? name##_entries[at].value : NULL;                                                   \
		}                                                                                                      \
		if (!name##_count)                                                                                     \
			return NULL;                                                                                   \
		return longest_prefix(name##_entries, sizeof(name##_entries[0]), name##_count, key, ROUND_UP(key_size, 8)); \
	}                                                                                                              \
	static __u32 *name##_descend(__u32 *element)                                                                   \
	{                                                                                                              \
		if (!(*element & DEEPER)) {                                                                            \
			__u32 table = name##_tables++;                                                                 \
			for (int i = 0; i < 256; i++)                                                                  \
				name##_deeper[table][i] = *element;                                                    \
			*element = DEEPER | table;                                                                     \
		}                                                                                                      \
		return name##_deeper[*element & ~DEEPER];                                                              \
	}                                                                                                              \
	static long name##_update(const void *key, const void *value)                                                  \
	{                                                                                                              \
		__u32 entry = ++name##_count, bits = *(const __u32 *)key;                                              \
		__builtin_memcpy(name##_entries[entry].key, key, key_size);                                            \
		__builtin_memcpy(name##_entries[entry].value, value, value_size);                                      \
		if ((key_size) == 8) {                                                                                 \
			__u32 address = bpf_ntohl(((const __u32 *)key)[1]), *table = name##_first, level = 16;         \
			__u32 index = address >> 16;                                                                   \
			while (bits > level) {                                                                         \
				table = name##_descend(&table[index]);                                                 \
				level += 8;                                                                            \
				index = address >> (32 - level) & 255;                                                 \
			}                                                                                              \
			for (__u32 i = 0; i < 1u << (level - bits); i++)                                               \
				table[index + i] = entry;                                                              \
		}                                                                                                      \
		return 0;                                                                                              \
	}

static __noinline void *longest_prefix(void *entries, __u32 stride, __u32 count, const void *key, __u32 value_at)
{
	void *best = NULL;
	__u32 longest = 0;

	for (__u32 n = 1; n <= count; n++) {
		const unsigned char *entry = (const unsigned char *)entries + (__u64)n * stride;
		__u32 bits = *(const __u32 *)entry, same = 0;

		while (same < bits && !((entry[4 + same / 8] ^ ((const unsigned char *)key)[4 + same / 8]) & (0x80 >> same % 8)))
			same++;
		if (same == bits && (!best || bits > longest)) {
			best = (void *)(entry + value_at);
			longest = bits;
		}
	}
	return best;
}

/* Records are counted and forgotten. */
#define MAP_RINGBUF(name, key_size, value_size, entries)                                                               \
	static __always_inline void *name##_lookup(const void *key) { (void)key; return NULL; }                        \
	static __always_inline long name##_update(const void *key, const void *value) { (void)key; (void)value; return -22; }

#endif
