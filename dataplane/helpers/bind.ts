/**
 * Makes helpers and kernel functions callable on a machine. Those written with the encoder are compiled together into one module per
 * machine, whose functions every engine calls; those in JavaScript are bound once.
 */
import type { Machine } from '../machine/machine.ts';
import { MAP_DESCRIPTOR, OPERATION_NAMES, type MapOperation } from '../maps/map.ts';
import { ModuleBuilder } from '../wasm/module-builder.ts';
import type { Callable, HelperFunction } from './helper.ts';
import { KFUNCS } from './kfunc-table.ts';
import { HELPERS } from './table.ts';

interface Bound {
  readonly compiled: ReadonlyMap<Callable, HelperFunction>;
  readonly bound: Map<Callable, HelperFunction>;
}

const machines = new WeakMap<Machine, Bound>();

/** The callable of a helper that no engine does itself: `kind` is not `engine`. The same one for every caller of a machine. */
export function bindHelper(machine: Machine, helper: Callable): HelperFunction {
  let state = machines.get(machine);
  if (state === undefined) {
    state = { compiled: compileHelpers(machine), bound: new Map() };
    machines.set(machine, state);
  }
  let callable = state.compiled.get(helper) ?? state.bound.get(helper);
  if (callable === undefined) {
    callable = bind(machine, helper);
    state.bound.set(helper, callable);
  }
  return callable;
}

function bind(machine: Machine, helper: Callable): HelperFunction {
  const { implementation } = helper;
  switch (implementation.kind) {
    case 'js':
      return implementation.bind(machine);
    case 'map':
      return bindOperation(machine, implementation.operation);
    case 'wasm':
    case 'engine':
      throw new TypeError(`bpf_${helper.name} is not bound: it is ${implementation.kind === 'engine' ? "the engine's to do" : 'in no table'}`);
  }
}

/** Calls the operation of whichever map the first argument names. */
export function bindOperation(machine: Machine, operation: MapOperation): HelperFunction {
  const index = OPERATION_NAMES.indexOf(operation);
  return (map, ...args) => {
    const first = machine.memory.view.getUint32((map! >>> 0) + MAP_DESCRIPTOR.operations, true);
    const call = machine.mapTable.get(first + index) as HelperFunction;
    return call(...args);
  };
}

function compileHelpers(machine: Machine): ReadonlyMap<Callable, HelperFunction> {
  const module = new ModuleBuilder();
  module.importMemory('machine', 'memory', machine.parallel);
  const exported: [helper: Callable, name: string][] = [];
  for (const [index, helper] of [...HELPERS, ...KFUNCS].entries()) {
    if (helper.implementation.kind !== 'wasm') continue;
    const name = `${index}`;
    module.export(name, helper.implementation.emit(module, machine));
    exported.push([helper, name]);
  }
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.assemble()), {
    machine: { memory: machine.memory.wasm, mapTable: machine.mapTable },
  });
  return new Map(exported.map(([helper, name]) => [helper, exports[name] as HelperFunction]));
}
