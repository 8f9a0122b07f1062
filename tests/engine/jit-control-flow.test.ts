import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { jumpTarget, type Instruction, type Register } from '../../dataplane/bpf/isa.ts';
import { foldAlu, foldBranch } from '../../dataplane/engine/jit/known-value.ts';
import { FAULT } from '../../dataplane/machine/cpu.ts';
import { Machine } from '../../dataplane/machine/machine.ts';
import { Bench } from './jit-fixture.ts';

const BUDGET = 5_000;

/** What the instructions of these tests do, one at a time, with the budget's rule. */
function follow(instructions: readonly Instruction[]): { r0: bigint | undefined; charged: number } {
  const r: bigint[] = Array.from({ length: 11 }, () => 0n);
  let charged = 0;
  for (let slot = 0; ; ) {
    const instruction = instructions[slot]!;
    let next = slot + 1;
    switch (instruction.kind) {
      case 'alu': {
        const { op, width, dst, source } = instruction;
        const b = source.kind === 'register' ? r[source.register]! : BigInt(source.value);
        r[dst] = foldAlu(op, width, BigInt.asUintN(width, r[dst]!), BigInt.asUintN(width, b));
        break;
      }
      case 'branch': {
        const right = instruction.source.kind === 'register' ? r[instruction.source.register]! : BigInt(instruction.source.value);
        if (foldBranch(instruction.op, instruction.width, r[instruction.dst]!, right)) next = jumpTarget(slot, instruction.offset);
        break;
      }
      case 'jump':
        next = jumpTarget(slot, instruction.offset);
        break;
      case 'exit':
        return { r0: r[0]!, charged };
      default:
        throw new Error(instruction.kind);
    }
    if (next <= slot) charged += slot - next + 1;
    if (charged > BUDGET) return { r0: undefined, charged };
    slot = next;
  }
}

const alu = (op: 'add' | 'mul' | 'xor' | 'rsh' | 'mov' | 'and', dst: Register, value: number): Instruction => ({ kind: 'alu', op, width: 64, dst, source: { kind: 'immediate', value } });

interface Node {
  /** Bit of the path register that decides, and where it goes. */
  readonly shape: 'exit' | 'jump' | 'branch' | 'fallthrough';
  readonly bit: number;
  readonly target: number;
}

/** Each node tells its number to r0 and moves the path on; its branch depends on the path. Random targets make every shape of graph. */
function program(nodes: readonly Node[], seed: number): Instruction[] {
  const NODE_SLOTS = 8;
  const HEAD_SLOTS = 2;
  const out: Instruction[] = [alu('mov', 0, 0), alu('mov', 6, seed)];
  nodes.forEach((node, index) => {
    const body: Instruction[] = [
      alu('mul', 0, 31),
      alu('add', 0, index + 1),
      alu('mul', 6, 1_103_515_245),
      alu('add', 6, 12_345),
      { kind: 'alu', op: 'mov', width: 64, dst: 7, source: { kind: 'register', register: 6 } },
      alu('rsh', 7, 16 + node.bit),
      alu('and', 7, 1),
    ];
    out.push(...body);
    const offset = HEAD_SLOTS + (node.target % nodes.length) * NODE_SLOTS - (out.length + 1);
    const last = index === nodes.length - 1;
    if (node.shape === 'exit' || (last && node.shape !== 'jump')) out.push({ kind: 'exit' });
    else if (node.shape === 'jump') out.push({ kind: 'jump', offset, long: false });
    else if (node.shape === 'branch') out.push({ kind: 'branch', op: 'jne', width: 64, dst: 7, source: { kind: 'immediate', value: 0 }, offset });
    else out.push(alu('xor', 0, index));
  });
  return out;
}

const node = fc.record({
  shape: fc.oneof({ weight: 6, arbitrary: fc.constant('branch' as const) }, fc.constantFrom('exit' as const, 'jump' as const, 'fallthrough' as const)),
  bit: fc.nat(15),
  target: fc.nat(1000),
});

describe('compiled control flow', () => {
  test('any graph, reducible or not, runs as its instructions do one by one', () => {
    fc.assert(
      fc.property(fc.array(node, { minLength: 1, maxLength: 24 }), fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }), (nodes, seed) => {
        const instructions = program(nodes, seed);
        const bench = new Bench(new Machine({ instructionBudget: BUDGET }));
        const result = bench.run(bench.load(instructions));
        const expected = follow(instructions);
        expect(result).toEqual({ ...expected, fault: expected.r0 === undefined ? FAULT.budget : FAULT.none });
      }),
      { numRuns: 400 },
    );
  });

  test('a loop with two entries runs through a dispatcher', async () => {
    const source = `
            r0 = 0
            r6 = 100
            if r1 == 0 goto b
      a:    r0 += 1
      b:    r0 += 1000
            r6 += -1
            if r6 != 0 goto a
            exit`;
    const bench = new Bench();
    const loaded = bench.load(source);
    expect(bench.run(loaded, 0).r0).toBe(100_099n);
    expect(bench.run(loaded, 1).r0).toBe(100_100n);
    expect(await bench.wat(loaded)).toContain('br_table');
  });

  test('a reducible graph needs no dispatcher', async () => {
    const source = `
            r6 = 10
      a:    r7 = 10
      b:    r0 += 1
            r7 += -1
            if r7 s> 0 goto b
            if r0 > 50 goto done
            r6 += -1
            if r6 s> 0 goto a
      done: exit`;
    const bench = new Bench();
    const loaded = bench.load(source);
    expect(bench.run(loaded).r0).toBe(60n);
    expect(await bench.wat(loaded)).not.toContain('br_table');
  });

  test('an endless loop stops when its budget is spent, after the same charge wherever it runs', () => {
    const bench = new Bench(new Machine({ instructionBudget: 100 }));
    expect(bench.run(bench.load('again: r0 += 1\n r0 += 2\n goto again'))).toEqual({ r0: undefined, fault: FAULT.budget, charged: 102 });
  });

  test('code behind a condition that constants settle is not compiled', async () => {
    const bench = new Bench();
    const loaded = bench.load('r6 = 0\n if r6 == 0 goto done\n r0 = 1234\n exit\n done: r0 = 7\n exit');
    expect(bench.run(loaded).r0).toBe(7n);
    expect(await bench.wat(loaded)).not.toContain('1234');
  });

  test('a long ladder of checks and a deep nest compile without recursion', () => {
    const steps = 20_000;
    const ladder: Instruction[] = [];
    for (let index = 0; index < steps; index++) {
      ladder.push(alu('add', 0, 1), { kind: 'branch', op: 'jgt', width: 64, dst: 0, source: { kind: 'immediate', value: 1_000_000 }, offset: Math.min(32_000, 2 * (steps - index - 1)) });
    }
    // Far checks would be out of reach of a branch: they fall short, into the ladder.
    ladder.push({ kind: 'exit' });
    const bench = new Bench();
    expect(bench.run(bench.load(ladder)).r0).toBe(BigInt(steps));
  });
});
