/**
 * The exception callback of a program: the global function that says with what the program ends where it throws. A tag
 * of the program's entry function names it (btf.rst: BTF_KIND_DECL_TAG), so nothing in its code refers to it.
 */
import type { Btf } from './btf.ts';

const PREFIX = 'exception_callback:';

/** By the id of a FUNC, the names that its tags give; Linux takes one. */
export function exceptionCallbacks(btf: Btf | undefined): ReadonlyMap<number, readonly string[]> {
  const named = new Map<number, string[]>();
  for (const [, type] of btf?.types() ?? []) {
    if (type.kind !== 'decl_tag' || type.component !== -1 || !type.name.startsWith(PREFIX)) continue;
    const name = type.name.slice(PREFIX.length);
    const names = named.get(type.type);
    if (names === undefined) named.set(type.type, [name]);
    else names.push(name);
  }
  return named;
}
