/** The map types, and no other list of them. */
import { ARRAY, PERCPU_ARRAY } from './array.ts';
import { HASH, LRU_HASH, LRU_PERCPU_HASH, PERCPU_HASH } from './hash.ts';
import type { MapType } from './map.ts';

const TYPES: readonly MapType[] = [HASH, ARRAY, PERCPU_HASH, PERCPU_ARRAY, LRU_HASH, LRU_PERCPU_HASH];

/** By enum bpf_map_type. */
export const MAP_TYPES: ReadonlyMap<number, MapType> = new Map(TYPES.map((type) => [type.id, type]));
