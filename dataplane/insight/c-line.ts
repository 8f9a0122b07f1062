/** Names that a line of C has for what an instruction works on. A guess by its spelling, for suggestions only. */
import type { LineInfo } from '../bpf/spec.ts';

const KEYWORDS = new Set(['if', 'return', 'sizeof', 'while', 'for', 'switch', 'case', 'else', 'const', 'void', 'struct']);

export interface Dereference {
  /** The pointer: `tcp` of `flow.port = tcp->source;` */
  readonly name: string;
  /** One to what is accessed, typed: `tcp`, `&data[i]`, `&header->ports[i]`, `(__u16 *)(data + i)`. */
  readonly place: string;
}

/** What the line reads or writes through a pointer. */
export function dereferenceIn(text: string, access: 'read' | 'written'): Dereference | undefined {
  const assignment = /[^=!<>]=(?!=)/.exec(text);
  if (access === 'read') return dereferenced(assignment === null ? text : text.slice(assignment.index + 2)).at(-1);
  return dereferenced(assignment === null ? text : text.slice(0, assignment.index + 1))[0];
}

/** `a->b.c[i]` */
const CHAIN = String.raw`\b(?<chain>[A-Za-z_]\w*(?:->\w+|\.\w+|\[(?:[^[\]]|\[[^[\]]*\])+\])+)`;
/** `*a`, `*(a + i)`, `*(u16 *)(a + i)`; what is cast behind a constant number of bytes belongs to a structure that the line does not name. */
const STAR = String.raw`(?:^|[=(,!&|<>+]|\breturn)\s*\*\s*(?<cast>\([^()]*\*\)\s*)?(?:(?<target>[A-Za-z_]\w*)|\((?<sum>[^()]+)\))`;
const DEREFERENCES = new RegExp(`${CHAIN}|${STAR}`, 'g');

function dereferenced(text: string): Dereference[] {
  return [...text.matchAll(DEREFERENCES)].flatMap(({ groups }) => {
    const { chain, cast, target, sum } = groups as Readonly<Record<'chain' | 'cast' | 'target' | 'sum', string | undefined>>;
    if (chain !== undefined) return reached(chain);
    const name = target ?? /[A-Za-z_]\w*/.exec(sum!)?.[0];
    if (name === undefined || KEYWORDS.has(name) || (cast !== undefined && /^\w+ [+-] \d+$/.test(sum ?? ''))) return [];
    return [{ name, place: cast === undefined ? (target ?? sum!) : `${cast}${target ?? `(${sum})`}` }];
  });
}

/** A member is in its structure as long as its index is a number; any other index, and that of the pointer itself, says which element it is. */
function reached(chain: string): Dereference[] {
  const arrow = chain.lastIndexOf('->');
  const bracket = chain.indexOf('[', arrow + 1);
  if (arrow < 0 && bracket < 0) return [];
  const name = chain.slice(0, arrow < 0 ? bracket : arrow);
  const inside = bracket < 0 || (arrow >= 0 && !/\[.*[a-z]/.test(chain.slice(bracket)));
  return [{ name, place: inside ? name : `&${chain}` }];
}

const ASSIGNED = String.raw`(?:^|[\s*(,;{])([A-Za-z_]\w*)\s*=(?!=)`;

/**
 * The variable that the line gives a value: `counter` of `struct counter *counter = bpf_map_lookup_elem(…);`. Of several,
 * the one that gets what `callee` returns; undefined where that cannot be told.
 */
export function assignedIn(text: string, callee?: string): string | undefined {
  if (callee !== undefined && new RegExp(String.raw`\b${callee}\s*\(`).test(text)) {
    return new RegExp(String.raw`${ASSIGNED}(?:[^;={}(]|\([^()]*\))*?\b${callee}\s*\(`).exec(text)?.[1];
  }
  const names = Array.from(text.matchAll(new RegExp(ASSIGNED, 'g')), ([, name]) => name);
  return names.length === 1 ? names[0] : undefined;
}

/** The number that the line adds to a pointer: `off` of `__u8 *option = (void *)ip + off;` */
export function addedIn(text: string): string | undefined {
  return /\+\s*([A-Za-z_]\w*)\s*\)*;/.exec(text)?.[1];
}

/** What stands in the last square brackets, and what in front of them: `config->pad` and `i` of `config->pad[i]`. */
export function elementIn(text: string): { readonly array: string; readonly index: string } | undefined {
  const [, array, index] = /.*?([\w.>-]*)\[([^[\]]+)\][^[\]]*$/.exec(text) ?? [];
  return array === undefined || index === undefined ? undefined : { array, index: index.trim() };
}

/** Argument `number`, from 1, of the last call in the line of a function of that name; of a helper where none is given. */
export function argumentIn(text: string, number: number, name = String.raw`bpf_\w+`): string | undefined {
  const call = new RegExp(String.raw`.*\b${name}\s*\(`).exec(text);
  if (call === null) return undefined;
  const given = [''];
  let depth = 0;
  for (const letter of text.slice(call[0].length)) {
    if (letter === ')' && depth === 0) return given[number - 1]?.trim() || undefined;
    if (letter === '(') depth++;
    if (letter === ')') depth--;
    if (letter === ',' && depth === 0) given.push('');
    else given[given.length - 1] += letter;
  }
  return undefined;
}

/** What the program compares packet pointers with: `data_end`, `cursor->end`; of the nearest comparison. */
export function packetEndIn(lines: readonly LineInfo[], near: LineInfo | undefined): string | undefined {
  let best: { readonly name: string; readonly distance: number } | undefined;
  for (const line of lines) {
    const name = /(?<!-)[<>]=?[^;]*?\b((?:[A-Za-z_]\w*(?:->|\.))*(?:data_)?end)\b/.exec(line.text)?.[1];
    if (name === undefined) continue;
    const distance = near === undefined || line.file !== near.file ? Infinity : Math.abs(line.line - near.line);
    if (best === undefined || distance < best.distance) best = { name, distance };
  }
  return best?.name;
}

/** What the function returns near the line: `XDP_DROP`, `false`. */
export function returnedNear(lines: readonly LineInfo[], near: LineInfo): string | undefined {
  let best: { readonly value: string; readonly distance: number } | undefined;
  for (const line of lines) {
    const value = /\breturn\s+([^;]+);/.exec(line.text)?.[1];
    const distance = Math.abs(line.line - near.line);
    if (value !== undefined && line.file === near.file && (best === undefined || distance < best.distance)) best = { value, distance };
  }
  return best?.value;
}
