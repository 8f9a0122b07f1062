/** A map's operations as functions of a WebAssembly module: a program's, or the small one that each map has. */
import type { Machine } from '../machine/machine.ts';
import type { MachineMemory } from '../machine/memory.ts';
import { i32, type Callee, type ValueType } from '../wasm/expression.ts';
import type { FunctionBuilder } from '../wasm/function-builder.ts';
import { ModuleBuilder } from '../wasm/module-builder.ts';
import { ERRNO, OPERATION_NAMES, operationParams, type MapCode, type MapGeometry, type MapOperation, type MapType } from './map.ts';

export type MapOperations = { readonly [Operation in MapOperation]: (...args: number[]) => number };

/** What an operation answers that a type does not have: NULL where an address is expected. */
const MISSING: Partial<Record<MapOperation, number>> = { lookup: 0, lookup_percpu: 0 };

/** Defines each operation in one module when it is first asked for. */
export class MapModule implements MapCode {
  readonly module: ModuleBuilder;
  readonly geometry: MapGeometry;
  readonly #type: MapType;
  readonly #defined = new Map<string, Callee<ValueType | undefined>>();

  constructor(module: ModuleBuilder, geometry: MapGeometry, type: MapType) {
    this.module = module;
    this.geometry = geometry;
    this.#type = type;
  }

  operation(operation: MapOperation): Callee<'i32'> {
    const defined = this.#defined.get(operation);
    if (defined) return defined as Callee<'i32'>;
    const f = this.module.function(`${this.geometry.spec.name}.${operation}`, operationParams(operation), 'i32');
    this.#defined.set(operation, f);
    const emit = this.#type.operations[operation];
    if (emit) emit(f, this);
    else f.return(i32.const(-(this.#type.missing?.[operation] ?? MISSING[operation] ?? ERRNO.EOPNOTSUPP)));
    return f;
  }

  part<R extends ValueType | undefined>(name: string, define: () => FunctionBuilder<R>): Callee<R> {
    const key = `part ${name}`;
    const defined = this.#defined.get(key) ?? define();
    this.#defined.set(key, defined);
    return defined as Callee<R>;
  }
}

/** All operations of a map, for the machine's CPU of the moment. */
export function operationsModule(geometry: MapGeometry, type: MapType): WebAssembly.Module {
  const module = new ModuleBuilder();
  module.importMemory('machine', 'memory', geometry.machine.parallel);
  const code = new MapModule(module, geometry, type);
  for (const operation of OPERATION_NAMES) module.export(operation, code.operation(operation));
  return new WebAssembly.Module(module.assemble());
}

let lateModule: WebAssembly.Module | undefined;

/** What stands in machine.mapTable for operations that are not compiled yet: calls them where `operations` has them. */
export function lateOperations(operations: () => MapOperations): MapOperations {
  if (lateModule === undefined) {
    const module = new ModuleBuilder();
    for (const operation of OPERATION_NAMES) module.export(operation, module.importFunction('map', operation, operationParams(operation), 'i32'));
    lateModule = new WebAssembly.Module(module.assemble());
  }
  const map = Object.fromEntries(OPERATION_NAMES.map((operation) => [operation, (...args: number[]) => operations()[operation](...args)]));
  return new WebAssembly.Instance(lateModule, { map }).exports as unknown as MapOperations;
}

/** Puts a map's operations where code finds them that does not know the map. */
export function tabulate({ mapTable }: Machine, first: number, operations: MapOperations): void {
  mapTable.grow(Math.max(0, first + OPERATION_NAMES.length - mapTable.length));
  OPERATION_NAMES.forEach((name, index) => mapTable.set(first + index, operations[name]));
}

export function instantiateOperations(memory: MachineMemory, module: WebAssembly.Module): MapOperations {
  return new WebAssembly.Instance(module, { machine: { memory: memory.wasm } }).exports as unknown as MapOperations;
}
