/**
 * Text that people write, YAML or JSON, as plain values: lists, mappings as Map, numbers, text. Integers that a
 * number cannot hold exactly are bigints. Everything that is wrong with the text is one line that says where.
 */
import { parseDocument } from 'yaml';
import { XdplabError, type ErrorCode } from '../errors.ts';

export function parseYaml(text: string, file: string, code: ErrorCode): unknown {
  return parseJson(text) ?? parseSlowly(text, file, code);
}

/** JSON is YAML too, but is read a hundred times as fast by the engine's own parser. Undefined where it is not JSON. */
function parseJson(text: string): unknown {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return asMaps(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function asMaps(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asMaps);
  if (typeof value !== 'object' || value === null) return value;
  return new Map(Object.entries(value).map(([key, inner]) => [key, asMaps(inner)]));
}

function parseSlowly(text: string, file: string, code: ErrorCode): unknown {
  const fail = (message: string, cause?: unknown): never => {
    throw new XdplabError(code, `${file}: ${message.split('\n')[0]!.replace(/:$/, '')}`, { cause });
  };
  if (text.includes('\0')) fail('is not text, expected YAML or JSON');
  const document = parseDocument(text, { intAsBigInt: true });
  // A warning is a tag or a directive that means nothing here: what was meant by it would be lost.
  const [problem] = [...document.errors, ...document.warnings];
  if (problem?.code === 'MULTIPLE_DOCS') fail('found several documents (---), expected one');
  if (problem) fail(problem.message);
  try {
    return narrowed(document.toJS({ mapAsMap: true }));
  } catch (error) {
    // An alias without an anchor, or so many that they would fill the memory.
    return fail(error instanceof Error ? error.message : String(error), error);
  }
}

function narrowed(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (Array.isArray(value)) return value.map(narrowed);
  if (!(value instanceof Map)) return value;
  return new Map([...value].map(([key, inner]) => [narrowed(key), narrowed(inner)]));
}
