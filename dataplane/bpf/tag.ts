/**
 * A program's tag: the name that bpftool shows and that stays the same on every machine. Linux hashes the
 * instructions as they were loaded, with map references blanked because descriptors differ from load to load:
 * SHA-256 since 6.18, which is what this is, SHA-1 before.
 */
import { createHash } from 'node:crypto';
import { encodeInstructions } from './encode.ts';
import type { Instruction } from './isa.ts';

/** Linux blanks references by descriptor (kinds 1 and 2), not those by index or BTF id. */
function blank(instruction: Instruction): Instruction {
  if (instruction.kind !== 'load_imm64') {
    return instruction;
  }
  switch (instruction.value.kind) {
    case 'map':
    case 'map_fd':
      return { ...instruction, value: { kind: 'map_fd', fd: 0 } };
    case 'map_value':
    case 'map_fd_value':
      return { ...instruction, value: { kind: 'map_fd_value', fd: 0, offset: 0 } };
    default:
      return instruction;
  }
}

/** 16 hexadecimal digits, as `bpftool prog show` prints them. */
export function programTag(instructions: readonly Instruction[]): string {
  return createHash('sha256').update(encodeInstructions(instructions.map(blank))).digest('hex').slice(0, 16);
}
