/**
 * What a kernel function (kfunc) is: its facts and its implementation in one row, as of a helper; kfunc-table.ts is the
 * only list. Programs name them (`__ksym`), so a kfunc is found by its name and the program's type.
 *
 * Linux has no prototypes for them: the verifier reads their BTF, where names of parameters say what is meant (`buffer__opt`,
 * `buffer__szk`, `clone__uninit`), and flags (KF_ACQUIRE, KF_RET_NULL, KF_ITER_NEXT, ...). A row says the same in the
 * words of helper.ts. What C calls an `int` comes back in half a register, so its row says `u32`.
 */
import type { ProgramType } from '../bpf/spec.ts';
import type { Callable } from './helper.ts';

/** Of what the kernel has and the machine's memory has not: all that programs can ask is whether it is there. */
export const KERNEL_ADDRESS = 1n;

export interface Kfunc extends Callable {
  /** As the kernel has it, `bpf_` included. */
  readonly name: string;
  /** Program types that may call it. */
  readonly programs: readonly ProgramType[];
  /** What it does to the iterator that is its first argument (KF_ITER_NEW, KF_ITER_NEXT, KF_ITER_DESTROY). */
  readonly iterator?: { readonly name: string; readonly step: 'new' | 'next' | 'destroy' };
  /** Pointers that may be NULL are refused (KF_TRUSTED_ARGS). */
  readonly trustedArguments?: true;
  /** The dynptr that it sets up. */
  readonly makes?: 'skb' | 'xdp' | 'clone';
  /** It answers a part of the dynptr, as long as the `constant_size` says. */
  readonly slice?: 'read' | 'write';
  /** Bytes of memory arguments that no other argument is the size of, by position. */
  readonly sizes?: readonly (number | undefined)[];
  /** Structures of the kernel that `object` arguments point to, by position; and the one that is returned. */
  readonly objects?: readonly (string | undefined)[];
  readonly struct?: string;
  /** What it returns has to be released (KF_ACQUIRE); its first argument is (KF_RELEASE). */
  readonly acquires?: true;
  readonly releases?: true;
  /** Only for programs that are bound to one device. */
  readonly deviceBound?: true;
  /** It enters or leaves a section of this kind. */
  readonly section?: { readonly of: 'rcu' | 'preempt'; readonly step: 'enter' | 'leave' };
  /** Packet pointers are invalid afterwards. */
  readonly changesPacket?: true;
  /** Bytes behind the pointer that it returns. */
  readonly resultBytes?: number;
  /** What whoever calls it here has to know. */
  readonly remark?: string;
  /** May be called while a bpf_spin_lock is held. */
  readonly underLock?: true;
}
