import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import wabt from 'wabt';
import { call, callIndirect, i32, i64, memory, select } from '../../dataplane/wasm/expression.ts';
import type { FunctionBuilder } from '../../dataplane/wasm/function-builder.ts';
import { ModuleBuilder } from '../../dataplane/wasm/module-builder.ts';

function run(result: 'i32' | 'i64', body: (f: FunctionBuilder, module: ModuleBuilder) => void, args: readonly number[] = []): number | bigint {
  const module = new ModuleBuilder();
  module.importMemory('machine', 'memory');
  const f = module.function('f', args.map(() => 'i32' as const), result);
  module.export('f', f);
  body(f, module);
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.assemble()), { machine: { memory: new WebAssembly.Memory({ initial: 1 }) } });
  return (instance.exports['f'] as (...args: number[]) => number | bigint)(...args);
}

describe('the WebAssembly encoder', () => {
  test('constants of any size come back as they are', () => {
    fc.assert(
      fc.property(fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }), fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }), (narrow, wide) => {
        expect(run('i32', (f) => f.return(i32.const(narrow)))).toBe(narrow);
        expect(run('i64', (f) => f.return(i64.const(wide)))).toBe(wide);
        expect(run('i64', (f) => f.return(i64.const(narrow)))).toBe(BigInt(narrow));
      }),
    );
  });

  test.each([0, 1, -1, 63, 64, -64, -65, 127, 128, 8191, 8192, -8193, 0x7fff_ffff, -0x8000_0000])('the constant %i has the shortest encoding and its value', (value) => {
    expect(run('i32', (f) => f.return(i32.const(value)))).toBe(value);
    expect(run('i64', (f) => f.return(i64.const(value)))).toBe(BigInt(value));
  });

  test('a call reaches its function whatever is imported or defined after it', () => {
    const module = new ModuleBuilder();
    const caller = module.function('caller', [], 'i32');
    const callee = module.function('callee', ['i32'], 'i32');
    caller.return(call(callee, i32.const(40)));
    callee.return(i32.add(callee.param(0, 'i32'), call(module.importFunction('host', 'two', [], 'i32'))));
    module.export('f', caller);
    const instance = new WebAssembly.Instance(new WebAssembly.Module(module.assemble()), { host: { two: () => 2 } });
    expect((instance.exports['f'] as () => number)()).toBe(42);
  });

  test('a function index past one byte does not move what follows', () => {
    const module = new ModuleBuilder();
    const functions = Array.from({ length: 300 }, (_, index) => module.function(`f${index}`, [], 'i32'));
    functions.forEach((f, index) => f.return(index === 299 ? i32.const(7) : i32.add(call(functions[index + 1]!), i32.const(1))));
    module.export('f', functions[0]!);
    const instance = new WebAssembly.Instance(new WebAssembly.Module(module.assemble()));
    expect((instance.exports['f'] as () => number)()).toBe(306);
  });

  test('control flow nests: loops, ifs, tables and values set on the way', () => {
    const total = run(
      'i32',
      (f) => {
        const n = f.param(0, 'i32');
        const sum = f.local('i32', 'sum');
        f.while(
          () => n,
          (again) => {
            f.block((odd) => {
              f.block((even) => f.brTable(i32.and(n, i32.const(1)), [even, odd], odd));
              f.set(sum, i32.add(sum, i32.const(100)));
              f.set(n, i32.sub(n, i32.const(1)));
              f.br(again);
            });
            const open = f.open('if', i32.gtS(n, i32.const(4)));
            f.set(sum, i32.add(sum, f.tee(n, i32.sub(n, i32.const(1)))));
            f.br(again);
            f.close();
            expect(open.level).toBeGreaterThan(0);
            f.set(n, i32.sub(n, i32.const(1)));
          },
        );
        f.return(sum);
      },
      [6],
    );
    expect(total).toBe(304);
  });

  test('wabt reads what was written, names included', async () => {
    const module = new ModuleBuilder();
    module.importMemory('machine', 'memory');
    const table = module.importTable('machine', 'programs');
    const f = module.function('entry', ['i32'], 'i64');
    const sum = f.let(i64.load16U(f.param(0, 'i32'), 70_000), 'sum');
    f.do(memory.copy(i32.const(8), f.param(0, 'i32'), i32.const(3)));
    f.do(memory.fill(i32.const(8), i32.const(0), i32.const(3)));
    f.if(i64.eqz(sum), () => f.returnCallIndirect(module.type(['i32'], 'i64'), table, i32.const(1), i32.const(0)));
    f.return(select(i32.const(1), sum, callIndirect(module.type(['i32'], 'i64'), table, i32.const(2), i32.const(0))));
    module.export('entry', f);
    const parsed = (await wabt()).readWasm(module.assemble(), { readDebugNames: true, tail_call: true, bulk_memory: true, sign_extension: true });
    parsed.validate();
    parsed.applyNames();
    const text = parsed.toText({ foldExprs: false, inlineExport: false });
    expect(text).toContain('i64.load16_u offset=70000');
    expect(text).toContain('return_call_indirect (type');
    expect(text).toContain('local.get $sum');
  });
});
