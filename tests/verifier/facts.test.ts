/** What is said of an instruction holds on every way to it, also on those that ended at an earlier state. */
import { describe, expect, test } from 'vitest';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import { HELPER_NAMES } from '../../dataplane/helpers/index.ts';
import { verifyWithFacts, type ProgramFacts } from '../../dataplane/verifier/facts.ts';
import { registerText } from '../../dataplane/verifier/log.ts';
import { CASE_MAPS } from './case-maps.ts';

const PACKET = `
  r2 = *(u32 *)(r1 +0)
  r3 = *(u32 *)(r1 +4)
  r4 = r2
  r4 += 2
  if r4 > r3 goto short
  r6 = *(u8 *)(r2 +0)
  r8 = *(u8 *)(r2 +1)`;
const SHORT = `
  short: r0 = 0
  exit`;
/** Slots of PACKET. */
const LENGTH = 7;

function factsOf(code: string): ProgramFacts {
  const { instructions } = assemble(code, { helper: (name) => HELPER_NAMES.indexOf(name) });
  const spec = { name: 'case', section: 'xdp', type: 'xdp' as const, frags: false, functions: [], lines: [], license: 'GPL', instructions };
  const { report, facts } = verifyWithFacts(spec, { maps: CASE_MAPS, stateFrequency: true });
  expect(report.refusal?.message).toBeUndefined();
  return facts!;
}

/** As the log spells it. */
function known(facts: ProgramFacts, slot: number, number: number): string | undefined {
  const register = facts[slot]!.registers[number];
  return register && registerText(register);
}

describe('before an instruction', () => {
  test('a packet pointer is known, and how much of it is proven', () => {
    const facts = factsOf(`${PACKET}\nr0 = 0\nexit${SHORT}`);
    expect(known(facts, 4, 2)).toBe('pkt(r=0)');
    expect(known(facts, 5, 2)).toBe('pkt(r=2)');
    expect(known(facts, 5, 3)).toBe('pkt_end()');
  });

  test('a number is in the range of all ways there', () => {
    const facts = factsOf(`${PACKET}
      r7 = 1
      if r6 == 0 goto join
      r7 = 4
      join: r0 = r7
      exit ${SHORT}`);
    expect(known(facts, LENGTH + 1, 7)).toBe('1');
    expect(known(facts, LENGTH + 3, 7)).toBe('scalar(smin=umin=smin32=umin32=1,smax=umax=smax32=umax32=4,var_off=(0x0; 0x5))');
  });

  test('what is a number on one way and a pointer on another is nothing', () => {
    const facts = factsOf(`${PACKET}
      r7 = 1
      if r6 == 0 goto join
      r7 = r10
      join: r0 = 0
      exit ${SHORT}`);
    expect(known(facts, LENGTH + 3, 7)).toBeUndefined();
  });

  test('a pointer that was compared with NULL is not NULL', () => {
    const facts = factsOf(`
      *(u64 *)(r10 -8) = 1
      r2 = r10
      r2 += -8
      r1 = map[hash8]
      call bpf_map_lookup_elem
      if r0 == 0 goto none
      r0 = *(u8 *)(r0 +0)
      exit
      none: r0 = 0
      exit`);
    expect(known(facts, 6, 0)).toMatch(/^map_value_or_null\(/);
    expect(known(facts, 7, 0)).toMatch(/^map_value\(/);
  });

  test('nothing is said where nothing comes', () => {
    const facts = factsOf('r0 = 1\nif r0 == 1 goto end\nr0 = 2\nend: exit');
    expect(facts[2]).toBeUndefined();
    expect(facts[1]!.always).toBe('taken');
    expect(known(facts, 3, 0)).toBe('1');
  });
});

test('a branch that goes both ways on different paths does not always go one way', () => {
  const facts = factsOf(`${PACKET}
    r7 = 1
    if r6 == 0 goto join
    r7 = 4
    join: if r7 == 4 goto four
    r0 = 1
    exit
    four: r0 = 4
    exit ${SHORT}`);
  expect(facts[LENGTH + 3]!.always).toBeUndefined();
});

describe('a path that ended at an earlier state', () => {
  /** r7 is 4 in the state, and 1 on the path that ends there. */
  const MEET = `${PACKET}
    r7 = 1
    if r6 == 0 goto join
    r7 = 4
    join: `;

  test('goes on with numbers of its own', () => {
    const facts = factsOf(`${MEET} r0 = r7\n r0 += 1\n exit ${SHORT}`);
    expect(known(facts, LENGTH + 4, 0)).toMatch(/smin=umin=smin32=umin32=1,smax=umax=smax32=umax32=4/);
    expect(known(facts, LENGTH + 5, 0)).toMatch(/umin32=2,.*umax32=5/);
  });

  test('keeps them on the stack', () => {
    const facts = factsOf(`${MEET} *(u64 *)(r10 -8) = r7\n r7 = 0\n r0 = *(u64 *)(r10 -8)\n exit ${SHORT}`);
    expect(known(facts, LENGTH + 6, 0)).toBe('scalar()');
  });

  test('hands them to functions, and back', () => {
    const facts = factsOf(`${MEET} r1 = r7\n call same\n exit ${SHORT}\n same: r0 = r1\n exit`);
    expect(known(facts, LENGTH + 5, 0)).toMatch(/umin32=1,.*umax32=4/);
  });

  test('is where a comparison narrows them', () => {
    const facts = factsOf(`${PACKET}
      r7 = r8
      if r6 == 0 goto join
      r7 &= 7
      join: if r7 <= 3 goto short
      r0 = r7
      exit ${SHORT}`);
    expect(known(facts, LENGTH + 4, 7)).toMatch(/umin32=4,.*umax32=255/);
  });

  test('may be anywhere where it is compared with another number', () => {
    const facts = factsOf(`${MEET} if r8 > r7 goto short\n r0 = r8\n exit ${SHORT}`);
    // The state says 4 at most, of a path with 1 that is more than all: it goes on with what it has.
    expect(known(facts, LENGTH + 4, 8)).toMatch(/umax32=4/);
    const other = factsOf(`${MEET.replace('r7 = 1', 'r7 = 200')} if r8 > r7 goto short\n r0 = r8\n exit ${SHORT}`);
    expect(known(other, LENGTH + 4, 8)).toMatch(/umax32=200/);
  });

  test('says nothing of registers that nobody reads', () => {
    const facts = factsOf(`${MEET} r0 = 0\n exit ${SHORT}`);
    expect(known(facts, LENGTH + 4, 7)).toBeUndefined();
  });
});
