/** Helpers with random arguments, one after the other, here and in the kernel: every answer, buffer, field and byte of the packet. */
import * as fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { probeCalls } from './probe-program.ts';
import { probePacket } from './probe-packets.ts';
import { ProbeRunner } from './probe-runner.ts';
import { kernelTitle, whyNoKernel } from './kernel-here.ts';

const PROBES = 150;

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('helpers as in the kernel'), () => {
  let runner: ProbeRunner | undefined;
  afterAll(() => runner?.close());

  test.each(['xdp', 'sched_cls'] as const)('of %s', { timeout: 120_000 }, (type) => {
    runner ??= new ProbeRunner();
    fc.assert(
      fc.property(probeCalls(type), probePacket, (calls, packet) => {
        const { here, kernel } = runner!.run(type, calls, { packet });
        expect(here).toEqual(kernel);
      }),
      { numRuns: PROBES },
    );
  });
});
