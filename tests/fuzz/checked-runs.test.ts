/** Random programs, run by the interpreter that checks; nothing here asks Linux. */
import { expect, test } from 'vitest';
import { ourVerifier } from './our-verdict.ts';
import { withFacts } from '../../dataplane/verifier/register.ts';
import { CheckedRuns } from './checked-runs.ts';
import { FIXED_MAPS } from './fixed-maps.ts';
import { generateProgram } from './generate.ts';
import { mutateProgram } from './mutate.ts';
import { Random } from './random.ts';

const SEED = 2718;
const PROGRAMS = 60;

const accepted = Array.from({ length: PROGRAMS }, (_, index) => {
  const { spec } = generateProgram(SEED, index);
  return [spec, mutateProgram(new Random(SEED, index), spec)];
})
  .flat()
  .filter((spec) => ourVerifier(spec, { maps: FIXED_MAPS }).accepted);

test(`what is accepted of ${2 * PROGRAMS} programs of seed ${SEED} does what the verifier says`, { timeout: 60_000 }, () => {
  const runs = new CheckedRuns(FIXED_MAPS);
  expect(accepted.length).toBeGreaterThan(PROGRAMS);
  expect(accepted.flatMap((spec, index) => runs.violation(spec, new Random(SEED, index)) ?? [])).toEqual([]);
});

test('a verifier that takes numbers for smaller than they may be is found out', { timeout: 60_000 }, () => {
  const runs = new CheckedRuns(FIXED_MAPS, {
    through: (exploration) => ({
      visited(state) {
        const { registers } = state.current;
        const right = [...registers];
        registers.forEach((register, number) => {
          const { scalar } = register;
          if (register.type === 'scalar' && scalar.mask !== 0n && scalar.umax === 0xffn) registers[number] = withFacts(register, { scalar: { ...scalar, umax: 0x7fn } });
        });
        exploration.visited(state);
        right.forEach((register, number) => void (registers[number] = register));
      },
      forked: (...args) => exploration.forked(...args),
      kept: (...args) => exploration.kept(...args),
      covered: (...args) => exploration.covered(...args),
    }),
  });
  const found = accepted.flatMap((spec, index) => runs.violation(spec, new Random(SEED, index)) ?? []);
  expect(found.length).toBeGreaterThan(0);
  expect(found[0]).toMatch(/ is \d+, but the verifier knew scalar\(.*umax=127/);
});
