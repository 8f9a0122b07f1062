/** A mismatch as a case of tests/verifier: a sentence, the program, and what Linux answers. */
import { disassembleInstruction, type Names } from '../../dataplane/bpf/disassemble.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { HELPERS } from '../../dataplane/helpers/index.ts';
import type { Mismatch } from './agreement.ts';

const NAMES: Names = { helper: (id) => HELPERS.find((helper) => helper.id === id)?.name };

export function caseText({ kind, group, spec, linux, ours }: Mismatch, seed: number): string {
  const remark = (text: string): string[] => text.split('\n').map((line) => `# ${line}`);
  return [
    ...remark(`${kind}: ${group}`),
    ...remark(`ours: ${ours}`),
    `a program of seed ${seed} is ${linux === 'accepted' ? 'taken' : 'refused'}`,
    `-- type ${spec.type}`,
    '-- asm',
    ...programText(spec),
    '-- answer',
    linux,
    '',
  ].join('\n');
}

export function programText({ instructions }: ProgramSpec): string[] {
  return instructions.flatMap((instruction, slot) => (instruction.kind === 'upper' ? [] : [disassembleInstruction(instruction, slot, NAMES)]));
}
