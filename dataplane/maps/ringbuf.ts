/**
 * BPF_MAP_TYPE_RINGBUF (Linux Documentation/bpf/ringbuf.rst). Storage is page-aligned, and its pages are those of
 * Linux, so that record headers are the same:
 *
 *   page 0    u32 lock (exclusion.ts): of who reserves, and of who consumes where several CPUs run
 *   page 1    u64 consumer position
 *   page 2    u64 producer position
 *   page 3 …  data, max_entries bytes, twice: a record that begins near the end goes on behind it
 *
 *   record    u32 length: BUSY bit 31, DISCARD bit 30   4 u32 pages from the start of storage   8 data, padded to 8
 *             Where CPUs run at once, at 4 is instead which packet the record was reserved for: the low half of its
 *             number, so that records can be put in the order of the packets.
 *
 * Positions only grow; a record lies at its position modulo the size. Reserving needs the map; committing needs only
 * the record. Linux also keeps the position of the first record that is not committed, in case user space consumes
 * past it; the consumer here does not.
 */
import { CPU_BLOCK } from '../machine/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import { BPF_MAP_TYPE } from '../bpf/map-type.ts';
import { DESCRIPTOR } from '../packet/packet-batch.ts';
import { atomic32 } from '../wasm/atomic.ts';
import { i32, i64, type I32, type I64 } from '../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../wasm/function-builder.ts';
import { whileLocked, withLock } from './exclusion.ts';
import { MAP_FLAG, checkAccessFlags, refuse } from './map-check.ts';
import { ERRNO, MAP_DESCRIPTOR, type MapGeometry, type MapType } from './map.ts';

const PAGE_BYTES = 4096;
const CONSUMER = 1 * PAGE_BYTES;
const PRODUCER = 2 * PAGE_BYTES;
const DATA = 3 * PAGE_BYTES;
const RECORD = { length: 0, pages: 4, header: 8 } as const;
const BUSY = 0x8000_0000;
const DISCARD = 0x4000_0000;
const LENGTH = 0x3fff_ffff;
/** Bits of the flags of submit, discard and output. */
export const RINGBUF_WAKEUP = { none: 1, force: 2 } as const;

/** Length with header and padding, for a header's length without its bits. */
function spanBytes(lengthBytes: I32): I32 {
  return i32.and(i32.add(lengthBytes, i32.const(RECORD.header + 7)), i32.const(~7));
}

/** Reserves a record in the ring buffer whose descriptor is `map`: address of its data, 0 where it does not fit. */
export function emitRingbufReserve(f: FunctionBuilder, machine: Machine, map: I32, lengthBytes: I32): Local<'i32'> {
  const ring = f.let(i32.load(map, MAP_DESCRIPTOR.storage), 'ring');
  const mask = f.let(i32.sub(i32.load(map, MAP_DESCRIPTOR.maxEntries), i32.const(1)), 'mask');
  const length = f.let(lengthBytes, 'length');
  const data = f.local('i32', 'data');
  f.set(data, i32.const(0));
  whileLocked(f, machine, ring, () => f.block((full) => {
    f.brIf(full, i32.gtU(length, mask));
    const producer = f.let(i64.load(ring, PRODUCER), 'producer');
    const after = f.let(i64.add(producer, i64.extendU(spanBytes(length))), 'after');
    f.brIf(full, i64.gtU(i64.sub(after, i64.load(ring, CONSUMER)), i64.extendU(mask)));
    const record = f.let(i32.add(i32.add(ring, i32.and(i32.wrap(producer), mask)), i32.const(DATA)), 'record');
    f.do(i32.store(record, RECORD.length, i32.or(length, i32.const(BUSY))));
    const packet = i32.load(i32.load(i32.const(machine.cpuBlock), CPU_BLOCK.descriptor), DESCRIPTOR.number);
    f.do(i32.store(record, RECORD.pages, machine.parallel ? packet : i32.shrU(i32.sub(record, ring), i32.const(12))));
    f.do(i64.store(ring, PRODUCER, after));
    f.set(data, i32.add(record, i32.const(RECORD.header)));
  }));
  return data;
}

/** Submits or discards the record whose data is at `data`. A local or constant. */
export function emitRingbufCommit(f: FunctionBuilder, machine: Machine, data: I32, discard: boolean): void {
  const head = f.let(i32.sub(data, i32.const(RECORD.header)), 'head');
  const length = i32.and(i32.load(head, RECORD.length), i32.const(~BUSY));
  const store = machine.parallel ? atomic32.store : i32.store;
  f.do(store(head, RECORD.length, discard ? i32.or(length, i32.const(DISCARD)) : length));
}

/** What bpf_ringbuf_query answers: 0 bytes not consumed, 1 size, 2 consumer position, 3 producer position. */
export function emitRingbufQuery(f: FunctionBuilder<'i64'>, map: I32, what: I32): void {
  const ring = f.let(i32.load(map, MAP_DESCRIPTOR.storage), 'ring');
  const answers: readonly I64[] = [
    i64.sub(i64.load(ring, PRODUCER), i64.load(ring, CONSUMER)),
    i64.extendU(i32.load(map, MAP_DESCRIPTOR.maxEntries)),
    i64.load(ring, CONSUMER),
    i64.load(ring, PRODUCER),
  ];
  answers.forEach((answer, index) => f.if(i32.eq(what, i32.const(index)), () => f.return(answer)));
  f.return(i64.const(0));
}

/** A committed record. */
interface Committed {
  /** Address of its data. */
  readonly data: number;
  readonly lengthBytes: number;
  readonly discarded: boolean;
  /** The packet it is of, where CPUs run at once. */
  readonly packet: number;
  /** Position behind it. */
  readonly after: bigint;
}

/**
 * Committed records in the order they were reserved, up to one that is still busy. Positions and headers are in
 * memory that a program may have overwritten: what does not fit the buffer ends the walk.
 */
function* committed({ machine, storage, spec }: MapGeometry): Generator<Committed, void, undefined> {
  const { memory } = machine;
  const size = BigInt(spec.maxEntries);
  for (let position = memory.view.getBigUint64(storage + CONSUMER, true); ; ) {
    const unread = memory.view.getBigUint64(storage + PRODUCER, true) - position;
    if (unread <= 0n || unread > size) return;
    const record = storage + DATA + Number(position & (size - 1n));
    const head = memory.view.getUint32(record + RECORD.length, true);
    const lengthBytes = head & LENGTH;
    if (head >= BUSY || lengthBytes > spec.maxEntries) return;
    position += BigInt((lengthBytes + RECORD.header + 7) & ~7);
    yield { data: record + RECORD.header, lengthBytes, discarded: (head & DISCARD) !== 0, packet: memory.view.getUint32(record + RECORD.pages, true), after: position };
  }
}

/** Takes committed records and frees their space. */
export function* consumeRingbuf(geometry: MapGeometry): Generator<Uint8Array, void, undefined> {
  for (const { bytes } of take(geometry)) yield bytes;
}

/** The same while other CPUs reserve and consume, with the low half of the number of the packet that each is of. */
export function takeRecords(geometry: MapGeometry): readonly { readonly bytes: Uint8Array; readonly packet: number }[] {
  return withLock(geometry.machine, geometry.storage, () => [...take(geometry)]);
}

function* take(geometry: MapGeometry): Generator<{ readonly bytes: Uint8Array; readonly packet: number }, void, undefined> {
  const { memory } = geometry.machine;
  for (const { data, lengthBytes, discarded, packet, after } of committed(geometry)) {
    const bytes = discarded ? undefined : memory.u8.slice(data, data + lengthBytes);
    memory.view.setBigUint64(geometry.storage + CONSUMER, after, true);
    if (bytes !== undefined) yield { bytes, packet };
  }
}

function countRecords(geometry: MapGeometry): number {
  let count = 0;
  for (const { discarded } of committed(geometry)) if (!discarded) count++;
  return count;
}

const isPower = (value: number): boolean => value > 0 && 2 ** Math.round(Math.log2(value)) === value;

/** As libbpf's adjust_ringbuf_sz: the next power of two that is a multiple of the page size. */
function adjustedSize(sizeBytes: number): number {
  if (sizeBytes === 0 || (sizeBytes % PAGE_BYTES === 0 && isPower(sizeBytes))) return sizeBytes;
  const power = Math.max(PAGE_BYTES, 2 ** Math.ceil(Math.log2(sizeBytes)));
  return power <= 2 ** 31 ? power : sizeBytes;
}

export const RINGBUF: MapType = {
  id: BPF_MAP_TYPE.ringbuf,
  name: 'ringbuf',
  perCpu: false,
  keys: 'none',
  holds: 'records',
  prepare: (spec) => ({ ...spec, maxEntries: adjustedSize(spec.maxEntries) }),
  check(spec) {
    if (spec.keyBytes !== 0 || spec.valueBytes !== 0) refuse(spec, 'ringbuf', 'EINVAL', `a key of ${spec.keyBytes} and a value of ${spec.valueBytes} bytes`, 'neither');
    if (spec.maxEntries % PAGE_BYTES !== 0 || !isPower(spec.maxEntries)) {
      refuse(spec, 'ringbuf', 'EINVAL', `max_entries ${spec.maxEntries}, which is its size in bytes`, `a power of two, and at least ${PAGE_BYTES}`);
    }
    checkAccessFlags(spec, 'ringbuf', MAP_FLAG.NUMA_NODE);
  },
  allocate: (machine, spec) => machine.memory.allocate(DATA + spec.maxEntries * 2, PAGE_BYTES, `map '${spec.name}'`),
  size: countRecords,
  missing: { update: ERRNO.ENOTSUPP, delete: ERRNO.ENOTSUPP, next: ERRNO.ENOTSUPP, push: ERRNO.ENOTSUPP, pop: ERRNO.ENOTSUPP, peek: ERRNO.ENOTSUPP },
  operations: {},
};
