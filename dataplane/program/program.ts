/** A program come alive: a ProgramSpec linked to the live maps it names, structurally checked. Engines want to know why it may run. */
import type { Btf } from '../bpf/btf.ts';
import type { ProgramSpec, ProgramType } from '../bpf/spec.ts';
import type { BpfMap } from '../maps/bpf-map.ts';

export interface Program {
  /** Place in machine.programTable; PROG_ARRAY slots and verdict records hold it. */
  readonly id: number;
  readonly spec: ProgramSpec;
  /** As the object has it, where `spec` is without its dead ways: what Linux is given, which refuses code that nothing reaches. */
  readonly source?: ProgramSpec;
  readonly type: ProgramType;
  /** Every map an instruction names, by that name. */
  readonly maps: ReadonlyMap<string, BpfMap>;
  /** The object's. */
  readonly btf?: Btf | undefined;
}

/** Why a program may run. */
export type Proof =
  /** The verifier followed every path through it. */
  | 'verified'
  /** Linux verifies what is loaded into it. */
  | 'by-linux'
  /** Nobody did, and somebody wanted that: the memory's walls and the instruction budget stop what it does wrong. */
  | 'none';

/** What engines take. */
export interface VerifiedProgram extends Program {
  readonly proof: Proof;
}

export const unverified = (program: Program): VerifiedProgram => ({ ...program, proof: 'none' });
