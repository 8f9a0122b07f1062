/** Advice for refusals that no broken program of `broken/` has: it holds for the user and the place that were refused. */
import { expect, test } from 'vitest';
import { explainRefusal } from '../../dataplane/insight/explain-refusal.ts';
import { verifyProgram } from '../../dataplane/verifier/verify.ts';
import { parseCases, programOf } from '../verifier/case-file.ts';

function explained(text: string) {
  const [each] = parseCases(text, 'case');
  const program = programOf(each!);
  const options = { maps: new Map<string, never>(), type: each!.type, user: each!.user };
  return explainRefusal(program, verifyProgram(program, options), options);
}

test('NULL is called NULL, and no packet pointer that went void', () => {
  expect(explained('refused\n-- asm\nr1 = 0\nr0 = *(u64 *)(r1 +0)\nexit')).toMatchObject({ needed: 'a pointer that is known not to be NULL' });
});

test('a number that a call returned is no packet pointer that went void', () => {
  expect(explained('refused\n-- asm\ncall inside\nr0 = *(u64 *)(r0 +0)\nexit\ninside: r0 = 7\nexit')).toMatchObject({ needed: 'a pointer; this is a number' });
});

test('metadata is compared with the beginning of the packet', () => {
  const found = explained('refused\n-- asm\nr2 = *(u32 *)(r1 +8)\nr0 = *(u32 *)(r2 +0)\nexit');
  expect(found?.suggestion).toContain('> data)');
});

test('the difference of two pointers takes CAP_PERFMON', () => {
  expect(explained('refused\n-- without CAP_PERFMON\n-- asm\nr0 = *(u32 *)(r1 +4)\nr2 = *(u32 *)(r1 +0)\nr0 -= r2\nexit')?.needed).toContain('CAP_PERFMON');
});

test('an index into the stack is not said to need a bound where no bound is enough', () => {
  expect(explained('refused\n-- without CAP_PERFMON\n-- asm\n*(u64 *)(r10 -8) = 0\nr2 = *(u32 *)(r1 +16)\nr2 &= 7\nr3 = r10\nr3 += -8\nr3 += r2\nr0 = *(u8 *)(r3 +0)\nexit')?.suggestion).toContain('map value');
});

test('a field that is read as it is declared, by somebody who may not, takes a right', () => {
  expect(explained('refused\n-- type cgroup_skb\n-- without capabilities\n-- asm\nr2 = *(u32 *)(r1 +80)\nr0 = 1\nexit')?.suggestion).toContain('CAP_BPF');
});
