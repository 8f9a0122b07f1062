/** Reading and writing the bytes of an XDP packet, fragments included. Nothing is copied where the packet ends too soon. */
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import { XDP_MD } from '../packet/frame.ts';
import { moveBytes } from './bounds.ts';
import type { Helper } from './helper.ts';
import { XDP_PROGRAMS } from './program-sets.ts';

const LARGEST = 0xffff;

export function xdpLength(machine: Machine, ctx: number): number {
  const { view } = machine.memory;
  return view.getUint32((ctx >>> 0) + XDP_MD.packet_end, true) - view.getUint32((ctx >>> 0) + XDP_MD.data, true);
}

/** Address of `lengthBytes` at `offset` of the packet, or a negative errno. */
export function locateXdpBytes(machine: Machine, ctx: number, offset: number, lengthBytes: number): number {
  if (offset > LARGEST || lengthBytes > LARGEST) return -ERRNO.EFAULT;
  if (offset + lengthBytes > xdpLength(machine, ctx)) return -ERRNO.EINVAL;
  return machine.memory.view.getUint32((ctx >>> 0) + XDP_MD.data, true) + offset;
}

export const XDP_BYTES_HELPERS: readonly Helper[] = [
  {
    id: 188,
    name: 'xdp_get_buff_len',
    args: ['ctx'],
    returns: 'int',
    programs: XDP_PROGRAMS,
    implementation: { kind: 'js', bind: (machine) => (ctx) => xdpLength(machine, ctx!) },
  },
  {
    id: 189,
    name: 'xdp_load_bytes',
    args: ['ctx', 'u32', 'memory_out', 'size'],
    returns: 'int',
    programs: XDP_PROGRAMS,
    implementation: {
      kind: 'js',
      bind: (machine) => (ctx, offset, to, size) => {
        const from = locateXdpBytes(machine, ctx!, offset! >>> 0, size! >>> 0);
        if (from < 0) return from;
        moveBytes(machine.memory, to!, from, size! >>> 0);
        return 0;
      },
    },
  },
  {
    id: 190,
    name: 'xdp_store_bytes',
    args: ['ctx', 'u32', 'memory', 'size'],
    returns: 'int',
    programs: XDP_PROGRAMS,
    implementation: {
      kind: 'js',
      bind: (machine) => (ctx, offset, from, size) => {
        const to = locateXdpBytes(machine, ctx!, offset! >>> 0, size! >>> 0);
        if (to < 0) return to;
        moveBytes(machine.memory, to, from!, size! >>> 0);
        return 0;
      },
    },
  },
];
