/**
 * Storage of the hash types: a header, buckets, and nodes that are chained from them and never move.
 *
 *   header    0 u32 free       first node of the free list, the last one freed first
 *             4 u32 newer      \ LRU: the header is in the list of all live nodes, between the newest and the oldest:
 *             8 u32 older      / `newer` of the header is the oldest node, `older` the newest
 *            12 u32 count      live nodes
 *            16 u32 mask       bytes of the buckets in use, less 4; its low two bits are clear
 *            20 u32 top        the first node that was never used
 *            24 u32 lock       exclusion.ts
 *   buckets  64 u32 first      address of a chain's first node, 0 for none; the bucket of a hash is at `hash & mask`
 *   nodes       u32 next       the next of the chain; in a free node the next of the free list, with bit 0 set
 *               u32 newer, older, referenced                                                (LRU only)
 *               key            at 4, or 16
 *               value          8-aligned; the values of the other CPUs are at the same place of further regions,
 *                              each as large as all nodes, so that two CPUs do not write to one cache line
 *
 * Nodes are handed out from the front, and the buckets in use double as the map fills, so that a map costs what is
 * used of it: the rest is address space that is never touched. There is one node more than entries, for an update
 * replaces a node rather than its value: as in Linux, a program that still holds the old value keeps reading it.
 */
import type { MapSpec } from '../bpf/spec.ts';
import type { Machine } from '../machine/machine.ts';
import { roundUp, type MapGeometry } from './map.ts';

export const HEADER = { free: 0, newer: 4, older: 8, count: 12, mask: 16, top: 20, lock: 24, size: 64 } as const;
export const NODE = { next: 0, newer: 4, older: 8, referenced: 12 } as const;
/** Bit of `next` in a free node. Nodes are 8-aligned. */
export const FREE = 1;

const KEY_OFFSET = { plain: 4, lru: 16 } as const;
const FIRST_BUCKETS = 16;
/** Smaller tables cost more memory than they would gain time. */
const HUGE_PAGES_FROM_BYTES = 32 << 20;

/** What distinguishes the hash types. */
export interface HashKind {
  readonly lru: boolean;
  readonly perCpu: boolean;
  /** Bytes of a value in a node, where they are not the value as declared. */
  readonly slotBytes?: number;
  /** Programs get what the value holds, not its address. */
  readonly answersContent?: true;
  /** BPF_EXIST is taken for BPF_ANY. */
  readonly ignoresExist?: true;
}

export interface HashLayout {
  readonly keyOffset: number;
  readonly valueOffset: number;
  readonly nodeBytes: number;
  /** From a value to that of the next CPU. */
  readonly regionBytes: number;
  /** From the start of storage. */
  readonly buckets: number;
  readonly firstBuckets: number;
  readonly maxBuckets: number;
  readonly nodes: number;
  readonly lengthBytes: number;
}

export function hashLayout(kind: HashKind, spec: MapSpec, cpus: number): HashLayout {
  const keyOffset = kind.lru ? KEY_OFFSET.lru : KEY_OFFSET.plain;
  const valueOffset = roundUp(keyOffset + spec.keyBytes, 8);
  const nodeBytes = valueOffset + roundUp(kind.slotBytes ?? spec.valueBytes, 8);
  const maxBuckets = 2 ** Math.ceil(Math.log2(spec.maxEntries)) * 2;
  const nodes = roundUp(HEADER.size + maxBuckets * 4, 64);
  const regionBytes = (spec.maxEntries + 1) * nodeBytes;
  return {
    keyOffset,
    valueOffset,
    nodeBytes,
    regionBytes,
    buckets: HEADER.size,
    firstBuckets: Math.min(FIRST_BUCKETS, maxBuckets),
    maxBuckets,
    nodes,
    lengthBytes: nodes + regionBytes * (kind.perCpu ? cpus : 1) + 8,
  };
}

export function allocateHash(kind: HashKind, machine: Machine, spec: MapSpec): number {
  const layout = hashLayout(kind, spec, machine.cpus);
  const storage = machine.memory.allocate(layout.lengthBytes, 64, `map '${spec.name}'`);
  if (layout.lengthBytes >= HUGE_PAGES_FROM_BYTES) machine.memory.preferHugePages(storage, layout.lengthBytes);
  const { u32 } = machine.memory;
  u32[(storage + HEADER.newer) >>> 2] = storage;
  u32[(storage + HEADER.older) >>> 2] = storage;
  u32[(storage + HEADER.mask) >>> 2] = (layout.firstBuckets - 1) * 4;
  u32[(storage + HEADER.top) >>> 2] = storage + layout.nodes;
  return storage;
}

export function hashSize({ machine, storage }: MapGeometry): number {
  return machine.memory.u32[(storage + HEADER.count) >>> 2]!;
}
