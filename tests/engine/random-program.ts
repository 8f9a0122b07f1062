/** Random programs that Linux takes: arithmetic, stack accesses and forward branches over all registers. */
import * as fc from 'fast-check';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import type { Instruction, Operand, Register } from '../../dataplane/bpf/isa.ts';
import { accessInstruction, aluInstruction, branchInstruction } from '../bpf/arbitrary-instruction.ts';

export interface RandomProgram {
  readonly instructions: readonly Instruction[];
  /** What the packet begins with: half of the registers' first values. */
  readonly packet: Uint8Array;
}

const GENERAL: readonly Register[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const MASKED_OFFSETS = 64;

const toGeneral = (register: Register): Register => (register === 10 ? 9 : register);

function generalOperand(source: Operand): Operand {
  return source.kind === 'register' ? { kind: 'register', register: toGeneral(source.register) } : source;
}

/** An instruction that Linux takes: r10 is left alone, constants neither divide by 0 nor shift too far. */
function legal(instruction: Instruction): Instruction {
  switch (instruction.kind) {
    case 'alu': {
      let source = generalOperand(instruction.source);
      if (source.kind === 'immediate') {
        if (instruction.op.endsWith('sh')) source = { kind: 'immediate', value: source.value & (instruction.width - 1) };
        else if (/div|mod/.test(instruction.op) && source.value === 0) source = { kind: 'immediate', value: -1 };
      }
      return { ...instruction, dst: toGeneral(instruction.dst), source };
    }
    case 'neg':
    case 'endian':
      return { ...instruction, dst: toGeneral(instruction.dst) };
    case 'movsx':
      return { ...instruction, dst: toGeneral(instruction.dst), src: toGeneral(instruction.src) };
    case 'branch':
      return { ...instruction, dst: toGeneral(instruction.dst), source: generalOperand(instruction.source) };
    // Memory is the stack, at an offset that fits.
    case 'load':
      return { ...instruction, dst: toGeneral(instruction.dst), src: 10, offset: stackOffset(instruction.offset, instruction.bytes) };
    case 'store':
      return { ...instruction, dst: 10, source: generalOperand(instruction.source), offset: stackOffset(instruction.offset, instruction.bytes) };
    case 'atomic': {
      const offset = stackOffset(instruction.offset, instruction.bytes);
      if (instruction.op === 'load_acquire') return { ...instruction, dst: toGeneral(instruction.dst), src: 10, offset };
      return { ...instruction, dst: 10, src: toGeneral(instruction.src), offset };
    }
    default:
      return instruction;
  }
}

function stackOffset(offset: number, bytes: number): number {
  return -MASKED_OFFSETS + ((offset & (MASKED_OFFSETS - 1)) & -bytes);
}

const wide: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
  fc.constantFrom(0n, 1n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, 0x1_0000_0000n, 0x7fff_ffff_ffff_ffffn, 0x8000_0000_0000_0000n, 0xffff_ffff_ffff_ffffn),
);

function constant(dst: Register, value: bigint): Instruction[] {
  return [{ kind: 'load_imm64', dst, value: { kind: 'constant', value } }, { kind: 'upper' }];
}

/** Registers and stack filled, half of the registers from the packet, where no compiler knows what they are. */
function prologue(values: readonly bigint[]): Instruction[] {
  const list: Instruction[] = [...assemble(`
    r9 = *(u32 *)(r1 +0)
    r2 = *(u32 *)(r1 +4)
    r3 = r9
    r3 += 64
    if r3 <= r2 goto pc+2
    r0 = 0
    exit`).instructions];
  for (let offset = -MASKED_OFFSETS; offset < 0; offset += 8) list.push({ kind: 'store', bytes: 8, dst: 10, offset, source: { kind: 'immediate', value: offset } });
  for (const register of GENERAL) {
    if (register % 2 === 0) list.push(...constant(register, values[register]!));
    else list.push({ kind: 'load', bytes: 8, signed: false, dst: register, src: 9, offset: 4 * (register - 1) });
  }
  return list;
}

/** Mixes every register and the stack into r0, so that no difference is lost. */
function epilogue(): Instruction[] {
  const list: Instruction[] = [];
  const mix = (source: Register): void => {
    list.push({ kind: 'alu', op: 'mul', width: 64, dst: 0, source: { kind: 'immediate', value: 31 } });
    list.push({ kind: 'alu', op: 'add', width: 64, dst: 0, source: { kind: 'register', register: source } });
  };
  for (const register of GENERAL.slice(1)) mix(register);
  for (let offset = -MASKED_OFFSETS; offset < 0; offset += 8) {
    list.push({ kind: 'load', bytes: 8, signed: false, dst: 1, src: 10, offset });
    mix(1);
  }
  return [...list, { kind: 'exit' }];
}


function randomProgram(values: readonly bigint[], body: readonly Instruction[]): RandomProgram {
  const packet = new Uint8Array(64);
  const view = new DataView(packet.buffer);
  for (const register of GENERAL) if (register % 2 === 1) view.setBigUint64(4 * (register - 1), values[register]!, true);
  return { instructions: [...prologue(values), ...body, ...epilogue()], packet };
}

const tenValues = fc.array(wide, { minLength: 10, maxLength: 10 });
const BODY = { minLength: 1, maxLength: 40 };

export const arithmeticProgram: fc.Arbitrary<RandomProgram> = fc.tuple(tenValues, fc.array(aluInstruction.map(legal), BODY)).map(([values, body]) => randomProgram(values, body));

const anyInstruction = fc.oneof({ weight: 3, arbitrary: aluInstruction }, { weight: 3, arbitrary: accessInstruction }, branchInstruction).map(legal);

export const mixedProgram: fc.Arbitrary<RandomProgram> = fc.tuple(tenValues, fc.array(anyInstruction, BODY)).map(([values, list]) =>
  randomProgram(
    values,
    list.map((each, slot): Instruction => (each.kind === 'branch' ? { ...each, offset: Math.abs(each.offset) % (list.length - slot) } : each)),
  ),
);
