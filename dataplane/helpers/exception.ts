/**
 * bpf_throw: the program ends where it stands, however deep in its functions. Its exception callback says with what, or
 * else the cookie that was thrown is the verdict. What unwinds is the engine.
 */
import type { Kfunc } from './kfunc.ts';

export const THROW = 'bpf_throw';

export const EXCEPTION_KFUNCS: readonly Kfunc[] = [{ name: THROW, args: ['u64'], returns: 'void', programs: ['xdp', 'sched_cls', 'cgroup_skb'], implementation: { kind: 'engine' } }];
