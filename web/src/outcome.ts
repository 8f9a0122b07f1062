/** How what a program decided is drawn: a colour, and a sign for whoever does not tell colours apart. */
import type { Outcome } from './api.ts';

export interface Look {
  readonly sign: string;
  readonly word: string;
}

export const LOOKS: Readonly<Record<Outcome, Look>> = {
  next: { sign: '→', word: 'goes on' },
  pass: { sign: '→', word: 'passes' },
  leave: { sign: '→', word: 'passes' },
  drop: { sign: '✕', word: 'dropped' },
  aborted: { sign: '!', word: 'stopped' },
  transmit: { sign: '↩', word: 'sent back' },
  redirect: { sign: '⇢', word: 'redirected' },
  consumed: { sign: '•', word: 'taken' },
};

/** By the end of a verdict's name. */
const BY_NAME: readonly (readonly [RegExp, Outcome])[] = [
  [/_(DROP|SHOT)$/, 'drop'],
  [/_ABORTED$|^unknown/, 'aborted'],
  [/_TX$/, 'transmit'],
  [/_REDIRECT$/, 'redirect'],
  [/_(STOLEN|QUEUED|TRAP)$/, 'consumed'],
];

export const outcomeOf = (verdict: string): Outcome => BY_NAME.find(([name]) => name.test(verdict))?.[1] ?? 'pass';
