/** What maps take: memory of a million entries against the kernel's, and updates from JavaScript while packets flow. */
import { readFileSync } from 'node:fs';

import { BPF_MAP_TYPE } from '../dataplane/bpf/map-type.ts';
import type { MapSpec } from '../dataplane/bpf/spec.ts';
import { createKernelMap } from '../dataplane/engine/kernel/kernel-map.ts';
import { openLinux, whyNoLinux } from '../dataplane/engine/kernel/linux.ts';
import { Machine } from '../dataplane/machine/machine.ts';
import { createMap } from '../dataplane/maps/bpf-map.ts';
import { median } from '../dataplane/measure/sample-summary.ts';
import { makeTrace } from '../dataplane/measure/workload.ts';
import { packetCount } from '../dataplane/packet/packet-trace.ts';
import { ResidentTrace } from '../dataplane/packet/resident-trace.ts';
import { openLab } from '../dataplane/pipeline/open-lab.ts';
import { DEMO_LAB, SERVICE } from './programs.ts';

const MILLION: MapSpec = { name: 'million', type: BPF_MAP_TYPE.hash, keyBytes: 16, valueBytes: 32, maxEntries: 1_000_000, flags: 0, pinning: 'none', keyTypeId: 0, valueTypeId: 0, frozen: false };
const PAGE_BYTES = 4096;
const ROUNDS = 40;

export interface MapMemory {
  readonly entries: number;
  /** Pages that something was written to. */
  readonly bytes: number;
  /** What Linux says of a map of the same declaration (memlock of its fdinfo), where it may be asked. */
  readonly kernelBytes: number | undefined;
}

/** A hash map of 16-byte keys and 32-byte values, full. */
export function measureMapMemory(): MapMemory {
  const machine = new Machine();
  const before = machine.memory.usedBytes;
  const map = createMap(machine, MILLION);
  const end = machine.memory.usedBytes;
  const scratch = machine.memory.allocate(64, 64, 'key and value');
  machine.memory.u8.fill(0xa5, scratch, scratch + 64);
  for (let index = 0; index < MILLION.maxEntries; index++) {
    machine.memory.u32[scratch >>> 2] = index;
    map.operations.update(scratch, scratch + 16, 0);
  }
  let pages = 0;
  for (let at = before; at < end; at += PAGE_BYTES) if (machine.memory.bytes(at, Math.min(PAGE_BYTES, end - at)).some((byte) => byte !== 0)) pages++;
  return { entries: map.size, bytes: pages * PAGE_BYTES, kernelBytes: kernelBytes() };
}

function kernelBytes(): number | undefined {
  if (whyNoLinux() !== undefined) return undefined;
  const map = createKernelMap(openLinux(), MILLION);
  const memlock = /^memlock:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${map.fd}`, 'latin1'))?.[1];
  map.close();
  return memlock === undefined ? undefined : Number(memlock);
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
