/**
 * BPF_MAP_TYPE_ARRAY_OF_MAPS and HASH_OF_MAPS (Linux Documentation/bpf/map_of_maps.rst). A slot is the u32 address of
 * the inner map's descriptor, which is what a program's lookup answers; user space writes and reads ids of maps.
 */
import { BPF_MAP_TYPE, isMapOfMaps } from '../bpf/map-type.ts';
import type { MapSpec } from '../bpf/spec.ts';
import { hashOperations } from './hash-code.ts';
import { allocateHash, hashSize } from './hash-layout.ts';
import { checkHash } from './hash.ts';
import { MAP_FLAG, refuse } from './map-check.ts';
import { mapsOf } from './map-registry.ts';
import { ERRNO, MAP_DESCRIPTOR, type MapGeometry, type MapType } from './map.ts';
import { DESCRIPTOR_ARRAY, checkSlots, readU32, slotArray, slotUpdateErrno, u32Bytes } from './slot-array.ts';
import { specialFields } from './special-fields.ts';

const ARRAY_FLAGS = MAP_FLAG.NUMA_NODE | MAP_FLAG.RDONLY | MAP_FLAG.WRONLY;
/** Flags of the file, not of the map. */
const FILE_FLAGS = MAP_FLAG.RDONLY | MAP_FLAG.WRONLY;

function checkInner(spec: MapSpec, name: string): void {
  const { inner } = spec;
  if (inner === undefined) refuse(spec, name, 'EINVAL', 'no inner map', 'a declaration of what the inner maps are like (__array(values, …))');
  if (isMapOfMaps(inner.type)) refuse(spec, name, 'EINVAL', 'an inner map that holds maps itself', 'one level of nesting');
  if (inner.type === BPF_MAP_TYPE.prog_array) refuse(spec, name, 'ENOTSUPP', 'a prog_array as inner map', 'another type');
}

/** Whether a map may stand where `template` was declared: a program was checked with the template's sizes. */
export function fitsInner(template: MapSpec, map: MapSpec): boolean {
  const sameFlags = ((template.flags ^ map.flags) & ~FILE_FLAGS) === 0;
  const alike = template.type === map.type && template.keyBytes === map.keyBytes && template.valueBytes === map.valueBytes && sameFlags;
  if (!alike || JSON.stringify(specialFields(template)) !== JSON.stringify(specialFields(map))) return false;
  // Lookups in an array are compiled with its bounds.
  const sizeMatters = (map.type === BPF_MAP_TYPE.array && (map.flags & MAP_FLAG.INNER_MAP) === 0) || map.type === BPF_MAP_TYPE.xskmap;
  return !sizeMatters || template.maxEntries === map.maxEntries;
}

/** Descriptor of the map with that id, as a slot keeps it. */
function descriptorOf({ machine, spec }: MapGeometry, value: Uint8Array): Uint8Array | number {
  const map = mapsOf(machine).byId(readU32(value));
  if (map === undefined) return -ERRNO.EBADF;
  return spec.inner !== undefined && fitsInner(spec.inner, map.spec) ? u32Bytes(map.descriptor) : -ERRNO.EINVAL;
}

function idOf({ machine }: MapGeometry, descriptor: number): Uint8Array {
  return u32Bytes(machine.memory.u32[(descriptor + MAP_DESCRIPTOR.id) >>> 2]!);
}

export const ARRAY_OF_MAPS: MapType = {
  id: BPF_MAP_TYPE.array_of_maps,
  name: 'array_of_maps',
  perCpu: false,
  holds: 'maps',
  check(spec) {
    checkInner(spec, 'array_of_maps');
    checkSlots(spec, 'array_of_maps', [4], ARRAY_FLAGS);
  },
  ...slotArray({ slotBytes: 4, family: DESCRIPTOR_ARRAY, answersContent: true }),
  references: {
    write: (geometry, key, value, flags) => slotUpdateErrno(geometry.spec, DESCRIPTOR_ARRAY, key, flags) || descriptorOf(geometry, value),
    read: idOf,
  },
};

const HASH_KIND = { lru: false, perCpu: false, slotBytes: 4, answersContent: true } as const;

export const HASH_OF_MAPS: MapType = {
  id: BPF_MAP_TYPE.hash_of_maps,
  name: 'hash_of_maps',
  perCpu: false,
  keys: 'bytes',
  holds: 'maps',
  check(spec) {
    checkInner(spec, 'hash_of_maps');
    if (spec.valueBytes !== 4) refuse(spec, 'hash_of_maps', 'EINVAL', `a value of ${spec.valueBytes} bytes`, '4');
    checkHash(spec, 'hash_of_maps', HASH_KIND);
  },
  allocate: (machine, spec) => allocateHash(HASH_KIND, machine, spec),
  size: hashSize,
  operations: hashOperations(HASH_KIND),
  references: { write: (geometry, _key, value) => descriptorOf(geometry, value), read: idOf },
};
