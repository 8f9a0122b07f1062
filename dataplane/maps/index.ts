/** The map types, and no other list of them. */
import { ARRAY, PERCPU_ARRAY } from './array.ts';
import { CPUMAP } from './cpumap.ts';
import { DEVMAP, DEVMAP_HASH } from './devmap.ts';
import { HASH, LRU_HASH, LRU_PERCPU_HASH, PERCPU_HASH } from './hash.ts';
import { LPM_TRIE } from './lpm-trie.ts';
import { ARRAY_OF_MAPS, HASH_OF_MAPS } from './map-of-maps.ts';
import type { MapType } from './map.ts';
import { PERF_EVENT_ARRAY } from './perf-event-array.ts';
import { PROG_ARRAY } from './prog-array.ts';
import { QUEUE, STACK } from './queue.ts';
import { RINGBUF } from './ringbuf.ts';
import { XSKMAP } from './xskmap.ts';

const TYPES: readonly MapType[] = [
  HASH, ARRAY, PROG_ARRAY, PERF_EVENT_ARRAY, PERCPU_HASH, PERCPU_ARRAY, LRU_HASH, LRU_PERCPU_HASH, LPM_TRIE,
  ARRAY_OF_MAPS, HASH_OF_MAPS, DEVMAP, CPUMAP, XSKMAP, QUEUE, STACK, DEVMAP_HASH, RINGBUF,
];

/** By enum bpf_map_type. */
export const MAP_TYPES: ReadonlyMap<number, MapType> = new Map(TYPES.map((type) => [type.id, type]));
