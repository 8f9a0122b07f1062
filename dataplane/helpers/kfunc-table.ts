/** Every kernel function there is here, by name. A new one is a file or a row of a file, and its line in this list. */
import { DYNPTR_KFUNCS } from './dynptr.ts';
import type { Kfunc } from './kfunc.ts';
import { NUMBER_ITERATOR_KFUNCS } from './number-iterator.ts';

export const KFUNCS: readonly Kfunc[] = [...NUMBER_ITERATOR_KFUNCS, ...DYNPTR_KFUNCS].toSorted((a, b) => (a.name < b.name ? -1 : 1));
