/** The smallest program that still shows what a large one shows, as far as leaving out and simplifying go. */
import type { Instruction } from '../../dataplane/bpf/isa.ts';
import type { ProgramSpec } from '../../dataplane/bpf/spec.ts';
import { deleteSlots } from './edit.ts';

export interface MinimiseOptions {
  readonly mostTries: number;
}

export function minimise(spec: ProgramSpec, shows: (candidate: ProgramSpec) => boolean, { mostTries }: MinimiseOptions): ProgramSpec {
  let best = spec;
  let tries = 0;
  const attempt = (candidate: ProgramSpec): boolean => {
    if (tries >= mostTries || candidate.instructions.length === 0) return false;
    tries++;
    if (!shows(candidate)) return false;
    best = candidate;
    return true;
  };
  for (let before: ProgramSpec | undefined; before !== best && tries < mostTries; ) {
    before = best;
    for (let size = Math.max(1, best.instructions.length >> 1); size >= 1; size = size === 1 ? 0 : size >> 1) {
      for (let at = best.instructions.length - size; at >= 0; at -= size) {
        attempt(deleteSlots(best, Array.from({ length: size }, (_, index) => at + index)));
        at = Math.min(at, best.instructions.length);
      }
    }
    for (let slot = best.instructions.length - 1; slot >= 0; slot--) {
      for (const simpler of simplifications(best.instructions[slot]!)) {
        const instructions = best.instructions.with(slot, simpler);
        if (attempt({ ...best, instructions })) break;
      }
    }
  }
  return best;
}

function* simplifications(instruction: Instruction): Generator<Instruction> {
  switch (instruction.kind) {
    case 'load':
    case 'movsx':
      yield { kind: 'alu', op: 'mov', width: 64, dst: instruction.dst, source: { kind: 'immediate', value: 0 } };
      break;
    case 'alu':
      if (instruction.source.kind === 'register') yield { ...instruction, op: 'mov', source: { kind: 'immediate', value: 0 } };
      else {
        if (instruction.op !== 'mov') yield { ...instruction, op: 'mov' };
        if (instruction.source.value !== 0 && instruction.source.value !== 1) yield { ...instruction, source: { kind: 'immediate', value: instruction.source.value > 0 && instruction.op !== 'mov' ? 1 : 0 } };
      }
      if (instruction.width === 32) yield { ...instruction, width: 64 };
      break;
    case 'branch':
      if (instruction.source.kind === 'register') yield { ...instruction, source: { kind: 'immediate', value: 0 } };
      else if (instruction.source.value !== 0) yield { ...instruction, source: { kind: 'immediate', value: 0 } };
      if (instruction.width === 32) yield { ...instruction, width: 64 };
      break;
    case 'store':
      if (instruction.source.kind === 'register') yield { ...instruction, source: { kind: 'immediate', value: 0 } };
      break;
    default:
      break;
  }
}
