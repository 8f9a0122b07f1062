/** What Linux's log says of numbers after each instruction of random programs is what the domain says, bound by bound. */
import { describe, expect, test } from 'vitest';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';
import { compareWithLinux, seeded, type Comparison } from './kernel-scalars.ts';

const PROGRAMS = 250;
const STEPS = 60;
const SEED = Number(process.env['XDPLAB_SEED'] ?? 1);

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('numbers in Linux'), () => {
  test(`${PROGRAMS} random programs from seed ${SEED} are followed alike`, () => {
    const into: Comparison = { compared: 0, differences: [] };
    for (let program = 0; program < PROGRAMS; program++) compareWithLinux(seeded(SEED + program), STEPS, into);
    expect(into.differences.join('\n\n')).toBe('');
    expect(into.compared).toBeGreaterThan(PROGRAMS * 40);
  });
});
