/** Every kernel function there is here, by name. A new one is a file or a row of a file, and its line in this list. */
import { CONNTRACK_KFUNCS } from './conntrack.ts';
import { CRITICAL_SECTION_KFUNCS } from './critical-section.ts';
import { DYNPTR_KFUNCS } from './dynptr.ts';
import type { Kfunc } from './kfunc.ts';
import { EXCEPTION_KFUNCS } from './exception.ts';
import { KERNEL_POINTER_KFUNCS } from './kernel-pointer.ts';
import { NUMBER_ITERATOR_KFUNCS } from './number-iterator.ts';
import { XDP_METADATA_KFUNCS } from './xdp-metadata.ts';
import { XFRM_STATE_KFUNCS } from './xfrm-state.ts';

export const KFUNCS: readonly Kfunc[] = [...NUMBER_ITERATOR_KFUNCS, ...DYNPTR_KFUNCS, ...CRITICAL_SECTION_KFUNCS, ...CONNTRACK_KFUNCS, ...XFRM_STATE_KFUNCS, ...XDP_METADATA_KFUNCS, ...KERNEL_POINTER_KFUNCS, ...EXCEPTION_KFUNCS].toSorted((a, b) => (a.name < b.name ? -1 : 1));
