/**
 * From a program to one that engines take: verified, or refused with a line that says why. Branches that never go one
 * way are made to say so, as Linux does it, so that engines need not look at dead code.
 *
 * Verifying costs a fraction of a second for a program of some thousand instructions, so what was accepted is
 * remembered (proofs.ts).
 */
import type { Btf } from '../bpf/btf.ts';
import type { Instruction } from '../bpf/isa.ts';
import { lineAt } from '../bpf/line-at.ts';
import type { MapSpec, ProgramSpec, ProgramType } from '../bpf/spec.ts';
import { XdplabError } from '../errors.ts';
import type { Program, VerifiedProgram } from '../program/program.ts';
import { proofKey, type Proofs } from './proofs.ts';
import { verifyProgram, type Refusal, type VerifierReport, type VerifyOptions } from './verify.ts';

/** What a lab's programs are verified against. */
export interface LabFacts {
  /** By the names that instructions use. */
  readonly maps: ReadonlyMap<string, MapSpec>;
  readonly btf?: Btf | undefined;
  readonly cpus: number;
}

export interface Verified {
  readonly report: VerifierReport;
  readonly options: VerifyOptions;
}

/** A program that asks its device about packets is bound to the lab's. */
const optionsFor = (type: ProgramType | undefined, { maps, btf, cpus }: LabFacts): VerifyOptions => ({ maps, btf, cpus, deviceBound: true, ...(type === undefined ? {} : { type }) });

/** Verifies as for a lab; what is accepted is remembered for it. */
export function prove(spec: ProgramSpec, type: ProgramType | undefined, facts: LabFacts, proofs: Proofs): Verified {
  const options = optionsFor(type, facts);
  const report = verifyProgram(spec, options);
  if (report.accepted) proofs.add(proofKey(spec, options), report.reached);
  return { report, options };
}

/** Throws ERR_PROGRAM for what Linux would not load. */
export function admit(program: Program, facts: LabFacts, proofs: Proofs): VerifiedProgram {
  const { spec, type } = program;
  let reached = proofs.get(proofKey(spec, optionsFor(type, facts)));
  if (reached?.length !== spec.instructions.length) {
    const { report } = prove(spec, type, facts, proofs);
    if (report.refusal !== undefined) throw new XdplabError('ERR_PROGRAM', refusalText(spec, report.refusal));
    ({ reached } = report);
  }
  return { ...program, source: spec, spec: { ...spec, instructions: withoutDeadWays(spec.instructions, reached) }, proof: 'verified' };
}

function refusalText(spec: ProgramSpec, { slot, message }: Refusal): string {
  const line = lineAt(spec, slot);
  return `program '${spec.name}': instruction ${slot}${line === undefined ? '' : ` (${line.file}:${line.line})`}: ${message.replaceAll('\n', ' ')}; Linux would not load it. xdplab verify explains; --no-verify (of a Lab: verify: false) runs it all the same`;
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
