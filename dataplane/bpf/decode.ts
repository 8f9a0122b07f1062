/**
 * Bytes to instructions (RFC 9669), as strict as Linux 6.18 or stricter: an unknown opcode, an impossible register or
 * a non-zero reserved field is one error line that names the slot. Nothing is guessed, so that encode.ts gives the
 * same bytes back. What is wrong with a *program* whose instructions are each well-formed is check.ts's matter.
 */
import { XdplabError } from '../errors.ts';
import type { AccessBytes, AluOp, AtomicOp, BranchOp, CallTarget, Immediate64, Instruction, Operand, OperandWidth, Register } from './isa.ts';
import { ALU_OPS, ATOMIC_OPS, BRANCH_OPS } from './isa.ts';
import * as opcode from './opcode.ts';

const { INSTRUCTION_BYTES, CLASS, MODE, SIZE } = opcode;

/** The fields of one slot, and for a 64-bit immediate load the immediate of the next. */
interface Slot {
  readonly index: number;
  readonly opcode: number;
  readonly dst: number;
  readonly src: number;
  readonly offset: number;
  readonly immediate: number;
  readonly upper: number;
}

type Field = 'dst' | 'src' | 'offset' | 'immediate';

/** How to read one opcode: the fields that must be zero, and the meaning of the others. */
interface Row {
  readonly zero: readonly Field[];
  readonly read: (slot: Slot) => Instruction;
}

/** What is wrong with a slot; `decodeInstructions` puts the place in front. */
class Malformed extends Error {}

const FIELD_NAMES: Readonly<Record<Field, string>> = {
  dst: 'destination register',
  src: 'source register',
  offset: 'offset',
  immediate: 'immediate',
};

function register(slot: Slot, field: 'dst' | 'src'): Register {
  const number = slot[field];
  if (number > 10) {
    throw new Malformed(`${FIELD_NAMES[field]} is r${number}, but registers are r0 to r10`);
  }
  return number as Register;
}

function operand(slot: Slot, isRegister: boolean): Operand {
  return isRegister ? { kind: 'register', register: register(slot, 'src') } : { kind: 'immediate', value: slot.immediate };
}

/** The operand that is not used, which must be zero. */
function unused(isRegister: boolean): Field {
  return isRegister ? 'immediate' : 'src';
}

const ROWS: (Row | undefined)[] = Array.from({ length: 256 });

for (const [width, instructionClass] of [[32, CLASS.alu32], [64, CLASS.alu64]] as const) {
  for (const isRegister of [false, true]) {
    const bits = instructionClass | (isRegister ? opcode.SOURCE_X : 0);
    for (const op of ALU_OPS) {
      ROWS[bits | opcode.ALU_CODE[op].op] = aluRow(opcode.ALU_CODE[op].op, width, isRegister);
    }
  }
  ROWS[instructionClass | opcode.NEG] = {
    zero: ['src', 'offset', 'immediate'],
    read: (slot) => ({ kind: 'neg', width, dst: register(slot, 'dst') }),
  };
}
ROWS[CLASS.alu32 | opcode.MOV | opcode.SOURCE_X] = moveRow(32);
ROWS[CLASS.alu64 | opcode.MOV | opcode.SOURCE_X] = moveRow(64);
ROWS[CLASS.alu32 | opcode.END] = endianRow('le');
ROWS[CLASS.alu32 | opcode.END | opcode.SOURCE_X] = endianRow('be');
ROWS[CLASS.alu64 | opcode.END] = endianRow('bswap');

/** Operations that share an opcode are told apart by the offset. */
function aluRow(code: number, width: OperandWidth, isRegister: boolean): Row {
  const variants: (AluOp | undefined)[] = [];
  for (const op of ALU_OPS) {
    if (opcode.ALU_CODE[op].op === code) {
      variants[opcode.ALU_CODE[op].offset] = op;
    }
  }
  return {
    zero: variants.length === 1 ? [unused(isRegister), 'offset'] : [unused(isRegister)],
    read: (slot) => {
      const op = variants[slot.offset];
      if (op === undefined) {
        throw new Malformed(`offset is ${slot.offset}, but division and modulo have 0 (unsigned) or 1 (signed) there`);
      }
      return { kind: 'alu', op, width, dst: register(slot, 'dst'), source: operand(slot, isRegister) };
    },
  };
}

function moveRow(width: OperandWidth): Row {
  const signExtensions = width === 64 ? [8, 16, 32] as const : [8, 16] as const;
  return {
    zero: ['immediate'],
    read: (slot) => {
      const dst = register(slot, 'dst');
      if (slot.offset === 0) {
        return { kind: 'alu', op: 'mov', width, dst, source: operand(slot, true) };
      }
      const bits = signExtensions.find((candidate) => candidate === slot.offset);
      if (bits === undefined) {
        throw new Malformed(`offset is ${slot.offset}, but a ${width}-bit move has 0 or sign-extends ${signExtensions.join(', ')} bits`);
      }
      return { kind: 'movsx', width, bits, dst, src: register(slot, 'src') };
    },
  };
}

function endianRow(op: 'le' | 'be' | 'bswap'): Row {
  return {
    zero: ['src', 'offset'],
    read: (slot) => {
      const bits = slot.immediate;
      if (bits !== 16 && bits !== 32 && bits !== 64) {
        throw new Malformed(`byte swap of ${bits} bits; expected 16, 32 or 64`);
      }
      return { kind: 'endian', op, bits, dst: register(slot, 'dst') };
    },
  };
}

for (const [width, instructionClass] of [[64, CLASS.jmp], [32, CLASS.jmp32]] as const) {
  for (const isRegister of [false, true]) {
    for (const op of BRANCH_OPS) {
      ROWS[instructionClass | opcode.BRANCH_CODE[op] | (isRegister ? opcode.SOURCE_X : 0)] = branchRow(op, width, isRegister);
    }
  }
}
ROWS[CLASS.jmp | opcode.JA] = {
  zero: ['dst', 'src', 'immediate'],
  read: (slot) => ({ kind: 'jump', offset: slot.offset, long: false }),
};
ROWS[CLASS.jmp32 | opcode.JA] = {
  zero: ['dst', 'src', 'offset'],
  read: (slot) => ({ kind: 'jump', offset: slot.immediate, long: true }),
};
ROWS[CLASS.jmp | opcode.JCOND] = { zero: ['dst', 'src', 'immediate'], read: (slot) => ({ kind: 'may_goto', offset: slot.offset }) };
ROWS[CLASS.jmp | opcode.CALL] = { zero: ['dst'], read: (slot) => ({ kind: 'call', target: callTarget(slot) }) };
ROWS[CLASS.jmp | opcode.EXIT] = { zero: ['dst', 'src', 'offset', 'immediate'], read: () => ({ kind: 'exit' }) };

function branchRow(op: BranchOp, width: OperandWidth, isRegister: boolean): Row {
  return {
    zero: [unused(isRegister)],
    read: (slot) => ({ kind: 'branch', op, width, dst: register(slot, 'dst'), source: operand(slot, isRegister), offset: slot.offset }),
  };
}

function callTarget(slot: Slot): CallTarget {
  if (slot.src === opcode.CALL_SOURCE.kfunc) {
    return { kind: 'kfunc', btfId: slot.immediate, module: slot.offset };
  }
  refuseNonZero(slot, ['offset']);
  switch (slot.src) {
    case opcode.CALL_SOURCE.helper:
      return { kind: 'helper', id: slot.immediate };
    case opcode.CALL_SOURCE.subprogram:
      return { kind: 'subprogram', slot: slot.index + 1 + slot.immediate };
    default:
      throw new Malformed(`call of kind ${slot.src}; expected 0 (helper), 1 (subprogram) or 2 (kernel function)`);
  }
}

for (const [sizeName, size] of Object.entries(SIZE)) {
  const bytes = Number(sizeName) as AccessBytes;
  ROWS[CLASS.ldx | MODE.mem | size] = loadRow(bytes, false);
  ROWS[CLASS.st | MODE.mem | size] = storeRow(bytes, false);
  ROWS[CLASS.stx | MODE.mem | size] = storeRow(bytes, true);
  ROWS[CLASS.stx | MODE.atomic | size] = { zero: [], read: (slot) => atomic(slot, bytes) };
  if (bytes !== 8) {
    ROWS[CLASS.ldx | MODE.memsx | size] = loadRow(bytes, true);
    ROWS[CLASS.ld | MODE.abs | size] = {
      zero: ['dst', 'src', 'offset'],
      read: (slot) => ({ kind: 'load_packet', bytes, offset: slot.immediate }),
    };
    ROWS[CLASS.ld | MODE.ind | size] = {
      zero: ['dst', 'offset'],
      read: (slot) => ({ kind: 'load_packet', bytes, offset: slot.immediate, index: register(slot, 'src') }),
    };
  }
}
const LOAD_IMM64_OPCODE = CLASS.ld | MODE.imm | SIZE[8];
ROWS[LOAD_IMM64_OPCODE] = {
  zero: ['offset'],
  read: (slot) => ({ kind: 'load_imm64', dst: register(slot, 'dst'), value: immediate64(slot) }),
};

function loadRow(bytes: AccessBytes, signed: boolean): Row {
  return {
    zero: ['immediate'],
    read: (slot) => ({ kind: 'load', bytes, signed, dst: register(slot, 'dst'), src: register(slot, 'src'), offset: slot.offset }),
  };
}

function storeRow(bytes: AccessBytes, isRegister: boolean): Row {
  return {
    zero: [unused(isRegister)],
    read: (slot) => ({ kind: 'store', bytes, dst: register(slot, 'dst'), offset: slot.offset, source: operand(slot, isRegister) }),
  };
}

/** The atomic operation of each immediate. */
const ATOMIC_FORMS = new Map<number, { readonly op: AtomicOp; readonly fetch: boolean }>();
for (const op of ATOMIC_OPS) {
  const { code, fetch } = opcode.ATOMIC_CODE[op];
  if (fetch !== 'always') {
    ATOMIC_FORMS.set(code, { op, fetch: fetch === 'returns' });
  }
  if (fetch === 'always' || fetch === 'optional') {
    ATOMIC_FORMS.set(code | opcode.FETCH, { op, fetch: true });
  }
}

function atomic(slot: Slot, bytes: AccessBytes): Instruction {
  const form = ATOMIC_FORMS.get(slot.immediate);
  if (form === undefined) {
    throw new Malformed(`unknown atomic operation ${hex(slot.immediate >>> 0)}`);
  }
  if (bytes < 4 && form.op !== 'load_acquire' && form.op !== 'store_release') {
    throw new Malformed(`atomic ${form.op} of ${bytes} ${bytes === 1 ? 'byte' : 'bytes'}; expected 4 or 8`);
  }
  return { kind: 'atomic', ...form, bytes, dst: register(slot, 'dst'), src: register(slot, 'src'), offset: slot.offset };
}

function immediate64(slot: Slot): Immediate64 {
  const { immediate, upper } = slot;
  const kinds = opcode.LOAD_IMM64;
  const hasUpper = slot.src === kinds.constant || slot.src === kinds.map_fd_value || slot.src === kinds.map_idx_value || slot.src === kinds.btf_id;
  if (!hasUpper && upper !== 0) {
    throw new Malformed(`upper immediate is ${upper}, but must be 0 for a source of ${slot.src}`);
  }
  switch (slot.src) {
    case kinds.constant:
      return { kind: 'constant', value: (BigInt(upper >>> 0) << 32n) | BigInt(immediate >>> 0) };
    case kinds.map_fd:
      return { kind: 'map_fd', fd: immediate };
    case kinds.map_fd_value:
      return { kind: 'map_fd_value', fd: immediate, offset: upper };
    case kinds.btf_id:
      return { kind: 'btf_id', id: immediate, fd: upper };
    case kinds.function:
      return { kind: 'function', slot: slot.index + 1 + immediate };
    case kinds.map_idx:
      return { kind: 'map_idx', index: immediate };
    case kinds.map_idx_value:
      return { kind: 'map_idx_value', index: immediate, offset: upper };
    default:
      throw new Malformed(`64-bit immediate of kind ${slot.src}; expected 0 to 6`);
  }
}

function refuseNonZero(slot: Slot, fields: readonly Field[]): void {
  for (const field of fields) {
    if (slot[field] !== 0) {
      throw new Malformed(`${FIELD_NAMES[field]} is ${slot[field]}, but is reserved and must be 0 in opcode ${hex(slot.opcode)}`);
    }
  }
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(2, '0')}`;
}

/** Decodes every slot of `bytes`. `where` begins the error line: a file and program. */
export function decodeInstructions(bytes: Uint8Array, where: string): Instruction[] {
  if (bytes.length % INSTRUCTION_BYTES !== 0) {
    throw new XdplabError('ERR_INSTRUCTION', `${where}: ${bytes.length} bytes of instructions; expected a multiple of ${INSTRUCTION_BYTES}: the section is cut short`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const instructions: Instruction[] = [];
  const count = bytes.length / INSTRUCTION_BYTES;
  for (let index = 0; index < count; index++) {
    try {
      const instruction = decodeSlot(view, index, count);
      instructions.push(instruction);
      if (instruction.kind === 'load_imm64') {
        instructions.push({ kind: 'upper' });
        index++;
      }
    } catch (error) {
      if (error instanceof Malformed) {
        throw new XdplabError('ERR_INSTRUCTION', `${where}: instruction ${index}: ${error.message}`);
      }
      throw error;
    }
  }
  return instructions;
}

function decodeSlot(view: DataView, index: number, count: number): Instruction {
  const at = index * INSTRUCTION_BYTES;
  const code = view.getUint8(at);
  const registers = view.getUint8(at + 1);
  const row = ROWS[code];
  if (row === undefined) {
    throw new Malformed(`unknown opcode ${hex(code)}; compile with clang -target bpf -mcpu=v4 or lower`);
  }
  const slot: Slot = {
    index,
    opcode: code,
    dst: registers & 0x0f,
    src: registers >>> 4,
    offset: view.getInt16(at + 2, true),
    immediate: view.getInt32(at + 4, true),
    upper: code === LOAD_IMM64_OPCODE ? upperImmediate(view, index, count) : 0,
  };
  refuseNonZero(slot, row.zero);
  return row.read(slot);
}

/** The immediate of a 64-bit immediate load's second slot, whose other fields are all reserved. */
function upperImmediate(view: DataView, index: number, count: number): number {
  if (index + 1 === count) {
    throw new Malformed('64-bit immediate load without its second slot: the program ends here');
  }
  const at = (index + 1) * INSTRUCTION_BYTES;
  if (view.getUint32(at, true) !== 0) {
    throw new Malformed('64-bit immediate load whose second slot is an instruction; expected opcode, registers and offset 0 there');
  }
  return view.getInt32(at + 4, true);
}
