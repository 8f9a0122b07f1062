import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BRANCH_OPS, type Instruction, type Operand, type Register } from '../../dataplane/bpf/isa.ts';
import { ANYTHING, bits, bitsOf, constant, foldAlu, foldBranch, join, sameKnown, swapBytes, type Known } from '../../dataplane/engine/jit/known-value.ts';
import { Machine } from '../../dataplane/machine/machine.ts';
import { aluInstruction } from '../bpf/arbitrary-instruction.ts';
import { Bench } from './jit-fixture.ts';

const U64 = { min: 0n, max: (1n << 64n) - 1n };
const interesting = fc.oneof(
  fc.bigInt(U64),
  fc.constantFrom(0n, 1n, (1n << 64n) - 1n, 1n << 63n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, 0x1_0000_0000n, 0xffff_ffff_8000_0000n, 0x1_0000_00ffn),
);

/** One instruction on plain numbers. */
function step(instruction: Instruction, r: bigint[]): void {
  switch (instruction.kind) {
    case 'alu': {
      const { op, width, dst, source } = instruction;
      const b = source.kind === 'register' ? r[source.register]! : BigInt(source.value);
      r[dst] = foldAlu(op, width, BigInt.asUintN(width, r[dst]!), BigInt.asUintN(width, b));
      return;
    }
    case 'neg':
      r[instruction.dst] = BigInt.asUintN(instruction.width, -r[instruction.dst]!);
      return;
    case 'movsx':
      r[instruction.dst] = BigInt.asUintN(instruction.width, BigInt.asIntN(instruction.bits, r[instruction.src]!));
      return;
    case 'endian':
      r[instruction.dst] = instruction.op === 'le' ? BigInt.asUintN(instruction.bits, r[instruction.dst]!) : swapBytes(r[instruction.dst]!, instruction.bits);
      return;
    default:
      throw new Error(instruction.kind);
  }
}

/** Registers 0 to 9 from memory at r1, each by a load of some width; then `body`, then r0 to r9 back to memory. */
function around(body: readonly Instruction[], widths: readonly (1 | 2 | 4 | 8)[]): Instruction[] {
  const base: Register = 1;
  const order: Register[] = [0, 2, 3, 4, 5, 6, 7, 8, 9, 1];
  return [
    ...order.map((dst) => ({ kind: 'load', bytes: widths[dst]!, signed: false, dst, src: base, offset: dst * 8 }) as const),
    ...body,
    // r1 may be anything now: the results go to the stack, then r0 says where that is.
    ...order.map((register) => ({ kind: 'store', bytes: 8, dst: 10, offset: -80 + register * 8, source: { kind: 'register', register } }) as const),
    { kind: 'alu', op: 'mov', width: 64, dst: 0, source: { kind: 'register', register: 10 } },
    { kind: 'exit' },
  ];
}

const add = (amount: number): Instruction => ({ kind: 'alu', op: 'add', width: 64, dst: 0, source: { kind: 'immediate', value: amount } });

const onTenRegisters = aluInstruction.filter((instruction) => !JSON.stringify(instruction).includes(':10'));

function readable(instruction: Instruction): boolean {
  if (instruction.kind !== 'alu' || instruction.source.kind !== 'immediate') return true;
  return !['lsh', 'rsh', 'arsh'].includes(instruction.op) || (instruction.source.value >= 0 && instruction.source.value < instruction.width);
}

describe('compiled arithmetic', () => {
  test('any straight line of ALU instructions computes what they say, whatever the widths of its inputs', () => {
    const machine = new Machine();
    const bench = new Bench(machine);
    const context = machine.memory.allocate(80, 8, 'test');
    fc.assert(
      fc.property(
        fc.array(onTenRegisters.filter(readable), { minLength: 1, maxLength: 12 }),
        fc.array(interesting, { minLength: 10, maxLength: 10 }),
        fc.array(fc.constantFrom<1 | 2 | 4 | 8>(1, 2, 4, 8), { minLength: 10, maxLength: 10 }),
        (body, values, widths) => {
          const program = bench.load(around(body, widths));
          const r = values.map((value, register) => BigInt.asUintN(8 * widths[register]!, value));
          values.forEach((value, register) => machine.memory.view.setBigUint64(context + 8 * register, value, true));
          const { r0 } = bench.run(program, context);
          for (const instruction of body) step(instruction, r);
          const results = r.map((_, register) => machine.memory.view.getBigUint64(Number(r0) - 80 + 8 * register, true));
          expect(results).toEqual(r);
        },
      ),
      { numRuns: 1500 },
    );
  });

  test('constants fold to what the same instructions compute at run time', () => {
    const bench = new Bench();
    fc.assert(
      fc.property(fc.array(onTenRegisters.filter(readable), { minLength: 1, maxLength: 12 }), fc.array(interesting, { minLength: 10, maxLength: 10 }), (body, values) => {
        const r = [...values];
        const load = values.flatMap((value, dst): Instruction[] => [{ kind: 'load_imm64', dst: dst as Register, value: { kind: 'constant', value } }, { kind: 'upper' }]);
        for (const instruction of body) step(instruction, r);
        expect(bench.run(bench.load([...load, ...body, { kind: 'exit' }])).r0).toBe(r[0]);
      }),
      { numRuns: 500 },
    );
  });

  test.each(BRANCH_OPS)('%s decides as it should, on registers, immediates and constants', (op) => {
    const machine = new Machine();
    const bench = new Bench(machine);
    const context = machine.memory.allocate(16, 8, 'test');
    const width = fc.constantFrom<32 | 64>(32, 64);
    const immediate = fc.oneof(fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }), fc.constantFrom(0, -1, 1));
    fc.assert(
      fc.property(interesting, interesting, immediate, width, fc.boolean(), (a, b, value, operandWidth, known) => {
        const branch = (right: Operand, offset: number): Instruction => ({ kind: 'branch', op, width: operandWidth, dst: 6, source: right, offset });
        const load: Instruction[] = known
          ? [
              { kind: 'load_imm64', dst: 6, value: { kind: 'constant', value: a } },
              { kind: 'upper' },
              { kind: 'load_imm64', dst: 7, value: { kind: 'constant', value: b } },
              { kind: 'upper' },
            ]
          : [6, 7].map((dst) => ({ kind: 'load', bytes: 8, signed: false, dst: dst as Register, src: 1, offset: 8 * (dst - 6) }) as const);
        const program = bench.load([
          ...load,
          { kind: 'alu', op: 'mov', width: 64, dst: 0, source: { kind: 'immediate', value: 0 } },
          branch({ kind: 'register', register: 7 }, 1),
          add(1),
          branch({ kind: 'immediate', value }, 1),
          add(2),
          { kind: 'exit' },
        ]);
        machine.memory.view.setBigUint64(context, a, true);
        machine.memory.view.setBigUint64(context + 8, b, true);
        expect(bench.run(program, context).r0).toBe((foldBranch(op, operandWidth, a, b) ? 0n : 1n) + (foldBranch(op, operandWidth, a, BigInt(value)) ? 0n : 2n));
      }),
      { numRuns: 60 },
    );
  });

  test('a shift left by 32 and back is one extension', async () => {
    const bench = new Bench();
    const machine = bench.machine;
    const context = machine.memory.allocate(8, 8, 'test');
    machine.memory.view.setBigUint64(context, 0xdead_beef_8000_0010n, true);
    const run = (back: string): bigint | undefined => bench.run(bench.load(`r0 = *(u64 *)(r1 +0)\n r0 <<= 32\n r0 ${back}\n exit`), context).r0;
    expect(run('>>= 32')).toBe(0x8000_0010n);
    expect(run('s>>= 32')).toBe(0xffff_ffff_8000_0010n);
    expect(run('>>= 36')).toBe(0x800_0001n);
    expect(run('s>>= 36')).toBe(0xffff_ffff_f800_0001n);
    const text = await bench.wat(bench.load('r0 = *(u64 *)(r1 +0)\n r0 <<= 32\n r0 >>= 32\n exit'));
    expect(text).not.toContain('shl');
  });
});

describe('what is known of values', () => {
  test('a join says no more than both sides, and settles', () => {
    const known = fc.oneof(fc.bigInt(U64).map(constant), fc.integer({ min: -600, max: 0 }).map((offset): Known => ({ kind: 'frame', offset })), fc.tuple(fc.nat(64), fc.option(fc.integer({ min: -512, max: 0 }), { nil: undefined })).map(([count, low]) => bits(count, low)));
    fc.assert(
      fc.property(known, known, (a, b) => {
        const joined = join(a, b);
        expect(bitsOf(joined)).toBeGreaterThanOrEqual(Math.max(bitsOf(a), bitsOf(b)));
        expect(sameKnown(join(joined, a), joined)).toBe(true);
        expect(bitsOf(join(joined, ANYTHING))).toBe(64);
      }),
    );
  });
});
