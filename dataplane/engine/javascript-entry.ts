/** Entry functions of programs that JavaScript runs: what the packet loop calls. A fault becomes a trap, as compiled programs have it. */
import { CPU_BLOCK } from '../machine/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import { call, i32 } from '../wasm/expression.ts';
import { ModuleBuilder } from '../wasm/module-builder.ts';

export class JavaScriptEntry {
  readonly #machine: Machine;
  readonly #module: WebAssembly.Module;

  constructor(machine: Machine) {
    this.#machine = machine;
    const module = new ModuleBuilder();
    module.importMemory('machine', 'memory', machine.parallel);
    const run = module.importFunction('program', 'run', ['i32'], 'i64');
    const entry = module.function('entry', ['i32'], 'i64');
    const result = entry.let(call(run, entry.param(0, 'i32')), 'r0');
    entry.if(i32.load(i32.const(machine.cpuBlock), CPU_BLOCK.fault), () => entry.unreachable());
    entry.return(result);
    module.export('entry', entry);
    this.#module = new WebAssembly.Module(module.assemble());
  }

  /** `run` takes the address of the context and answers r0; a fault it leaves in the CPU block. */
  set(programId: number, run: (context: number) => bigint): void {
    const { exports } = new WebAssembly.Instance(this.#module, { machine: { memory: this.#machine.memory.wasm }, program: { run } });
    this.#machine.programTable.set(programId, exports['entry'] as () => bigint);
  }
}
