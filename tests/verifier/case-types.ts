/** What BTF says of functions of a case: Linux verifies global ones by themselves, from their parameters. */
import { Btf } from '../../dataplane/bpf/btf.ts';
import type { ProgramType } from '../../dataplane/bpf/spec.ts';
import { buildBtf, int } from '../bpf/btf-builder.ts';

export interface GlobalFunction {
  readonly label: string;
  readonly linkage: 'global' | 'static';
  /** `ctx`, `scalar`, `mem16`: a pointer to a struct of 16 bytes, `array`: to 10 numbers, or `pointer`: to a pointer. `skb`: to another type's context, `dynptr`, `nothing`: to void, `structure`: no pointer at all. Behind a slash, tags: `mem16/nonnull`. In front of them, `void` where nothing is returned, `address` where a pointer is. */
  readonly parameters: readonly string[];
}

/** The entry function, where it has a type. */
export const MAIN = 'main';

type RawType = Parameters<typeof buildBtf>[0][number];

/** Undefined where there are none. */
export function typesOf({ type, globals, exceptionCallbacks = [] }: { readonly type: ProgramType; readonly globals: readonly GlobalFunction[]; readonly exceptionCallbacks?: readonly string[] }): Btf | undefined {
  if (globals.length === 0 && exceptionCallbacks.length === 0) return undefined;
  const types: RawType[] = [];
  /** Answers the id. */
  const add = (raw: RawType): number => types.push(raw);
  const number = add(int('int', 4, 1));
  const context = add({ kind: 'ptr', word: add({ kind: 'struct', name: type === 'xdp' ? 'xdp_md' : '__sk_buff', word: 4, words: ['first', number, 0] }) });
  const idOf = (parameter: string): number => {
    if (parameter === 'scalar') return number;
    if (parameter === 'ctx') return context;
    if (parameter === 'nothing') return add({ kind: 'ptr', word: 0 });
    if (parameter === 'structure') return add({ kind: 'struct', name: 'structure', word: 4, words: ['first', number, 0] });
    if (parameter === 'skb' || parameter === 'dynptr') return add({ kind: 'ptr', word: add({ kind: 'struct', name: parameter === 'skb' ? '__sk_buff' : 'bpf_dynptr', word: 16, words: ['first', number, 0] }) });
    if (parameter === 'pointer') return add({ kind: 'ptr', word: add({ kind: 'ptr', word: number }) });
    if (parameter === 'array') return add({ kind: 'ptr', word: add({ kind: 'array', words: [number, number, 10] }) });
    return add({ kind: 'ptr', word: add({ kind: 'struct', name: parameter, word: Number(parameter.slice('mem'.length)) }) });
  };
  for (const { label, linkage, parameters } of globals) {
    const returned = parameters[0] === 'void' ? 0 : parameters[0] === 'address' ? add({ kind: 'ptr', word: 0 }) : number;
    const given = parameters.filter((parameter) => parameter !== 'void' && parameter !== 'address').map((parameter) => parameter.split('/'));
    const words = given.flatMap(([parameter], index) => [`a${index}`, idOf(parameter!)]);
    const func = add({ kind: 'func', name: label, word: add({ kind: 'func_proto', word: returned, words }), vlen: linkage === 'global' ? 1 : 0 });
    given.forEach(([, ...tags], index) => tags.forEach((tag) => add({ kind: 'decl_tag', name: `arg:${tag}`, word: func, words: [index], vlen: 0 })));
  }
  if (exceptionCallbacks.length > 0) {
    const main = add({ kind: 'func', name: MAIN, word: add({ kind: 'func_proto', word: number, words: ['ctx', context] }), vlen: 1 });
    for (const name of exceptionCallbacks) add({ kind: 'decl_tag', name: `exception_callback:${name}`, word: main, words: [0xffff_ffff], vlen: 0 });
  }
  return Btf.parse(buildBtf(types), 'case');
}
