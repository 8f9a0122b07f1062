/** Sections in which nothing may sleep, or be interrupted. Here nothing does: they are for the verifier. */
import type { Kfunc } from './kfunc.ts';
import { ANY_PROGRAM } from './program-sets.ts';

const row = (name: string, section: NonNullable<Kfunc['section']>): Kfunc => ({ name, args: [], returns: 'void', programs: ANY_PROGRAM, section, implementation: { kind: 'js', bind: () => () => {} } });

export const CRITICAL_SECTION_KFUNCS: readonly Kfunc[] = [
  row('bpf_rcu_read_lock', { of: 'rcu', step: 'enter' }),
  row('bpf_rcu_read_unlock', { of: 'rcu', step: 'leave' }),
  row('bpf_preempt_disable', { of: 'preempt', step: 'enter' }),
  row('bpf_preempt_enable', { of: 'preempt', step: 'leave' }),
];
