/**
 * The contract between bytes of the machine and values a person reads: one codec for one type, put together by
 * btf-value.ts. Reading never fails; writing fails with the path of what is wrong.
 */
import { XdplabError } from '../errors.ts';

/** What reading gives: JSON, and bigint for integers past 53 bits. */
export type BtfValue = number | bigint | string | boolean | readonly BtfValue[] | { readonly [field: string]: BtfValue };

export interface Codec {
  readonly sizeBytes: number;
  /** How many values reading gives, so that no type can be made to fill memory. */
  readonly leaves: number;
  /** What can be written, for errors: `0 to 65535`. */
  readonly expected: string;
  read(view: DataView, at: number): BtfValue;
  /** Sets all of its bits. `path` names the place in errors. */
  write(view: DataView, at: number, value: unknown, path: string): void;
}

const MAX_SHOWN = 60;

/** A value as errors show it: on one line, not too long. */
export function showValue(value: unknown): string {
  let text: string;
  if (value === undefined) return 'nothing';
  try {
    text = typeof value === 'bigint' ? String(value) : (JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? String(inner) : inner)) ?? typeof value);
  } catch {
    text = typeof value;
  }
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

export function failValue(path: string, problem: string): never {
  throw new XdplabError('ERR_VALUE', `${path}: ${problem}`);
}

export function failExpected(path: string, value: unknown, expected: string, instead?: string): never {
  return failValue(path, `found ${showValue(value)}, ${instead ?? `expected ${expected}`}`);
}

/** A number where it is exact, else a bigint. */
export function exactNumber(value: bigint): number | bigint {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

const INTEGER_TEXT = /^(-?)(0[xX][0-9a-fA-F]+|[0-9]+)$/;

/** Integers as numbers, bigints or text (`80`, `0x50`, `-1`); undefined for anything else. */
export function parseInteger(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : undefined;
  if (typeof value !== 'string' || value.length > 80) return undefined;
  const [, sign, digits] = INTEGER_TEXT.exec(value) ?? [];
  if (digits === undefined) return undefined;
  return sign === '-' ? -BigInt(digits) : BigInt(digits);
}

/** Views of the bytes as a DataView, whatever kind of array they are. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function bytesAt(view: DataView, at: number, lengthBytes: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, lengthBytes);
}
