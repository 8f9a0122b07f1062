/**
 * What a map type is, and what a live map is.
 *
 * A map's storage is in machine memory and its operations are WebAssembly, emitted by its type and specialised to
 * its geometry: key size, value size, capacity and addresses are constants in the code. The same emitters serve
 * everyone: the compiler emits them into a program's module when it knows the map, and each map has a small module
 * of its own for the interpreter, for programs that pick a map at run time, and for JavaScript.
 *
 * A program holds a map by the address of its descriptor, as it holds `struct bpf_map *` in Linux:
 *
 *   0 u32 operations   index of the map's first operation in machine.mapTable, in the order of MAP_OPERATIONS
 *   4 u32 id
 *   8 u32 type         enum bpf_map_type
 *  12 u32 keyBytes
 *  16 u32 valueBytes
 *  20 u32 maxEntries
 *  24 u32 storage      address of what the type keeps
 *  28 u32 flags        BPF_F_*
 *
 * Values are kept at a stride of 8 bytes, as Linux rounds them. A value that a program holds a pointer to does not
 * move, whatever happens to other entries.
 */
import type { MapTypeName } from '../bpf/map-type.ts';
import type { MapSpec } from '../bpf/spec.ts';
import type { Machine } from '../machine/machine.ts';
import type { Callee, I32, I64, ValueType } from '../wasm/expression.ts';
import type { FunctionBuilder } from '../wasm/function-builder.ts';
import type { ModuleBuilder } from '../wasm/module-builder.ts';

export const MAP_DESCRIPTOR = { operations: 0, id: 4, type: 8, keyBytes: 12, valueBytes: 16, maxEntries: 20, storage: 24, flags: 28, size: 32 } as const;

/**
 * The operations and their WebAssembly parameters, all i32; each returns an i32: an address (0 is NULL), or 0 and
 * negative errno. Addresses are of machine memory.
 *
 *   lookup(key)                 address of the value, for the current CPU where values are per CPU; touches an LRU.
 *                               Maps of maps answer the inner map's descriptor; DEVMAP and the like the address of the
 *                               slot, or 0 where it is empty
 *   lookup_percpu(key, cpu)     the same for another CPU; does not touch an LRU
 *   update(key, value, flags)   flags are BPF_ANY, BPF_NOEXIST, BPF_EXIST, BPF_F_LOCK; sets the current CPU's value
 *   delete(key)
 *   next(key, out)              copies the key after `key` to `out`, the first if `key` is 0 or absent; -ENOENT at the end
 *   push(value, flags)          QUEUE, STACK
 *   pop(value)
 *   peek(value)
 */
export const MAP_OPERATIONS = {
  lookup: 1,
  lookup_percpu: 2,
  update: 3,
  delete: 1,
  next: 2,
  push: 2,
  pop: 1,
  peek: 1,
} as const satisfies Record<string, number>;

export type MapOperation = keyof typeof MAP_OPERATIONS;

export const OPERATION_NAMES = Object.keys(MAP_OPERATIONS) as readonly MapOperation[];

export function operationParams(operation: MapOperation): readonly ValueType[] {
  return Array.from({ length: MAP_OPERATIONS[operation] }, () => 'i32' as const);
}

/** What the code of a map may rely on: fixed when the map is made. */
export interface MapGeometry {
  readonly spec: MapSpec;
  readonly machine: Machine;
  /** Address of the descriptor. */
  readonly descriptor: number;
  /** Address of the type's storage. */
  readonly storage: number;
}

/** Where an operation's code goes, and how it finds the map's other operations in the same module. */
export interface MapCode {
  readonly module: ModuleBuilder;
  readonly geometry: MapGeometry;
  /** Another operation, or a part shared by several, defined in this module when first asked for. */
  operation(operation: MapOperation): Callee<'i32'>;
  part<R extends ValueType | undefined>(name: string, define: () => FunctionBuilder<R>): Callee<R>;
}

/** A key where compiled code has it, in memory or in variables. */
export interface MapKey {
  /** Bytes of it as a number, zero-extended. May be asked again as long as nothing is written. */
  read(offset: number, bytes: 1 | 2 | 4 | 8): I64;
  /** Its address: what puts it there is emitted where this is called. */
  address(): I32;
}

/** What a lookup in place has found. Both may be used repeatedly; `address` says nothing where `isThere` is 0. */
export interface Found {
  readonly isThere: I32;
  readonly address: I32;
}

/** User space writes and reads references as ids (of programs and maps) or ifindexes; a slot keeps what programs need. */
export interface References {
  /** Bytes of the slot for a value, or the negative errno with which Linux refuses it. */
  write(geometry: MapGeometry, key: Uint8Array, value: Uint8Array, flags: number): Uint8Array | number;
  /** The value for what a lookup answered, which is not 0. */
  read?(geometry: MapGeometry, found: number): Uint8Array;
  /** Errno where user space cannot read. */
  readonly unreadable?: ErrnoName;
}

export interface MapType {
  /** enum bpf_map_type. */
  readonly id: number;
  /** As bpftool spells it: `lru_hash`. */
  readonly name: MapTypeName;
  /** One value per possible CPU. */
  readonly perCpu: boolean;
  /** What a key is: an index below max_entries, each of which `next` answers; bytes that an update brings; or there is none. */
  readonly keys: 'indexes' | 'bytes' | 'none';
  /** What a value is: plain bytes, or a reference to something else that is live. */
  readonly holds: 'bytes' | 'programs' | 'maps' | 'devices' | 'cpus' | 'sockets' | 'events' | 'records';
  /** The declaration as libbpf, or Linux itself, adjusts it before the map is made. */
  prepare?(spec: MapSpec, machine: Pick<Machine, 'cpus'>): MapSpec;
  /** Throws ERR_MAP in Linux's cases: which attribute, what was found, what the type takes. */
  check(spec: MapSpec): void;
  /** Allocates and initialises storage; returns its address. Costs what is used, not what is declared. */
  allocate(machine: Machine, spec: MapSpec): number;
  /** Values of a type without keys, in the order they would leave. */
  values?(geometry: MapGeometry): Iterable<Uint8Array>;
  /** Entries it has now. */
  size(geometry: MapGeometry): number;
  /** For types where all indexes have a value: those whose value is not all zero, found without a call for each. */
  nonZero?(geometry: MapGeometry): readonly number[];
  /** For types whose values are references: what user space writes and reads instead of what a slot keeps. */
  readonly references?: References;
  /** Operations it has; one that is missing answers what `missing` says, or else NULL for a lookup and -EOPNOTSUPP. */
  readonly operations: { readonly [Operation in MapOperation]?: (f: FunctionBuilder<'i32'>, code: MapCode) => void };
  /** Bytes before the part of the key that is read in pieces (words.ts): the prefix length of an LPM trie. */
  readonly keyHeadBytes?: 4;
  /**
   * For types whose keys are indexes: the address of the current CPU's value at an index below maxEntries, so that
   * compilers can look it up in place.
   */
  readonly addressOf?: (geometry: MapGeometry, index: I32) => I32;
  /** For compilers: a lookup where it stands, instead of a call of the operation. */
  readonly lookupInPlace?: (f: FunctionBuilder, code: MapCode, key: MapKey) => Found;
  /** A lookup leaves a trace: it keeps an entry from being evicted. */
  readonly lookupTouches?: true;
  /** For types whose entries are found through a bucket: what a lookup in a large table waits for. */
  readonly ahead?: {
    /** By declaration. */
    isLarge(geometry: MapGeometry): boolean;
    /** Whether it has so many entries now that they do not stay in caches. */
    hasGrown(geometry: MapGeometry): I32;
    /** The address of a word that leads to the entry, if there is one: to its address, 0 if not. */
    bucketOf(f: FunctionBuilder, code: MapCode, key: MapKey): I32;
  };
  /** Errno where Linux answers another one for an operation that a type does not have. */
  readonly missing?: { readonly [Operation in MapOperation]?: number };
}

/** Distance between values that lie side by side. */
export function valueStride({ valueBytes }: MapSpec): number {
  return roundUp(valueBytes, 8);
}

export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** Linux's errno values that map operations and helpers answer, as positive numbers. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENOSPC: 28,
  ERANGE: 34,
  EDEADLK: 35,
  ENONET: 64,
  EPROTO: 71,
  EOVERFLOW: 75,
  ENOTSUPP: 524,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  ENETDOWN: 100,
  EALREADY: 114,
} as const;

export type ErrnoName = keyof typeof ERRNO;

/** Flags of map_update_elem. */
export const UPDATE = { any: 0, noExist: 1, exist: 2, lock: 4 } as const;
