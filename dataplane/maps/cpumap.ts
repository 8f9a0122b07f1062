/**
 * BPF_MAP_TYPE_CPUMAP (Linux Documentation/bpf/map_cpumap.rst): CPUs to hand packets to. The slot is `struct
 * bpf_cpumap_val`: u32 length of the queue, 0 where empty, u32 program id.
 */
import { BPF_MAP_TYPE } from '../bpf/map-type.ts';
import { MAP_FLAG, refuse } from './map-check.ts';
import { ERRNO, type MapType } from './map.ts';
import { expectProgramFor, namesProgram } from './program-slot.ts';
import { REDIRECT_ARRAY, checkSlots, readU32, slotArray, slotUpdateErrno, u32Bytes } from './slot-array.ts';

const FLAGS = MAP_FLAG.NUMA_NODE;
/** CONFIG_NR_CPUS, as distributions build their kernels. */
const MAX_CPUS = 8192;
const MAX_QUEUE = 16_384;

export const CPUMAP: MapType = {
  id: BPF_MAP_TYPE.cpumap,
  name: 'cpumap',
  perCpu: false,
  holds: 'cpus',
  check(spec) {
    checkSlots(spec, 'cpumap', [4, 8], FLAGS);
    if (spec.maxEntries > MAX_CPUS) refuse(spec, 'cpumap', 'E2BIG', `max_entries ${spec.maxEntries}`, `at most ${MAX_CPUS}`);
  },
  ...slotArray({ slotBytes: 8, family: REDIRECT_ARRAY }),
  references: {
    write(geometry, key, value, flags) {
      const { machine, spec } = geometry;
      const errno = slotUpdateErrno(spec, REDIRECT_ARRAY, key, flags);
      if (errno !== 0) return errno;
      const [queue, id] = [readU32(value), value.length < 8 ? 0 : readU32(value, 4)];
      if (queue > MAX_QUEUE) return -ERRNO.EOVERFLOW;
      if (readU32(key) >= machine.cpus) return -ERRNO.ENODEV;
      if (!namesProgram(id)) return u32Bytes(queue, 0);
      expectProgramFor(geometry, 'cpumap', id);
      return u32Bytes(queue, id);
    },
    read: ({ machine, spec }, slot) => machine.memory.u8.slice(slot, slot + spec.valueBytes),
  },
};
