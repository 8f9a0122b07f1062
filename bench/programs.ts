/**
 * Programs alone, over packets that are in machine memory already: no reading, nobody who looks at verdicts. The time
 * is that of the packet loop and the program in it.
 */
import type { EngineName } from '../dataplane/engine/engine.ts';
import { labOf, type ProgramUnderTest } from './demo-lab.ts';
import { describeFates } from './fates.ts';
import { timed, type Benchmark } from './harness.ts';
import { MemorySnapshot } from './memory-snapshot.ts';
import { ResidentWorkload, type Workload } from './workloads.ts';

/** Runs the workload `passes` times over, its clock going on. Each sample begins with the maps as the lab file fills them. */
export function programBenchmark(program: ProgramUnderTest, engine: EngineName, workload: Workload, passes: number): Benchmark {
  const lab = labOf(program, engine);
  const { pipeline, machine } = lab;
  const resident = new ResidentWorkload(machine.memory, workload);
  const snapshot = new MemorySnapshot(machine.memory);
  return {
    name: `${program.name}, ${engine}`,
    group: 'programs',
    packets: workload.packets * passes,
    restore: () => snapshot.restore(),
    sample: () => {
      let elapsedNs = 0;
      for (let pass = 0; pass < passes; pass++) {
        elapsedNs += timed(() => pipeline.run(resident.batch));
        resident.advance();
      }
      return elapsedNs;
    },
    describe: () => describeFates(lab.statistics()),
  };
}
