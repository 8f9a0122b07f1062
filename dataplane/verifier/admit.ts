/**
 * From a program to one that engines take: verified, or refused with a line that says why. Branches that never go one
 * way are made to say so, as Linux does it, so that engines need not look at dead code.
 *
 * Verifying costs a fraction of a second for a program of some thousand instructions, so what was accepted is
 * remembered (proofs.ts).
 */
import type { Btf } from '../bpf/btf.ts';
import type { Instruction } from '../bpf/isa.ts';
import type { MapSpec, ProgramSpec } from '../bpf/spec.ts';
import { XdplabError } from '../errors.ts';
import type { Program, VerifiedProgram } from '../program/program.ts';
import { proofKey, type Proofs } from './proofs.ts';
import { verifyProgram, type Refusal } from './verify.ts';

export interface AdmitOptions {
  /** By the names that instructions use. */
  readonly maps: ReadonlyMap<string, MapSpec>;
  readonly btf?: Btf | undefined;
  readonly cpus: number;
  readonly proofs: Proofs;
}

/** Throws ERR_PROGRAM for what Linux would not load. */
export function admit(program: Program, { maps, btf, cpus, proofs }: AdmitOptions): VerifiedProgram {
  const { spec, type } = program;
  // A program that asks its device about packets is bound to the lab's.
  const options = { maps, btf, type, cpus, deviceBound: true };
  const key = proofKey(spec, options);
  let reached = proofs.get(key);
  if (reached?.length !== spec.instructions.length) {
    const report = verifyProgram(spec, options);
    if (report.refusal !== undefined) throw new XdplabError('ERR_PROGRAM', refusalText(spec, report.refusal));
    ({ reached } = report);
    proofs.add(key, reached);
  }
  return { ...program, source: spec, spec: { ...spec, instructions: withoutDeadWays(spec.instructions, reached) }, proof: 'verified' };
}

function refusalText({ name, lines }: ProgramSpec, { slot, message }: Refusal): string {
  const line = lines.findLast((one) => one.slot <= slot);
  return `program '${name}': instruction ${slot}${line === undefined ? '' : ` (${line.file}:${line.line})`}: ${message.replaceAll('\n', ' ')}; Linux would not load it. xdplab verify explains; --no-verify (of a Lab: verify: false) runs it all the same`;
}

/** `reached`: by slot, 1 where some path went. */
export function withoutDeadWays(instructions: readonly Instruction[], reached: Uint8Array): readonly Instruction[] {
  return instructions.map((instruction, slot) => {
    if (instruction.kind !== 'branch' || reached[slot] === 0) return instruction;
    if (reached[slot + 1] === 0) return { kind: 'jump', offset: instruction.offset, long: false };
    if (reached[slot + 1 + instruction.offset] === 0) return { kind: 'jump', offset: 0, long: false };
    return instruction;
  });
}
