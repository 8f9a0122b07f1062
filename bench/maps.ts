/** What maps take: memory against the kernel's, and updates from JavaScript while packets flow. */
import { readFileSync } from 'node:fs';

import { BPF_MAP_TYPE } from '../dataplane/bpf/map-type.ts';
import type { MapSpec } from '../dataplane/bpf/spec.ts';
import { createKernelMap } from '../dataplane/engine/kernel/kernel-map.ts';
import { openLinux, whyNoLinux } from '../dataplane/engine/kernel/linux.ts';
import { Machine } from '../dataplane/machine/machine.ts';
import { createMap, type BpfMap } from '../dataplane/maps/bpf-map.ts';
import { MAP_FLAG } from '../dataplane/maps/map-check.ts';
import { roundUp } from '../dataplane/maps/map.ts';
import { timed } from '../dataplane/measure/rounds.ts';
import { median } from '../dataplane/measure/sample-summary.ts';
import { makeTrace } from '../dataplane/measure/workload.ts';
import { packetCount } from '../dataplane/packet/packet-trace.ts';
import { ResidentTrace } from '../dataplane/packet/resident-trace.ts';
import { openLab } from '../dataplane/pipeline/open-lab.ts';
import { DEMO_LAB, SERVICE } from './programs.ts';

const MILLION: MapSpec = { name: 'million', type: BPF_MAP_TYPE.hash, keyBytes: 16, valueBytes: 32, maxEntries: 1_000_000, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false };
const PAGE_BYTES = 4096;
const ROUNDS = 40;
/** Of a small map, to know what it took. */
const MOST_FILLS = 15;
const ENOUGH_NS = 20e6;

type Entry = readonly [key: Uint8Array, value: Uint8Array];

export interface MapMemory {
  readonly entries: number;
  /** Pages of machine memory that something was written to. */
  readonly bytes: number;
  /** What Linux says of a map that is declared for as many and has them (memlock of its fdinfo), where it may be asked. */
  readonly kernelBytes: number | undefined;
  /** What it took to put one in. */
  readonly nsToAdd: number;
}

/** A hash map of 16-byte keys and 32-byte values, full. */
export function measureMapMemory(): MapMemory {
  return mapMemory(MILLION, Array.from({ length: MILLION.maxEntries }, (_, index): Entry => [Uint8Array.from(KEY, (byte, at) => (at < 4 ? index >>> (8 * at) : byte)), VALUE]));
}

const KEY = new Uint8Array(MILLION.keyBytes).fill(0xa5);
const VALUE = new Uint8Array(MILLION.valueBytes).fill(0xa5);

/** A map with so many entries in it, in a machine of its own, and the same in the kernel. */
export function mapMemory(spec: MapSpec, entries: readonly Entry[]): MapMemory {
  const fills = [filled(spec, entries)];
  // A few entries are put in before the clock has moved.
  while (fills.length < MOST_FILLS && fills.length * fills[0]!.elapsedNs < ENOUGH_NS) fills.push(filled(spec, entries));
  const [first] = fills as [Filled];
  return { entries: first.map.size, bytes: writtenBytes(first), kernelBytes: kernelBytes(spec, entries), nsToAdd: median(fills.map(({ elapsedNs }) => elapsedNs)) / (entries.length - 1) };
}

/** `[begin, end)` is what the map has of the machine's memory. */
interface Filled {
  readonly machine: Machine;
  readonly map: BpfMap;
  readonly begin: number;
  readonly end: number;
  readonly elapsedNs: number;
}

function filled(spec: MapSpec, entries: readonly Entry[]): Filled {
  const machine = new Machine();
  const { memory } = machine;
  const begin = memory.usedBytes;
  const map = createMap(machine, spec);
  const end = memory.usedBytes;
  const valueOffset = roundUp(spec.keyBytes, 8);
  const stride = valueOffset + roundUp(spec.valueBytes, 8);
  const filling = memory.allocate(entries.length * stride, 64, 'keys and values');
  entries.forEach(([key, value], index) => {
    memory.u8.set(key, filling + index * stride);
    memory.u8.set(value, filling + index * stride + valueOffset);
  });
  // The first one compiles what the others run.
  map.operations.update(filling, filling + valueOffset, 0);
  const elapsedNs = timed(() => {
    for (let index = 1, at = filling + stride; index < entries.length; index++, at += stride) map.operations.update(at, at + valueOffset, 0);
  });
  return { machine, map, begin, end, elapsedNs };
}

/** Pages that are not all zero. */
function writtenBytes({ machine: { memory: { u32 } }, begin, end }: Filled): number {
  let pages = 0;
  for (let page = begin; page < end; page += PAGE_BYTES) {
    const wordsEnd = Math.min(page + PAGE_BYTES, end) >>> 2;
    let word = page >>> 2;
    while (word < wordsEnd && u32[word] === 0) word++;
    if (word < wordsEnd) pages++;
  }
  return pages * PAGE_BYTES;
}

function kernelBytes(spec: MapSpec, entries: readonly Entry[]): number | undefined {
  if (whyNoLinux() !== undefined) return undefined;
  const map = createKernelMap(openLinux(), { ...spec, maxEntries: entries.length });
  try {
    // What is not allocated at once is when it is needed.
    if ((spec.flags & MAP_FLAG.NO_PREALLOC) !== 0) for (const [key, value] of entries) map.update(key, value);
    const memlock = /^memlock:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${map.fd}`, 'latin1'))?.[1];
    return memlock === undefined ? undefined : Number(memlock);
  } finally {
    map.close();
  }
}

export interface UpdateRate {
  /** Nanoseconds that an update takes. */
  readonly nsPerUpdate: number;
  /** How much longer packets take when 500,000 updates a second come between them, on the one core that does both; relative. */
  readonly slowdown: number;
}

/** Updates of the load balancer's backends, through the API that takes bytes, between batches of packets. */
export async function measureUpdates(): Promise<UpdateRate> {
  const { lab } = await openLab({ file: DEMO_LAB, only: 'xdp_lb' });
  const { pipeline } = lab;
  const trace = makeTrace({ ...SERVICE, name: '1k' });
  const { batch } = new ResidentTrace(lab.machine.memory, trace);
  pipeline.setInterface(0, lab.devices[0]);
  pipeline.run(batch);
  const { map } = lab.map('backends');
  const key = Uint8Array.of(1, 0, 0, 0);
  const value = map.lookup(key)!;
  const packets = packetCount(trace);
  /** Nanoseconds a packet, of one round over the trace, and of the updates that half a million a second are in that time. */
  const rounds = Array.from({ length: ROUNDS }, () => {
    const begun = performance.now();
    pipeline.run(batch);
    const alone = performance.now();
    const updates = Math.round((alone - begun) * 500);
    for (let update = 0; update < updates; update++) map.update(key, value);
    const updated = performance.now();
    pipeline.run(batch);
    return { alone: ((alone - begun) * 1e6) / packets, after: ((performance.now() - updated) * 1e6) / packets, update: ((updated - alone) * 1e6) / updates };
  });
  const nsPerUpdate = median(rounds.map(({ update }) => update));
  const share = (nsPerUpdate * 500_000) / 1e9;
  return { nsPerUpdate, slowdown: median(rounds.map(({ alone, after }) => after / alone)) / (1 - share) - 1 };
}
