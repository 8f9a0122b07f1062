/**
 * Dynptrs: memory whose bounds are known when the program runs (Linux: kernel/bpf/helpers.c, Documentation/bpf/kfuncs.rst).
 * A `struct bpf_dynptr` is 16 bytes on the program's stack, which only these functions read and write:
 *
 *   0 u32 of        address of the memory, of a packet its context; 0 for none
 *   4 u32 kind      DYNPTR, and READ_ONLY
 *   8 u32 size      12 u32 offset: the part that it is about
 *
 * Packets here are in one piece, so a slice of a packet is the packet itself and never the buffer.
 */
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import { SK_BUFF } from '../packet/frame.ts';
import { fillBytes, inMemory, moveBytes } from './bounds.ts';
import type { Helper, HelperFunction } from './helper.ts';
import type { Kfunc } from './kfunc.ts';
import { ANY_PROGRAM, SKB_PROGRAMS, TC_PROGRAMS, XDP_PROGRAMS } from './program-sets.ts';
import { getField } from './skb-buffer.ts';
import { loadSkbBytes, storeSkbBytes } from './skb-bytes.ts';
import { locateXdpBytes, xdpLength } from './xdp-bytes.ts';

export const DYNPTR_BYTES = 16;
export const DYNPTR_FIELD = { of: 0, kind: 4, size: 8, offset: 12 } as const;
export const DYNPTR = { local: 1, ringbuf: 2, skb: 3, xdp: 4 } as const;
const READ_ONLY = 0x80;
/** DYNPTR_MAX_SIZE. */
export const LARGEST_DYNPTR_BYTES = (1 << 24) - 1;

/** One that is set up, as it is in memory. */
class Dynptrs {
  readonly machine: Machine;

  constructor(machine: Machine) {
    this.machine = machine;
  }

  get(at: number, field: number): number {
    return this.machine.memory.view.getUint32((at >>> 0) + field, true);
  }

  set(at: number, field: number, value: number): void {
    this.machine.memory.view.setUint32((at >>> 0) + field, value, true);
  }

  make(at: number, of: number, kind: number, size: number): void {
    this.set(at, DYNPTR_FIELD.of, of);
    this.set(at, DYNPTR_FIELD.kind, kind);
    this.set(at, DYNPTR_FIELD.size, size);
    this.set(at, DYNPTR_FIELD.offset, 0);
  }

  clear(at: number): void {
    this.make(at, 0, 0, 0);
  }

  isNull(at: number): boolean {
    return this.get(at, DYNPTR_FIELD.of) === 0;
  }

  kind(at: number): number {
    return this.get(at, DYNPTR_FIELD.kind) & ~READ_ONLY;
  }

  isReadOnly(at: number): boolean {
    return (this.get(at, DYNPTR_FIELD.kind) & READ_ONLY) !== 0;
  }

  holds(at: number, offset: number, lengthBytes: number): boolean {
    return offset + lengthBytes <= this.get(at, DYNPTR_FIELD.size);
  }

  read(at: number, offset: number, to: number, lengthBytes: number): number {
    if (this.isNull(at)) return -ERRNO.EINVAL;
    if (!this.holds(at, offset, lengthBytes)) return -ERRNO.E2BIG;
    const { machine } = this;
    const [of, start] = [this.get(at, DYNPTR_FIELD.of), this.get(at, DYNPTR_FIELD.offset) + offset];
    switch (this.kind(at)) {
      case DYNPTR.skb:
        return loadSkbBytes(machine, of, start, to, lengthBytes);
      case DYNPTR.xdp: {
        const from = locateXdpBytes(machine, of, start, lengthBytes);
        if (from < 0) return from;
        moveBytes(machine.memory, to, from, lengthBytes);
        return 0;
      }
      default:
        moveBytes(machine.memory, to, of + start, lengthBytes);
        return 0;
    }
  }

  write(at: number, offset: number, from: number, lengthBytes: number, flags: number, flagsHigh: number): number {
    if (this.isNull(at) || this.isReadOnly(at)) return -ERRNO.EINVAL;
    if (!this.holds(at, offset, lengthBytes)) return -ERRNO.E2BIG;
    const { machine } = this;
    const [of, start] = [this.get(at, DYNPTR_FIELD.of), this.get(at, DYNPTR_FIELD.offset) + offset];
    if (this.kind(at) === DYNPTR.skb) return storeSkbBytes(machine, of, start, from, lengthBytes, flags, flagsHigh);
    if (flags !== 0 || flagsHigh !== 0) return -ERRNO.EINVAL;
    const to = this.kind(at) === DYNPTR.xdp ? locateXdpBytes(machine, of, start, lengthBytes) : of + start;
    if (to < 0) return to;
    moveBytes(machine.memory, to, from, lengthBytes);
    return 0;
  }

  /** Address of a part of it, 0 where there is none. */
  slice(at: number, offset: number, lengthBytes: number): number {
    if (this.isNull(at) || !this.holds(at, offset, lengthBytes)) return 0;
    const { machine } = this;
    const [of, start] = [this.get(at, DYNPTR_FIELD.of), this.get(at, DYNPTR_FIELD.offset) + offset];
    switch (this.kind(at)) {
      case DYNPTR.skb:
        return start + lengthBytes > getField(machine, of, SK_BUFF.len) ? 0 : getField(machine, of, SK_BUFF.data) + start;
      case DYNPTR.xdp:
        return Math.max(0, locateXdpBytes(machine, of, start, lengthBytes));
      default:
        return of + start;
    }
  }

  writableSlice(at: number, offset: number, lengthBytes: number): number {
    return this.isReadOnly(at) ? 0 : this.slice(at, offset, lengthBytes);
  }
}

const bound =
  (make: (dynptrs: Dynptrs) => HelperFunction) =>
  (machine: Machine): HelperFunction =>
    make(new Dynptrs(machine));

type Row = Pick<Helper, 'id' | 'name' | 'args' | 'returns'>;

const helper = (row: Row, bind: (dynptrs: Dynptrs) => HelperFunction): Helper => ({ ...row, programs: ANY_PROGRAM, implementation: { kind: 'js', bind: bound(bind) } });

export const DYNPTR_HELPERS: readonly Helper[] = [
  helper({ id: 197, name: 'dynptr_from_mem', args: ['memory_out', 'size_or_zero', 'u64', 'dynptr_out'], returns: 'int' }, (dynptrs) => (data, size, flags, flagsHigh, at) => {
    const lengthBytes = size! >>> 0;
    const errno = lengthBytes > LARGEST_DYNPTR_BYTES ? ERRNO.E2BIG : flags !== 0 || flagsHigh !== 0 ? ERRNO.EINVAL : 0;
    if (errno === 0) dynptrs.make(at!, data!, DYNPTR.local, lengthBytes);
    else dynptrs.clear(at!);
    return -errno;
  }),
  helper({ id: 201, name: 'dynptr_read', args: ['memory_out', 'size_or_zero', 'dynptr', 'u32', 'u64'], returns: 'int' }, (dynptrs) => (to, size, at, offset, flags, flagsHigh) =>
    flags !== 0 || flagsHigh !== 0 ? -ERRNO.EINVAL : dynptrs.read(at!, offset! >>> 0, to!, size! >>> 0)),
  helper({ id: 202, name: 'dynptr_write', args: ['dynptr', 'u32', 'memory', 'size_or_zero', 'u64'], returns: 'int' }, (dynptrs) => (at, offset, from, size, flags, flagsHigh) =>
    dynptrs.write(at!, offset! >>> 0, from!, size! >>> 0, flags!, flagsHigh!)),
  helper({ id: 203, name: 'dynptr_data', args: ['dynptr', 'u32', 'allocated_size'], returns: 'memory_or_null' }, (dynptrs) => (at, offset, size) =>
    // Of packets there are slices only.
    dynptrs.kind(at!) <= DYNPTR.ringbuf ? dynptrs.writableSlice(at!, offset! >>> 0, size! >>> 0) : 0),
];

type KfuncRow = Omit<Kfunc, 'implementation' | 'programs'>;

const kfunc = (row: KfuncRow, bind: (dynptrs: Dynptrs) => HelperFunction, programs = ANY_PROGRAM): Kfunc => ({ ...row, programs, implementation: { kind: 'js', bind: bound(bind) } });

const fromSkb =
  (writable: boolean) =>
  (dynptrs: Dynptrs): HelperFunction =>
  (context, flags, flagsHigh, at) => {
    if (flags !== 0 || flagsHigh !== 0) {
      dynptrs.clear(at!);
      return -ERRNO.EINVAL;
    }
    dynptrs.make(at!, context!, writable ? DYNPTR.skb : DYNPTR.skb | READ_ONLY, getField(dynptrs.machine, context!, SK_BUFF.len));
    return 0;
  };

const SKB_ROW: KfuncRow = { name: 'bpf_dynptr_from_skb', args: ['ctx', 'u64', 'dynptr_out'], returns: 'u32', makes: 'skb', trustedArguments: true };
const READERS = SKB_PROGRAMS.filter((type) => !TC_PROGRAMS.includes(type));

export const DYNPTR_KFUNCS: readonly Kfunc[] = [
  kfunc(SKB_ROW, fromSkb(true), TC_PROGRAMS),
  kfunc(SKB_ROW, fromSkb(false), READERS),
  kfunc(
    { name: 'bpf_dynptr_from_xdp', args: ['ctx', 'u64', 'dynptr_out'], returns: 'u32', makes: 'xdp', trustedArguments: true },
    (dynptrs) => (context, flags, flagsHigh, at) => {
      if (flags !== 0 || flagsHigh !== 0) {
        dynptrs.clear(at!);
        return -ERRNO.EINVAL;
      }
      dynptrs.make(at!, context!, DYNPTR.xdp, xdpLength(dynptrs.machine, context!));
      return 0;
    },
    XDP_PROGRAMS,
  ),
  kfunc({ name: 'bpf_dynptr_slice', args: ['dynptr', 'u32', 'memory_or_null', 'constant_size'], returns: 'memory_or_null', slice: 'read' }, (dynptrs) => (at, offset, _buffer, size) => dynptrs.slice(at!, offset! >>> 0, size! >>> 0)),
  kfunc({ name: 'bpf_dynptr_slice_rdwr', args: ['dynptr', 'u32', 'memory_or_null', 'constant_size'], returns: 'memory_or_null', slice: 'write' }, (dynptrs) => (at, offset, _buffer, size) => dynptrs.writableSlice(at!, offset! >>> 0, size! >>> 0)),
  kfunc({ name: 'bpf_dynptr_adjust', args: ['dynptr', 'u32', 'u32'], returns: 'u32' }, (dynptrs) => (at, start, end) => {
    const [from, to, size] = [start! >>> 0, end! >>> 0, dynptrs.get(at!, DYNPTR_FIELD.size)];
    if (dynptrs.isNull(at!) || from > to) return -ERRNO.EINVAL;
    if (to > size) return -ERRNO.ERANGE;
    dynptrs.set(at!, DYNPTR_FIELD.offset, dynptrs.get(at!, DYNPTR_FIELD.offset) + from);
    dynptrs.set(at!, DYNPTR_FIELD.size, to - from);
    return 0;
  }),
  kfunc({ name: 'bpf_dynptr_is_null', args: ['dynptr'], returns: 'u32' }, (dynptrs) => (at) => (dynptrs.isNull(at!) ? 1 : 0)),
  kfunc({ name: 'bpf_dynptr_is_rdonly', args: ['dynptr'], returns: 'u32' }, (dynptrs) => (at) => (!dynptrs.isNull(at!) && dynptrs.isReadOnly(at!) ? 1 : 0)),
  kfunc({ name: 'bpf_dynptr_size', args: ['dynptr'], returns: 'u32' }, (dynptrs) => (at) => (dynptrs.isNull(at!) ? -ERRNO.EINVAL : dynptrs.get(at!, DYNPTR_FIELD.size))),
  kfunc({ name: 'bpf_dynptr_clone', args: ['dynptr', 'dynptr_out'], returns: 'u32', makes: 'clone' }, (dynptrs) => (at, clone) => {
    if (dynptrs.isNull(at!)) {
      dynptrs.clear(clone!);
      return -ERRNO.EINVAL;
    }
    moveBytes(dynptrs.machine.memory, clone!, at!, DYNPTR_BYTES);
    return 0;
  }),
  kfunc({ name: 'bpf_dynptr_copy', args: ['dynptr', 'u32', 'dynptr', 'u32', 'u32'], returns: 'u32' }, (dynptrs) => (to, toOffset, from, fromOffset, size) => {
    const lengthBytes = size! >>> 0;
    const source = dynptrs.slice(from!, fromOffset! >>> 0, lengthBytes);
    const target = dynptrs.writableSlice(to!, toOffset! >>> 0, lengthBytes);
    if (source !== 0) return dynptrs.write(to!, toOffset! >>> 0, source, lengthBytes, 0, 0);
    return target !== 0 ? dynptrs.read(from!, fromOffset! >>> 0, target, lengthBytes) : -ERRNO.E2BIG;
  }),
  kfunc({ name: 'bpf_dynptr_memset', args: ['dynptr', 'u32', 'u32', 'u32'], returns: 'u32' }, (dynptrs) => (at, offset, size, value) => {
    const lengthBytes = size! >>> 0;
    if (dynptrs.isNull(at!) || dynptrs.isReadOnly(at!)) return -ERRNO.EINVAL;
    if (!dynptrs.holds(at!, offset! >>> 0, lengthBytes)) return -ERRNO.E2BIG;
    const target = dynptrs.writableSlice(at!, offset! >>> 0, lengthBytes);
    if (target !== 0) fillBytes(dynptrs.machine.memory, inMemory(dynptrs.machine.memory, target, lengthBytes), lengthBytes, value! & 0xff);
    return 0;
  }),
];
