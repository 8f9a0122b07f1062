/**
 * The bits of an instruction (RFC 9669 §3 and §4): what decode.ts and encode.ts share, and nobody else reads.
 *
 *    byte 0        1              2 and 3       4 to 7
 *   +--------+-----------+------+-------------+------------------+
 *   | opcode | src 7..4  | dst  | offset, i16 | immediate, i32   |     little-endian
 *   +--------+-----------+------+-------------+------------------+
 *
 *   opcode of ALU, JMP, JMP32, ALU64:   op 7..4    X 3 (source is a register)   class 2..0
 *   opcode of LD, LDX, ST, STX:         mode 7..5  size 4..3                    class 2..0
 */
import type { AccessBytes, AluOp, AtomicOp, BranchOp } from './isa.ts';

export const INSTRUCTION_BYTES = 8;

export const CLASS = { ld: 0, ldx: 1, st: 2, stx: 3, alu32: 4, jmp: 5, jmp32: 6, alu64: 7 } as const;

export const MODE = { imm: 0x00, abs: 0x20, ind: 0x40, mem: 0x60, memsx: 0x80, atomic: 0xc0 } as const;

/** Set where the source operand is a register, and in END for big-endian. */
export const SOURCE_X = 0x08;

export const SIZE: Readonly<Record<AccessBytes, number>> = { 4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18 };

/** `offset` tells signed division from unsigned; every other operation has 0 there. */
export const ALU_CODE: Readonly<Record<AluOp, { readonly op: number; readonly offset: 0 | 1 }>> = {
  add: { op: 0x00, offset: 0 },
  sub: { op: 0x10, offset: 0 },
  mul: { op: 0x20, offset: 0 },
  div: { op: 0x30, offset: 0 },
  sdiv: { op: 0x30, offset: 1 },
  or: { op: 0x40, offset: 0 },
  and: { op: 0x50, offset: 0 },
  lsh: { op: 0x60, offset: 0 },
  rsh: { op: 0x70, offset: 0 },
  mod: { op: 0x90, offset: 0 },
  smod: { op: 0x90, offset: 1 },
  xor: { op: 0xa0, offset: 0 },
  mov: { op: 0xb0, offset: 0 },
  arsh: { op: 0xc0, offset: 0 },
};
export const NEG = 0x80;
export const MOV = ALU_CODE.mov.op;
export const END = 0xd0;

export const BRANCH_CODE: Readonly<Record<BranchOp, number>> = {
  jeq: 0x10,
  jgt: 0x20,
  jge: 0x30,
  jset: 0x40,
  jne: 0x50,
  jsgt: 0x60,
  jsge: 0x70,
  jlt: 0xa0,
  jle: 0xb0,
  jslt: 0xc0,
  jsle: 0xd0,
};
export const JA = 0x00;
export const CALL = 0x80;
export const EXIT = 0x90;
/** may_goto, whose source register field is 0 (BPF_MAY_GOTO). */
export const JCOND = 0xe0;

export const FETCH = 0x01;

/** The immediate of an atomic instruction; `fetch` says whether FETCH is never, may be or always is added. */
export const ATOMIC_CODE: Readonly<Record<AtomicOp, { readonly code: number; readonly fetch: 'optional' | 'always' | 'returns' | 'never' }>> = {
  add: { code: 0x00, fetch: 'optional' },
  or: { code: 0x40, fetch: 'optional' },
  and: { code: 0x50, fetch: 'optional' },
  xor: { code: 0xa0, fetch: 'optional' },
  xchg: { code: 0xe0, fetch: 'always' },
  cmpxchg: { code: 0xf0, fetch: 'always' },
  load_acquire: { code: 0x100, fetch: 'returns' },
  store_release: { code: 0x110, fetch: 'never' },
};

/** What the source register field of a 64-bit immediate load says about the immediate (RFC 9669 §5.4). */
export const LOAD_IMM64 = { constant: 0, map_fd: 1, map_fd_value: 2, btf_id: 3, function: 4, map_idx: 5, map_idx_value: 6 } as const;

/** What the source register field of a call says about the immediate (RFC 9669 §4.3.1). */
export const CALL_SOURCE = { helper: 0, subprogram: 1, kfunc: 2 } as const;
