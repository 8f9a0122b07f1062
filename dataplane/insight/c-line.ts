/** Names that a line of C has for what an instruction works on. A guess by its spelling, for suggestions only. */
import type { LineInfo } from '../bpf/spec.ts';

const KEYWORDS = new Set(['if', 'return', 'sizeof', 'while', 'for', 'switch', 'case', 'else', 'const', 'void', 'struct']);

/** The variable whose target is read or written: `tcp` of `flow.port = tcp->source;` */
export function pointerIn(text: string, access: 'read' | 'written' | 'any'): string | undefined {
  const assignment = /[^=!<>]=(?!=)/.exec(text);
  const [left, right] = assignment === null ? [text, text] : [text.slice(0, assignment.index + 1), text.slice(assignment.index + 2)];
  const found = access === 'written' ? dereferenced(left) : dereferenced(right);
  return access === 'any' ? (found[0] ?? dereferenced(left)[0]) : access === 'written' ? found[0] : found.at(-1);
}

function dereferenced(text: string): string[] {
  const found: string[] = [];
  for (const match of text.matchAll(/\b([A-Za-z_]\w*)\s*(?:->|\[)|(?:^|[=(,!&|<>+]\s*)\*\s*([A-Za-z_]\w*)/g)) {
    const name = match[1] ?? match[2]!;
    if (!KEYWORDS.has(name)) found.push(name);
  }
  return found;
}

/** The variable that the line gives a value: `counter` of `struct counter *counter = bpf_map_lookup_elem(…);` */
export function assignedIn(text: string): string | undefined {
  return /(?:^|[\s*(])([A-Za-z_]\w*)\s*=(?!=)/.exec(text)?.[1];
}

/** What stands in the last square brackets. */
export function indexIn(text: string): string | undefined {
  return /.*\[([^[\]]+)\]/.exec(text)?.[1]?.trim();
}

/** Argument `number`, from 1, of the last call of a helper in the line. */
export function argumentIn(text: string, number: number): string | undefined {
  const call = /.*\b(?:bpf_\w+)\s*\(/.exec(text);
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
