/**
 * BPF_MAP_TYPE_HASH, PERCPU_HASH, LRU_HASH and LRU_PERCPU_HASH (Linux Documentation/bpf/map_hash.rst).
 *
 * A full LRU map evicts on insertion: entries that were looked up by a program or updated since they were last
 * considered are passed over once, the oldest of the others goes. Linux keeps the same promise less exactly: it frees
 * entries in batches and may hold fewer than max_entries.
 */
import { BPF_MAP_TYPE, type MapTypeName } from '../bpf/map-type.ts';
import type { MapSpec } from '../bpf/spec.ts';
import { hashAhead, hashLookupInPlace, hashOperations } from './hash-code.ts';
import { allocateHash, hashSize, type HashKind } from './hash-layout.ts';
import { MAP_FLAG, checkAccessFlags, checkMaxEntries, checkPerCpuValue, refuse } from './map-check.ts';
import { roundUp, type MapType } from './map.ts';

const FLAGS = MAP_FLAG.NO_PREALLOC | MAP_FLAG.NO_COMMON_LRU | MAP_FLAG.NUMA_NODE | MAP_FLAG.ACCESS | MAP_FLAG.ZERO_SEED;
/** The largest allocation of Linux, less what it keeps beside key and value. */
const MAX_ENTRY_BYTES = 4_194_304 - 48;

export function checkHash(spec: MapSpec, name: string, { lru, perCpu }: HashKind): void {
  checkAccessFlags(spec, name, FLAGS);
  const has = (flag: number): boolean => (spec.flags & flag) !== 0;
  if (!lru && has(MAP_FLAG.NO_COMMON_LRU)) refuse(spec, name, 'EINVAL', 'BPF_F_NO_COMMON_LRU', 'it on an LRU type only');
  if (lru && has(MAP_FLAG.NO_PREALLOC)) refuse(spec, name, 'ENOTSUPP', 'BPF_F_NO_PREALLOC', 'none on an LRU type');
  if (has(MAP_FLAG.NUMA_NODE) && (perCpu || has(MAP_FLAG.NO_COMMON_LRU))) refuse(spec, name, 'EINVAL', 'BPF_F_NUMA_NODE', 'none where memory is per CPU');
  checkMaxEntries(spec, name);
  if (spec.keyBytes === 0) refuse(spec, name, 'EINVAL', 'a key of 0 bytes', 'at least 1');
  if (spec.valueBytes === 0) refuse(spec, name, 'EINVAL', 'a value of 0 bytes', 'at least 1');
  if (spec.keyBytes + spec.valueBytes >= MAX_ENTRY_BYTES) {
    refuse(spec, name, 'E2BIG', `${spec.keyBytes + spec.valueBytes} bytes of key and value`, `less than ${MAX_ENTRY_BYTES}`);
  }
  if (perCpu) checkPerCpuValue(spec, name);
}

function hashType(name: MapTypeName, kind: HashKind): MapType {
  return {
    id: BPF_MAP_TYPE[name],
    name,
    perCpu: kind.perCpu,
    keys: 'bytes',
    holds: 'bytes',
    // A list of its own for each CPU has as many entries as the others'.
    prepare: (spec, { cpus }) => (kind.lru && (spec.flags & MAP_FLAG.NO_COMMON_LRU) !== 0 ? { ...spec, maxEntries: roundUp(spec.maxEntries, cpus) } : spec),
    check: (spec) => checkHash(spec, name, kind),
    allocate: (machine, spec) => allocateHash(kind, machine, spec),
    size: hashSize,
    operations: hashOperations(kind),
    lookupInPlace: hashLookupInPlace(kind),
    ...(kind.lru ? { lookupTouches: true as const } : {}),
    ahead: hashAhead(kind),
  };
}

export const HASH = hashType('hash', { lru: false, perCpu: false });
export const PERCPU_HASH = hashType('percpu_hash', { lru: false, perCpu: true });
export const LRU_HASH = hashType('lru_hash', { lru: true, perCpu: false });
export const LRU_PERCPU_HASH = hashType('lru_percpu_hash', { lru: true, perCpu: true });
