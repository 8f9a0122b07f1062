/**
 * Two CPUs against one: a lab of two whose packets all come to one queue, against the same packets on both; and a lab of
 * one, whose code has no locks and which reads descriptors where they are. Which queue a packet comes to, and to put it
 * there, is a NIC's work, and is not in the time; that threads are woken and waited for is.
 */
import { describeFates } from '../dataplane/measure/fates.ts';
import { timed, type Benchmark } from '../dataplane/measure/rounds.ts';
import { makeTrace } from '../dataplane/measure/workload.ts';
import type { MachineMemory } from '../dataplane/machine/memory.ts';
import { DESCRIPTOR, PacketBatch } from '../dataplane/packet/packet-batch.ts';
import { ResidentTrace } from '../dataplane/packet/resident-trace.ts';
import type { Lab } from '../dataplane/pipeline/lab.ts';
import { openLab } from '../dataplane/pipeline/open-lab.ts';
import { SERVICE, type ProgramBench } from './programs.ts';

/** So many that each CPU has half of them, but for a percent. */
const FLOWS = 16_000;
/** A turn of two CPUs takes a few milliseconds, of which waking them is little. */
const BATCH_PACKETS = 120_000;

/** How many CPUs a lab has, and how many of them get packets. */
export type CpuCase = readonly [cpus: number, busy: number];
export const CPU_CASES: readonly CpuCase[] = [[1, 1], [2, 1], [2, 2]];

export async function cpuBenchmark(name: string, { program, sources }: ProgramBench, scratch: string, [cpus, busy]: CpuCase): Promise<Benchmark> {
  const { lab } = await openLab({ ...sources(scratch), only: program, cpus });
  // Before the first packet, when queues are laid out. The lab file is everybody's, and does not say this.
  Object.assign(lab.devices[0]!, { indirection: [...Array(busy).keys()] });
  const { pipeline, machine } = lab;
  const trace = makeTrace({ ...SERVICE, name: '1k', flows: FLOWS });
  const opening = new ResidentTrace(machine.memory, trace).batch;
  const batch = repeated(machine.memory, opening, trace.opening, BATCH_PACKETS);
  pipeline.setInterface(0, lab.devices[0]);
  const run = (): number => {
    const before = pipeline.turnsNs;
    const elapsedNs = timed(() => pipeline.run(batch));
    return (cpus === 1 ? elapsedNs : pipeline.turnsNs - before) / batch.count;
  };
  // Opens all flows, and lets each thread compile what it runs.
  pipeline.run(opening);
  run();
  return { name, sample: run, describe: () => `${describeFates(lab.statistics())}${sharesOf(lab)}`, close: () => lab.close() };
}

/** The packets of a batch from `begin` on, over and over, one nanosecond after the other. */
function repeated(memory: MachineMemory, of: PacketBatch, begin: number, packets: number): PacketBatch {
  const batch = new PacketBatch(memory, packets);
  const { u8, u64 } = memory;
  const first = of.timestampNs(of.count - 1);
  for (let index = 0; index < packets; index++) {
    const from = of.descriptor(begin + (index % (of.count - begin)));
    u8.copyWithin(batch.descriptor(index), from, from + DESCRIPTOR.size);
    u64[(batch.descriptor(index) + DESCRIPTOR.number) >>> 3] = BigInt(index + 1);
    u64[(batch.descriptor(index) + DESCRIPTOR.timestampNs) >>> 3] = first + BigInt(index);
  }
  batch.count = packets;
  return batch;
}

/** Of each CPU, by what maps count per CPU in their first words. */
function sharesOf(lab: Lab): string {
  const sums = Array.from({ length: lab.machine.cpus }, () => 0);
  for (const map of lab.maps.filter(({ type }) => type.name === 'percpu_array')) {
    for (const [, value] of map.writtenEntries()) {
      const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
      sums.forEach((_, cpu) => (sums[cpu]! += Number(view.getBigUint64((cpu * value.byteLength) / sums.length, true))));
    }
  }
  const all = sums.reduce((total, each) => total + each);
  return all === 0 || sums.length === 1 ? '' : `, CPUs ${sums.map((each) => `${((100 * each) / all).toFixed(1)} %`).join(', ')}`;
}
