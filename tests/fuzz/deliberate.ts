/** Where we mean to answer otherwise than Linux 6.18, and why. Counted by themselves; everything else is a mismatch. */
import type { Cell } from './agreement.ts';

export interface DeliberateDifference {
  readonly cell: Cell;
  /** Of the refusal, as classes of messages have it. */
  readonly message: RegExp;
  readonly reason: string;
}

export const DELIBERATE_DIFFERENCES: readonly DeliberateDifference[] = [
  {
    cell: 'Linux accepts, we refuse',
    message: /^RN type=\w+_or_null expected=fp$/,
    reason: 'A pointer that may be NULL, and bytes of it that a helper reads: Linux lets it pass where the helper allows NULL, and its kernel would read at NULL. So no such program is run in it.',
  },
  {
    cell: 'Linux accepts, we refuse',
    message: /^verifier bug: static subprog leftover stack slots/,
    reason: 'A number fetched from the stack by an atomic operation matters: Linux does not follow it to its slot, which we do, since what was there decides. Behind a function that a packet load may end, following is what both refuse.',
  },
  {
    cell: 'Linux refuses, we accept',
    message: /^verifier bug: static subprog unexpected regs/,
    reason: 'Linux loses its way back through a function that a packet load ended, says that this is a bug of its own, and refuses a program that is fine. So do we on the same way back; where a loop is around it, we do not always go that way.',
  },
];

export function deliberateDifference(cell: Cell, message: string): DeliberateDifference | undefined {
  return DELIBERATE_DIFFERENCES.find((one) => one.cell === cell && one.message.test(message));
}
