/** The bundled programs are ones that Linux loads; what is broken on purpose is refused with words that help. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import { loadObject } from '../../dataplane/bpf/object.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { explainRefusal } from '../../dataplane/insight/explain-refusal.ts';
import { verifyProgram } from '../../dataplane/verifier/verify.ts';

const PROGRAMS = fileURLToPath(new URL('../../programs/', import.meta.url));

describe.each(['xdp_firewall', 'xdp_lb', 'tc_firewall', 'flow_counter'])('%s', (name) => {
  const spec = loadObject(readFileSync(join(PROGRAMS, `${name}.bpf.o`)), { name });

  test.each([...spec.programs.values()].map((program) => [program.name, program] as const))('%s is accepted', (_, program) => {
    const report = verifyProgram(program, { maps: spec.maps, btf: spec.btf });
    expect(report.refusal?.message).toBeUndefined();
    expect(report.accepted).toBe(true);
  });
});

function programOf(asm: string): ProgramSpec {
  const { instructions } = assemble(asm);
  return { name: 'case', section: 'xdp', type: 'xdp', frags: false, instructions, functions: [{ name: 'case', slot: 0, typeId: 0, linkage: 'static' }], lines: [], license: 'GPL' };
}

describe('a refusal', () => {
  const program = programOf(`
    r2 = *(u32 *)(r1 +0)
    r3 = *(u32 *)(r1 +4)
    r4 = r2
    r4 += 14
    if r4 > r3 goto pc+1
    r0 = *(u8 *)(r2 +14)
    r0 = 2
    exit`);
  const report = verifyProgram(program, { maps: new Map() });
  const explanation = explainRefusal(program, report, { maps: new Map() })!;

  test('names the instruction in the words of Linux', () => {
    expect(report.refusal).toMatchObject({ slot: 5, errno: 'EACCES', message: 'R2 offset is outside of the packet' });
  });

  test('says what is known of the value', () => {
    expect(explanation.known).toBe('R2 = pkt(r=14)');
  });

  test('shows where the value comes from', () => {
    expect(explanation.history.map(({ slot }) => slot)).toContain(0);
  });

  test('says what was needed and what to change', () => {
    expect(explanation.needed).toMatch(/15 bytes proven from there on/);
    expect(explanation.suggestion).toMatch(/^if \(pointer \+ size > data_end\) return XDP_DROP;/);
  });
});

test('dead code of an accepted program is known', () => {
  const report = verifyProgram(programOf('r0 = 1\nif r0 == 0x1 goto pc+1\nr0 = 7\nexit'), { maps: new Map() });
  expect(report.accepted).toBe(true);
  expect([...report.reached]).toEqual([1, 1, 0, 1]);
});

test('an unprivileged program may not return a pointer', () => {
  const program = programOf('r0 = r10\nexit');
  expect(verifyProgram(program, { maps: new Map() }).accepted).toBe(true);
  expect(verifyProgram(program, { maps: new Map(), user: 'without_perfmon' }).refusal?.message).toBe('R0 leaks addr as return value');
});
