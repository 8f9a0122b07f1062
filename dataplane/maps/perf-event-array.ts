/**
 * BPF_MAP_TYPE_PERF_EVENT_ARRAY: where bpf_perf_event_output sends. A slot is a u32 at storage + index * 4, not 0 where
 * an event is open. User space is taken to have opened one for each CPU in the slot of its number, as libbpf's
 * perf_buffer does; what is sent there goes to machine.onEvent.
 */
import { BPF_MAP_TYPE } from '../bpf/map-type.ts';
import { MAP_FLAG } from './map-check.ts';
import { ERRNO, type MapType } from './map.ts';
import { DESCRIPTOR_ARRAY, checkSlots, readU32, slotArray, slotUpdateErrno } from './slot-array.ts';

const FLAGS = MAP_FLAG.NUMA_NODE | MAP_FLAG.RDONLY | MAP_FLAG.WRONLY | MAP_FLAG.PRESERVE_ELEMS;
const OPEN = 1;

const slots = slotArray({ slotBytes: 4, family: DESCRIPTOR_ARRAY });

export const PERF_EVENT_ARRAY: MapType = {
  id: BPF_MAP_TYPE.perf_event_array,
  name: 'perf_event_array',
  perCpu: false,
  holds: 'events',
  ...slots,
  /** As libbpf: as many as there are CPUs where nothing is said. */
  prepare: (spec, machine) => (spec.maxEntries === 0 ? { ...spec, maxEntries: machine.cpus } : spec),
  check: (spec) => checkSlots(spec, 'perf_event_array', [4], FLAGS),
  allocate(machine, spec) {
    const storage = slots.allocate(machine, spec);
    machine.memory.u32.fill(OPEN, storage >>> 2, (storage >>> 2) + Math.min(machine.cpus, spec.maxEntries));
    return storage;
  },
  references: {
    write(geometry, key, value, flags) {
      const errno = slotUpdateErrno(geometry.spec, DESCRIPTOR_ARRAY, key, flags);
      if (errno !== 0) return errno;
      return readU32(value) === 0 ? -ERRNO.EBADF : value;
    },
    unreadable: 'ENOTSUPP',
  },
};
