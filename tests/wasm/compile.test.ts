import { Script } from 'node:vm';
import { expect, test } from 'vitest';
import { compileModule } from '../../dataplane/wasm/compile.ts';

const EMPTY = new Uint8Array([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);

/** V8 writes a digest of its flags there into the code that it gives to be kept. */
function flagsDigest(): string {
  return new Script('0').createCachedData().toString('hex', 12, 16);
}

test.each(['optimized', 'quick'] as const)('V8 has the flags that it had before, after a module was compiled at the tier %s', (tier) => {
  const before = flagsDigest();
  expect(compileModule(EMPTY, tier)).toBeInstanceOf(WebAssembly.Module);
  expect(flagsDigest()).toBe(before);
});

test('the digest of V8\'s flags is where this test looks for it', async () => {
  const { setFlagsFromString } = await import('node:v8');
  const before = flagsDigest();
  setFlagsFromString('--no-wasm-dynamic-tiering');
  const meanwhile = flagsDigest();
  setFlagsFromString('--wasm-dynamic-tiering');
  expect([meanwhile === before, flagsDigest() === before]).toEqual([false, true]);
});
