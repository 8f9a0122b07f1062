/** Checks that several map types make of a declaration, and the flags they take (include/uapi/linux/bpf.h). */
import type { MapSpec } from '../bpf/spec.ts';
import { MapError } from './map-error.ts';
import { valueStride, type ErrnoName } from './map.ts';

const ACCESS_FLAG = { RDONLY: 1 << 3, WRONLY: 1 << 4, RDONLY_PROG: 1 << 7, WRONLY_PROG: 1 << 8 } as const;

/** Without their prefix BPF_F_. */
export const MAP_FLAG = {
  NO_PREALLOC: 1 << 0,
  NO_COMMON_LRU: 1 << 1,
  NUMA_NODE: 1 << 2,
  ...ACCESS_FLAG,
  ZERO_SEED: 1 << 6,
  MMAPABLE: 1 << 10,
  PRESERVE_ELEMS: 1 << 11,
  INNER_MAP: 1 << 12,
  /** Who may do what: RDONLY and WRONLY for user space, the others for programs. */
  ACCESS: ACCESS_FLAG.RDONLY | ACCESS_FLAG.WRONLY | ACCESS_FLAG.RDONLY_PROG | ACCESS_FLAG.WRONLY_PROG,
} as const;

/** The size of a per-CPU allocation in Linux. */
const MAX_PERCPU_VALUE_BYTES = 32_768;

export function refuse(spec: MapSpec, type: string, errno: ErrnoName, found: string, expected: string): never {
  throw new MapError(errno, `map '${spec.name}' (${type}) declares ${found}, expected ${expected}`);
}

/** Where there is no size, the program's own loader means to set it. */
export function checkMaxEntries(spec: MapSpec, type: string): void {
  if (spec.maxEntries === 0) refuse(spec, type, 'EINVAL', 'max_entries 0', 'at least 1; say it under max_entries in the lab file where a loader would set it');
}

const hex = (flags: number): string => `0x${flags.toString(16)}`;

/** That there are only flags that the type takes, and no access that excludes itself. */
export function checkAccessFlags(spec: MapSpec, type: string, allowed: number): void {
  const unknown = (spec.flags & ~allowed) >>> 0;
  if (unknown !== 0) refuse(spec, type, 'EINVAL', `map_flags ${hex(spec.flags)} with ${hex(unknown)}, which it does not take`, `flags out of ${hex(allowed)}`);
  const excludes = (both: number): boolean => (spec.flags & both) === both;
  if (excludes(MAP_FLAG.RDONLY | MAP_FLAG.WRONLY) || excludes(MAP_FLAG.RDONLY_PROG | MAP_FLAG.WRONLY_PROG)) {
    refuse(spec, type, 'EINVAL', `map_flags ${hex(spec.flags)}, read-only and write-only at once`, 'one of them');
  }
}

export function checkPerCpuValue(spec: MapSpec, type: string): void {
  if (valueStride(spec) > MAX_PERCPU_VALUE_BYTES) refuse(spec, type, 'E2BIG', `a value of ${spec.valueBytes} bytes`, `at most ${MAX_PERCPU_VALUE_BYTES} for each CPU`);
}
