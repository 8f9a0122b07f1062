/**
 * Codecs of structs, unions and arrays.
 *
 * Reading a union shows every member. Writing needs one of them; more are accepted when they say the same bytes, so
 * that what was read can be written back. Members of anonymous structs and unions count as the outer's.
 */
import { bytesAt, failExpected, failValue, showValue, viewOf, type BtfValue, type Codec } from './value-codec.ts';

export interface FieldPart {
  readonly kind: 'field';
  readonly name: string;
  /** From the begin of the struct that is read or written. */
  readonly offset: number;
  readonly codec: Codec;
  /** Shown only when not zero, and zero when not given: padding, locks, nothing at all. */
  readonly optional: boolean;
}

/** Members that share their bytes: one of the alternatives, each a list of parts. */
export interface ChoicePart {
  readonly kind: 'choice';
  readonly alternatives: readonly (readonly Part[])[];
}

export type Part = FieldPart | ChoicePart;

function fieldsOf(parts: readonly Part[]): FieldPart[] {
  return parts.flatMap((part) => (part.kind === 'field' ? [part] : part.alternatives.flatMap(fieldsOf)));
}

/** A field named `__proto__` must become a field, not a prototype. */
function setField(object: Record<string, BtfValue>, name: string, value: BtfValue): void {
  if (name === '__proto__') Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
  else object[name] = value;
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

type Fields = Readonly<Record<string, unknown>>;

function asFields(value: unknown): Fields | undefined {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
  return isObject ? (value as Fields) : undefined;
}

function isGiven(fields: Fields, part: Part): boolean {
  return fieldsOf([part]).some(({ name }) => Object.hasOwn(fields, name));
}

function endOf(parts: readonly Part[]): number {
  return Math.max(0, ...fieldsOf(parts).map(({ offset, codec }) => offset + codec.sizeBytes));
}

function writeParts(view: DataView, at: number, parts: readonly Part[], fields: Fields, path: string, partial: boolean): void {
  for (const part of parts) {
    if (part.kind === 'choice') writeChoice(view, at, part, fields, path, partial);
    else if (Object.hasOwn(fields, part.name)) part.codec.write(view, at + part.offset, fields[part.name], `${path}.${part.name}`);
    else if (!part.optional && !partial) failValue(path, `no ${part.name}, expected ${part.codec.expected}`);
  }
}

function writeChoice(view: DataView, at: number, choice: ChoicePart, fields: Fields, path: string, partial: boolean): void {
  const given = choice.alternatives.filter((parts) => parts.some((part) => isGiven(fields, part)));
  if (given.length === 0) {
    const names = fieldsOf([choice]).filter(({ optional }) => !optional).map(({ name }) => name);
    if (names.length > 0 && !partial) failValue(path, `found none of ${names.join(', ')}, expected one of them`);
    return;
  }
  for (const parts of given) writeParts(view, at, parts, fields, path, partial);
  if (given.length === 1) return;
  // Each sets its own bits only: when they agree, writing one of them again changes nothing.
  const length = Math.max(...given.map(endOf));
  const written = bytesAt(view, at, length);
  for (const parts of given) {
    const again = written.slice();
    writeParts(viewOf(again), 0, parts, fields, path, partial);
    if (!again.every((byte, index) => byte === written[index])) {
      failValue(path, `${given.map((one) => fieldsOf(one)[0]?.name ?? '').join(' and ')} share their bytes but differ, expected one of them`);
    }
  }
}

/** `partial`: fields that are not given keep their bytes, as for the variables of a section. */
export function recordCodec(sizeBytes: number, parts: readonly Part[], partial = false): Codec {
  const fields = fieldsOf(parts);
  const known = new Set(fields.map(({ name }) => name));
  const names = fields.filter(({ optional }) => !optional).map(({ name }) => name);
  const expected = names.length === 0 ? 'an object' : `an object of ${names.slice(0, 12).join(', ')}${names.length > 12 ? ', …' : ''}`;
  return {
    sizeBytes,
    leaves: 1 + fields.reduce((sum, { codec }) => sum + codec.leaves, 0),
    expected,
    read: (view, at) => {
      const object: Record<string, BtfValue> = {};
      for (const { name, offset, codec, optional } of fields) {
        if (optional && isZero(bytesAt(view, at + offset, codec.sizeBytes))) continue;
        setField(object, name, codec.read(view, at + offset));
      }
      return object;
    },
    write: (view, at, value, path) => {
      const given = asFields(value);
      if (given === undefined) {
        if (!(value instanceof Uint8Array) || value.length !== sizeBytes) return failExpected(path, value, expected);
        return bytesAt(view, at, sizeBytes).set(value);
      }
      for (const name of Object.keys(given)) if (!known.has(name)) failValue(`${path}.${name}`, `unknown field, expected ${expected}`);
      writeParts(view, at, parts, given, path, partial);
    },
  };
}

export function arrayCodec(length: number, element: Codec): Codec {
  const expected = `a list of ${length}`;
  return {
    sizeBytes: length * element.sizeBytes,
    leaves: 1 + length * element.leaves,
    expected,
    read: (view, at) => Array.from({ length }, (_, index) => element.read(view, at + index * element.sizeBytes)),
    write: (view, at, value, path) => {
      if (!Array.isArray(value)) return failExpected(path, value, expected);
      if (value.length !== length) failValue(path, `found ${value.length} elements, expected ${length}`);
      value.forEach((one: unknown, index) => element.write(view, at + index * element.sizeBytes, one, `${path}[${index}]`));
    },
  };
}

/** Reads as nothing and takes no bytes: the flexible array at the end of a struct. */
export const emptyCodec: Codec = {
  sizeBytes: 0, leaves: 1, expected: 'an empty list',
  read: () => [],
  write: (_view, _at, value, path) => {
    if (!Array.isArray(value) || value.length > 0) failValue(path, `found ${showValue(value)}, expected an empty list`);
  },
};
