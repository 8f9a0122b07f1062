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

/**
 * The argument kinds of Linux's verifier (enum bpf_arg_type), and how many i32 each is. Memory that is called `_out` need
 * not be initialised, `_inout` has to be; both have to be writable. The other kinds of memory are only read.
 */
export const ARGUMENT_KINDS = {
  ctx: 1,
  ctx_or_null: 1,
  /** Descriptor of a map. */
  map: 1,
  map_key: 1,
  map_value: 1,
  map_value_or_null: 1,
  /** Where a map operation writes a value. */
  map_value_out: 1,
  /** Bytes; the next argument is their size, or the row's `sizes` says it. */
  memory: 1,
  memory_or_null: 1,
  memory_out: 1,
  memory_inout: 1,
  memory_inout_or_null: 1,
  /** Size of the memory argument before it, at least 1; `size_or_zero` may be 0. */
  size: 1,
  size_or_zero: 1,
  u32: 1,
  i32: 1,
  u64: 2,
  /** Whatever the register holds, be it nothing (ARG_DONTCARE): only the implementation looks at it. */
  unchecked: 2,
  /** A subprogram's address. */
  callback: 1,
  /** Passed to the callback as it is: NULL, or an address on the stack. */
  callback_ctx: 2,
  /** A `struct bpf_spin_lock` in a map value. */
  spin_lock: 1,
  timer: 1,
  /** A ring buffer record, and the reserved size, which must be a constant. */
  ringbuf_record: 1,
  allocated_size: 1,
  /** Any socket, those that BTF describes too (ARG_PTR_TO_BTF_ID_SOCK_COMMON); `sock_common`: only what helpers and contexts give. */
  socket: 1,
  sock_common: 1,
  /** Where one aligned number of 64 or of 32 bits is. */
  long_out: 1,
  int_inout: 1,
  const_string: 1,
  /** A `struct bpf_dynptr` on the stack: one that is set up, one that will be; the latter two on ring buffers. */
  dynptr: 1,
  dynptr_out: 1,
  ringbuf_dynptr: 1,
  ringbuf_dynptr_out: 1,
  /** A field for a kernel pointer in a map value, and what is put there. */
  kptr_slot: 1,
  kptr_or_null: 1,
  /** Address of a per-CPU variable of the kernel. */
  percpu_variable: 1,
  /** Objects of the kernel that BTF describes: task_struct, cgroup. */
  task: 1,
  task_or_null: 1,
  cgroup_or_null: 1,
} as const satisfies Record<string, 1 | 2>;

export type ArgumentKind = keyof typeof ARGUMENT_KINDS;

/** Those that only kernel functions have. */
const KFUNC_ARGUMENT_KINDS = {
  /** An open-coded iterator on the stack: where one will be, and one that is set up. */
  iterator_out: 1,
  iterator: 1,
  /** Size of the memory argument before it; a constant. */
  constant_size: 1,
  /** Of the kernel, by its BTF. */
  object: 1,
} as const satisfies Record<string, 1 | 2>;

export type KfuncArgumentKind = ArgumentKind | keyof typeof KFUNC_ARGUMENT_KINDS;
/** How many i32 each is. */
export const ARGUMENT_WORDS: Readonly<Record<KfuncArgumentKind, 1 | 2>> = { ...ARGUMENT_KINDS, ...KFUNC_ARGUMENT_KINDS };

/** What r0 is. `btf` are pointers to the `struct` that the row names. */
export type ReturnKind =
  | 'int'
  | 'u32'
  | 'u64'
  | 'void'
  | 'map_value'
  | 'map_value_or_null'
  | 'ringbuf_record_or_null'
  /** As long as the `allocated_size` says. */
  | 'memory_or_null'
  | 'socket_or_null'
  | 'sock_common_or_null'
  | 'tcp_sock_or_null'
  | 'btf'
  | 'btf_trusted'
  | 'btf_or_null'
  /** The variable that the `percpu_variable` is, on one CPU; read-only. */
  | 'percpu'
  | 'percpu_or_null'
  | 'never';

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

/** A function that programs call, as engines see it: a helper, or a kernel function (kfunc.ts). */
export interface Callable {
  readonly name: string;
  readonly args: readonly KfuncArgumentKind[];
  readonly returns: ReturnKind;
  readonly implementation: HelperImplementation;
}

/** What Linux's verifier knows of a helper (struct bpf_func_proto, and the lists in kernel/bpf/verifier.c). */
export interface HelperPrototype {
  /** enum bpf_func_id. */
  readonly id: number;
  /** Without the `bpf_` prefix. */
  readonly name: string;
  readonly args: readonly ArgumentKind[];
  readonly returns: ReturnKind;
  /** Program types that may call it. */
  readonly programs: readonly ProgramType[];
  /** Bytes of memory arguments that no other argument is the size of, by position. */
  readonly sizes?: readonly (number | undefined)[];
  /** Its callers' packet pointers are invalid afterwards. */
  readonly changesPacket?: true;
  readonly gplOnly?: true;
  /** Its memory arguments may be in the packet. */
  readonly packetAccess?: true;
  /** Only for programs that may sleep, which none of the types here may. */
  readonly mightSleep?: true;
  /** What it returns is a reference that has to be released. */
  readonly acquires?: true;
  /** Position of the argument whose reference ends. */
  readonly releases?: number;
  /** What it returns is the socket it was given, and held by the same reference. */
  readonly casts?: true;
  /** The kernel's structure that it returns a pointer to. */
  readonly struct?: string;
}

export interface Helper extends HelperPrototype, Callable {
  readonly name: string;
  readonly args: readonly ArgumentKind[];
  readonly returns: ReturnKind;
}

/** The i32 parameters of an implementation. */
export function helperParams(helper: Callable): readonly ValueType[] {
  const words = helper.args.reduce((sum, kind) => sum + ARGUMENT_WORDS[kind], 0);
  return Array.from({ length: words }, () => 'i32' as const);
}

/** WebAssembly type of what an implementation returns. */
export function helperResult(helper: Callable): ValueType | undefined {
  if (helper.returns === 'void') return undefined;
  return helper.returns === 'u64' ? 'i64' : 'i32';
}
