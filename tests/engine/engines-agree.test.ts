/** Random programs, run on both engines: whatever the compiler knows, folds or inlines, r0 is the interpreter's. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { disassemble } from '../../dataplane/bpf/disassemble.ts';
import { createInterpreter } from '../../dataplane/engine/interpreter.ts';
import { createWasmEngine } from '../../dataplane/engine/wasm-engine.ts';
import { BenchMachine } from './bench-machine.ts';
import { arithmeticProgram, mixedProgram, type RandomProgram } from './random-program.ts';

const interpreter = new BenchMachine(createInterpreter);
const compiler = new BenchMachine(createWasmEngine);

function expectAgreement({ instructions, packet }: RandomProgram): void {
  const expected = interpreter.run(interpreter.loadInstructions(instructions), packet);
  const found = compiler.run(compiler.loadInstructions(instructions), packet);
  expect(found, disassemble(instructions).join('\n')).toEqual(expected);
}

describe('engines agree', () => {
  test('on straight-line arithmetic', () => {
    fc.assert(fc.property(arithmeticProgram, expectAgreement), { numRuns: 300 });
  });

  test('on arithmetic, memory and forward branches', () => {
    fc.assert(fc.property(mixedProgram, expectAgreement), { numRuns: 300 });
  });
});
