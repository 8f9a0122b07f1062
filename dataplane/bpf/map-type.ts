/**
 * The numbers of map types (enum bpf_map_type of Linux 6.18's uapi/linux/bpf.h), named as bpftool spells them. What Linux
 * has and the machine has not is here too: declarations name it, and reports say that it is missing.
 */
export const BPF_MAP_TYPE = {
  hash: 1,
  array: 2,
  prog_array: 3,
  perf_event_array: 4,
  percpu_hash: 5,
  percpu_array: 6,
  stack_trace: 7,
  cgroup_array: 8,
  lru_hash: 9,
  lru_percpu_hash: 10,
  lpm_trie: 11,
  array_of_maps: 12,
  hash_of_maps: 13,
  devmap: 14,
  sockmap: 15,
  cpumap: 16,
  xskmap: 17,
  sockhash: 18,
  cgroup_storage: 19,
  reuseport_sockarray: 20,
  percpu_cgroup_storage: 21,
  queue: 22,
  stack: 23,
  sk_storage: 24,
  devmap_hash: 25,
  struct_ops: 26,
  ringbuf: 27,
  inode_storage: 28,
  task_storage: 29,
  bloom_filter: 30,
  user_ringbuf: 31,
  cgrp_storage: 32,
  arena: 33,
  insn_array: 34,
} as const;

export type MapTypeName = keyof typeof BPF_MAP_TYPE;

const NAMES: ReadonlyMap<number, MapTypeName> = new Map((Object.keys(BPF_MAP_TYPE) as MapTypeName[]).map((name) => [BPF_MAP_TYPE[name], name]));

/** Of a type that Linux 6.18 has. */
export function mapTypeName(type: number): MapTypeName | undefined {
  return NAMES.get(type);
}

/** Whether a value is another map. */
export function isMapOfMaps(type: number): boolean {
  return type === BPF_MAP_TYPE.array_of_maps || type === BPF_MAP_TYPE.hash_of_maps;
}
