/** The case table that every engine runs, in the kernel: what is expected is what Linux answers. */
import { afterAll, describe, expect, test } from 'vitest';
import { CASE_TABLE } from '../cases/index.ts';
import { benchPacket, KernelBench, programSpec } from './kernel-bench.ts';
import { kernelTitle, whyNoKernel } from './kernel-here.ts';

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('the case table in the kernel'), () => {
  let bench: KernelBench | undefined;
  afterAll(() => bench?.close());

  describe.each(Object.entries(CASE_TABLE))('%s', (_, cases) => {
    for (const { name, runs, type, notOnLinux } of cases) {
      test.skipIf(notOnLinux !== undefined)(notOnLinux === undefined ? name : `${name}: ${notOnLinux}`, () => {
        bench ??= new KernelBench();
        for (const { label, code, expected, packet } of runs) {
          const { r0 } = bench.run(programSpec(code, type), { packet: benchPacket(packet) });
          expect(r0, label || code).toBe(expected);
        }
      });
    }
  });
});
