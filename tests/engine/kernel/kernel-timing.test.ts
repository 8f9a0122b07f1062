import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { KernelTiming } from '../../../dataplane/engine/kernel/kernel-timing.ts';
import { whyNoLinux } from '../../../dataplane/engine/kernel/linux.ts';
import { makeTrace } from '../../../dataplane/measure/workload.ts';
import { openLab } from '../../../dataplane/pipeline/open-lab.ts';
import { programsDirectory } from '../../../programs/objects.ts';

const demo = join(programsDirectory(), 'demo.yaml');
const MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);

describe.skipIf(whyNoLinux() !== undefined)('programs timed in the kernel', () => {
  test('a load balancer finds each packet as it was, whatever it did to the one before', async () => {
    const { lab } = await openLab({ file: demo, only: 'xdp_lb' });
    const timing = new KernelTiming(lab.machine, lab.pipeline.attachments[0]!.program, makeTrace({ name: 'imix', flows: 20, to: '10.0.0.100:80', mac: MAC }));
    expect(timing.run('program', 10_000)).toBeGreaterThan(timing.run('empty', 10_000) * 0.5);
    // Throws where a packet could not be put back: wrapped ten thousand times, none would fit.
    timing.check();
    expect(timing.jitedBytes).toBeGreaterThan(0);
    timing.close();
  });

  test('a program that cannot be undone is refused in one line', async () => {
    const { lab } = await openLab({ file: demo, only: 'xdp_lb' });
    const { program } = lab.pipeline.attachments[0]!;
    const tail = { ...program, spec: { ...program.spec, instructions: [{ kind: 'call', target: { kind: 'helper', id: 65 } } as const, ...program.spec.instructions] } };
    expect(() => new KernelTiming(lab.machine, tail, makeTrace({ name: 'single', to: '10.0.0.100:80', mac: MAC }))).toThrow(/calls xdp_adjust_tail, after which a packet cannot be put back/);
  });
});
