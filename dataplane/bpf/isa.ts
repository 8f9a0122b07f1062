/**
 * The instruction set as values: one decoded instruction is one member of a closed union (RFC 9669).
 * Only decode.ts and encode.ts know the bits.
 *
 * A program is an array indexed by *slot*, because jump offsets count 8-byte slots: a 64-bit immediate load takes
 * two, and its second slot holds `{ kind: 'upper' }`, which nothing may jump to. Offsets are relative to the next
 * slot: the target of a jump at slot `i` is `i + 1 + offset`.
 */

/** r0 to r10; r10 is the frame pointer. */
export type Register = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10;

export type OperandWidth = 32 | 64;
export type AccessBytes = 1 | 2 | 4 | 8;

/** RFC 9669 §4.1. `sdiv`, `smod` and the sign-extending move are DIV, MOD and MOV with an offset. */
export const ALU_OPS = ['add', 'sub', 'mul', 'div', 'sdiv', 'or', 'and', 'lsh', 'rsh', 'mod', 'smod', 'xor', 'mov', 'arsh'] as const;
export type AluOp = (typeof ALU_OPS)[number];

/** RFC 9669 §4.3. */
export const BRANCH_OPS = ['jeq', 'jgt', 'jge', 'jset', 'jne', 'jsgt', 'jsge', 'jlt', 'jle', 'jslt', 'jsle'] as const;
export type BranchOp = (typeof BRANCH_OPS)[number];

/** RFC 9669 §5.3, with the load-acquire and store-release of Linux 6.15. */
export const ATOMIC_OPS = ['add', 'or', 'and', 'xor', 'xchg', 'cmpxchg', 'load_acquire', 'store_release'] as const;
export type AtomicOp = (typeof ATOMIC_OPS)[number];

/** A register, or an immediate: signed 32 bits, sign-extended by 64-bit operations. */
export type Operand = { readonly kind: 'register'; readonly register: Register } | { readonly kind: 'immediate'; readonly value: number };

/**
 * What a 64-bit immediate load puts in its register. An object file's references are names; `map_fd` and the other
 * numbers are what raw instructions carry before anyone has said what they mean (RFC 9669 §5.4).
 */
export type Immediate64 =
  | { readonly kind: 'constant'; readonly value: bigint }
  | { readonly kind: 'map'; readonly map: string }
  | { readonly kind: 'map_value'; readonly map: string; readonly offset: number }
  | { readonly kind: 'function'; readonly slot: number }
  | { readonly kind: 'map_fd'; readonly fd: number }
  | { readonly kind: 'map_fd_value'; readonly fd: number; readonly offset: number }
  | { readonly kind: 'map_idx'; readonly index: number }
  | { readonly kind: 'map_idx_value'; readonly index: number; readonly offset: number }
  /** `name`: of a kernel function, when the object file says it. */
  | { readonly kind: 'btf_id'; readonly id: number; readonly fd: number; readonly name?: string };

export type CallTarget =
  | { readonly kind: 'helper'; readonly id: number }
  /** `slot` is absolute within the program. */
  | { readonly kind: 'subprogram'; readonly slot: number }
  /** `name` is known when the object file says it. */
  | { readonly kind: 'kfunc'; readonly btfId: number; readonly module: number; readonly name?: string };

export type Instruction =
  | { readonly kind: 'alu'; readonly op: AluOp; readonly width: OperandWidth; readonly dst: Register; readonly source: Operand }
  | { readonly kind: 'neg'; readonly width: OperandWidth; readonly dst: Register }
  | { readonly kind: 'movsx'; readonly width: OperandWidth; readonly bits: 8 | 16 | 32; readonly dst: Register; readonly src: Register }
  /** `le` truncates, `be` swaps and truncates, `bswap` swaps whatever the host's order is. */
  | { readonly kind: 'endian'; readonly op: 'le' | 'be' | 'bswap'; readonly bits: 16 | 32 | 64; readonly dst: Register }
  | { readonly kind: 'load_imm64'; readonly dst: Register; readonly value: Immediate64 }
  /** The second slot of a `load_imm64`. */
  | { readonly kind: 'upper' }
  | { readonly kind: 'load'; readonly bytes: AccessBytes; readonly signed: boolean; readonly dst: Register; readonly src: Register; readonly offset: number }
  /** Stores `source` at `dst + offset`. */
  | { readonly kind: 'store'; readonly bytes: AccessBytes; readonly dst: Register; readonly offset: number; readonly source: Operand }
  /** `fetch` is true for the forms that return the old value, always for xchg, cmpxchg and load_acquire. */
  | { readonly kind: 'atomic'; readonly op: AtomicOp; readonly fetch: boolean; readonly bytes: AccessBytes; readonly dst: Register; readonly src: Register; readonly offset: number }
  /** LD_ABS and, with `index`, LD_IND: packet bytes in network order to r0; r1 to r5 are lost; past the end the program returns 0. */
  | { readonly kind: 'load_packet'; readonly bytes: 1 | 2 | 4; readonly offset: number; readonly index?: Register }
  /** `long` is gotol: a 32-bit offset. */
  | { readonly kind: 'jump'; readonly offset: number; readonly long: boolean }
  | { readonly kind: 'branch'; readonly op: BranchOp; readonly width: OperandWidth; readonly dst: Register; readonly source: Operand; readonly offset: number }
  /** Goes on, until the function has done so MAY_GOTO_LIMIT times; from then on it jumps. */
  | { readonly kind: 'may_goto'; readonly offset: number }
  | { readonly kind: 'call'; readonly target: CallTarget }
  | { readonly kind: 'exit' };

/** BPF_MAX_LOOPS: how often the may_gotos of one function go on, from when it is entered. Where Linux measures time instead, that is a quarter of a second. */
export const MAY_GOTO_LIMIT = 1 << 23;

/** Instructions that jump within their function. All but `jump` may also go on. */
export type Jump = Extract<Instruction, { kind: 'jump' | 'branch' | 'may_goto' }>;

export function isJump(instruction: Instruction): instruction is Jump {
  return instruction.kind === 'jump' || instruction.kind === 'branch' || instruction.kind === 'may_goto';
}

/** The slot a jump or branch at `slot` goes to. */
export function jumpTarget(slot: number, offset: number): number {
  return slot + 1 + offset;
}
