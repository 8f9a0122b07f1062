/** Random well-formed instructions for property tests: every kind, every operation, every width. */
import * as fc from 'fast-check';
import type { Immediate64, Instruction, Operand, Register } from '../../dataplane/bpf/isa.ts';
import { ALU_OPS, BRANCH_OPS } from '../../dataplane/bpf/isa.ts';

export const register: fc.Arbitrary<Register> = fc.integer({ min: 0, max: 10 }).map((number) => number as Register);
const offset = fc.integer({ min: -32_768, max: 32_767 });
/** Zero, one, the signs and the ends of the range come up often: fc biases towards them. */
export const immediate: fc.Arbitrary<number> = fc.oneof(fc.integer({ min: -2_147_483_648, max: 2_147_483_647 }), fc.constantFrom(0, 1, -1, 31, 32, 63, 0x7fff_ffff, -0x8000_0000));
const width = fc.constantFrom(32 as const, 64 as const);
const anyBytes = fc.constantFrom(1 as const, 2 as const, 4 as const, 8 as const);

export const operand: fc.Arbitrary<Operand> = fc.oneof(
  fc.record({ kind: fc.constant('register' as const), register }),
  fc.record({ kind: fc.constant('immediate' as const), value: immediate }),
);

const immediate64: fc.Arbitrary<Immediate64> = fc.oneof(
  fc.record({ kind: fc.constant('constant' as const), value: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }) }),
  fc.record({ kind: fc.constant('map_fd' as const), fd: immediate }),
  fc.record({ kind: fc.constant('map_fd_value' as const), fd: immediate, offset: immediate }),
  fc.record({ kind: fc.constant('map_idx' as const), index: immediate }),
  fc.record({ kind: fc.constant('map_idx_value' as const), index: immediate, offset: immediate }),
  fc.record({ kind: fc.constant('btf_id' as const), id: immediate, fd: immediate }),
  fc.record({ kind: fc.constant('function' as const), slot: fc.integer({ min: 0, max: 1000 }) }),
);

type Access = Extract<Instruction, { kind: 'load' | 'store' | 'atomic' }>;

export const aluInstruction: fc.Arbitrary<Instruction> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('alu' as const), op: fc.constantFrom(...ALU_OPS), width, dst: register, source: operand }) },
  fc.record({ kind: fc.constant('neg' as const), width, dst: register }),
  fc
    .constantFrom<readonly [32 | 64, 8 | 16 | 32]>([32, 8], [32, 16], [64, 8], [64, 16], [64, 32])
    .chain(([moved, bits]) => fc.record({ kind: fc.constant('movsx' as const), width: fc.constant(moved), bits: fc.constant(bits), dst: register, src: register })),
  fc.record({
    kind: fc.constant('endian' as const),
    op: fc.constantFrom('le' as const, 'be' as const, 'bswap' as const),
    bits: fc.constantFrom(16 as const, 32 as const, 64 as const),
    dst: register,
  }),
);

export const accessInstruction: fc.Arbitrary<Access> = fc.oneof(
  fc
    .constantFrom<readonly [1 | 2 | 4 | 8, boolean]>([1, false], [2, false], [4, false], [8, false], [1, true], [2, true], [4, true])
    .chain(([bytes, signed]) => fc.record({ kind: fc.constant('load' as const), bytes: fc.constant(bytes), signed: fc.constant(signed), dst: register, src: register, offset })),
  fc.record({ kind: fc.constant('store' as const), bytes: anyBytes, dst: register, offset, source: operand }),
  fc.record({
    kind: fc.constant('atomic' as const),
    op: fc.constantFrom('add' as const, 'or' as const, 'and' as const, 'xor' as const),
    fetch: fc.boolean(),
    bytes: fc.constantFrom(4 as const, 8 as const),
    dst: register,
    src: register,
    offset,
  }),
  fc.record({
    kind: fc.constant('atomic' as const),
    op: fc.constantFrom('xchg' as const, 'cmpxchg' as const),
    fetch: fc.constant(true),
    bytes: fc.constantFrom(4 as const, 8 as const),
    dst: register,
    src: register,
    offset,
  }),
  fc.record({ kind: fc.constant('atomic' as const), op: fc.constant('load_acquire' as const), fetch: fc.constant(true), bytes: anyBytes, dst: register, src: register, offset }),
  fc.record({ kind: fc.constant('atomic' as const), op: fc.constant('store_release' as const), fetch: fc.constant(false), bytes: anyBytes, dst: register, src: register, offset }),
);

export const branchInstruction: fc.Arbitrary<Extract<Instruction, { kind: 'branch' }>> = fc.record({
  kind: fc.constant('branch' as const),
  op: fc.constantFrom(...BRANCH_OPS),
  width,
  dst: register,
  source: operand,
  offset,
});

const flowInstruction: fc.Arbitrary<Instruction> = fc.oneof(
  fc.record({ kind: fc.constant('jump' as const), offset, long: fc.constant(false) }),
  fc.record({ kind: fc.constant('jump' as const), offset: immediate, long: fc.constant(true) }),
  { weight: 4, arbitrary: branchInstruction },
  fc.record({ kind: fc.constant('may_goto' as const), offset }),
  fc.record({ kind: fc.constant('call' as const), target: fc.record({ kind: fc.constant('helper' as const), id: immediate }) }),
  fc.record({ kind: fc.constant('call' as const), target: fc.record({ kind: fc.constant('subprogram' as const), slot: fc.integer({ min: 0, max: 1000 }) }) }),
  fc.record({ kind: fc.constant('call' as const), target: fc.record({ kind: fc.constant('kfunc' as const), btfId: immediate, module: offset }) }),
  fc.constant({ kind: 'exit' as const }),
);

const packetBytes = fc.constantFrom(1 as const, 2 as const, 4 as const);
const packetInstruction: fc.Arbitrary<Instruction> = fc.oneof(
  fc.record({ kind: fc.constant('load_packet' as const), bytes: packetBytes, offset: immediate }),
  fc.record({ kind: fc.constant('load_packet' as const), bytes: packetBytes, offset: immediate, index: register }),
);

/** A run of instructions in which every 64-bit immediate load has its second slot. They need not make sense together. */
export const instructions: fc.Arbitrary<Instruction[]> = fc
  .array(
    fc.oneof(
      { weight: 4, arbitrary: aluInstruction },
      { weight: 4, arbitrary: accessInstruction },
      { weight: 3, arbitrary: flowInstruction },
      packetInstruction,
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('load_imm64' as const), dst: register, value: immediate64 }) },
    ),
    { maxLength: 60 },
  )
  .map((list) => list.flatMap((instruction): Instruction[] => (instruction.kind === 'load_imm64' ? [instruction, { kind: 'upper' }] : [instruction])));
