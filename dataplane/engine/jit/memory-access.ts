/** Loads, stores and atomic operations of each size (RFC 9669 §5). Where one CPU runs, and on the stack, atomics are plain. */
import type { AccessBytes, AtomicOp } from '../../bpf/isa.ts';
import { atomic64 } from '../../wasm/atomic.ts';
import { i64, type Effect, type I32, type I64 } from '../../wasm/expression.ts';

/** `base` plus a constant that is not negative; the sum does not wrap: past the end of memory it traps. */
export interface Address {
  readonly base: I32;
  readonly offset: number;
}

const LOAD = { 1: i64.load8U, 2: i64.load16U, 4: i64.load32U, 8: i64.load } as const;
const LOAD_SIGNED = { 1: i64.load8S, 2: i64.load16S, 4: i64.load32S, 8: i64.load } as const;
const STORE = { 1: i64.store8, 2: i64.store16, 4: i64.store32, 8: i64.store } as const;

export function load(bytes: AccessBytes, signed: boolean, { base, offset }: Address): I64 {
  return (signed ? LOAD_SIGNED : LOAD)[bytes](base, offset);
}

/** Stores the low bytes of `value`. */
export function store(bytes: AccessBytes, { base, offset }: Address, value: I64): Effect {
  return STORE[bytes](base, offset, value);
}

export function loadAcquire(bytes: AccessBytes, { base, offset }: Address): I64 {
  return atomic64.load[bytes](base, offset);
}

export function storeRelease(bytes: AccessBytes, { base, offset }: Address, value: I64): Effect {
  return atomic64.store[bytes](base, offset, value);
}

/** Answers what was there. */
export function modifyAtomically(op: keyof typeof MODIFY, bytes: 4 | 8, { base, offset }: Address, operand: I64): I64 {
  return atomic64[op][bytes](base, offset, operand);
}

/** The same, where what was there is `expected`, which has to fit the size. */
export function exchangeAtomically(bytes: 4 | 8, { base, offset }: Address, expected: I64, wanted: I64): I64 {
  return atomic64.cmpxchg[bytes](base, offset, expected, wanted);
}

/** What read-modify-write operations leave in memory, given what was there. */
export const MODIFY = {
  add: i64.add,
  or: i64.or,
  and: i64.and,
  xor: i64.xor,
  xchg: (_, operand) => operand,
} as const satisfies Record<Exclude<AtomicOp, 'cmpxchg' | 'load_acquire' | 'store_release'>, (old: I64, operand: I64) => I64>;
