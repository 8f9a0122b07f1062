/** Advice for refusals that no broken program of `broken/` has: it holds for the user and the place that were refused. */
import { expect, test } from 'vitest';
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import type { LineInfo } from '../../dataplane/bpf/spec.ts';
import { explainRefusal } from '../../dataplane/insight/explain-refusal.ts';
import { verifyProgram } from '../../dataplane/verifier/verify.ts';
import { parseCases, programOf } from '../verifier/case-file.ts';
import { CASE_MAPS } from '../verifier/case-maps.ts';
import { typesOf } from '../verifier/case-types.ts';

/** What stands behind a `;` is the line of C that the instruction is of. */
function explained(text: string) {
  const [each] = parseCases(text, 'case');
  const assembled = programOf(each!);
  const program = { ...assembled, lines: linesOf(each!.asm, assembled.instructions) };
  const options = { maps: CASE_MAPS, btf: typesOf(each!), type: each!.type, user: each!.user };
  return explainRefusal(program, verifyProgram(program, options), options);
}

function linesOf(asm: string, instructions: readonly Instruction[]): LineInfo[] {
  const slots = instructions.flatMap(({ kind }, slot) => (kind === 'upper' ? [] : [slot]));
  const statements = asm.split('\n').filter((line) => line.trim() !== '');
  return statements.flatMap((statement, index) => {
    const text = /; (.*)/.exec(statement)?.[1];
    return text === undefined ? [] : [{ slot: slots[index]!, file: 'case.bpf.c', line: index + 1, column: 1, text }];
  });
}

test('NULL is called NULL, and no packet pointer that went void', () => {
  expect(explained('refused\n-- asm\nr1 = 0\nr0 = *(u64 *)(r1 +0)\nexit')).toMatchObject({ needed: 'a pointer that is known not to be NULL' });
});

test('a number that a call returned is no packet pointer that went void', () => {
  expect(explained('refused\n-- asm\ncall inside\nr0 = *(u64 *)(r0 +0)\nexit\ninside: r0 = 7\nexit')).toMatchObject({ needed: 'a pointer; this is a number' });
});

test('metadata is compared with the beginning of the packet', () => {
  const found = explained('refused\n-- asm\nr2 = *(u32 *)(r1 +8)\nr0 = *(u32 *)(r2 +0)\nexit');
  expect(found?.suggestion).toContain('> data)');
});

test('the difference of two pointers takes CAP_PERFMON', () => {
  expect(explained('refused\n-- without CAP_PERFMON\n-- asm\nr0 = *(u32 *)(r1 +4)\nr2 = *(u32 *)(r1 +0)\nr0 -= r2\nexit')?.needed).toContain('CAP_PERFMON');
});

test('an index into the stack is not said to need a bound where no bound is enough', () => {
  expect(explained('refused\n-- without CAP_PERFMON\n-- asm\n*(u64 *)(r10 -8) = 0\nr2 = *(u32 *)(r1 +16)\nr2 &= 7\nr3 = r10\nr3 += -8\nr3 += r2\nr0 = *(u8 *)(r3 +0)\nexit')?.suggestion).toContain('map value');
});

test('a field that is read as it is declared, by somebody who may not, takes a right', () => {
  expect(explained('refused\n-- type cgroup_skb\n-- without capabilities\n-- asm\nr2 = *(u32 *)(r1 +80)\nr0 = 1\nexit')?.suggestion).toContain('CAP_BPF');
});

/** Bytes of the packet from r2, read by `line` at a place that varies. */
const packetElement = (line: string) => explained(`refused
-- asm
r2 = *(u32 *)(r1 +0)
r3 = *(u32 *)(r1 +16)
r3 &= 62
r2 += r3
r0 = *(u16 *)(r2 +0) ; ${line}
exit`);

test.each([
  ['sum += data[i];', '&data[i]'],
  ['if (ports[index[i] & 3] == 7)', '&ports[index[i] & 3]'],
  ['if (header->ports[i] == 7)', '&header->ports[i]'],
  ['sum += packet->header->port;', 'packet->header'],
  ['if (ethernet->source[5] & 1)', 'ethernet'],
  ['return *(data + i);', 'data + i'],
  ['flow.port = *(__u16 *)(data + i);', '(__u16 *)(data + i)'],
])('the end of what is read is compared with data_end: %s', (line, place) => {
  expect(packetElement(line)?.suggestion).toContain(`if ((void *)(${place} + 1) > data_end)`);
});

/** 32 bytes of stack filled by `call`; the size is the user's. */
const filled = (size: string, call: string) => explained(`refused
-- asm
r6 = r1
${size}
r3 = r10
r3 += -32
r2 = 0
r1 = r6
call bpf_xdp_load_bytes ; ${call}
r0 = 2
exit`);
const LENGTH = 'r4 = *(u32 *)(r1 +16)';

test('a size without a bound is compared with that of the variable, and with 0 where the helper takes no 0', () => {
  const found = filled(LENGTH, 'bpf_xdp_load_bytes(ctx, 0, buf, len);');
  expect(found?.known).toContain('R4 = ');
  expect(found?.suggestion).toBe('barrier_var(len); if (len < 1 || len > sizeof(buf)) return XDP_DROP; before line 7, with len declared as __u64');
});

test('a size with a bound that is too large is what is shown, not the memory', () => {
  const found = filled(`${LENGTH}\nr4 &= 63\nr4 |= 1`, 'bpf_xdp_load_bytes(ctx, 0, &header, header->length);');
  expect(found).toMatchObject({ message: 'invalid write to stack R3 off=-32 size=63', meaning: '1 to 63' });
  expect(found?.suggestion).toContain('__u64 size = header->length; barrier_var(size); if (size < 1 || size > sizeof(header))');
});

test('a constant size that is too large is told which one fits', () => {
  const found = filled('r4 = 64', 'bpf_xdp_load_bytes(ctx, 0, &e, sizeof(e) * 2);');
  expect(found).toMatchObject({ known: 'R4 = 64', suggestion: 'pass sizeof(e) as argument 4 instead of sizeof(e) * 2; or make room for more' });
});

test('where a size of 0 is allowed, only the upper bound is asked for', () => {
  const found = explained('refused\n-- type sched_cls\n-- asm\nr4 = *(u32 *)(r1 +8)\n*(u64 *)(r10 -8) = 0\nr3 = r10\nr3 += -8\nr1 = 0\nr2 = 0\nr5 = 0\ncall bpf_csum_diff ; sum = bpf_csum_diff(0, 0, words, length, 0);\nr0 = 0\nexit');
  expect(found?.suggestion).toContain('if (length > sizeof(words))');
});

/** A record that is held from here on, with the context in r6. */
const RESERVED = `r6 = r1
r1 = map[ringbuf]
r2 = 16
r3 = 0
call bpf_ringbuf_reserve ; struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
if r0 == 0 goto out`;

test('while a record is held, it is given back on the way out', () => {
  const found = explained(`refused
-- asm
${RESERVED}
r7 = r0
r2 = *(u32 *)(r6 +0)
r3 = *(u8 *)(r2 +0) ; event->first = data[0];
r1 = r7
r2 = 0
call bpf_ringbuf_submit
out: r0 = 2
exit`);
  expect(found?.suggestion).toContain('{ bpf_ringbuf_discard(event, 0); return XDP_DROP; }');
});

test('a record that may be NULL is not given back where it is', () => {
  const found = explained(`refused
-- asm
r1 = map[ringbuf]
r2 = 16
r3 = 0
call bpf_ringbuf_reserve ; struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
*(u64 *)(r0 +0) = 0 ; event->time = 0;
r0 = 2
exit`);
  expect(found?.suggestion).toContain('if (!event) return XDP_DROP;');
});

test('a loop over an iterator is left with break', () => {
  const found = explained(`refused
-- asm
r6 = *(u32 *)(r1 +0)
r1 = r10
r1 += -8
r2 = 0
r3 = 10
call bpf_iter_num_new ; bpf_for(i, 0, 10) {
next: r1 = r10
r1 += -8
call bpf_iter_num_next
if r0 == 0 goto out
r3 = *(u8 *)(r6 +0) ; sum += data[i];
goto next
out: r1 = r10
r1 += -8
call bpf_iter_num_destroy
r0 = 2
exit`);
  expect(found?.suggestion).toContain('> data_end) break; before line');
});

test('of a line that is gone through several times, it is the last time that is shown', () => {
  const found = explained(`refused
-- asm
r8 = *(u32 *)(r1 +16) ; __u32 queue = ctx->rx_queue_index;
r1 = map[ringbuf] ; struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
r2 = 16
r3 = 0
call bpf_ringbuf_reserve
if r0 == 0 goto out ; if (!event) return XDP_PASS;
r7 = r0 ; event = event;
r6 = 0
next: if r6 == 3 goto out ; if (i == 3 && queue == i)
r6 += 1 ; i++;
if r6 < 5 goto next ; while (i < 5);
r1 = r7
r2 = 0
call bpf_ringbuf_submit
out: r0 = 2 ; return XDP_PASS;
exit`);
  expect(found?.message).toContain('reference leak');
  expect(found?.history.map(({ line, value }) => [line?.text, value])).toEqual([
    ['struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);', undefined],
    ['if (!event) return XDP_PASS;', 'goes on in line 7: event = event;'],
    ['while (i < 5);', 'goes on in line 9: if (i == 3 && queue == i)'],
    ['if (i == 3 && queue == i)', 'goes on in line 15: return XDP_PASS;'],
  ]);
});

test.each([
  ['sum += values[i];', 'if (i >= 48 / sizeof(values[0])) return XDP_DROP;'],
  ['sum += entry->values[i];', 'if (i >= sizeof(entry->values) / sizeof(entry->values[0])) return XDP_DROP;'],
  ['sum += values[9];', 'look at the type'],
])('an index that leaves the value in some round of a loop is bounded: %s', (line, suggestion) => {
  const found = explained(`refused
-- asm
*(u32 *)(r10 -4) = 0
r1 = map[array]
r2 = r10
r2 += -4
call bpf_map_lookup_elem
if r0 == 0 goto out
r6 = 0
next: r3 = *(u32 *)(r0 +0) ; ${line}
r0 += 4
r6 += 1
if r6 < 20 goto next
out: r0 = 2
exit`);
  expect(found?.suggestion).toContain(suggestion);
});

test('a global function is given as many bytes as its parameter points to', () => {
  const found = explained(`refused
-- global check mem16
-- asm
r1 = *(u32 *)(r1 +0)
call check ; if (check(header))
r0 = 2
exit
check: r0 = 0
exit`);
  expect(found?.needed).toContain('16 bytes proven');
  expect(found?.suggestion).toContain('if ((void *)header + 16 > data_end) return XDP_DROP;');
});

test('a record that is held at a tail call is given back before that', () => {
  const found = explained(`refused
-- asm
${RESERVED}
r1 = r6
r2 = map[programs]
r3 = 0
call bpf_tail_call ; bpf_tail_call(ctx, &programs, 0);
out: r0 = 2
exit`);
  expect(found?.suggestion).toBe('bpf_ringbuf_discard(event, 0); before this tail call, or bpf_ringbuf_submit(event, 0);');
});

test('a map that a helper may not write is named', () => {
  const found = explained('refused\n-- asm\n*(u64 *)(r10 -16) = 0\n*(u64 *)(r10 -8) = 0\nr1 = map[array_readable]\nr2 = r10\nr2 += -16\nr3 = r2\nr4 = 0\ncall bpf_map_update_elem\nr0 = 2\nexit');
  expect(found?.needed).toContain('; array_readable is declared with BPF_F_RDONLY_PROG');
});

test('of the frame pointer nothing is known that is worth a line', () => {
  const found = explained('refused\n-- asm\nr0 = *(u32 *)(r10 +8)\nexit');
  expect(found?.message).toContain('R10');
  expect(found?.known).toBeUndefined();
});

test('numbers are spelled in one way', () => {
  const found = explained('refused\n-- asm\nr2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +16)\nr3 &= 0xffff\nr2 += r3\nr0 = *(u8 *)(r2 +0)\nexit');
  expect(found?.needed).toContain('less than 65,535; what was added can be 0 to 65,535');
});

test('without CAP_PERFMON a loop of constant rounds is not told to have a constant bound', () => {
  const found = explained('refused\n-- type sched_cls\n-- without CAP_PERFMON\n-- asm\nr6 = 0\nr7 = 0\nnext: call bpf_get_prandom_u32\nr0 &= 1\nif r0 == 0 goto odd\nr7 += 1\nodd: call bpf_get_prandom_u32\nr0 &= 1\nif r0 == 0 goto even\nr7 += 1\neven: r6 += 1\nif r6 < 100 goto next\nr0 = r7\nexit');
  expect(found).toMatchObject({ message: 'The sequence of 8193 jumps is too complex.', suggestion: expect.stringContaining('use bpf_loop(), or load the program with CAP_PERFMON') });
});

test('without CAP_PERFMON nobody is told to compute with the difference of two pointers', () => {
  expect(explained('refused\n-- without CAP_PERFMON\n-- asm\nr0 = *(u32 *)(r1 +0)\nr0 *= 3\nexit')?.suggestion).not.toContain('difference');
});

/** A value of a map that may be NULL, looked up and read by these lines. */
const lookedUp = (lookup: string, use: string) => explained(`refused
-- asm
r2 = *(u32 *)(r1 +16)
*(u32 *)(r10 -4) = r2
r1 = map[array]
r2 = r10
r2 += -4
call bpf_map_lookup_elem ; ${lookup}
r0 = *(u64 *)(r0 +0) ; ${use}
exit`);

test.each([
  ['__u32 z = 0; void *m = bpf_map_lookup_elem(&outer, &z);', 'return *(m + z);', 'if (!m) '],
  ['__u32 z = 0, *m = (__u32 *)bpf_map_lookup_elem(&outer, &z);', 'return *(m + z);', 'if (!m) '],
  ['for (int i = 0; i < 4; i++) { __u64 *e = bpf_map_lookup_elem(&outer, &z);', 'return *e + i;', 'if (!e) '],
  ['__u32 z = 0, k = 1; lookup(z);', 'return z + k;', 'if (!pointer) '],
  ['__u32 z = 0; return *(__u64 *)bpf_map_lookup_elem(&outer, &z) + z;', 'return 2;', 'if (!pointer) '],
])('of several variables on a line, the one that gets the result is named, or none: %s', (lookup, use, suggestion) => {
  expect(lookedUp(lookup, use)?.suggestion).toContain(suggestion);
});

test('a field for one way of attaching is not said to take a capability', () => {
  expect(explained('refused\n-- asm\nr0 = *(u32 *)(r1 +20)\nexit')).toMatchObject({ needed: 'a program for xdp_devmap: no other has egress_ifindex', suggestion: expect.stringContaining('SEC("xdp/devmap"); or do without the field') });
});

test('maps of devices are not said to be declared with a flag', () => {
  const found = explained('refused\n-- asm\n*(u64 *)(r10 -8) = 0\nr1 = map[devices]\nr2 = r10\nr2 += -8\nr3 = r2\nr4 = 0\ncall bpf_map_update_elem\nr0 = 2\nexit');
  expect(found?.needed).toContain('devices is of type devmap, which user space alone writes');
});

test('a place that may be in front of the packet takes an offset that is not negative', () => {
  const found = explained(`refused
-- asm
r2 = *(u32 *)(r1 +0)
r3 = *(u32 *)(r1 +16)
r3 &= 60
r2 += r3 ; __u8 *option = (void *)ip + off;
r0 = *(u8 *)(r2 -26) ; return *option;
exit`);
  expect(found?.needed).toContain('never negative: this may be 26 bytes in front of the packet');
  expect(found?.suggestion).toContain('barrier_var(off); if (off < 0 || off > 1500)');
});

test('what was subtracted from an index makes no room behind the array', () => {
  const found = explained(`refused
-- asm
r6 = *(u32 *)(r1 +16)
*(u32 *)(r10 -4) = 0
r1 = map[array]
r2 = r10
r2 += -4
call bpf_map_lookup_elem
if r0 == 0 goto out
r6 &= 63
r6 <<= 2
r0 += r6
r0 = *(u32 *)(r0 -20) ; return table[i];
out: exit`);
  expect(found?.suggestion).toContain('|| i >= 12) ');
});

test('a record that is used behind its submission is used before it', () => {
  const found = explained(`refused
-- asm
${RESERVED}
r6 = r0
r1 = r6
r2 = 0
call bpf_ringbuf_submit ; bpf_ringbuf_submit(event, 0);
r0 = *(u32 *)(r6 +0) ; return event->verdict;
out: exit`);
  expect(found).toMatchObject({ needed: expect.stringContaining('bpf_ringbuf_submit in line'), suggestion: expect.stringContaining('use event before bpf_ringbuf_submit') });
});

test("the packet's end is not moved", () => {
  const found = explained('refused\n-- asm\nr2 = *(u32 *)(r1 +4)\nr2 += -4 ; if (p > end - 4)\nr0 = 2\nexit');
  expect(found?.suggestion).toContain('if (pointer + 4 > end) return XDP_DROP;');
});

test.each([
  ['socket_filter', 'r0 = *(u32 *)(r1 +80)', 'bpf_skb_load_bytes('],
  ['socket_filter', 'r1 = 1\nr2 = 0\ncall bpf_redirect', 'of type sched_cls, sched_act, xdp'],
])('who may not is told of another way: %s, %s', (type, asm, suggestion) => {
  expect(explained(`refused\n-- type ${type}\n-- asm\n${asm}\nr0 = 0\nexit`)?.suggestion).toContain(suggestion);
});

/** Two bytes at r3 of a packet, of which two others are proven, read by the line behind these. */
const inLoop = (...lines: string[]) => explained(`refused
-- asm
r2 = *(u32 *)(r1 +0) ; __u16 *w = data;
r4 = *(u32 *)(r1 +4)
r3 = r2
r3 += 2 ; ${lines[0]}
if r3 > r4 goto out ; ${lines[1]}
r0 = *(u16 *)(r3 +0) ; ${lines[2]}
out: exit`);

test.each([
  [['i++;', 'if ((void *)(&w[i] + 1) > end) return XDP_DROP;', 'sum += w[i];'], '__u16 *at = &w[i]; barrier_var(at); if ((void *)(at + 1) > end) return XDP_DROP; and use *at in line 6'],
  [['i++;', 'if ((void *)&header->ports[i] + 1 > end) return XDP_DROP;', 'sum += header->ports[i];'], '__typeof__(header->ports[i]) *at = &header->ports[i]; barrier_var(at);'],
  [['if ((void *)(w + 1) > end) return XDP_DROP;', 'w++;', 'sum += *w;'], 'if ((void *)(w + 1) > end) return XDP_DROP; before line 6'],
])('a comparison that stands there already is not asked for again: %s', (lines, suggestion) => {
  expect(inLoop(...lines)?.suggestion).toContain(suggestion);
});

test.each([
  ['r2 = *(u32 *)(r1 +16)\nr1 = map[ringbuf]\nr3 = 0\ncall bpf_ringbuf_reserve ; e = bpf_ringbuf_reserve(&events, len, 0);', 'the same on every run: bpf_ringbuf_reserve', 'pass a constant instead of len'],
  ['r1 = map[array]\nr2 = 0\nr3 = 0\ncall bpf_redirect_map ; return bpf_redirect_map(&devs, 0, XDP_PASS);', 'a map of type devmap, cpumap, xskmap or devmap_hash for bpf_redirect_map; devs is array', 'BPF_MAP_TYPE_DEVMAP'],
  ['*(u32 *)(r10 -4) = 0\nr2 = r10\nr2 += -4\nr1 = map[programs]\ncall bpf_map_lookup_elem ; v = bpf_map_lookup_elem(&jumps, &k);', 'jumps is prog_array, which is for bpf_tail_call()', 'an array or a hash map'],
  ['r2 = map[array]\nr3 = 0\ncall bpf_tail_call ; bpf_tail_call(ctx, &jumps, 0);', 'a map of type prog_array for bpf_tail_call; jumps', 'BPF_MAP_TYPE_PROG_ARRAY'],
  ['r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr4 = r2\nr4 += 4\nr0 = 1\nif r4 > r3 goto out\nlock *(u32 *)(r2 +0) += r0 ; __sync_fetch_and_add(c, 1);', 'several CPUs', '(*c += …)'],
  ['r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr4 = r2\nr4 += 64\nr0 = 1\nif r4 > r3 goto out\nr3 = 64\nr4 = 0\ncall bpf_fib_lookup ; return bpf_fib_lookup(ctx, data, 64, 0);', 'argument 2 of bpf_fib_lookup', '__u8 copy[64] __attribute__((aligned(8))); __builtin_memcpy(copy, data, sizeof(copy)); before line 9, and pass copy'],
  ['r0 = 7\nr0 /= 0', 'not 0', 'divide by another constant'],
  ['r0 = 7\nr0 <<= 70', 'at most 63', 'shift by less'],
])('whoever is refused is told what to change: %s', (asm, needed, suggestion) => {
  const found = explained(`refused\n-- asm\n${asm}\nr0 = 2\nout: exit`);
  expect(found?.needed).toContain(needed);
  expect(found?.suggestion).toContain(suggestion);
});

test("a variable that is smaller than the map's values is told both sizes", () => {
  const found = explained('refused\n-- asm\n*(u64 *)(r10 -8) = 0\nr1 = map[array]\nr2 = r10\nr2 += -8\nr3 = r2\nr4 = 0\ncall bpf_map_update_elem ; bpf_map_update_elem(&m, &k, &one, BPF_ANY);\nr0 = 2\nexit');
  expect(found?.needed).toBe('the value of array is 48 bytes, one has 8');
});

test('a leak is shown the line that it is left by', () => {
  const found = explained(`refused
-- asm
${RESERVED}
r0 = 1 ; if (data > end) return XDP_DROP;
out: exit ; }`);
  expect(found?.suggestion).toBe('bpf_ringbuf_discard(event, 0); before the return of line 7, or bpf_ringbuf_submit(event, 0);');
});

test('the number that is too large is named as it is in C', () => {
  const found = explained('refused\n-- asm\nr2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +16)\nr3 &= 0xffff\nr2 += r3 ; __u8 *b = data + off;\nr0 = *(u8 *)(r2 +0) ; return *b;\nexit');
  expect(found?.suggestion).toContain('if (off > 1500) ');
});

test('without lines of C, the way to get them is told', () => {
  expect(explained('refused\n-- asm\nr1 = 0\nr0 = *(u64 *)(r1 +0)\nexit')?.suggestion).toContain('; compile with -g');
});
