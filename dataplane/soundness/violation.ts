/** What a run did that the verifier had ruled out, as a line that can be reported. */
import { disassembleInstruction } from '../bpf/disassemble.ts';
import { lineAt } from '../bpf/line-at.ts';
import { XdplabError } from '../errors.ts';
import { HELPER_NAMES } from '../helpers/index.ts';
import type { Program } from '../program/program.ts';

export function violation({ spec }: Program, slot: number, what: string): XdplabError {
  const names = { helper: (id: number) => HELPER_NAMES[id], subprogram: (start: number) => spec.functions.find((one) => one.slot === start)?.name };
  const line = lineAt(spec, slot);
  const source = line === undefined ? '' : `, ${line.file}:${line.line}`;
  const instruction = `instruction ${slot} (${disassembleInstruction(spec.instructions[slot]!, slot, names)}${source})`;
  return new XdplabError('ERR_SOUNDNESS', `program '${spec.name}': ${instruction}: ${what}; the verifier is wrong here, please report it with the object and the packet`);
}
