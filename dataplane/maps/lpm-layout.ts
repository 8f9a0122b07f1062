/**
 * Storage of an LPM trie: one entry for each prefix, and tables that branch sixteen ways on four bits of the key. A
 * table stands only where there are at least two things to tell apart, at a depth that is a multiple of four; what is
 * skipped above it is compared with the bits it keeps. A lookup passes three tables for a thousand IPv4 prefixes.
 *
 *   header   0 u32 root         a reference
 *            4 u32 zero         the entry of prefix length 0, which is in no table
 *            8 u32 count        entries
 *           12 u32 freeEntry    free lists, linked by the first word
 *           16 u32 freeTable
 *           20 u32 topEntry     the first one never used
 *           24 u32 topTable
 *           28 u32 freeDirect   of the tables of lpm-direct.ts, which IPv4 prefixes have behind all this
 *           32 u32 topDirect
 *           36 u32 lock         exclusion.ts
 *
 *   entry    0 u32 next         in its table's list, longer prefixes first
 *            4 u32 prefixlen  8 data: the key as given
 *              mask             ones for the bits of the prefix
 *              value            8-aligned
 *
 *   table    0 u32 list         entries of prefix lengths bits + 1 to bits + 4, longest first
 *            4 u32 bits         its depth
 *            8 u32 count        entries in the list, and slots whose `child` is not 0; at least 2
 *           12 data, mask       the bits above it
 *              16 slots         0 u32 child: a reference   4 u32 best: the longest of the list that covers the slot
 *
 * A reference is the address of a table, or of an entry with bit 0 set where it is the only one below, or 0. Entries
 * never move, and an update puts a new one in place of the old: a program that holds the old value keeps reading it.
 */
import type { MapSpec } from '../bpf/spec.ts';
import type { Machine } from '../machine/machine.ts';
import { roundUp, valueStride, type MapGeometry } from './map.ts';

export const HEADER = { root: 0, zero: 4, count: 8, freeEntry: 12, freeTable: 16, topEntry: 20, topTable: 24, freeDirect: 28, topDirect: 32, lock: 36, size: 64 } as const;
export const ENTRY = { next: 0, prefixBits: 4, data: 8 } as const;
export const TABLE = { list: 0, bits: 4, count: 8, data: 12 } as const;
export const SLOT = { child: 0, best: 4, size: 8 } as const;
/** A table of lpm-direct.ts: 256 cells, and a count. */
export const DIRECT = { count: 1024, tableBytes: 1088 } as const;
/** Bits a table branches on. */
export const STRIDE = 4;
export const SLOTS = 1 << STRIDE;
/** Bit of a reference to an entry. */
export const LEAF = 1;
/** Bytes of the prefix length in a key. */
export const PREFIX_BYTES = 4;

export const IPV4_BYTES = 4;
const FIRST_BYTES = 65_536 * 4;
const MOST_DIRECT_TABLES = 65_536;

export interface LpmLayout {
  readonly dataBytes: number;
  readonly maxBits: number;
  readonly entryMask: number;
  readonly entryValue: number;
  readonly entryBytes: number;
  readonly tableMask: number;
  readonly tableSlots: number;
  readonly tableBytes: number;
  /** From the start of storage. */
  readonly entries: number;
  readonly tables: number;
  /** Cells and tables of lpm-direct.ts, from the start of storage; there are none where keys are no IPv4 prefixes. */
  readonly direct: number;
  readonly directTables: number;
  readonly directEnd: number;
  readonly lengthBytes: number;
}

export function lpmLayout(spec: MapSpec): LpmLayout {
  const dataBytes = spec.keyBytes - PREFIX_BYTES;
  const entryMask = ENTRY.data + dataBytes;
  const entryValue = roundUp(entryMask + dataBytes, 8);
  const entryBytes = entryValue + valueStride(spec);
  const tableMask = TABLE.data + dataBytes;
  const tableSlots = roundUp(tableMask + dataBytes, 8);
  const tableBytes = tableSlots + SLOTS * SLOT.size;
  const entries = HEADER.size;
  // One entry more than declared, for replacing; every table tells two things apart, so there are fewer than entries.
  const tables = roundUp(entries + (spec.maxEntries + 1) * entryBytes, 64);
  const direct = roundUp(tables + (spec.maxEntries + 1) * tableBytes + 8, 64);
  const isDirect = dataBytes === IPV4_BYTES;
  const directTables = direct + (isDirect ? FIRST_BYTES : 0);
  // Few prefixes need tables of their own; where these do not suffice, the trie is asked.
  const directEnd = directTables + (isDirect ? Math.min(spec.maxEntries, MOST_DIRECT_TABLES) * DIRECT.tableBytes : 0);
  return {
    dataBytes, maxBits: dataBytes * 8, entryMask, entryValue, entryBytes, tableMask, tableSlots, tableBytes, entries, tables,
    direct, directTables, directEnd, lengthBytes: directEnd,
  };
}

export function allocateLpm(machine: Machine, spec: MapSpec): number {
  const { entries, tables, directTables, lengthBytes } = lpmLayout(spec);
  const storage = machine.memory.allocate(lengthBytes, 64, `map '${spec.name}'`);
  machine.memory.u32[(storage + HEADER.topEntry) >>> 2] = storage + entries;
  machine.memory.u32[(storage + HEADER.topTable) >>> 2] = storage + tables;
  machine.memory.u32[(storage + HEADER.topDirect) >>> 2] = storage + directTables;
  return storage;
}

export function lpmSize({ machine, storage }: MapGeometry): number {
  return machine.memory.u32[(storage + HEADER.count) >>> 2]!;
}
