/**
 * Compiles a module with V8's optimising compiler at once: its baseline code, which it would start with, is two to
 * four times slower, and a replay is over before V8 has seen that the packet loop is hot. A short replay, though, is
 * over before the optimising compiler is. Who started Node with such flags of V8 has chosen otherwise.
 */
import { setFlagsFromString } from 'node:v8';
import type { CompilerTier } from '../machine/machine.ts';

/** What V8 inlines depends on what its baseline code has counted: without, the V8 of Node 25 ends the process. Older ones have no such flags, or no need. */
const COUNTS_CALLS = Number.parseInt(process.versions.v8, 10) >= 14;
/** Turned off in this order while a module is compiled, and on again in the other: threads that optimise meanwhile find no flag without what it needs. */
const FLAGS = [...(COUNTS_CALLS ? ['wasm-inlining-call-indirect', 'wasm-inlining'] : []), 'liftoff', 'wasm-lazy-compilation'];
/** Not to have the baseline compiler turns it off, too. */
const TURNED_OFF = 'wasm-dynamic-tiering';
const USERS_FLAG = /^--(?:no-?)?(?:liftoff|wasm-(?:lazy|dynamic|tier|inlin))/;

/** What Node was started with that says how V8 compiles WebAssembly. */
export const USERS_FLAGS: readonly string[] = process.execArgv.filter((flag) => USERS_FLAG.test(flag.replaceAll('_', '-')));

/** `quick`: by V8's baseline compiler, each function when it is first called; what turns out to be hot is optimised meanwhile. */
export function compileModule(bytes: Uint8Array<ArrayBuffer>, tier: CompilerTier): WebAssembly.Module {
  if (tier === 'quick' || USERS_FLAGS.length > 0) return new WebAssembly.Module(bytes);
  // V8's flags are the process's: they are set for this one compilation.
  for (const flag of FLAGS) setFlagsFromString(`--no-${flag}`);
  try {
    return new WebAssembly.Module(bytes);
  } finally {
    for (const flag of [...FLAGS.toReversed(), TURNED_OFF]) setFlagsFromString(`--${flag}`);
  }
}
