/**
 * The maps that cases name. A case gets those that its program names, and no others; they are made once for all cases.
 * Values with a lock or a timer have BTF, by which the kernel finds these.
 */
import { Btf } from '../../dataplane/bpf/btf.ts';
import { BPF_MAP_TYPE, type MapTypeName } from '../../dataplane/bpf/map-type.ts';
import type { MapSpec } from '../../dataplane/bpf/spec.ts';
import { MAP_FLAG } from '../../dataplane/maps/map-check.ts';
import { buildBtf, int } from '../bpf/btf-builder.ts';
import { FIXED_MAPS } from '../fuzz/fixed-maps.ts';

const TYPE = { u32: 1, u64: 2, lock: 3, timer: 4, locked: 5, timed: 6, section: 9, kept: 20, rooted: 26, guarded: 34, queued: 37 } as const;

/** struct locked { u32 count; struct bpf_spin_lock lock; u64 total; }   struct timed { u64 count; struct bpf_timer timer; }   a section of u64 total; struct bpf_spin_lock guard; and kept, which has pointers to the kernel's and to its own. */
const CASE_BTF = Btf.parse(
  buildBtf([
    int('unsigned int', 4),
    int('unsigned long', 8),
    { kind: 'struct', name: 'bpf_spin_lock', word: 4, words: ['val', TYPE.u32, 0] },
    { kind: 'struct', name: 'bpf_timer', word: 16, words: ['__opaque0', TYPE.u64, 0, '__opaque1', TYPE.u64, 64] },
    { kind: 'struct', name: 'locked', word: 16, words: ['count', TYPE.u32, 0, 'lock', TYPE.lock, 32, 'total', TYPE.u64, 64] },
    { kind: 'struct', name: 'timed', word: 24, words: ['count', TYPE.u64, 0, 'timer', TYPE.timer, 64] },
    { kind: 'var', name: 'total', word: TYPE.u64, words: [1] },
    { kind: 'var', name: 'guard', word: TYPE.lock, words: [1] },
    { kind: 'datasec', name: '.data.guarded', word: 16, words: [7, 0, 8, 8, 8, 4] },
    { kind: 'struct', name: 'task_struct', word: 0 },
    { kind: 'type_tag', name: 'kptr', word: 10 },
    { kind: 'ptr', word: 11 },
    { kind: 'struct', name: 'nf_conn', word: 0 },
    { kind: 'type_tag', name: 'kptr_untrusted', word: 13 },
    { kind: 'ptr', word: 14 },
    { kind: 'struct', name: 'xdplab_node', word: 16, words: ['first', TYPE.u64, 0, 'second', TYPE.u32, 64, 'third', TYPE.u32, 96] },
    { kind: 'type_tag', name: 'kptr', word: 16 },
    { kind: 'ptr', word: 17 },
    { kind: 'ptr', word: 10 },
    { kind: 'struct', name: 'kept', word: 40, words: ['count', TYPE.u64, 0, 'task', 12, 64, 'connection', 15, 128, 'node', 18, 192, 'plain', 19, 256] },
    { kind: 'struct', name: 'bpf_list_head', word: 16, words: ['first', TYPE.u64, 0, 'second', TYPE.u64, 64] },
    { kind: 'struct', name: 'bpf_rb_root', word: 16, words: ['first', TYPE.u64, 0, 'second', TYPE.u64, 64] },
    { kind: 'struct', name: 'bpf_list_node', word: 24, words: ['first', TYPE.u64, 0, 'second', TYPE.u64, 64, 'third', TYPE.u64, 128] },
    { kind: 'struct', name: 'bpf_rb_node', word: 32, words: ['first', TYPE.u64, 0, 'second', TYPE.u64, 64, 'third', TYPE.u64, 128, 'fourth', TYPE.u64, 192] },
    { kind: 'struct', name: 'linked', word: 32, words: ['key', TYPE.u64, 0, 'link', 23, 64] },
    { kind: 'struct', name: 'rooted', word: 48, words: ['count', TYPE.u64, 0, 'lock', TYPE.lock, 64, 'list', 21, 128, 'tree', 22, 256] },
    { kind: 'decl_tag', name: 'contains:linked:link', word: TYPE.rooted, words: [2], vlen: 0 },
    { kind: 'decl_tag', name: 'contains:leaf:link', word: TYPE.rooted, words: [3], vlen: 0 },
    { kind: 'array', words: [12, TYPE.u32, 2] },
    { kind: 'struct', name: 'inner', word: 24, words: ['tasks', 29, 0, 'lock', TYPE.lock, 128] },
    { kind: 'array', words: [TYPE.u64, TYPE.u32, 1] },
    { kind: 'typedef', name: 'inner_t', word: 30 },
    { kind: 'struct', name: 'leaf', word: 40, words: ['key', TYPE.u64, 0, 'link', 24, 64] },
    { kind: 'struct', name: 'guarded', word: 40, words: ['count', TYPE.u64, 0, 'inner', 30, 64, 'last', TYPE.u64, 256] },
    { kind: 'struct', name: 'bpf_wq', word: 16, words: ['first', TYPE.u64, 0, 'second', TYPE.u64, 64] },
    { kind: 'struct', name: 'bpf_refcount', word: 4, words: ['val', TYPE.u32, 0] },
    { kind: 'struct', name: 'queued', word: 24, words: ['count', TYPE.u64, 0, 'work', 35, 64] },
  ]),
  'case-maps',
);

function map(name: string, type: MapTypeName, keyBytes: number, valueBytes: number, maxEntries: number, more: Partial<MapSpec> = {}): MapSpec {
  return { name, type: BPF_MAP_TYPE[type], keyBytes, valueBytes, maxEntries, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false, ...more };
}

const locked = { btf: CASE_BTF, keyTypeId: TYPE.u32, valueTypeId: TYPE.locked };
const kept = { btf: CASE_BTF, keyTypeId: TYPE.u32, valueTypeId: TYPE.kept };
const timed = { btf: CASE_BTF, keyTypeId: TYPE.u32, valueTypeId: TYPE.timed };
/** 5, 1, 0xffffffff and 16 as u32. */
const CONSTANTS = Uint8Array.from([5, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255, 16, 0, 0, 0]);

const OWN_MAPS: readonly MapSpec[] = [
  map('hash4', 'hash', 4, 64, 8),
  map('hash16', 'hash', 16, 24, 8),
  map('array', 'array', 4, 48, 4),
  map('array_odd', 'array', 4, 13, 3),
  map('one', 'array', 4, 128, 1),
  map('percpu', 'percpu_array', 4, 16, 4),
  map('percpu_hash', 'percpu_hash', 8, 32, 8),
  map('lru', 'lru_hash', 8, 40, 64),
  map('queue', 'queue', 0, 16, 16),
  map('rooted', 'array', 4, 48, 2, { btf: CASE_BTF, keyTypeId: TYPE.u32, valueTypeId: TYPE.rooted }),
  map('guarded', 'array', 4, 40, 2, { btf: CASE_BTF, keyTypeId: TYPE.u32, valueTypeId: TYPE.guarded }),
  map('queued', 'array', 4, 24, 2, { btf: CASE_BTF, keyTypeId: TYPE.u32, valueTypeId: TYPE.queued }),
  map('ringbuf', 'ringbuf', 0, 0, 4096),
  map('programs', 'prog_array', 4, 4, 4),
  map('hash8', 'hash', 8, 8, 16),
  map('section', 'array', 4, 16, 1, { btf: CASE_BTF, valueTypeId: TYPE.section }),
  map('array_ro', 'array', 4, 16, 1, { flags: MAP_FLAG.RDONLY_PROG, contents: CONSTANTS, frozen: true }),
  map('array_thawed', 'array', 4, 16, 1, { flags: MAP_FLAG.RDONLY_PROG, contents: CONSTANTS }),
  map('array_readable', 'array', 4, 16, 4, { flags: MAP_FLAG.RDONLY_PROG }),
  map('array_writable', 'array', 4, 16, 4, { flags: MAP_FLAG.WRONLY_PROG }),
  map('hash_readable', 'hash', 4, 16, 4, { flags: MAP_FLAG.RDONLY_PROG }),
  map('hash_writable', 'hash', 4, 16, 4, { flags: MAP_FLAG.WRONLY_PROG }),
  map('lru_percpu', 'lru_percpu_hash', 4, 16, 16),
  map('lpm', 'lpm_trie', 8, 16, 16, { flags: MAP_FLAG.NO_PREALLOC }),
  map('stack', 'stack', 0, 16, 16),
  map('bloom', 'bloom_filter', 0, 8, 16),
  map('events', 'perf_event_array', 4, 4, 4),
  map('devices', 'devmap', 4, 4, 8),
  map('devices_hash', 'devmap_hash', 4, 8, 8),
  map('processors', 'cpumap', 4, 4, 2),
  map('sockets', 'xskmap', 4, 4, 4),
  map('maps', 'array_of_maps', 4, 4, 4, { inner: map('inner_array', 'array', 4, 48, 4) }),
  map('maps_hash', 'hash_of_maps', 4, 4, 4, { inner: map('inner_hash', 'hash', 4, 16, 4) }),
  map('maps_locked', 'array_of_maps', 4, 4, 4, { btf: CASE_BTF, inner: map('inner_locked', 'array', 4, 16, 4, locked) }),
  map('maps_timed', 'array_of_maps', 4, 4, 4, { btf: CASE_BTF, inner: map('inner_timed', 'array', 4, 24, 4, timed) }),
  map('locked', 'array', 4, 16, 4, locked),
  map('locked_hash', 'hash', 4, 16, 4, locked),
  map('timed', 'array', 4, 24, 4, timed),
  map('kept', 'array', 4, 40, 4, kept),
  map('timed_hash', 'hash', 4, 24, 4, timed),
];

/** Those of the random programs too, so that a program on which answers differ becomes a case as it is. Of one name, ours. */
export const CASE_MAPS: ReadonlyMap<string, MapSpec> = new Map([...FIXED_MAPS.values(), ...OWN_MAPS].map((spec) => [spec.name, spec]));
