/** What is wrong with a value that does not fit its schema: the first thing, in one line. */
import type { TLocalizedValidationError } from 'typebox/error';

/** `whole`: how to call the value itself. */
export function complaint([error]: readonly TLocalizedValidationError[], whole: string): string {
  if (error === undefined) return `${whole}: is not what is expected`;
  const { instancePath, keyword, message } = error;
  const place = instancePath.slice(1).replaceAll('/', '.') || whole;
  return `${place}: ${keyword === 'boolean' ? 'there is no such field' : message}`;
}
