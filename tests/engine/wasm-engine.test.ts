import { expect, test } from 'vitest';
import { createWasmEngine, type WasmEngine } from '../../dataplane/engine/wasm-engine.ts';
import { BenchMachine } from './bench-machine.ts';
import { describeEngine } from './describe-engine.ts';

describeEngine('wasm', createWasmEngine);

test('the text of a module has each instruction above its code, those of subprograms too', async () => {
  const bench = new BenchMachine(createWasmEngine);
  const text = await (bench.engine as WasmEngine).wat(bench.load('r6 = *(u32 *)(r1 +0)\ncall other\nif r0 > 7 goto out\nr0 = 1\nout: exit\nother: r0 = 2\nexit'));
  expect([...text.matchAll(/;; .*/g)].map(([comment]) => comment)).toEqual([
    ';; 0: r6 = *(u32 *)(r1 +0)', ';; 1: call pc+3#f5', ';; 2: if r0 > 0x7 goto pc+1', ';; 3: r0 = 1', ';; 4: exit', ';; 5: r0 = 2', ';; 6: exit',
  ]);
  expect(text).toMatch(/;; 3: r0 = 1\n +i64\.const 1\n +local\.set \$r0\n/);
  expect(text).not.toContain('nop');
});
