/**
 * bpf_spin_lock and unlock. Where one CPU runs, a lock is always free, as programs are not interrupted; the word is
 * written as Linux writes it. A program that takes a lock twice is the verifier's to refuse.
 */
import { defineSpinLock, defineSpinUnlock } from '../maps/exclusion.ts';
import type { Helper } from './helper.ts';
import { ANY_PROGRAM } from './program-sets.ts';

const row = (id: number, name: string, emit: typeof defineSpinLock): Helper => ({
  id,
  name,
  args: ['spin_lock'],
  returns: 'void',
  programs: ANY_PROGRAM,
  implementation: {
    kind: 'wasm',
    emit,
  },
});

export const SPIN_LOCK_HELPERS: readonly Helper[] = [row(93, 'spin_lock', defineSpinLock), row(94, 'spin_unlock', defineSpinUnlock)];
