/** References to kernel functions by name as the running kernel takes them: by their numbers in its BTF. */
import type { Instruction } from '../../bpf/isa.ts';
import { defaultKernelBtf } from '../../bpf/kernel-btf.ts';

export function withKernelFunctions(instructions: readonly Instruction[]): readonly Instruction[] {
  const names = instructions.some((each) => nameIn(each) !== undefined);
  return names ? instructions.map(numbered) : instructions;
}

/** A function that is named, and that the running kernel does not have: a number for it would be that of something else. */
export function missingKernelFunction(instructions: readonly Instruction[]): string | undefined {
  return instructions.map(nameIn).find((name) => name !== undefined && defaultKernelBtf().idsByName(name, 'func')[0] === undefined);
}

function nameIn(instruction: Instruction): string | undefined {
  if (instruction.kind === 'call' && instruction.target.kind === 'kfunc') return instruction.target.name;
  return instruction.kind === 'load_imm64' && instruction.value.kind === 'btf_id' ? instruction.value.name : undefined;
}

function numbered(instruction: Instruction): Instruction {
  const name = nameIn(instruction);
  const id = name === undefined ? undefined : defaultKernelBtf().idsByName(name, 'func')[0];
  if (id === undefined) return instruction;
  if (instruction.kind === 'call') return { kind: 'call', target: { kind: 'kfunc', btfId: id, module: 0, name: name! } };
  return instruction.kind === 'load_imm64' ? { ...instruction, value: { kind: 'btf_id', id, fd: 0, name: name! } } : instruction;
}
