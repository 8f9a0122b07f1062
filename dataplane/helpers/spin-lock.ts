/**
 * bpf_spin_lock and unlock. One CPU runs at a time and programs are not interrupted, so a lock is always free; the word
 * is written as Linux writes it. A program that takes a lock twice is the verifier's to refuse.
 */
import { i32 } from '../wasm/expression.ts';
import type { Helper } from './helper.ts';
import { ANY_PROGRAM } from './program-sets.ts';

const row = (id: number, name: string, word: number): Helper => ({
  id,
  name,
  args: ['spin_lock'],
  returns: 'void',
  programs: ANY_PROGRAM,
  implementation: {
    kind: 'wasm',
    emit: (module) => {
      const f = module.function(name, ['i32'], undefined);
      f.do(i32.store(f.param(0, 'i32'), 0, i32.const(word)));
      f.return();
      return f;
    },
  },
});

export const SPIN_LOCK_HELPERS: readonly Helper[] = [row(93, 'spin_lock', 1), row(94, 'spin_unlock', 0)];
