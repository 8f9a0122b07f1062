/** A program in the running Linux as two benchmarks: with all that a run costs there, and what an empty program costs. */
import { KernelTiming } from '../engine/kernel/kernel-timing.ts';
import type { Machine } from '../machine/machine.ts';
import { packetCount, type PacketTrace } from '../packet/packet-trace.ts';
import type { Program } from '../program/program.ts';
import type { Benchmark } from './rounds.ts';

export interface KernelBenchmarkOptions {
  readonly name: string;
  readonly trace: PacketTrace;
  readonly batchPackets: number;
  readonly freshMaps: boolean;
}

export interface KernelBenchmarks {
  readonly gross: Benchmark;
  readonly empty: Benchmark;
  readonly tier: string;
}

/** The kernel's maps begin as the machine's are now. */
export function kernelBenchmarks(machine: Machine, program: Program, { name, trace, batchPackets, freshMaps }: KernelBenchmarkOptions): KernelBenchmarks {
  const timing = new KernelTiming(machine, program, trace);
  const packets = freshMaps ? packetCount(trace) : batchPackets;
  const benchmark = (what: 'program' | 'empty'): Benchmark => {
    let opened = false;
    return {
      name: what === 'program' ? name : `${name}, empty program`,
      restore: () => {
        timing.check();
        if (freshMaps) timing.restoreMaps();
        else if (!opened && trace.opening > 0) timing.run(what, trace.opening);
        opened = true;
      },
      sample: () => timing.run(what, packets),
    };
  };
  return {
    gross: { ...benchmark('program'), describe: () => (timing.check(), ''), close: () => timing.close() },
    empty: benchmark('empty'),
    tier: timing.jitedBytes > 0 ? 'Linux JIT' : 'Linux interpreter: net.core.bpf_jit_enable is 0',
  };
}
