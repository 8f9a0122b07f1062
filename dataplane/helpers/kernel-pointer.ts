/**
 * bpf_kptr_xchg: what a pointer field of a map value held comes out, and something else is put there. Nothing of the
 * kernel's is at hand here that could be put there, so it is NULL for NULL; what takes such a thing is only ever verified.
 */
import type { Helper } from './helper.ts';
import type { Kfunc } from './kfunc.ts';
import { ANY_PROGRAM } from './program-sets.ts';

export const KERNEL_POINTER_HELPERS: readonly Helper[] = [
  {
    id: 194,
    name: 'kptr_xchg',
    args: ['kptr_slot', 'kptr_or_null'],
    returns: 'btf_or_null',
    programs: ANY_PROGRAM,
    acquires: true,
    releases: 1,
    implementation: {
      kind: 'js',
      bind:
        ({ memory: { view } }) =>
        (slot, given) => {
          const at = slot! >>> 0;
          const before = view.getUint32(at, true);
          view.setBigUint64(at, BigInt(given! >>> 0), true);
          return before;
        },
    },
  },
];

export const KERNEL_POINTER_KFUNCS: readonly Kfunc[] = [
  { name: 'bpf_task_release', args: ['object'], returns: 'void', programs: ['xdp', 'sched_cls'], objects: ['task_struct'], releases: true, trustedArguments: true, remark: 'never runs: nobody has a task', implementation: { kind: 'js', bind: () => () => {} } },
];
