/** The engines, by the name that chooses one. */
import type { EngineFactory, EngineName } from './engine.ts';
import { createInterpreter } from './interpreter.ts';
import { createKernelEngine } from './kernel/kernel-engine.ts';
import { createWasmEngine } from './wasm-engine.ts';

export const ENGINES: Readonly<Record<EngineName, EngineFactory>> = {
  wasm: createWasmEngine,
  interpreter: createInterpreter,
  kernel: createKernelEngine,
};
