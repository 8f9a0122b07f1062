/** Every case is asked of the verifier of the tree: it answers as Linux does, in Linux's words, but for what is listed here. */
import { describe, expect, test } from 'vitest';
import { verifyProgram } from '../../dataplane/verifier/verify.ts';
import { CASE_FILES, programOf, readCases } from './case-file.ts';
import { CASE_MAPS } from './case-maps.ts';
import { typesOf } from './case-types.ts';

/** Sentence to reason. A case that agrees after all fails here, and leaves the list. */
const DIFFERENCES: ReadonlyMap<string, string> = new Map([
  ['a map value that may be NULL is memory where NULL is allowed, even if some of it is read', 'Linux reads at NULL where the lookup found nothing'],
  ['bpf_snprintf with a format that is no text is refused', 'formats are read when the program runs'],
  ['what an atomic operation fetched from the stack matters, which Linux overlooks before 6.18.50: a second path is accepted', 'CVE-2026-43009: the program reads behind the value of a map'],
  ['a store that overwrites another slot when it runs again is not the end of the first, which Linux overlooks below 256 bytes of stack: a second path with another number there is accepted', 'the program reads behind the value of a map: Linux 6.18 keeps what a store overwrote before in 32 bits for 64 slots'],
  ['an XDP lookup in a tc program is refused', 'a function that takes the context of another type is not to be called at all'],
  ['an XDP lookup in a tc program with its stack for the context is accepted', 'the kernel would follow the pointers that stand there'],
  ['a tc lookup in an XDP program is refused', 'a function that takes the context of another type is not to be called at all'],
  ['NULL for memory that a tag says is there is accepted, though it is read', 'Linux reads at NULL'],
  ['a dynptr that is passed to a global function is accepted', 'dynptrs are not followed into global functions'],
  ['an object that is allocated and dropped is accepted', 'nothing here allocates'],
  ['bpf_get_smp_processor_id gives a number below the number of processors', 'a program verified here may run on another machine'],
]);

describe.each(CASE_FILES)('%s', (file) => {
  for (const each of readCases(file)) {
    const reason = DIFFERENCES.get(each.sentence);
    const check = reason === undefined ? test : test.fails;
    check(`${each.sentence}${reason === undefined ? '' : ` (differs: ${reason})`}`, () => {
      const { accepted, refusal } = verifyProgram(programOf(each), { maps: CASE_MAPS, btf: typesOf(each), user: each.user });
      const words = each.answer!.includes(': ') ? `: ${refusal?.message.split('\n').at(-1)}` : '';
      expect(accepted ? 'accepted' : `refused ${refusal!.errno}${words}`).toBe(each.answer);
    });
  }
});
