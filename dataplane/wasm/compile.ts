/**
 * Compiles a module with V8's optimising compiler at once: its baseline code, which it would start with, is two to
 * four times slower, and a replay is over before V8 has seen that the packet loop is hot. A short replay, though, is
 * over before the optimising compiler is. Who started Node with such flags of V8 has chosen otherwise.
 */
import { setFlagsFromString } from 'node:v8';
import type { CompilerTier } from '../machine/machine.ts';

/** Not to have the baseline compiler turns the third off, too. */
const USUAL_FLAGS = ['--liftoff', '--wasm-lazy-compilation', '--wasm-dynamic-tiering'];
const USERS_FLAG = /^--(?:no-?)?(?:liftoff|wasm-(?:lazy|dynamic|tier))/;

/** What Node was started with that says how V8 compiles WebAssembly. */
export const USERS_FLAGS: readonly string[] = process.execArgv.filter((flag) => USERS_FLAG.test(flag.replaceAll('_', '-')));

/** `quick`: by V8's baseline compiler, each function when it is first called; what turns out to be hot is optimised meanwhile. */
export function compileModule(bytes: Uint8Array<ArrayBuffer>, tier: CompilerTier): WebAssembly.Module {
  if (tier === 'quick' || USERS_FLAGS.length > 0) return new WebAssembly.Module(bytes);
  // V8's flags are the process's: they are set for this one compilation.
  setFlagsFromString('--no-liftoff');
  setFlagsFromString('--no-wasm-lazy-compilation');
  try {
    return new WebAssembly.Module(bytes);
  } finally {
    USUAL_FLAGS.forEach(setFlagsFromString);
  }
}
