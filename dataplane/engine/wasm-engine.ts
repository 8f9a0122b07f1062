/** The compiler from BPF to WebAssembly: one module per program, on the machine's memory. V8 makes machine code of it. */
import type { Machine } from '../machine/machine.ts';
import type { Program, VerifiedProgram } from '../program/program.ts';
import { compileModule } from '../wasm/compile.ts';
import { emissionKey } from './emission-key.ts';
import type { Engine } from './engine.ts';
import { compileFunctions, compileLookAhead } from './jit/function-compiler.ts';
import { adoptCallbacks, ProgramModule } from './jit/program-module.ts';
import { instantiateImage } from './program-image.ts';
import { wasmText } from './wasm-text.ts';

export interface WasmEngine extends Engine {
  readonly name: 'wasm';
  /** The module that `program` is compiled to, as WebAssembly text, with each instruction as a comment above its code. */
  wat(program: Program): Promise<string>;
}

export function createWasmEngine(machine: Machine): WasmEngine {
  const loaded: VerifiedProgram[] = [];
  const compiled = (program: Program): Compiled => {
    const module = new ProgramModule(machine, program);
    compileFunctions(module);
    return compile(module);
  };
  const compiledAhead = (program: VerifiedProgram): Compiled | undefined => {
    // A short replay fills no table so that to look ahead would pay.
    if (machine.tier === 'quick' || program.proof !== 'verified' || program.type !== 'xdp') return undefined;
    const module = new ProgramModule(machine, program);
    return compileLookAhead(module) ? compile(module) : undefined;
  };
  return {
    name: 'wasm',
    load(program) {
      const key = machine.modules === undefined || program.proof !== 'verified' ? undefined : emissionKey(machine, program);
      const emitted = key === undefined ? undefined : machine.modules?.get(key);
      if (emitted === undefined) {
        const { module, bytes, code } = compiled(program);
        machine.programTable.set(program.id, module.instantiate(code));
        if (key !== undefined) machine.modules?.add(key, bytes);
      } else {
        const code = compileModule(emitted, machine.tier);
        instantiateImage(machine, { id: program.id, type: program.type, module: code, callbacks: adoptCallbacks(machine, code) });
      }
      loaded.push(program);
      const ahead = compiledAhead(program);
      if (ahead !== undefined) machine.lookAheads.set(program.id, ahead.module.instantiateLookAhead(ahead.code));
    },
    parallel: {
      loaded,
      image: (program, cpu) =>
        machine.onCpu(cpu, () => {
          const { module, code } = compiled(program);
          const ahead = compiledAhead(program);
          return { id: program.id, type: program.type, module: code, callbacks: module.callbacks, ...(ahead === undefined ? {} : { ahead: ahead.code }) };
        }),
    },
    async wat(program) {
      const module = new ProgramModule(machine, program, true);
      compileFunctions(module);
      return wasmText(module.assemble(), module.module.marks, program.spec);
    },
  };
}

interface Compiled {
  readonly module: ProgramModule;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly code: WebAssembly.Module;
}

function compile(module: ProgramModule): Compiled {
  const bytes = module.assemble();
  try {
    return { module, bytes, code: compileModule(bytes, module.machine.tier) };
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error;
    throw module.refuse(`V8 does not compile it (${error.message}); use --engine interpreter`);
  }
}
