/**
 * Random programs that Linux takes, over all registers: they begin with known and unknown numbers everywhere, and end
 * by mixing every register and the stack into r0, so that no difference is lost.
 */
import * as fc from 'fast-check';
import { assemble } from '../../dataplane/bpf/assemble.ts';
import type { Instruction, Operand, Register } from '../../dataplane/bpf/isa.ts';
import { accessInstruction, aluInstruction, branchInstruction } from '../bpf/arbitrary-instruction.ts';

export interface RandomProgram {
  readonly instructions: readonly Instruction[];
  /** What the packet begins with: half of the registers' first values. */
  readonly packet: Uint8Array;
}

/** The registers a program computes with, and the stack it uses: the lowest bytes of 64 below r10. */
interface Shape {
  readonly general: readonly Register[];
  /** Registers that point to the stack, each with what it is from r10. */
  readonly bases: readonly { readonly register: Register; readonly fromFramePointer: number }[];
}

const STACK_BYTES = 64;
const ALL: readonly Register[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const PLAIN: Shape = { general: ALL, bases: [{ register: 10, fromFramePointer: 0 }] };
/** r7 counts turns of a loop, r8 is a second way to the stack. */
const ALIASED: Shape = { general: [0, 1, 2, 3, 4, 5, 6, 9], bases: [...PLAIN.bases, { register: 8, fromFramePointer: -STACK_BYTES }] };

/** An instruction that Linux takes: pointers are left alone, constants neither divide by 0 nor shift too far. */
function legal(instruction: Instruction, { general, bases }: Shape): Instruction {
  const toGeneral = (register: Register): Register => general[register % general.length]!;
  const operand = (source: Operand): Operand => (source.kind === 'register' ? { kind: 'register', register: toGeneral(source.register) } : source);
  const place = (register: Register, offset: number, bytes: number): { base: Register; offset: number } => {
    const { register: base, fromFramePointer } = bases[register % bases.length]!;
    return { base, offset: -STACK_BYTES + (offset & (STACK_BYTES - 1) & -bytes) - fromFramePointer };
  };
  switch (instruction.kind) {
    case 'alu': {
      const { op, width } = instruction;
      let source = operand(instruction.source);
      if (source.kind === 'immediate') {
        if (op.endsWith('sh')) source = { kind: 'immediate', value: source.value & (width - 1) };
        else if (/div|mod/.test(op) && source.value === 0) source = { kind: 'immediate', value: -1 };
      }
      return { ...instruction, dst: toGeneral(instruction.dst), source };
    }
    case 'neg':
    case 'endian':
      return { ...instruction, dst: toGeneral(instruction.dst) };
    case 'movsx':
      return { ...instruction, dst: toGeneral(instruction.dst), src: toGeneral(instruction.src) };
    case 'branch':
      return { ...instruction, dst: toGeneral(instruction.dst), source: operand(instruction.source) };
    case 'load': {
      const { base, offset } = place(instruction.src, instruction.offset, instruction.bytes);
      return { ...instruction, dst: toGeneral(instruction.dst), src: base, offset };
    }
    case 'store': {
      const { base, offset } = place(instruction.dst, instruction.offset, instruction.bytes);
      return { ...instruction, dst: base, source: operand(instruction.source), offset };
    }
    case 'atomic': {
      const isLoad = instruction.op === 'load_acquire';
      const { base, offset } = place(isLoad ? instruction.src : instruction.dst, instruction.offset, instruction.bytes);
      return isLoad ? { ...instruction, dst: toGeneral(instruction.dst), src: base, offset } : { ...instruction, dst: base, src: toGeneral(instruction.src), offset };
    }
    default:
      return instruction;
  }
}

function text(source: string): readonly Instruction[] {
  return assemble(source).instructions;
}

/** Fills stack and registers; odd registers come from the packet, where no compiler knows what they are. */
function prologue(values: readonly bigint[], { general }: Shape): Instruction[] {
  const list: Instruction[] = [...text('r9 = *(u32 *)(r1 +0)\nr2 = *(u32 *)(r1 +4)\nr3 = r9\nr3 += 64\nif r3 <= r2 goto pc+2\nr0 = 0\nexit')];
  for (let offset = -STACK_BYTES; offset < 0; offset += 8) list.push(...text(`*(u64 *)(r10 ${offset}) = ${offset}`));
  for (const register of general) {
    const source = register % 2 === 0 ? `${values[register]!} ll` : `*(u64 *)(r9 +${4 * (register - 1)})`;
    list.push(...text(`r${register} = ${source}`));
  }
  return list;
}

function epilogue({ general }: Shape): Instruction[] {
  const list: Instruction[] = [];
  const mix = (register: Register): void => {
    list.push(...text(`r0 *= 31\nr0 += r${register}`));
  };
  for (const register of general) if (register !== 0) mix(register);
  for (let offset = -STACK_BYTES; offset < 0; offset += 8) {
    list.push(...text(`r1 = *(u64 *)(r10 ${offset})`));
    mix(1);
  }
  return [...list, { kind: 'exit' }];
}

function packetOf(values: readonly bigint[]): Uint8Array {
  const packet = new Uint8Array(64);
  const view = new DataView(packet.buffer);
  for (const register of ALL) if (register % 2 === 1) view.setBigUint64(4 * (register - 1), values[register]!, true);
  return packet;
}

/** One instruction, or several that belong together. */
type Unit = readonly Instruction[];

/** Passes the stack to a function, which has yet to get its place. Linux wants r1 to r5 set anew afterwards. */
const CALL: Unit = text('r1 = r8\ncall pc+0\nr1 = -1\nr2 = 2\nr3 = 3\nr4 = 4\nr5 = 5');
const CALLEE: Unit = text(`
  r6 = *(u64 *)(r1 +8)
  r0 = *(u32 *)(r1 +20)
  r0 += r6
  *(u64 *)(r1 +16) = r0
  *(u8 *)(r1 +3) = r0
  *(u64 *)(r10 -8) = r0
  exit`);

/** Puts units in a row; branches go forward, to the start of a unit or to the end. */
function join(row: readonly Unit[], shape: Shape): Instruction[] {
  return row.flatMap((each, index) => {
    if (each === CALL) return each;
    const [first] = each;
    if (first?.kind !== 'branch') return each.map((instruction) => legal(instruction, shape));
    const skipped = row.slice(index + 1, index + 1 + (Math.abs(first.offset) % (row.length - index)));
    return [{ ...legal(first, shape), offset: skipped.flat().length } as Instruction];
  });
}

const wide: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
  fc.constantFrom(0n, 1n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, 0x1_0000_0000n, 0x7fff_ffff_ffff_ffffn, 0x8000_0000_0000_0000n, 0xffff_ffff_ffff_ffffn),
);
const tenValues = fc.array(wide, { minLength: 10, maxLength: 10 });

function units(...kinds: readonly fc.Arbitrary<Unit>[]): fc.Arbitrary<Unit[]> {
  return fc.array(fc.oneof(...kinds), { minLength: 1, maxLength: 40 });
}

const unit = (instruction: fc.Arbitrary<Instruction>): fc.Arbitrary<Unit> => instruction.map((each) => [each]);

/** Arithmetic in a straight line. */
export const arithmeticProgram: fc.Arbitrary<RandomProgram> = fc.tuple(tenValues, units(unit(aluInstruction))).map(([values, body]) => ({
  instructions: [...prologue(values, PLAIN), ...join(body, PLAIN), ...epilogue(PLAIN)],
  packet: packetOf(values),
}));

/** Arithmetic, stack accesses and forward branches. */
export const branchingProgram: fc.Arbitrary<RandomProgram> = fc
  .tuple(tenValues, units(unit(aluInstruction), unit(accessInstruction), unit(branchInstruction)))
  .map(([values, body]) => ({
    instructions: [...prologue(values, PLAIN), ...join(body, PLAIN), ...epilogue(PLAIN)],
    packet: packetOf(values),
  }));

/** Stack accesses by two ways, in a loop, with calls of a function that reads and writes the same stack. */
export const aliasedProgram: fc.Arbitrary<RandomProgram> = fc
  .tuple(tenValues, units(unit(aluInstruction), unit(accessInstruction), unit(accessInstruction), unit(branchInstruction), fc.constant(CALL)))
  .map(([values, list]) => {
    const body = join(list, ALIASED);
    const main = [
      ...prologue(values, ALIASED),
      ...text(`r8 = r10\nr8 += ${-STACK_BYTES}\nr7 = 3`),
      ...body,
      ...text(`r7 -= 1\nif r7 != 0 goto pc-${body.length + 2}`),
      ...epilogue(ALIASED),
    ];
    const linked = main.map((each): Instruction => (each.kind === 'call' ? { kind: 'call', target: { kind: 'subprogram', slot: main.length } } : each));
    return { instructions: list.includes(CALL) ? [...linked, ...CALLEE] : linked, packet: packetOf(values) };
  });
