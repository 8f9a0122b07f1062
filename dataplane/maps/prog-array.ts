/**
 * BPF_MAP_TYPE_PROG_ARRAY: where tail calls go. A slot is a u32 program id at storage + index * 4, 0 where empty;
 * engines read it as it stands.
 *
 * The first program that is put in, or that uses the map, decides which others fit: all must be of one type and agree
 * on multi-buffer packets, since any of them may run in another's place.
 */
import { BPF_MAP_TYPE } from '../bpf/map-type.ts';
import { MAP_FLAG } from './map-check.ts';
import { mapsOf, type ProgramReference } from './map-registry.ts';
import { ERRNO, type MapGeometry, type MapType } from './map.ts';
import { DESCRIPTOR_ARRAY, checkSlots, readU32, slotArray, slotUpdateErrno, u32Bytes } from './slot-array.ts';

const FLAGS = MAP_FLAG.NUMA_NODE | MAP_FLAG.RDONLY | MAP_FLAG.WRONLY;

/** The program that decided. */
const owners = new WeakMap<MapGeometry, ProgramReference>();

/** Whether the program may be called through the map, or call through it. The first one asked about may. */
export function fitsProgramArray(geometry: MapGeometry, program: ProgramReference): boolean {
  const owner = owners.get(geometry);
  if (owner === undefined) {
    owners.set(geometry, program);
    return true;
  }
  return owner.type === program.type && owner.spec.frags === program.spec.frags;
}

export const PROG_ARRAY: MapType = {
  id: BPF_MAP_TYPE.prog_array,
  name: 'prog_array',
  perCpu: false,
  holds: 'programs',
  check: (spec) => checkSlots(spec, 'prog_array', [4], FLAGS),
  ...slotArray({ slotBytes: 4, family: DESCRIPTOR_ARRAY }),
  references: {
    write(geometry, key, value, flags) {
      const errno = slotUpdateErrno(geometry.spec, DESCRIPTOR_ARRAY, key, flags);
      if (errno !== 0) return errno;
      const program = mapsOf(geometry.machine).program(readU32(value));
      if (program === undefined) return -ERRNO.EBADF;
      return fitsProgramArray(geometry, program) ? value : -ERRNO.EINVAL;
    },
    read: ({ machine }, slot) => u32Bytes(machine.memory.u32[slot >>> 2]!),
  },
};
