/** A compiled program on its way to the thread of a CPU: the code is that CPU's, and finds what it imports there. */
import type { ProgramType } from '../bpf/spec.ts';
import { bindHelper, calleeNamed } from '../helpers/index.ts';
import type { Callback, LookAhead, Machine } from '../machine/machine.ts';

export interface ProgramImage {
  readonly id: number;
  readonly type: ProgramType;
  readonly module: WebAssembly.Module;
  /** What looks ahead for it. */
  readonly ahead?: WebAssembly.Module;
  /** Functions that helpers call back: the value that stands for each, and its export. */
  readonly callbacks: readonly { readonly value: number; readonly exported: string }[];
}

/** Puts the program into the table of the CPU's machine. */
export function instantiateImage(machine: Machine, { id, type, module, ahead, callbacks }: ProgramImage): void {
  const { memory, programTable, mapTable } = machine;
  const helper = Object.fromEntries(
    WebAssembly.Module.imports(module).filter((each) => each.module === 'helper').map(({ name }) => [name, bindHelper(machine, calleeNamed(name, type)!)]),
  ) as WebAssembly.ModuleImports;
  const { exports } = new WebAssembly.Instance(module, { machine: { memory: memory.wasm, programTable, mapTable }, helper });
  for (const { value, exported } of callbacks) machine.setCallback(value, exports[exported] as unknown as Callback);
  machine.programTable.set(id, exports['entry'] as () => bigint);
  if (ahead === undefined) return;
  const scout = new WebAssembly.Instance(ahead, { machine: { memory: memory.wasm, programTable, mapTable } });
  machine.lookAheads.set(id, scout.exports['look_ahead'] as unknown as LookAhead);
}
