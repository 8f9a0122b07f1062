/** Where paths end at an earlier state is a matter of speed: the verdict is the same if they do so everywhere, or nowhere. */
import { expect, test } from 'vitest';
import type { MapSpec, ProgramSpec } from '../../dataplane/bpf/spec.ts';
import type { VerificationObserver } from '../../dataplane/verifier/observer.ts';
import { verifyProgram, type VerifyOptions } from '../../dataplane/verifier/verify.ts';
import { FIXED_MAPS } from '../fuzz/fixed-maps.ts';
import { generateProgram } from '../fuzz/generate.ts';
import { mutateProgram } from '../fuzz/mutate.ts';
import { Random } from '../fuzz/random.ts';
import { CASE_FILES, parseCases, programOf, readCases } from './case-file.ts';
import { CASE_MAPS } from './case-maps.ts';
import { typesOf } from './case-types.ts';

const SEED = 1414;
const PROGRAMS = 150;
/** States until a program counts as too large to follow all its paths. */
const MOST_STATES = 5000;

class TooLarge extends Error {}

function limited(): VerificationObserver {
  let left = MOST_STATES;
  const nothing = (): void => {};
  return {
    visited: () => {
      if (left-- === 0) throw new TooLarge();
    },
    forked: nothing, kept: nothing, covered: nothing,
  };
}

/** Linux loses its way back through some programs, which depends on where states are. */
const LOST = /^verifier bug/;

/** Undefined where there are too many paths. Which of two mistakes is met first depends on where states are. */
function verdict(spec: ProgramSpec, options: VerifyOptions): 'accepted' | 'refused' | 'lost' | undefined {
  try {
    const { refusal } = verifyProgram(spec, { ...options, observer: limited() });
    return refusal === undefined ? 'accepted' : LOST.test(refusal.message) ? 'lost' : 'refused';
  } catch (error) {
    if (error instanceof TooLarge) return undefined;
    throw error;
  }
}

/** The verdict in both extremes is that in between. Says how many could be asked. */
function compare(programs: Iterable<readonly [name: string, spec: ProgramSpec, options?: Partial<VerifyOptions>]>, maps: ReadonlyMap<string, MapSpec>): number {
  let compared = 0;
  for (const [name, spec, more] of programs) {
    const options = { maps, ...more };
    const usual = verdict(spec, options);
    if (usual === undefined || usual === 'lost') continue;
    const others = [verdict(spec, { ...options, stateFrequency: true }), verdict(spec, { ...options, pruning: false })];
    for (const [index, other] of others.entries()) if (other !== undefined) expect.soft(other, `${name}, ${['a state everywhere', 'no pruning'][index]}`).toBe(usual);
    if (others[1] !== undefined) compared++;
  }
  return compared;
}

test.each(CASE_FILES)('of the cases of %s', (file) => {
  const cases = readCases(file);
  const compared = compare(cases.map((each) => [each.sentence, programOf(each), { btf: typesOf(each), user: each.user }]), CASE_MAPS);
  expect(compared).toBeGreaterThan(cases.length * 0.8);
});

test(`of ${2 * PROGRAMS} random programs of seed ${SEED}`, { timeout: 60_000 }, () => {
  function* programs(): Generator<[string, ProgramSpec]> {
    for (let index = 0; index < PROGRAMS; index++) {
      const { spec } = generateProgram(SEED, index);
      yield [spec.name, spec];
      yield [`${spec.name}, changed`, mutateProgram(new Random(SEED, index), spec)];
    }
  }
  expect(compare(programs(), FIXED_MAPS)).toBeGreaterThan(PROGRAMS);
});

const COUNTING = `
  r1 = *(u32 *)(r1 +16)
  if w1 > 15 goto out
  loop: may_goto out
  r2 = r1
  r2 <<= 3
  r3 = map[one][0]+0
  r3 += r2
  *(u64 *)(r3 +0) = r1
  r1 += 1
  if r1 < 16 goto loop
  out: r0 = 2
  exit`;

test('a number that is related to others ends where one that was related to none went on, as in Linux 6.18', () => {
  const [counting] = parseCases(`counting\n-- asm${COUNTING}`, 'pruning');
  const { accepted, instructionsProcessed } = verifyProgram(programOf(counting!), { maps: CASE_MAPS });
  expect({ accepted, instructionsProcessed }).toEqual({ accepted: true, instructionsProcessed: 17 });
});

const READING = `
  r6 = r1
  r7 = 0
  loop: r0 = *(u8 *)skb[0]
  r0 &= 255
  if r0 > 300 goto out
  r7 += 1
  if r7 < 120000 goto loop
  out: r0 = 2
  exit`;

test('a long way on which everything matters again and again is walked once, not once for each time', () => {
  const [reading] = parseCases(`reading\n-- type sched_cls\n-- asm${READING}`, 'pruning');
  const { accepted, instructionsProcessed } = verifyProgram(programOf(reading!), { maps: CASE_MAPS });
  expect({ accepted, instructionsProcessed }).toEqual({ accepted: true, instructionsProcessed: 600_004 });
});
