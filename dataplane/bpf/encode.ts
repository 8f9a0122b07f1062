/**
 * Instructions to bytes (RFC 9669): the inverse of decode.ts. Instructions that name a map have no bytes until the
 * caller says which file descriptor stands for the name.
 */
import { XdplabError } from '../errors.ts';
import type { CallTarget, Immediate64, Instruction, Operand } from './isa.ts';
import * as opcode from './opcode.ts';

const { INSTRUCTION_BYTES, CLASS, MODE, SIZE } = opcode;

/** One slot's fields; what is absent is 0. */
interface Fields {
  readonly opcode: number;
  readonly dst?: number;
  readonly src?: number;
  readonly offset?: number;
  readonly immediate?: number;
  /** The immediate of the second slot of a 64-bit immediate load. */
  readonly upper?: number;
}

export type MapFileDescriptor = (map: string) => number;

function refuseMapName(map: string): never {
  throw new XdplabError('ERR_INSTRUCTION', `map ${map} has no file descriptor, so its reference cannot be encoded; pass the descriptors of the program's maps`);
}

/** Encodes every slot. Subprogram and function slots are absolute in `instructions`. */
export function encodeInstructions(instructions: readonly Instruction[], mapFileDescriptor: MapFileDescriptor = refuseMapName): Uint8Array {
  const bytes = new Uint8Array(instructions.length * INSTRUCTION_BYTES);
  const view = new DataView(bytes.buffer);
  let upper = 0;
  for (const [slot, instruction] of instructions.entries()) {
    const fields = instruction.kind === 'upper' ? { opcode: 0, immediate: upper } : encode(instruction, slot, mapFileDescriptor);
    const at = slot * INSTRUCTION_BYTES;
    view.setUint8(at, fields.opcode);
    view.setUint8(at + 1, ((fields.src ?? 0) << 4) | (fields.dst ?? 0));
    view.setInt16(at + 2, fields.offset ?? 0, true);
    view.setInt32(at + 4, fields.immediate ?? 0, true);
    upper = fields.upper ?? 0;
  }
  return bytes;
}

/** The first byte of an instruction's encoding, which listings show. */
export function opcodeByte(instruction: Instruction): number {
  return instruction.kind === 'upper' ? 0 : encode(instruction, 0, () => 0).opcode;
}

function encode(instruction: Exclude<Instruction, { kind: 'upper' }>, slot: number, mapFileDescriptor: MapFileDescriptor): Fields {
  switch (instruction.kind) {
    case 'alu': {
      const { op, offset } = opcode.ALU_CODE[instruction.op];
      return { opcode: aluClass(instruction.width) | op | sourceBit(instruction.source), dst: instruction.dst, offset, ...sourceFields(instruction.source) };
    }
    case 'neg':
      return { opcode: aluClass(instruction.width) | opcode.NEG, dst: instruction.dst };
    case 'movsx':
      return { opcode: aluClass(instruction.width) | opcode.MOV | opcode.SOURCE_X, dst: instruction.dst, src: instruction.src, offset: instruction.bits };
    case 'endian':
      return { opcode: ENDIAN_OPCODE[instruction.op], dst: instruction.dst, immediate: instruction.bits };
    case 'load_imm64':
      return { opcode: CLASS.ld | MODE.imm | SIZE[8], dst: instruction.dst, ...immediate64(instruction.value, slot, mapFileDescriptor) };
    case 'load':
      return {
        opcode: CLASS.ldx | (instruction.signed ? MODE.memsx : MODE.mem) | SIZE[instruction.bytes],
        dst: instruction.dst,
        src: instruction.src,
        offset: instruction.offset,
      };
    case 'store':
      return {
        opcode: (instruction.source.kind === 'register' ? CLASS.stx : CLASS.st) | MODE.mem | SIZE[instruction.bytes],
        dst: instruction.dst,
        offset: instruction.offset,
        ...sourceFields(instruction.source),
      };
    case 'atomic': {
      const { code, fetch } = opcode.ATOMIC_CODE[instruction.op];
      const isFetch = fetch === 'always' || (fetch === 'optional' && instruction.fetch);
      return {
        opcode: CLASS.stx | MODE.atomic | SIZE[instruction.bytes],
        dst: instruction.dst,
        src: instruction.src,
        offset: instruction.offset,
        immediate: isFetch ? code | opcode.FETCH : code,
      };
    }
    case 'load_packet':
      return instruction.index === undefined
        ? { opcode: CLASS.ld | MODE.abs | SIZE[instruction.bytes], immediate: instruction.offset }
        : { opcode: CLASS.ld | MODE.ind | SIZE[instruction.bytes], src: instruction.index, immediate: instruction.offset };
    case 'jump':
      return instruction.long ? { opcode: CLASS.jmp32 | opcode.JA, immediate: instruction.offset } : { opcode: CLASS.jmp | opcode.JA, offset: instruction.offset };
    case 'branch':
      return {
        opcode: (instruction.width === 64 ? CLASS.jmp : CLASS.jmp32) | opcode.BRANCH_CODE[instruction.op] | sourceBit(instruction.source),
        dst: instruction.dst,
        offset: instruction.offset,
        ...sourceFields(instruction.source),
      };
    case 'may_goto':
      return { opcode: CLASS.jmp | opcode.JCOND, offset: instruction.offset };
    case 'call':
      return { opcode: CLASS.jmp | opcode.CALL, src: opcode.CALL_SOURCE[instruction.target.kind], ...callFields(instruction.target, slot) };
    case 'exit':
      return { opcode: CLASS.jmp | opcode.EXIT };
    default:
      return instruction satisfies never;
  }
}

const ENDIAN_OPCODE = {
  le: CLASS.alu32 | opcode.END,
  be: CLASS.alu32 | opcode.END | opcode.SOURCE_X,
  bswap: CLASS.alu64 | opcode.END,
} as const;

function aluClass(width: 32 | 64): number {
  return width === 64 ? CLASS.alu64 : CLASS.alu32;
}

function sourceBit(source: Operand): number {
  return source.kind === 'register' ? opcode.SOURCE_X : 0;
}

function sourceFields(source: Operand): { src: number } | { immediate: number } {
  return source.kind === 'register' ? { src: source.register } : { immediate: source.value };
}

function callFields(target: CallTarget, slot: number): { immediate: number; offset?: number } {
  switch (target.kind) {
    case 'helper':
      return { immediate: target.id };
    case 'subprogram':
      return { immediate: target.slot - slot - 1 };
    case 'kfunc':
      return { immediate: target.btfId, offset: target.module };
    default:
      return target satisfies never;
  }
}

function immediate64(value: Immediate64, slot: number, mapFileDescriptor: MapFileDescriptor): { src: number; immediate: number; upper: number } {
  const kinds = opcode.LOAD_IMM64;
  switch (value.kind) {
    case 'constant':
      return { src: kinds.constant, immediate: Number(BigInt.asIntN(32, value.value)), upper: Number(BigInt.asIntN(32, value.value >> 32n)) };
    case 'map':
      return { src: kinds.map_fd, immediate: mapFileDescriptor(value.map), upper: 0 };
    case 'map_value':
      return { src: kinds.map_fd_value, immediate: mapFileDescriptor(value.map), upper: value.offset };
    case 'function':
      return { src: kinds.function, immediate: value.slot - slot - 1, upper: 0 };
    case 'map_fd':
      return { src: kinds.map_fd, immediate: value.fd, upper: 0 };
    case 'map_fd_value':
      return { src: kinds.map_fd_value, immediate: value.fd, upper: value.offset };
    case 'map_idx':
      return { src: kinds.map_idx, immediate: value.index, upper: 0 };
    case 'map_idx_value':
      return { src: kinds.map_idx_value, immediate: value.index, upper: value.offset };
    case 'btf_id':
      return { src: kinds.btf_id, immediate: value.id, upper: value.fd };
    default:
      return value satisfies never;
  }
}
