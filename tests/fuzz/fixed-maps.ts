/** The maps that generated programs name: made once, for thousands of programs. */
import type { MapSpec, ProgramType } from '../../dataplane/bpf/spec.ts';
import { MAP_TYPES } from '../../dataplane/maps/index.ts';

const map = (name: string, type: string, keyBytes: number, valueBytes: number, maxEntries: number): MapSpec => ({
  name, type: [...MAP_TYPES.values()].find((known) => known.name === type)!.id, keyBytes, valueBytes, maxEntries, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false,
});

/** Of which programs look up values. */
export const VALUE_MAPS: readonly MapSpec[] = [
  map('hash4', 'hash', 4, 64, 8),
  map('hash16', 'hash', 16, 24, 8),
  map('array', 'array', 4, 48, 4),
  map('array_odd', 'array', 4, 13, 3),
  map('percpu', 'percpu_array', 4, 16, 4),
  map('percpu_hash', 'percpu_hash', 8, 32, 8),
  map('lru', 'lru_hash', 8, 40, 64),
];
/** Of one element, which programs reach without a lookup. */
export const DIRECT_MAP = map('one', 'array', 4, 128, 1);
export const QUEUE_MAP = map('queue', 'queue', 0, 16, 16);
export const RINGBUF_MAP = map('ringbuf', 'ringbuf', 0, 0, 4096);
/** Empty, and one for each type: Linux remembers whose programs a map is for. */
export const PROGRAM_MAPS: ReadonlyMap<ProgramType, MapSpec> = new Map((['xdp', 'sched_cls', 'socket_filter', 'cgroup_skb'] as const).map((type) => [type, map(`programs_${type}`, 'prog_array', 4, 4, 4)]));

export const FIXED_MAPS: ReadonlyMap<string, MapSpec> = new Map([...VALUE_MAPS, DIRECT_MAP, QUEUE_MAP, RINGBUF_MAP, ...PROGRAM_MAPS.values()].map((spec) => [spec.name, spec]));
