// SPDX-License-Identifier: MIT
/*
 * harness <trace> <maps>: runs a program over a trace when told to, and says how long it took.
 *
 *   trace     u32 packets, u32 opening, u32 gap in ns, then packets + 1 u32 offsets, then the bytes, 16 more at their end
 *   maps      entries: u32 place of the map, u32 key bytes, u32 value bytes, key, value
 *   input     lines `program <packets> <batches>` and `empty <packets> <batches>`; the end of the input ends it
 *   output    for each line the nanoseconds per packet, the median of the batches: the first come with cold caches, after
 *             others have had their turn; at the end packets by verdict, from code -1 on
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define FRAME_BYTES 4096
#define MOST_BATCHES 256

extern uint64_t native_verdicts[16][2];
long native_put(uint32_t place, const void *key, const void *value);
uint32_t native_run(int empty, char *memory, const char *bytes, const uint32_t *offsets, uint32_t count, uint32_t first, uint32_t next, uint32_t packets, uint32_t gap);

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static char *read_all(const char *path, size_t *length)
{
	FILE *file = fopen(path, "rb");
	char *bytes;

	if (!file || fseek(file, 0, SEEK_END))
		fail(path);
	*length = ftell(file);
	rewind(file);
	bytes = aligned_alloc(64, (*length + 127) / 64 * 64);
	if (!bytes || fread(bytes, 1, *length, file) != *length)
		fail(path);
	fclose(file);
	return bytes;
}

static double elapsed_ns(const struct timespec *from, const struct timespec *to)
{
	return (to->tv_sec - from->tv_sec) * 1e9 + (to->tv_nsec - from->tv_nsec);
}

static int compare(const void *a, const void *b)
{
	double difference = *(const double *)a - *(const double *)b;

	return difference < 0 ? -1 : difference > 0;
}

int main(int argc, char **argv)
{
	size_t length, at = 0;
	const uint32_t *head, *offsets;
	uint32_t next[2] = { 0, 0 };
	char *trace, *maps, *memory, line[64];

	if (argc != 3) {
		fputs("usage: harness <trace> <maps>\n", stderr);
		return 2;
	}
	trace = read_all(argv[1], &length);
	head = (const uint32_t *)trace;
	offsets = head + 3;
	maps = read_all(argv[2], &length);
	while (at < length) {
		const uint32_t *entry = (const uint32_t *)(maps + at);

		if (native_put(entry[0], maps + at + 12, maps + at + 12 + entry[1]) < 0) {
			fprintf(stderr, "map %u takes no entry at byte %zu\n", entry[0], at);
			return 1;
		}
		at += (12 + entry[1] + entry[2] + 7) / 8 * 8;
	}
	memory = mmap(NULL, FRAME_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (memory == MAP_FAILED)
		fail("mmap");
	while (fgets(line, sizeof(line), stdin)) {
		int empty = line[0] == 'e';
		unsigned packets, batches;
		double times[MOST_BATCHES];

		if (sscanf(line, "%*s %u %u", &packets, &batches) != 2 || batches < 1 || batches > MOST_BATCHES) {
			fprintf(stderr, "cannot read: %s", line);
			return 1;
		}
		for (unsigned batch = 0; batch < batches; batch++) {
			struct timespec begun, ended;

			clock_gettime(CLOCK_MONOTONIC, &begun);
			next[empty] = native_run(empty, memory, (const char *)(offsets + head[0] + 1), offsets, head[0], head[1], next[empty], packets, head[2]);
			clock_gettime(CLOCK_MONOTONIC, &ended);
			times[batch] = elapsed_ns(&begun, &ended) / packets;
		}
		qsort(times, batches, sizeof(times[0]), compare);
		printf("%.4f\n", times[batches / 2]);
		fflush(stdout);
	}
	for (int slot = 0; slot < 16; slot++)
		printf("%lu%c", native_verdicts[slot][0], slot == 15 ? '\n' : ' ');
	return 0;
}
