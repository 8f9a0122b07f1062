/**
 * JSON on one line, and safe to look at: names in it come from files, and JSON.stringify leaves some control characters
 * that terminals obey as they are.
 */

export function jsonText(value: unknown, indent?: number): string {
  return JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? exact(item) : item), indent).replaceAll(LEFT_AS_IT_IS, escape);
}

/** DEL and the C1 controls, of which U+009B begins an escape sequence. Outside of strings JSON has none of them. */
// oxlint-disable-next-line no-control-regex -- these are the ones that must not reach a terminal
const LEFT_AS_IT_IS = /[\u007f-\u009f]/g;

function escape(character: string): string {
  return `\\u00${character.charCodeAt(0).toString(16)}`;
}

/** As a number where JavaScript can hold it exactly, else as text. */
function exact(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}
