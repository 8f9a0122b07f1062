/** Tags of functions and their parameters (btf.rst: BTF_KIND_DECL_TAG), by which programs tell the verifier what C cannot say. */
import type { Btf } from './btf.ts';

export interface DeclarationTag {
  readonly text: string;
  /** Number of the parameter, −1 for the function. */
  readonly component: number;
}

const NO_TAGS: readonly DeclarationTag[] = [];
const KNOWN = new WeakMap<Btf, ReadonlyMap<number, readonly DeclarationTag[]>>();

/** Of a type, in their order. */
export function tagsOf(btf: Btf, typeId: number): readonly DeclarationTag[] {
  let tags = KNOWN.get(btf);
  if (tags === undefined) KNOWN.set(btf, (tags = findTags(btf)));
  return tags.get(typeId) ?? NO_TAGS;
}

function findTags(btf: Btf): ReadonlyMap<number, readonly DeclarationTag[]> {
  const found = new Map<number, DeclarationTag[]>();
  for (const [, type] of btf.types()) {
    if (type.kind !== 'decl_tag') continue;
    const tag = { text: type.name, component: type.component };
    const others = found.get(type.type);
    if (others === undefined) found.set(type.type, [tag]);
    else others.push(tag);
  }
  return found;
}

const EXCEPTION_CALLBACK = 'exception_callback:';

/** The global function that says with what a program ends where it throws, as tags of its entry function name it; Linux takes one. */
export function exceptionCallbacks(btf: Btf | undefined, functionTypeId: number): readonly string[] {
  if (btf === undefined) return [];
  return tagsOf(btf, functionTypeId).flatMap(({ text, component }) => (component === -1 && text.startsWith(EXCEPTION_CALLBACK) ? [text.slice(EXCEPTION_CALLBACK.length)] : []));
}
