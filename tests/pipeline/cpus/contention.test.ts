/** Two CPUs at once on the same words and maps: what they count is exact, and what they see is of one moment. */
import { afterEach, expect, test } from 'vitest';
import type { MapSpec } from '../../../dataplane/bpf/spec.ts';
import type { Lab } from '../../../dataplane/pipeline/lab.ts';
import { mapSpec, smallLab } from '../small-lab.ts';
import { runFlows } from './flows.ts';

const PACKETS = 8000;
const TURNS = 128;

const labs: Lab[] = [];
afterEach(() => labs.splice(0).forEach((lab) => lab.close()));

/** Runs `body` 128 times for each of 8000 packets on two CPUs; r6 is the first value of the array `words`. A jump to `wrong` drops the packet. */
function contend(body: string, maps: readonly MapSpec[], prepare: (lab: Lab) => void = () => {}): Lab {
  const source = `*(u32 *)(r10 -4) = 0
r2 = r10
r2 += -4
r1 = map[words]
call bpf_map_lookup_elem
if r0 == 0 goto wrong
r6 = r0
r7 = ${TURNS}
loop:
${body}
r7 += -1
if r7 != 0 goto loop
r0 = 2
exit
wrong: r0 = 1
exit`;
  const lab = smallLab('wasm', [{ hook: 'xdp', source }], { cpus: 2, maps: [mapSpec({ name: 'words', valueBytes: 64 }), ...maps] });
  labs.push(lab);
  prepare(lab);
  runFlows(lab, PACKETS, 256);
  expect(lab.statistics().fates.map(({ fate, packets }) => [fate, packets])).toEqual([['stack', PACKETS]]);
  const { devices } = lab.statistics();
  expect(devices[0]!.rxPackets).toBe(PACKETS);
  return lab;
}

const ALL = BigInt(PACKETS * TURNS);

function words(lab: Lab): readonly bigint[] {
  const value = lab.map('words').map.lookup(new Uint8Array(4))!;
  return [...new BigUint64Array(value.buffer, value.byteOffset, 8)];
}

function keys(lab: Lab, map: string): number {
  return [...lab.map(map).map.keys()].length;
}

test('atomic additions of 64 and of 32 bits lose nothing', () => {
  const lab = contend('r1 = 1\nlock *(u64 *)(r6 +0) += r1\nr1 = 3\nlock *(u32 *)(r6 +8) += r1\nr1 = 1\nr1 = atomic64_fetch_add((u64 *)(r6 +16), r1)\nlock *(u64 *)(r6 +24) += r1', []);
  expect(words(lab).slice(0, 3)).toEqual([ALL, 3n * ALL, ALL]);
  // Each fetch found another number.
  expect(words(lab)[3]).toBe((ALL * (ALL - 1n)) / 2n);
});

test('a loop of compare and exchange loses nothing', () => {
  const lab = contend('again: r0 = *(u64 *)(r6 +0)\nr1 = r0\nr2 = r0\nr2 += 1\nr0 = atomic64_cmpxchg((u64 *)(r6 +0), r0, r2)\nif r0 != r1 goto again', []);
  expect(words(lab)[0]).toBe(ALL);
});

test('under a spin lock, two words are always alike and lose nothing', () => {
  const lab = contend(
    `r1 = r6
call bpf_spin_lock
r8 = *(u64 *)(r6 +8)
r9 = *(u64 *)(r6 +16)
r1 = r8
r1 += 1
*(u64 *)(r6 +8) = r1
*(u64 *)(r6 +16) = r1
r1 = r6
call bpf_spin_unlock
if r8 != r9 goto wrong`,
    [],
  );
  expect(words(lab).slice(0, 3)).toEqual([0n, ALL, ALL]);
});

/** Inserts a random one of the keys, or deletes it, and counts what was done in words 0 and 1. */
const churn = (map: string, lastKey = 255): string => `call bpf_get_prandom_u32
r8 = r0
r8 &= ${lastKey}
*(u32 *)(r10 -4) = r8
*(u64 *)(r10 -16) = r8
r9 = r0
r9 &= 256
r2 = r10
r2 += -4
r1 = map[${map}]
if r9 != 0 goto delete
r3 = r10
r3 += -16
r4 = 1
call bpf_map_update_elem
if r0 != 0 goto seen
r1 = 1
lock *(u64 *)(r6 +0) += r1
goto seen
delete: call bpf_map_delete_elem
if r0 != 0 goto seen
r1 = 1
lock *(u64 *)(r6 +8) += r1
seen: r0 = 0`;

const HASH = mapSpec({ name: 'table', type: 1, valueBytes: 8, maxEntries: 512 });

test('a key is inserted by one CPU only', () => {
  const lab = contend(churn('table'), [HASH]);
  const [inserted, deleted] = words(lab) as [bigint, bigint];
  expect(inserted).toBeGreaterThan(100_000n);
  expect(lab.map('table').map.size).toBe(Number(inserted - deleted));
  expect(keys(lab, 'table')).toBe(lab.map('table').map.size);
});

test('what is not touched is always found, with its value, whatever comes and goes in front of it', () => {
  // Keys from 1000 stay; those that come and go are put at the heads of the same chains.
  const stays = 40;
  const body = `${churn('table', 7)}
call bpf_get_prandom_u32
r0 %= ${stays}
r0 += 1000
*(u32 *)(r10 -4) = r0
r8 = r0
r2 = r10
r2 += -4
r1 = map[table]
call bpf_map_lookup_elem
if r0 == 0 goto wrong
r1 = *(u64 *)(r0 +0)
if r1 != r8 goto wrong`;
  contend(body, [mapSpec({ ...HASH, maxEntries: 64 })], (fresh) => {
    const { map } = fresh.map('table');
    for (let key = 1000; key < 1000 + stays; key++) map.update(Uint8Array.of(key & 255, key >> 8, 0, 0), Uint8Array.of(key & 255, key >> 8, 0, 0, 0, 0, 0, 0));
  });
});

test('a full LRU map stays whole', () => {
  const lab = contend(churn('recent'), [mapSpec({ name: 'recent', type: 9, valueBytes: 8, maxEntries: 64 })]);
  const { size } = lab.map('recent').map;
  expect(size).toBeGreaterThan(0);
  expect(size).toBeLessThanOrEqual(64);
  expect(keys(lab, 'recent')).toBe(size);
  for (const [key, value] of lab.map('recent').map.entries()) expect(value[0]).toBe(key[0]);
});

test('an LPM trie answers a longer or a shorter prefix, never nothing', () => {
  const trie = mapSpec({ name: 'prefixes', type: 11, keyBytes: 8, valueBytes: 8, maxEntries: 16, flags: 1 });
  // Key at -8: the length, and 10.x.0.0; the value is the length too. Longer prefixes come and go below 0.0.0.0/0.
  const body = `call bpf_get_prandom_u32
r8 = r0
r8 &= 3
r8 *= 4
r8 += 17
*(u32 *)(r10 -8) = r8
*(u32 *)(r10 -4) = 10
*(u64 *)(r10 -16) = r8
r2 = r10
r2 += -8
r1 = map[prefixes]
r0 &= 256
if r0 != 0 goto delete
r3 = r10
r3 += -16
r4 = 0
call bpf_map_update_elem
goto changed
delete: call bpf_map_delete_elem
changed: *(u32 *)(r10 -8) = 32
r2 = r10
r2 += -8
r1 = map[prefixes]
call bpf_map_lookup_elem
if r0 == 0 goto wrong
r1 = *(u64 *)(r0 +0)
if r1 > 32 goto wrong`;
  const lab = contend(body, [trie], (fresh) => fresh.map('prefixes').map.update(new Uint8Array(8), new Uint8Array(8)));
  expect(keys(lab, 'prefixes')).toBe(lab.map('prefixes').map.size);
});

test('a queue gives each value once', () => {
  const body = `r1 = 1
r1 = atomic64_fetch_add((u64 *)(r6 +0), r1)
*(u64 *)(r10 -16) = r1
lock *(u64 *)(r6 +8) += r1
r2 = r10
r2 += -16
r1 = map[values]
r3 = 0
call bpf_map_push_elem
if r0 != 0 goto wrong
r2 = r10
r2 += -16
r1 = map[values]
call bpf_map_pop_elem
if r0 != 0 goto wrong
r1 = *(u64 *)(r10 -16)
lock *(u64 *)(r6 +16) += r1`;
  const lab = contend(body, [mapSpec({ name: 'values', type: 22, keyBytes: 0, valueBytes: 8, maxEntries: 16 })]);
  const [count, pushed, popped] = words(lab);
  expect(count).toBe(ALL);
  expect(popped).toBe(pushed);
  expect(lab.map('values').map.size).toBe(0);
});
