/**
 * The text form of instructions, as Linux's disassembler spells it (`bpftool prog dump xlated`, verifier logs):
 * the words that disassemble.ts writes and assemble.ts reads.
 */
import type { AccessBytes, AluOp, AtomicOp, BranchOp } from './isa.ts';

export const ALU_TEXT: Readonly<Record<AluOp, string>> = {
  add: '+=',
  sub: '-=',
  mul: '*=',
  div: '/=',
  sdiv: 's/=',
  or: '|=',
  and: '&=',
  lsh: '<<=',
  rsh: '>>=',
  mod: '%=',
  smod: 's%=',
  xor: '^=',
  mov: '=',
  arsh: 's>>=',
};

export const BRANCH_TEXT: Readonly<Record<BranchOp, string>> = {
  jeq: '==',
  jgt: '>',
  jge: '>=',
  jset: '&',
  jne: '!=',
  jsgt: 's>',
  jsge: 's>=',
  jlt: '<',
  jle: '<=',
  jslt: 's<',
  jsle: 's<=',
};

/** The C types of accesses. */
export const ACCESS_TEXT: Readonly<Record<AccessBytes, string>> = { 1: 'u8', 2: 'u16', 4: 'u32', 8: 'u64' };
export const SIGNED_ACCESS_TEXT: Readonly<Record<1 | 2 | 4, string>> = { 1: 's8', 2: 's16', 4: 's32' };

/** Atomic operations that are written as an assignment unless they fetch: `lock *(u64 *)(r1 +0) += r2`. */
export const ATOMIC_ASSIGNMENTS = ['add', 'or', 'and', 'xor'] as const satisfies readonly AtomicOp[];
