/** What Linux overlooks is told from mismatches, and nothing else is. */
import { afterAll, describe, expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';
import { programOf, readCases } from '../verifier/case-file.ts';
import { deliberateDifference } from './deliberate.ts';
import { FIXED_MAPS } from './fixed-maps.ts';
import { programSpecOf } from './generate.ts';
import { KernelVerdicts } from './kernel-verdicts.ts';

const OVERLOOKED = [
  ['precision.cases', 'what an atomic operation fetched from the stack matters, which Linux overlooks before 6.18.50: a second path is accepted', /atomic operation/],
  ['pruning.cases', 'a store that overwrites another slot when it runs again is not the end of the first, which Linux overlooks below 256 bytes of stack: a second path with another number there is accepted', /below 256 bytes/],
] as const;

const STORE_THROUGH_A_POINTER = `
  r7 = r10
  r7 += -264
  *(u64 *)(r7 +0) = 5
  r0 = *(u64 *)(r10 -264)
  exit`;

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('a program that Linux accepts and we refuse'), () => {
  let kernel: KernelVerdicts | undefined;
  afterAll(() => kernel?.close());
  const reasonFor = (spec: ProgramSpec): string | undefined => {
    kernel ??= new KernelVerdicts(FIXED_MAPS.values());
    return deliberateDifference('Linux accepts, we refuse', 'R2 min value is outside of the allowed memory range', spec, (plain) => !kernel!.verdict(plain).accepted)?.reason;
  };

  test.each(OVERLOOKED)('%s: %s, and is known for that', (file, sentence, reason) => {
    expect(reasonFor(programOf(readCases(file).find((each) => each.sentence === sentence)!))).toMatch(reason);
  });

  test('is a mismatch where Linux overlooks nothing', () => {
    expect(reasonFor(programSpecOf(assemble(STORE_THROUGH_A_POINTER).instructions, 'xdp', [{ name: 'f0', slot: 0, typeId: 0, linkage: 'static' }]))).toBeUndefined();
  });
});
