/** Every case is asked of the verifier of the tree: it answers as Linux does, in Linux's words. */
import { describe, expect, test } from 'vitest';
import { verifyProgram } from '../../dataplane/verifier/verify.ts';
import { CASE_FILES, programOf, readCases } from './case-file.ts';
import { CASE_MAPS } from './case-maps.ts';

describe.each(CASE_FILES)('%s', (file) => {
  test.each(readCases(file))('$sentence', (each) => {
    const { accepted, refusal } = verifyProgram(programOf(each), { maps: CASE_MAPS, unprivileged: each.unprivileged });
    expect(accepted ? 'accepted' : `refused ${refusal!.errno}: ${refusal!.message}`).toBe(each.answer);
  });
});
