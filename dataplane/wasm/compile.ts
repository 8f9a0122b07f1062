/**
 * Compiles a module with V8's optimising compiler at once: its baseline code, which it would start with, is two to
 * four times slower, and a replay is over before V8 has seen that the packet loop is hot.
 */
import { setFlagsFromString } from 'node:v8';

export type CompilerTier = 'optimized' | 'default';

export function compileModule(bytes: Uint8Array<ArrayBuffer>, tier: CompilerTier = 'optimized'): WebAssembly.Module {
  if (tier === 'default') return new WebAssembly.Module(bytes);
  // V8's flags are the process's: they are set for this one compilation.
  setFlagsFromString('--no-liftoff');
  setFlagsFromString('--no-wasm-lazy-compilation');
  try {
    return new WebAssembly.Module(bytes);
  } finally {
    setFlagsFromString('--liftoff');
    setFlagsFromString('--wasm-lazy-compilation');
  }
}
