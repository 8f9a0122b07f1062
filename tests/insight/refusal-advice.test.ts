/** Advice for refusals that no broken program of `broken/` has: it holds for the user and the place that were refused. */
import { expect, test } from 'vitest';
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import type { LineInfo } from '../../dataplane/bpf/spec.ts';
import { explainRefusal } from '../../dataplane/insight/explain-refusal.ts';
import { verifyProgram } from '../../dataplane/verifier/verify.ts';
import { parseCases, programOf } from '../verifier/case-file.ts';

/** What stands behind a `;` is the line of C that the instruction is of. */
function explained(text: string) {
  const [each] = parseCases(text, 'case');
  const assembled = programOf(each!);
  const program = { ...assembled, lines: linesOf(each!.asm, assembled.instructions) };
  const options = { maps: new Map<string, never>(), type: each!.type, user: each!.user };
  return explainRefusal(program, verifyProgram(program, options), options);
}

function linesOf(asm: string, instructions: readonly Instruction[]): LineInfo[] {
  const slots = instructions.flatMap(({ kind }, slot) => (kind === 'upper' ? [] : [slot]));
  const statements = asm.split('\n').filter((line) => line.trim() !== '');
  return statements.flatMap((statement, index) => {
    const text = /; (.*)/.exec(statement)?.[1];
    return text === undefined ? [] : [{ slot: slots[index]!, file: 'case.bpf.c', line: index + 1, column: 1, text }];
  });
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

/** Bytes of the packet from r2, read by `line` at a place that varies. */
const packetElement = (line: string) => explained(`refused
-- asm
r2 = *(u32 *)(r1 +0)
r3 = *(u32 *)(r1 +16)
r3 &= 62
r2 += r3
r0 = *(u16 *)(r2 +0) ; ${line}
exit`);

test.each([
  ['sum += data[i];', '&data[i]'],
  ['if (ports[index[i] & 3] == 7)', '&ports[index[i] & 3]'],
  ['if (header->ports[i] == 7)', '&header->ports[i]'],
  ['sum += packet->header->port;', 'packet->header'],
  ['if (ethernet->source[5] & 1)', 'ethernet'],
  ['return *(data + i);', 'data + i'],
  ['flow.port = *(__u16 *)(data + i);', '(__u16 *)(data + i)'],
])('the end of what is read is compared with data_end: %s', (line, place) => {
  expect(packetElement(line)?.suggestion).toContain(`if ((void *)(${place} + 1) > data_end)`);
});
