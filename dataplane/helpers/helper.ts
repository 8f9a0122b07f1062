/**
 * What a helper function is: its facts and its implementation in one row; table.ts is the only list. Where program types
 * differ in context or answers (bpf_redirect at XDP and at TC), an id has a row for each, as it has in Linux.
 *
 * How arguments travel from r1..r5 to an implementation, whichever engine runs the program:
 *   - a pointer, size, u32 or i32 is one i32 (the low half of the register)
 *   - a `u64` is two i32, low half first
 * and how its result becomes r0, by `returns`:
 *   - `int`: an i32, sign-extended; `u32` and pointers: an i32, zero-extended; `u64`: an i64; `void`: r0 is 0
 */
import type { ProgramType } from '../bpf/spec.ts';
import type { Machine } from '../machine/machine.ts';
import type { MapOperation } from '../maps/map.ts';
import type { ValueType } from '../wasm/expression.ts';
import type { FunctionBuilder } from '../wasm/function-builder.ts';
import type { ModuleBuilder } from '../wasm/module-builder.ts';

/** The argument kinds of Linux's verifier (enum bpf_arg_type), as far as helpers here need them. */
export const ARGUMENT_KINDS = {
  ctx: 1,
  /** Descriptor of a map. */
  map: 1,
  map_key: 1,
  map_value: 1,
  /** Where a map operation writes a value. */
  map_value_out: 1,
  /** Readable bytes; the next argument is their size. */
  memory: 1,
  memory_or_null: 1,
  /** Bytes the helper writes; they need not be initialised. */
  memory_out: 1,
  /** Size of the memory argument before it, at least 1; `size_or_zero` may be 0. */
  size: 1,
  size_or_zero: 1,
  u32: 1,
  i32: 1,
  u64: 2,
  /** A subprogram's address. */
  callback: 1,
  /** Passed to the callback as it is. */
  callback_ctx: 2,
  /** A `struct bpf_spin_lock` in a map value. */
  spin_lock: 1,
  timer: 1,
  /** A ring buffer record, and the reserved size, which must be a constant. */
  ringbuf_record: 1,
  allocated_size: 1,
  socket: 1,
  /** Where a helper writes one 64-bit or 32-bit number. */
  long_out: 1,
  int_out: 1,
  const_string: 1,
} as const satisfies Record<string, 1 | 2>;

export type ArgumentKind = keyof typeof ARGUMENT_KINDS;

export type ReturnKind = 'int' | 'u32' | 'u64' | 'void' | 'map_value_or_null' | 'ringbuf_record_or_null' | 'socket_or_null' | 'never';

/** Called with one number per i32; answers by the row's `returns`. */
export type HelperFunction = (...args: number[]) => number | bigint | void;

export type HelperImplementation =
  /** Done by the map that the `map` argument names; the other arguments are the operation's, in order. */
  | { readonly kind: 'map'; readonly operation: MapOperation }
  /** Written with the encoder: emitted into a module that imports machine.memory; it may import machine.mapTable. */
  | { readonly kind: 'wasm'; readonly emit: (module: ModuleBuilder, machine: Machine) => FunctionBuilder }
  /**
   * JavaScript on machine memory. Errors in the program's arguments are errno, never exceptions. Callbacks take BigInts,
   * and so do times and u64 results; text and what leaves the machine (trace_printk, snprintf, perf_event_output,
   * clone_redirect) is copied. The others work on
   * numbers, and keep nothing of what they allocate.
   */
  | { readonly kind: 'js'; readonly bind: (machine: Machine) => HelperFunction }
  /** Control flow, done by the engine: tail_call. */
  | { readonly kind: 'engine' };

export interface Helper {
  /** enum bpf_func_id. */
  readonly id: number;
  /** Without the `bpf_` prefix. */
  readonly name: string;
  readonly args: readonly ArgumentKind[];
  readonly returns: ReturnKind;
  /** Program types that may call it. */
  readonly programs: readonly ProgramType[];
  /** Its callers' packet pointers are invalid afterwards. */
  readonly changesPacket?: true;
  readonly gplOnly?: true;
  readonly implementation: HelperImplementation;
}

/** The i32 parameters of a helper's implementation. */
export function helperParams(helper: Helper): readonly ValueType[] {
  const words = helper.args.reduce((sum, kind) => sum + ARGUMENT_KINDS[kind], 0);
  return Array.from({ length: words }, () => 'i32' as const);
}

/** WebAssembly type of what an implementation returns. */
export function helperResult(helper: Helper): ValueType | undefined {
  if (helper.returns === 'void') return undefined;
  return helper.returns === 'u64' ? 'i64' : 'i32';
}
