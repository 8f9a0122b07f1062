/** Reading and writing packet bytes of an skb. A read that fails leaves zeros where it would have put the bytes. */
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import { SK_BUFF } from '../packet/frame.ts';
import { fillBytes, moveBytes } from './bounds.ts';
import type { Helper } from './helper.ts';
import { SKB_PROGRAMS, TC_PROGRAMS } from './program-sets.ts';
import { countBytes, getField, setField, uncountBytes } from './skb-buffer.ts';

const BPF_F_RECOMPUTE_CSUM = 1;
const BPF_F_INVALIDATE_HASH = 2;
const INT_MAX = 0x7fff_ffff;
const HEADER_START = { mac: 0, net: 1 } as const;

/** Copies `lengthBytes` at `start` of the packet to `to`; zeros and -EFAULT where the packet has not as many. */
export function loadSkbBytes(machine: Machine, ctx: number, start: number, to: number, lengthBytes: number): number {
  if (start > INT_MAX || start + lengthBytes > getField(machine, ctx, SK_BUFF.len)) {
    fillBytes(machine.memory, to, lengthBytes);
    return -ERRNO.EFAULT;
  }
  moveBytes(machine.memory, to, getField(machine, ctx, SK_BUFF.data) + start, lengthBytes);
  return 0;
}

/** Copies `lengthBytes` at `from` to `start` of the packet. */
export function storeSkbBytes(machine: Machine, ctx: number, start: number, from: number, lengthBytes: number, flags: number, flagsHigh: number): number {
  if ((flags & ~(BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH)) !== 0 || flagsHigh !== 0) return -ERRNO.EINVAL;
  if (start > INT_MAX || start + lengthBytes > getField(machine, ctx, SK_BUFF.len)) return -ERRNO.EFAULT;
  const recompute = (flags & BPF_F_RECOMPUTE_CSUM) !== 0;
  if (recompute) uncountBytes(machine, ctx, start, lengthBytes);
  moveBytes(machine.memory, getField(machine, ctx, SK_BUFF.data) + start, from, lengthBytes);
  if (recompute) countBytes(machine, ctx, start, lengthBytes);
  if ((flags & BPF_F_INVALIDATE_HASH) !== 0) setField(machine, ctx, SK_BUFF.hash, 0);
  return 0;
}

export const SKB_BYTES_HELPERS: readonly Helper[] = [
  {
    id: 9,
    name: 'skb_store_bytes',
    args: ['ctx', 'u32', 'memory', 'size', 'u64'],
    returns: 'int',
    programs: TC_PROGRAMS,
    changesPacket: true,
    implementation: {
      kind: 'js',
      bind: (machine) => (ctx, offset, from, size, flags, flagsHigh) => storeSkbBytes(machine, ctx!, offset! >>> 0, from!, size! >>> 0, flags!, flagsHigh!),
    },
  },
  {
    id: 26,
    name: 'skb_load_bytes',
    args: ['ctx', 'u32', 'memory_out', 'size'],
    returns: 'int',
    programs: SKB_PROGRAMS,
    implementation: {
      kind: 'js',
      bind: (machine) => (ctx, offset, to, size) => loadSkbBytes(machine, ctx!, offset! >>> 0, to!, size! >>> 0),
    },
  },
  {
    id: 68,
    name: 'skb_load_bytes_relative',
    args: ['ctx', 'u32', 'memory_out', 'size', 'u32'],
    returns: 'int',
    programs: SKB_PROGRAMS,
    implementation: {
      kind: 'js',
      bind: (machine) => (ctx, offset, to, size, header) => {
        const start = offset! >>> 0;
        const known = start <= 0xffff && (header === HEADER_START.mac || header === HEADER_START.net);
        const base = header === HEADER_START.net ? getField(machine, ctx!, SK_BUFF.network_offset) : 0;
        return loadSkbBytes(machine, ctx!, known ? base + start : INT_MAX, to!, size! >>> 0);
      },
    },
  },
  {
    id: 39,
    name: 'skb_pull_data',
    args: ['ctx', 'u32'],
    returns: 'int',
    programs: TC_PROGRAMS,
    changesPacket: true,
    implementation: {
      // The packet is linear already.
      kind: 'js',
      bind: (machine) => (ctx, size) => (size! >>> 0 > getField(machine, ctx!, SK_BUFF.len) ? -ERRNO.ENOMEM : 0),
    },
  },
];
