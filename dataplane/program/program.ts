/**
 * A program that is ready for an engine: a ProgramSpec linked to the live maps it names, structurally checked.
 */
import type { ProgramSpec, ProgramType } from '../bpf/spec.ts';
import type { BpfMap } from '../maps/bpf-map.ts';

export interface Program {
  /** Place in machine.programTable; PROG_ARRAY slots and verdict records hold it. */
  readonly id: number;
  readonly spec: ProgramSpec;
  readonly type: ProgramType;
  /** Every map an instruction names, by that name. */
  readonly maps: ReadonlyMap<string, BpfMap>;
}
