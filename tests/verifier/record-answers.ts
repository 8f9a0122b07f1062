/**
 * Writes what Linux answers into the case files:
 *
 *   XDPLAB_RECORD=new npx vitest run tests/verifier/cases.test.ts     where there is no answer yet
 *   XDPLAB_RECORD=all npx vitest run tests/verifier/cases.test.ts     everywhere
 *
 * Cases without capabilities stay as they are where the kernel's settings keep everybody from loading programs.
 *
 * It prints each sentence with its answer. Read them: the answer must be what the sentence says.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CASES_FOLDER, readCases } from './case-file.ts';
import type { KernelAnswers } from './kernel-answers.ts';

export function recordAnswers(file: string, kernel: KernelAnswers, which: 'new' | 'all'): void {
  const cases = readCases(file).map((each) => {
    const elsewhere = each.elsewhere === undefined ? [] : ['-- elsewhere', each.elsewhere];
    if (kernel.whyNot(each) !== undefined || (which === 'new' && each.answer !== undefined)) return [...each.text, ...(each.answer === undefined ? [] : ['-- answer', each.answer]), ...elsewhere].join('\n');
    const said = kernel.answer(each);
    const answer = said === each.elsewhere ? each.answer! : said;
    if (answer !== each.answer) console.log(`${file}:${each.line} ${isRefusal(answer) === saysRefused(each.sentence) ? ' ' : '!'} ${each.sentence}\n    ${answer}`);
    return [...each.text, '-- answer', answer, ...elsewhere].join('\n');
  });
  writeFileSync(join(CASES_FOLDER, file), `${cases.join('\n\n')}\n`);
}

export function isRefusal(answer: string): boolean {
  return answer !== 'accepted';
}

export function saysRefused(sentence: string): boolean {
  return /\brefused\b/.test(sentence);
}
