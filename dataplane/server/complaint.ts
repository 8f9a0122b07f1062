/** What is wrong with a value that does not fit its schema: the first thing, in one line. */
import type { TSchema } from 'typebox';
import type { TLocalizedValidationError } from 'typebox/error';

interface Checker {
  Type(): TSchema;
  Errors(value: unknown): TLocalizedValidationError[];
}

/** `whole`: how to call the value itself. */
export function complaint(checker: Checker, value: unknown, whole: string): string {
  const errors = checker.Errors(value);
  const [error] = closest(errors);
  if (error === undefined) return `${whole}: is not what is expected`;
  const { instancePath, keyword, message, schemaPath } = error;
  const place = instancePath.slice(1).replaceAll('/', '.') || whole;
  if (keyword === 'const') return `${place}: expected ${choicesAt(instancePath, errors)}`;
  const inWords = keyword === 'pattern' ? descriptionAt(schemaPath, checker.Type()) : undefined;
  if (inWords !== undefined) return `${place}: expected ${inWords}`;
  return `${place}: ${keyword === 'boolean' ? 'there is no such field' : message}`;
}

/** A pattern in words. */
function descriptionAt(path: string, schema: TSchema): string | undefined {
  const found = path.split('/').slice(1).reduce<Readonly<Record<string, unknown>> | undefined>((at, name) => at?.[name] as typeof at, schema as unknown as Readonly<Record<string, unknown>>);
  return found?.['description'] as string | undefined;
}

/** Everything that would do there. */
function choicesAt(path: string, errors: readonly TLocalizedValidationError[]): string {
  const choices = errors.filter(({ instancePath }) => instancePath === path).flatMap((error) => (error.keyword === 'const' ? JSON.stringify(error.params.allowedValue) : error.keyword === 'type' ? String(error.params.type) : []));
  return choices.join(', ').replace(/, ([^,]*)$/, ' or $1');
}

/** Where there are several shapes, what is wrong with the one that the value came closest to. */
function closest(errors: readonly TLocalizedValidationError[]): readonly TLocalizedValidationError[] {
  const union = /^.*?\/anyOf\//.exec(errors[0]?.schemaPath ?? '')?.[0];
  if (union === undefined) return errors;
  const shapes = new Map<string, TLocalizedValidationError[]>();
  for (const error of errors.filter(({ schemaPath }) => schemaPath.startsWith(union))) {
    const [shape] = error.schemaPath.slice(union.length).split('/', 1) as [string];
    shapes.set(shape, [...(shapes.get(shape) ?? []), error]);
  }
  return [...shapes.values()].reduce((best, shape) => (shape.length < best.length ? shape : best));
}
