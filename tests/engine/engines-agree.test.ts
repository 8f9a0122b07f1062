/** Random programs, run on both engines: whatever the compiler knows, folds or keeps elsewhere, r0 is the interpreter's. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { disassemble } from '../../dataplane/bpf/disassemble.ts';
import { createInterpreter } from '../../dataplane/engine/interpreter.ts';
import { createWasmEngine } from '../../dataplane/engine/wasm-engine.ts';
import { BenchMachine } from './bench-machine.ts';
import { aliasedProgram, arithmeticProgram, branchingProgram } from './random-program.ts';

const interpreter = new BenchMachine(createInterpreter);
const compiler = new BenchMachine(createWasmEngine);

test.each([
  ['arithmetic', arithmeticProgram],
  ['stack accesses and branches', branchingProgram],
  ['loops and calls that reach the stack by several ways', aliasedProgram],
])('engines agree on %s', (_, program) => {
  fc.assert(
    fc.property(program, ({ instructions, packet }) => {
      const expected = interpreter.run(interpreter.loadInstructions(instructions), packet);
      const found = compiler.run(compiler.loadInstructions(instructions), packet);
      expect(found, disassemble(instructions).join('\n')).toEqual(expected);
    }),
    { numRuns: 200 },
  );
});
