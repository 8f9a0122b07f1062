/** The path of a refusal can be followed once more, and shows at its end what was known when the program was refused. */
import { expect, test } from 'vitest';
import { registerText } from '../../dataplane/verifier/log.ts';
import { withFacts, type RegisterState } from '../../dataplane/verifier/register.ts';
import { retrace, verifyProgram, type VerifyOptions } from '../../dataplane/verifier/verify.ts';
import { CASE_FILES, programOf, readCases } from './case-file.ts';
import { CASE_MAPS } from './case-maps.ts';
import { typesOf } from './case-types.ts';

/** Ids are given in the order of all paths. */
const known = (registers: readonly RegisterState[]): string => registers.map((register) => registerText(withFacts(register, { id: 0, reference: 0 }))).join(' ');

/** A million instructions show nothing that a few do not. */
const LONG = /too large|too complex/;
/** A call may be refused when its result stands in the registers already. */
const NOT_UNDONE = /cannot pass map_type|expected prog array|does not allow writes|bpf_throw (?:would|cannot)|scc exit/;
/** Refused by what functions are and call, when paths were followed already. */
const NOT_OF_A_PATH = /^exception cb|doesn't return scalar|^bpf_throw kfunc|^combined stack size/;
/** Of callbacks that run later it is known only where they are set what they begin with; what loops of may_goto and iterators forget, they forget for the sake of other paths. */
const NOT_FOLLOWED = /^a timer(?:'s)? callback|callback of a timer|may_goto|\bturn\b/;

test.each(CASE_FILES)('%s', (file) => {
  const wrong: string[] = [];
  for (const each of readCases(file)) {
    if (each.answer === undefined || each.answer === 'accepted' || LONG.test(each.answer)) continue;
    const program = programOf(each);
    const options: VerifyOptions = { maps: CASE_MAPS, btf: typesOf(each), user: each.user };
    const { refusal } = verifyProgram(program, options);
    if (refusal === undefined || NOT_FOLLOWED.test(each.sentence) || NOT_UNDONE.test(refusal.message) || NOT_OF_A_PATH.test(refusal.message)) continue;
    const slots: number[] = [];
    let last: readonly RegisterState[] = [];
    retrace(program, options, refusal.path, (state) => {
      slots.push(refusal.path[slots.length]!);
      last = state.current.registers.slice();
    });
    if (slots.length !== refusal.path.length || known(last) !== known(refusal.registers)) wrong.push(`${each.sentence}: ${refusal.message}\n  ${known(refusal.registers)}\n  ${known(last)}`);
  }
  expect(wrong).toEqual([]);
});
