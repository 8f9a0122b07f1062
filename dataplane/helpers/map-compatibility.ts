/**
 * Which helpers a map may be handed to (kernel/bpf/verifier.c, check_map_func_compatibility): some types of maps know only
 * some helpers, and some helpers know only some types.
 */
import { BPF_MAP_TYPE, type MapTypeName } from '../bpf/map-type.ts';
import { HELPER_NAMES } from './names.ts';

const PERF_EVENT = ['perf_event_read', 'perf_event_output', 'skb_output', 'perf_event_read_value', 'xdp_output'];
const RINGBUF = ['ringbuf_output', 'ringbuf_reserve', 'ringbuf_query', 'ringbuf_reserve_dynptr', 'ringbuf_submit_dynptr', 'ringbuf_discard_dynptr'];
const UNDER_CGROUP = ['skb_under_cgroup', 'current_task_under_cgroup'];
const DEVICES = ['redirect_map', 'map_lookup_elem'];
const QUEUE = ['map_peek_elem', 'map_pop_elem', 'map_push_elem'];
/** Programs of type cgroup_skb may not update or delete: "cannot update sockmap in this context". */
const SOCKETS = ['sk_select_reuseport', 'map_lookup_elem', 'map_update_elem', 'map_delete_elem'];
const storage = (kind: string): readonly string[] => [`${kind}_storage_get`, `${kind}_storage_delete`, 'kptr_xchg'];

/** Types that are not here take every helper that takes them. */
const HELPERS_OF_MAP: Partial<Readonly<Record<MapTypeName, readonly string[]>>> = {
  prog_array: ['tail_call'],
  perf_event_array: PERF_EVENT,
  ringbuf: RINGBUF,
  user_ringbuf: ['user_ringbuf_drain'],
  stack_trace: ['get_stackid'],
  cgroup_array: UNDER_CGROUP,
  cgroup_storage: ['get_local_storage'],
  percpu_cgroup_storage: ['get_local_storage'],
  devmap: DEVICES,
  devmap_hash: DEVICES,
  cpumap: ['redirect_map'],
  xskmap: DEVICES,
  array_of_maps: ['map_lookup_elem'],
  hash_of_maps: ['map_lookup_elem'],
  sockmap: ['sk_redirect_map', 'sock_map_update', 'msg_redirect_map', ...SOCKETS],
  sockhash: ['sk_redirect_hash', 'sock_hash_update', 'msg_redirect_hash', ...SOCKETS],
  reuseport_sockarray: ['sk_select_reuseport'],
  queue: QUEUE,
  stack: QUEUE,
  sk_storage: storage('sk'),
  inode_storage: storage('inode'),
  task_storage: storage('task'),
  cgrp_storage: storage('cgrp'),
  bloom_filter: ['map_peek_elem', 'map_push_elem'],
};

/** Helpers that are not here take every map that takes them. */
const MAPS_OF_HELPER: Readonly<Record<string, readonly MapTypeName[]>> = {
  tail_call: ['prog_array'],
  ...Object.fromEntries(PERF_EVENT.map((name) => [name, ['perf_event_array']])),
  ...Object.fromEntries(RINGBUF.map((name) => [name, ['ringbuf']])),
  user_ringbuf_drain: ['user_ringbuf'],
  get_stackid: ['stack_trace'],
  ...Object.fromEntries(UNDER_CGROUP.map((name) => [name, ['cgroup_array']])),
  redirect_map: ['devmap', 'devmap_hash', 'cpumap', 'xskmap'],
  sk_redirect_map: ['sockmap'],
  msg_redirect_map: ['sockmap'],
  sock_map_update: ['sockmap'],
  sk_redirect_hash: ['sockhash'],
  msg_redirect_hash: ['sockhash'],
  sock_hash_update: ['sockhash'],
  get_local_storage: ['cgroup_storage', 'percpu_cgroup_storage'],
  sk_select_reuseport: ['reuseport_sockarray', 'sockmap', 'sockhash'],
  map_pop_elem: ['queue', 'stack'],
  map_peek_elem: ['queue', 'stack', 'bloom_filter'],
  map_push_elem: ['queue', 'stack', 'bloom_filter'],
  map_lookup_percpu_elem: ['percpu_array', 'percpu_hash', 'lru_percpu_hash'],
  sk_storage_get: ['sk_storage'],
  sk_storage_delete: ['sk_storage'],
  inode_storage_get: ['inode_storage'],
  inode_storage_delete: ['inode_storage'],
  task_storage_get: ['task_storage'],
  task_storage_delete: ['task_storage'],
  cgrp_storage_get: ['cgrp_storage'],
  cgrp_storage_delete: ['cgrp_storage'],
};

const idOf = (helper: string): number => HELPER_NAMES.indexOf(helper);
const BY_MAP: ReadonlyMap<number, ReadonlySet<number>> = new Map(
  Object.entries(HELPERS_OF_MAP).map(([type, helpers]) => [BPF_MAP_TYPE[type as MapTypeName], new Set(helpers.map(idOf))]),
);
const BY_HELPER: ReadonlyMap<number, ReadonlySet<number>> = new Map(
  Object.entries(MAPS_OF_HELPER).map(([helper, types]) => [idOf(helper), new Set(types.map((type) => BPF_MAP_TYPE[type]))]),
);

/** False where Linux says "cannot pass map_type %d into func %s#%d". */
export function mapAllows(mapType: number, helperId: number): boolean {
  return BY_MAP.get(mapType)?.has(helperId) !== false && BY_HELPER.get(helperId)?.has(mapType) !== false;
}
