/**
 * Atomic accesses to shared memory (WebAssembly threads proposal, "Atomic Memory Accesses"): sequentially consistent,
 * and they trap where the address is not a multiple of the size.
 */
import { unsignedLeb, type Effect, type Expr, type I32, type I64, type ValueType } from './expression.ts';

const PREFIX = 0xfe;

type Bytes = 1 | 2 | 4 | 8;
const ALIGNMENT = { 1: 0, 2: 1, 4: 2, 8: 3 } as const satisfies Record<Bytes, number>;

const load =
  <R extends ValueType>(type: R, opcode: number, bytes: Bytes) =>
  (address: I32, offset = 0): Expr<R> => ({ type, code: [address.code, PREFIX, opcode, ALIGNMENT[bytes], unsignedLeb(offset)] });

const store =
  <A extends ValueType>(_value: A, opcode: number, bytes: Bytes) =>
  (address: I32, offset: number, value: Expr<A>): Effect => ({ type: undefined, code: [address.code, value.code, PREFIX, opcode, ALIGNMENT[bytes], unsignedLeb(offset)] });

/** Answers what was there. */
const modify =
  <T extends ValueType>(type: T, opcode: number, bytes: Bytes) =>
  (address: I32, offset: number, operand: Expr<T>): Expr<T> => ({ type, code: [address.code, operand.code, PREFIX, opcode, ALIGNMENT[bytes], unsignedLeb(offset)] });

/** Puts `wanted` where `expected` is; answers what was there. */
const exchange =
  <T extends ValueType>(type: T, opcode: number, bytes: Bytes) =>
  (address: I32, offset: number, expected: Expr<T>, wanted: Expr<T>): Expr<T> => ({ type, code: [address.code, expected.code, wanted.code, PREFIX, opcode, ALIGNMENT[bytes], unsignedLeb(offset)] });

export const atomic32 = {
  load: load('i32', 0x10, 4),
  store: store('i32', 0x17, 4),
  cmpxchg: exchange('i32', 0x48, 4),
};

/** By size; what is shorter than 64 bits is zero-extended. */
export const atomic64 = {
  load: { 1: load('i64', 0x14, 1), 2: load('i64', 0x15, 2), 4: load('i64', 0x16, 4), 8: load('i64', 0x11, 8) },
  store: { 1: store('i64', 0x1b, 1), 2: store('i64', 0x1c, 2), 4: store('i64', 0x1d, 4), 8: store('i64', 0x18, 8) },
  add: { 4: modify('i64', 0x24, 4), 8: modify('i64', 0x1f, 8) },
  and: { 4: modify('i64', 0x32, 4), 8: modify('i64', 0x2d, 8) },
  or: { 4: modify('i64', 0x39, 4), 8: modify('i64', 0x34, 8) },
  xor: { 4: modify('i64', 0x40, 4), 8: modify('i64', 0x3b, 8) },
  xchg: { 4: modify('i64', 0x47, 4), 8: modify('i64', 0x42, 8) },
  /** What is expected has to fit the size. */
  cmpxchg: { 4: exchange('i64', 0x4e, 4), 8: exchange('i64', 0x49, 8) },
};

/** Sleeps while the word is `expected`, at most `timeoutNs`. */
export function wait32(address: I32, offset: number, expected: I32, timeoutNs: I64): I32 {
  return { type: 'i32', code: [address.code, expected.code, timeoutNs.code, PREFIX, 0x01, ALIGNMENT[4], unsignedLeb(offset)] };
}

/** What was loaded and stored before is, for all, before what follows. */
export const fence: Effect = { type: undefined, code: [PREFIX, 0x03, 0x00] };
