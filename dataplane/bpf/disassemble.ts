/**
 * Instructions as text, as Linux spells them: `bpftool prog dump xlated` and the verifier's log read the same.
 *
 *      0: (b7) r0 = 1
 *      1: (18) r1 = map[counters]
 *      3: (2d) if r3 > r2 goto pc+7
 *
 * Where the kernel knows only numbers (map ids, function offsets) and we know names, the names are shown.
 */
import { opcodeByte } from './encode.ts';
import type { CallTarget, Immediate64, Instruction, Operand, OperandWidth, Register } from './isa.ts';
import { ACCESS_TEXT, ALU_TEXT, ATOMIC_ASSIGNMENTS, BRANCH_TEXT, SIGNED_ACCESS_TEXT } from './syntax.ts';

/** What things are called; each may answer undefined and is then shown as a number. */
export interface Names {
  /** `map_lookup_elem`, without the `bpf_` that is put in front of it. */
  readonly helper?: (id: number) => string | undefined;
  /** The function that begins at a slot. */
  readonly subprogram?: (slot: number) => string | undefined;
  /** What stands in `map[…]` for a map: its name unless said. bpftool has `id:5`. */
  readonly map?: (map: string) => string;
}

const NO_NAMES: Names = {};

/** One line per instruction: slot, opcode in hexadecimal, text. */
export function disassemble(instructions: readonly Instruction[], names: Names = NO_NAMES): string[] {
  const lines: string[] = [];
  for (const [slot, instruction] of instructions.entries()) {
    if (instruction.kind !== 'upper') {
      const opcode = opcodeByte(instruction).toString(16).padStart(2, '0');
      lines.push(`${String(slot).padStart(4)}: (${opcode}) ${disassembleInstruction(instruction, slot, names)}`);
    }
  }
  return lines;
}

/** The text alone, which assemble.ts reads back. */
export function disassembleInstruction(instruction: Instruction, slot: number, names: Names = NO_NAMES): string {
  switch (instruction.kind) {
    case 'alu':
      return `${register(instruction.dst, instruction.width)} ${ALU_TEXT[instruction.op]} ${operand(instruction.source, instruction.width)}`;
    case 'neg':
      return `${register(instruction.dst, instruction.width)} = -${register(instruction.dst, instruction.width)}`;
    case 'movsx':
      return `${register(instruction.dst, instruction.width)} = (s${instruction.bits})${register(instruction.src, instruction.width)}`;
    case 'endian':
      return `r${instruction.dst} = ${instruction.op}${instruction.bits} r${instruction.dst}`;
    case 'load_imm64':
      return `r${instruction.dst} = ${immediate64(instruction.value, slot, names)}`;
    case 'upper':
      return '';
    case 'load': {
      const { bytes } = instruction;
      const type = instruction.signed && bytes !== 8 ? SIGNED_ACCESS_TEXT[bytes] : ACCESS_TEXT[bytes];
      return `r${instruction.dst} = *(${type} *)(r${instruction.src} ${signed(instruction.offset)})`;
    }
    case 'store':
      return `${memory(instruction)} = ${operand(instruction.source, 64)}`;
    case 'atomic':
      return atomic(instruction);
    case 'load_packet': {
      const at = instruction.index === undefined ? String(instruction.offset) : `r${instruction.index} + ${instruction.offset}`;
      return `r0 = *(${ACCESS_TEXT[instruction.bytes]} *)skb[${at}]`;
    }
    case 'jump':
      return `${instruction.long ? 'gotol' : 'goto'} pc${signed(instruction.offset)}`;
    case 'branch': {
      const { source, width } = instruction;
      const right = source.kind === 'register' ? register(source.register, width) : `0x${(source.value >>> 0).toString(16)}`;
      return `if ${register(instruction.dst, width)} ${BRANCH_TEXT[instruction.op]} ${right} goto pc${signed(instruction.offset)}`;
    }
    case 'may_goto':
      return `may_goto pc${signed(instruction.offset)}`;
    case 'call':
      return `call ${callTarget(instruction.target, slot, names)}`;
    case 'exit':
      return 'exit';
    default:
      return instruction satisfies never;
  }
}

function register(number: Register, width: OperandWidth): string {
  return `${width === 64 ? 'r' : 'w'}${number}`;
}

function operand(source: Operand, width: OperandWidth): string {
  return source.kind === 'register' ? register(source.register, width) : String(source.value);
}

function signed(offset: number): string {
  return offset < 0 ? String(offset) : `+${offset}`;
}

function memory(access: { readonly bytes: 1 | 2 | 4 | 8; readonly dst: Register; readonly offset: number }): string {
  return `*(${ACCESS_TEXT[access.bytes]} *)(r${access.dst} ${signed(access.offset)})`;
}

function atomic(instruction: Extract<Instruction, { kind: 'atomic' }>): string {
  const { op, bytes, dst, src, offset } = instruction;
  const address = (base: Register): string => `(${ACCESS_TEXT[bytes]} *)(r${base} ${signed(offset)})`;
  const wide = bytes === 8 ? '64' : '';
  switch (op) {
    case 'load_acquire':
      return `r${dst} = load_acquire(${address(src)})`;
    case 'store_release':
      return `store_release(${address(dst)}, r${src})`;
    case 'cmpxchg':
      return `r0 = atomic${wide}_cmpxchg(${address(dst)}, r0, r${src})`;
    case 'xchg':
      return `r${src} = atomic${wide}_xchg(${address(dst)}, r${src})`;
    default: {
      const assignment: (typeof ATOMIC_ASSIGNMENTS)[number] = op;
      return instruction.fetch
        ? `r${src} = atomic${wide}_fetch_${assignment}(${address(dst)}, r${src})`
        : `lock ${memory(instruction)} ${ALU_TEXT[assignment]} r${src}`;
    }
  }
}

function immediate64(value: Immediate64, slot: number, names: Names): string {
  switch (value.kind) {
    case 'constant':
      return `0x${BigInt.asUintN(64, value.value).toString(16)}`;
    case 'map':
      return `map[${names.map?.(value.map) ?? value.map}]`;
    case 'map_value':
      return `map[${names.map?.(value.map) ?? value.map}][0]+${value.offset >>> 0}`;
    case 'function':
      return `subprog[${relative(value.slot, slot)}]`;
    case 'map_fd':
      return `map[fd:${value.fd}]`;
    case 'map_fd_value':
      return `map[fd:${value.fd}][0]+${value.offset >>> 0}`;
    case 'map_idx':
      return `map[idx:${value.index}]`;
    case 'map_idx_value':
      return `map[idx:${value.index}]+${value.offset >>> 0}`;
    case 'btf_id':
      return value.fd === 0 ? `btf[id:${value.id}]` : `btf[id:${value.id},fd:${value.fd}]`;
    default:
      return value satisfies never;
  }
}

function relative(target: number, slot: number): string {
  return signed(target - slot - 1);
}

function callTarget(target: CallTarget, slot: number, names: Names): string {
  switch (target.kind) {
    case 'helper': {
      const name = names.helper?.(target.id);
      return `${name === undefined ? 'unknown' : `bpf_${name}`}#${target.id}`;
    }
    case 'subprogram': {
      const name = names.subprogram?.(target.slot);
      return `pc${relative(target.slot, slot)}${name === undefined ? '' : `#${name}`}`;
    }
    case 'kfunc':
      return `${target.name ?? 'kernel-function'}#${target.btfId}`;
    default:
      return target satisfies never;
  }
}
