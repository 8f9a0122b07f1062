/** A lab as a benchmark: the packet loop and what is attached, over packets that are in machine memory already. Nobody looks at verdicts. */
import { MemorySnapshot } from '../machine/memory-snapshot.ts';
import { packetCount, type PacketTrace } from '../packet/packet-trace.ts';
import type { Lab } from '../pipeline/lab.ts';
import { describeFates } from './fates.ts';
import { ResidentTrace } from '../packet/resident-trace.ts';
import { timed, type Benchmark } from './rounds.ts';

export interface LabBenchmarkOptions {
  readonly name: string;
  readonly trace: PacketTrace;
  readonly batchPackets: number;
  /** A sample is a whole round over the trace, of which no packet opens a flow, and begins with maps as the lab filled them. Otherwise they keep what packets left there. */
  readonly freshMaps: boolean;
}

/** Of a batch that the packet loop is called for: as in a replay, descriptors were written just before, and stay in a core's own caches. */
const WINDOW_PACKETS = 1024;

export function labBenchmark(lab: Lab, { name, trace, batchPackets, freshMaps }: LabBenchmarkOptions): Benchmark {
  const { pipeline, machine } = lab;
  const resident = new ResidentTrace(machine.memory, trace, WINDOW_PACKETS);
  const { batch } = resident;
  const count = packetCount(trace);
  pipeline.prepare();
  pipeline.setInterface(0, lab.devices[0]);
  const snapshot = freshMaps ? new MemorySnapshot(machine.memory) : undefined;
  let next = 0;
  /** Nanoseconds that the next packets took; they end where the trace does. */
  const run = (packets: number): { readonly elapsedNs: number; readonly ran: number } => {
    let [elapsedNs, ran] = [0, 0];
    do {
      resident.show(next, packets - ran);
      elapsedNs += timed(() => pipeline.run(batch));
      ran += batch.count;
      next += batch.count;
    } while (ran < packets && next < count);
    if (next === count) {
      next = trace.opening;
      resident.advance();
    }
    return { elapsedNs, ran };
  };
  return {
    name,
    restore: () => {
      if (snapshot === undefined) {
        resident.restore();
        if (next < trace.opening) run(trace.opening);
      } else {
        snapshot.restore();
        next = 0;
      }
    },
    sample: () => {
      const { elapsedNs, ran } = run(freshMaps ? count : batchPackets);
      return elapsedNs / ran;
    },
    describe: () => describeFates(lab.statistics()),
    close: () => lab.close(),
  };
}
