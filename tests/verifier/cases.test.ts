/** Every case is asked of the running Linux, whose answer is the one that stands in the file. record-answers.ts writes them. */
import { afterAll, describe, expect, test } from 'vitest';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';
import { CASE_FILES, readCases } from './case-file.ts';
import { KernelAnswers } from './kernel-answers.ts';
import { isRefusal, recordAnswers, saysRefused } from './record-answers.ts';

const record = process.env['XDPLAB_RECORD'];
if (record !== undefined && whyNoKernel === undefined) {
  const kernel = new KernelAnswers();
  for (const file of CASE_FILES) recordAnswers(file, kernel, record === 'all' ? 'all' : 'new');
  kernel.close();
}

test('every case has a sentence of its own, which says "refused" where Linux refuses', () => {
  const all = CASE_FILES.flatMap((file) => readCases(file).map((each) => ({ ...each, at: `${file}:${each.line} ${each.sentence}` })));
  const sentences = all.map(({ sentence }) => sentence);
  expect(sentences.filter((sentence, index) => sentences.indexOf(sentence) !== index)).toEqual([]);
  expect(all.filter(({ answer }) => answer === undefined).map(({ at }) => at)).toEqual([]);
  expect(all.filter(({ answer, sentence }) => isRefusal(answer!) !== saysRefused(sentence)).map(({ at, answer }) => `${at}: ${answer}`)).toEqual([]);
});

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('Linux'), () => {
  const kernel = whyNoKernel === undefined ? new KernelAnswers() : undefined;
  afterAll(() => kernel?.close());
  describe.each(CASE_FILES)('%s', (file) => {
    const all = readCases(file);
    for (const each of all) {
      const whyNot = kernel?.whyNot(each);
      test.skipIf(whyNot !== undefined)(`${each.sentence}${whyNot === undefined ? '' : ` (skipped: ${whyNot})`}`, () => {
        const answer = kernel!.answer(each);
        if (answer !== each.elsewhere) expect(answer).toBe(each.answer);
      });
    }
  });
});
