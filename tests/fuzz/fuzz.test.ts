/** A fixed sample of what `npm run fuzz` makes: Linux and our verifier answer the same, and what both accept runs the same. */
import { afterAll, describe, expect, test } from 'vitest';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';
import { Agreement, type Mismatch } from './agreement.ts';
import { caseText } from './case-text.ts';
import { Executions } from './executions.ts';
import { FIXED_MAPS } from './fixed-maps.ts';
import { generateProgram } from './generate.ts';
import { KernelVerdicts } from './kernel-verdicts.ts';
import { mutateProgram } from './mutate.ts';
import { ourVerifier } from './our-verdict.ts';
import { Random } from './random.ts';

const SEED = 6180;
const PROGRAMS = 150;

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('Linux and our verifier'), () => {
  let kernel: KernelVerdicts | undefined;
  afterAll(() => kernel?.close());

  test(`agree on ${2 * PROGRAMS} programs of seed ${SEED}`, { timeout: 120_000 }, () => {
    kernel = new KernelVerdicts(FIXED_MAPS.values());
    const mismatches: Mismatch[] = [];
    const agreement = new Agreement(kernel, ourVerifier, FIXED_MAPS, new Executions(kernel.maps), (mismatch) => mismatches.push(mismatch));
    for (let index = 0; index < PROGRAMS; index++) {
      const { spec, steady } = generateProgram(SEED, index);
      const random = new Random(SEED, index);
      agreement.check(spec, random, steady);
      agreement.check(mutateProgram(random, spec), random, false);
    }
    expect(mismatches.map((mismatch) => caseText(mismatch, SEED))).toEqual([]);
    expect(agreement.executed).toBeGreaterThan(PROGRAMS / 2);
    // Paths end at earlier states where they do in Linux.
    expect(agreement.sameWalk).toBe(agreement.cells.get('both accept'));
  });
});
