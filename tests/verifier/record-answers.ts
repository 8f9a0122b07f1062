/**
 * Writes what Linux answers into the case files:
 *
 *   XDPLAB_RECORD=new npx vitest run tests/verifier/cases.test.ts     where there is no answer yet
 *   XDPLAB_RECORD=all npx vitest run tests/verifier/cases.test.ts     everywhere
 *
 * Cases without CAP_PERFMON are recorded by a process that has not got it, by `setpriv --bounding-set=-perfmon,-sys_admin`
 * in front, and the others by one that has.
 *
 * It prints each sentence with its answer. Read them: the answer must be what the sentence says.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CASES_FOLDER, readCases } from './case-file.ts';
import { isUnprivileged, type KernelAnswers } from './kernel-answers.ts';

export function recordAnswers(file: string, kernel: KernelAnswers, which: 'new' | 'all'): void {
  const cases = readCases(file).map((each) => {
    const elsewhere = each.elsewhere === undefined ? [] : ['-- elsewhere', each.elsewhere];
    if (each.unprivileged !== isUnprivileged() && each.answer === undefined) return each.text.join('\n');
    if (each.unprivileged !== isUnprivileged() || (which === 'new' && each.answer !== undefined)) return [...each.text, '-- answer', each.answer, ...elsewhere].join('\n');
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
