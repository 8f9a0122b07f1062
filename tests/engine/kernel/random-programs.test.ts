/** The random programs on which the engines agree, in the kernel. */
import * as fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { disassemble } from '../../../dataplane/bpf/disassemble.ts';
import type { Instruction } from '../../../dataplane/bpf/isa.ts';
import { createWasmEngine } from '../../../dataplane/engine/wasm-engine.ts';
import { BenchMachine } from '../bench-machine.ts';
import { aliasedProgram, arithmeticProgram, branchingProgram } from '../random-program.ts';
import { benchPacket, KernelBench, programSpec } from './kernel-bench.ts';
import { kernelTitle, whyNoKernel } from './kernel-here.ts';

/** Before 6.18.50, Linux loses track of what an atomic operation fetches from the stack, and may take a way for dead that a later branch goes (CVE-2026-43009). */
function isTakenWrongly(instructions: readonly Instruction[]): boolean {
  const fetched = instructions.findIndex((each) => each.kind === 'atomic' && each.fetch && each.op !== 'load_acquire');
  return fetched >= 0 && instructions.some((each, slot) => each.kind === 'branch' && (slot > fetched || each.offset < 0));
}

describe.skipIf(whyNoKernel !== undefined)(kernelTitle('random programs in the kernel'), () => {
  const compiler = new BenchMachine(createWasmEngine);
  let kernel: KernelBench | undefined;
  afterAll(() => kernel?.close());

  test.each([
    ['arithmetic', arithmeticProgram],
    ['stack accesses and branches', branchingProgram],
    ['loops and calls that reach the stack by several ways', aliasedProgram],
  ])('%s', { timeout: 120_000 }, (_, program) => {
    kernel ??= new KernelBench();
    fc.assert(
      fc.property(program, ({ instructions, packet }) => {
        fc.pre(!isTakenWrongly(instructions));
        const { r0 } = kernel!.run(programSpec(instructions), { packet: benchPacket(packet) });
        expect(compiler.run(compiler.loadInstructions(instructions), packet), disassemble(instructions).join('\n')).toBe(r0);
      }),
      { numRuns: 100 },
    );
  });
});
