/**
 * BPF_MAP_TYPE_XSKMAP (Linux Documentation/bpf/map_xskmap.rst): AF_XDP sockets to redirect to. There are no such
 * sockets here; a slot is a u32 that is not 0 where something is to take the packets.
 */
import { BPF_MAP_TYPE } from '../bpf/map-type.ts';
import { MAP_FLAG } from './map-check.ts';
import { ERRNO, type MapType } from './map.ts';
import { REDIRECT_ARRAY, checkSlots, readU32, slotArray, slotUpdateErrno } from './slot-array.ts';

const FLAGS = MAP_FLAG.NUMA_NODE | MAP_FLAG.RDONLY | MAP_FLAG.WRONLY;

export const XSKMAP: MapType = {
  id: BPF_MAP_TYPE.xskmap,
  name: 'xskmap',
  perCpu: false,
  holds: 'sockets',
  check: (spec) => checkSlots(spec, 'xskmap', [4], FLAGS),
  ...slotArray({ slotBytes: 4, family: REDIRECT_ARRAY }),
  references: {
    write: ({ spec }, key, value, flags) => slotUpdateErrno(spec, REDIRECT_ARRAY, key, flags) || (readU32(value) === 0 ? -ERRNO.EBADF : value),
    unreadable: 'EOPNOTSUPP',
  },
};
