/**
 * BPF_MAP_TYPE_DEVMAP and DEVMAP_HASH (Linux Documentation/bpf/map_devmap.rst): devices to redirect to, each with a
 * program that runs on the way out. Programs look up `struct bpf_devmap_val`, and cannot write it.
 *
 *   slot  0 u32 ifindex   4 u32 program id, 0 for none
 *
 * User space writes the ifindex, and the program's id where values have 8 bytes.
 */
import { BPF_MAP_TYPE } from '../bpf/map-type.ts';
import { hashOperations } from './hash-code.ts';
import { allocateHash, hashSize, type HashKind } from './hash-layout.ts';
import { MAP_FLAG } from './map-check.ts';
import { ERRNO, UPDATE, type MapGeometry, type MapType } from './map.ts';
import { expectProgramFor, namesProgram } from './program-slot.ts';
import { REDIRECT_ARRAY, checkSlots, readU32, slotArray, slotUpdateErrno, u32Bytes } from './slot-array.ts';

const FLAGS = MAP_FLAG.NUMA_NODE | MAP_FLAG.RDONLY | MAP_FLAG.WRONLY;
const SLOT_BYTES = 8;
const VALUE_BYTES = [4, 8] as const;

function slotOf(geometry: MapGeometry, value: Uint8Array): Uint8Array | number {
  const ifindex = readU32(value);
  const id = value.length < SLOT_BYTES ? 0 : readU32(value, 4);
  const hasProgram = namesProgram(id);
  if (ifindex === 0) return hasProgram ? -ERRNO.EINVAL : new Uint8Array(SLOT_BYTES);
  if (geometry.machine.network.device(ifindex) === undefined) return -ERRNO.EINVAL;
  if (!hasProgram) return u32Bytes(ifindex, 0);
  expectProgramFor(geometry, 'devmap', id);
  return u32Bytes(ifindex, id);
}

function valueOf({ machine, spec }: MapGeometry, slot: number): Uint8Array {
  return machine.memory.u8.slice(slot, slot + spec.valueBytes);
}

export const DEVMAP: MapType = {
  id: BPF_MAP_TYPE.devmap,
  name: 'devmap',
  perCpu: false,
  holds: 'devices',
  check: (spec) => checkSlots(spec, 'devmap', VALUE_BYTES, FLAGS),
  ...slotArray({ slotBytes: SLOT_BYTES, family: REDIRECT_ARRAY }),
  references: {
    write: (geometry, key, value, flags) => slotUpdateErrno(geometry.spec, REDIRECT_ARRAY, key, flags) || slotOf(geometry, value),
    read: valueOf,
  },
};

const HASH_KIND: HashKind = { lru: false, perCpu: false, slotBytes: SLOT_BYTES, ignoresExist: true };

export const DEVMAP_HASH: MapType = {
  id: BPF_MAP_TYPE.devmap_hash,
  name: 'devmap_hash',
  perCpu: false,
  keys: 'bytes',
  holds: 'devices',
  check: (spec) => checkSlots(spec, 'devmap_hash', VALUE_BYTES, FLAGS),
  allocate: (machine, spec) => allocateHash(HASH_KIND, machine, spec),
  size: hashSize,
  operations: hashOperations(HASH_KIND),
  references: {
    write: (geometry, _key, value, flags) => (flags > UPDATE.exist || readU32(value) === 0 ? -ERRNO.EINVAL : slotOf(geometry, value)),
    read: valueOf,
  },
};
