import { execFileSync } from 'node:child_process';
import { Script } from 'node:vm';
import { expect, test } from 'vitest';
import { compileModule } from '../../dataplane/wasm/compile.ts';

const EMPTY = new Uint8Array([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);

/** `g(n)` is `n` and one, and `f(n)` is `g(g(n))`: called once by name, once by a table. */
const CALLS = new Uint8Array([
  [...EMPTY],
  [1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f], // type: i32 to i32
  [3, 3, 2, 0, 0], // functions
  [4, 4, 1, 0x70, 0, 1], // table of one
  [7, 5, 1, 1, 0x66, 0, 1], // export f
  [9, 7, 1, 0, 0x41, 0, 0x0b, 1, 0], // g is in the table
  [10, 21, 2, 7, 0, 0x20, 0, 0x41, 1, 0x6a, 0x0b, 11, 0, 0x20, 0, 0x10, 0, 0x41, 0, 0x11, 0, 0, 0x0b], // code
].flat());

/** V8 writes a digest of its flags there into the code that it gives to be kept. */
function flagsDigest(): string {
  return new Script('0').createCachedData().toString('hex', 12, 16);
}

test.each(['optimized', 'quick'] as const)('V8 has the flags that it had before, after a module was compiled at the tier %s', (tier) => {
  const before = flagsDigest();
  expect(compileModule(EMPTY, tier)).toBeInstanceOf(WebAssembly.Module);
  expect(flagsDigest()).toBe(before);
});

test.each(['optimized', 'quick'] as const)('functions that call each other run, compiled at the tier %s', (tier) => {
  const { f } = new WebAssembly.Instance(compileModule(CALLS, tier)).exports as { f: (n: number) => number };
  expect(f(40)).toBe(42);
});

test.each(['--no-liftoff', '--liftoff-only', '--no_wasm_tier_up'])('V8 has the flags that a user started it with, %s, while a module is compiled and afterwards', (flag) => {
  const program = `
    import v8 from 'node:v8';
    import { syncBuiltinESMExports } from 'node:module';
    v8.setFlagsFromString = (set) => console.log(set);
    syncBuiltinESMExports();
    const { compileModule } = await import(${JSON.stringify(new URL('../../dist/dataplane/wasm/compile.js', import.meta.url))});
    compileModule(new Uint8Array(${JSON.stringify([...EMPTY])}), 'optimized');`;
  expect(execFileSync(process.execPath, [flag, '--input-type=module', '-e', program], { encoding: 'utf8' })).toBe('');
});

test('the digest of V8\'s flags is where this test looks for it', async () => {
  const { setFlagsFromString } = await import('node:v8');
  const before = flagsDigest();
  setFlagsFromString('--no-wasm-dynamic-tiering');
  const meanwhile = flagsDigest();
  setFlagsFromString('--wasm-dynamic-tiering');
  expect([meanwhile === before, flagsDigest() === before]).toEqual([false, true]);
});
