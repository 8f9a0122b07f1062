/**
 * The WebAssembly module of one program: its functions, and what they call and import. Map operations and helpers
 * written with the encoder are emitted into it, so that calling them does not leave the instance.
 *
 *   entry        (ctx: i32) -> i64                          goes to machine.programTable
 *   subprogram   (r1, r2, r3, r4, r5: i64, fp: i32) -> i64
 *   callback     (r1, r2, r3, r4, r5: i64) -> i64           around a subprogram, for helpers that call back
 */
import { referencedFunction } from '../../bpf/check.ts';
import type { CallTarget, Immediate64, Register } from '../../bpf/isa.ts';
import { XdplabError } from '../../errors.ts';
import { bindHelper, calleeOf, kfuncNamed } from '../../helpers/index.ts';
import { helperParams, helperResult, type Callable, type HelperFunction } from '../../helpers/helper.ts';
import { THROW } from '../../helpers/exception.ts';
import { KERNEL_ADDRESS } from '../../helpers/kfunc.ts';
import { CPU_BLOCK } from '../../machine/cpu.ts';
import type { Callback, LookAhead, Machine } from '../../machine/machine.ts';
import type { BpfMap } from '../../maps/bpf-map.ts';
import { mapsOf } from '../../maps/map-registry.ts';
import type { MapOperation } from '../../maps/map.ts';
import type { Program } from '../../program/program.ts';
import { call, i32, type Callee, type FunctionType, type ValueType } from '../../wasm/expression.ts';
import type { FunctionBuilder } from '../../wasm/function-builder.ts';
import { ModuleBuilder } from '../../wasm/module-builder.ts';
import { emitCharge, emitNotThrown } from './fault.ts';
import { keepsAddress } from './kept-address.ts';
import { Parameters } from './parameters.ts';

/** Starts of functions that throw, or call one that does. */
function throwingFunctions({ instructions, exceptionCallback = 0 }: Program['spec']): ReadonlySet<number> {
  const starts = [...new Set([0, exceptionCallback, ...instructions.flatMap((each) => referencedFunction(each) ?? [])])].toSorted((a, b) => a - b);
  const throwing = new Set<number>();
  for (let before = -1; before < throwing.size; ) {
    before = throwing.size;
    starts.forEach((start, index) => {
      const body = instructions.slice(start, starts[index + 1]);
      if (body.some((each) => each.kind === 'call' && (each.target.kind === 'subprogram' ? throwing.has(each.target.slot) : each.target.kind === 'kfunc' && each.target.name === THROW))) throwing.add(start);
    });
  }
  return throwing;
}

const SUBPROGRAM_PARAMS = ['i64', 'i64', 'i64', 'i64', 'i64', 'i32'] as const satisfies readonly ValueType[];

/** V8 refuses larger function bodies. */
const MAX_BODY_BYTES = 7_654_321;

const MOST_LOOKUPS_IN_PLACE = 32;

/** Before the slot of a function that helpers call back, what it is exported as. */
const CALLBACK = 'callback_';

/** Makes room for the callbacks of a module that was emitted before, under the values that its code has: exports are in the order of those. */
export function adoptCallbacks(machine: Machine, compiled: WebAssembly.Module): readonly { readonly value: number; readonly exported: string }[] {
  return WebAssembly.Module.exports(compiled)
    .filter(({ name }) => name.startsWith(CALLBACK))
    .map(({ name }) => ({ value: machine.addCallback(() => 0n), exported: name }));
}

export class ProgramModule {
  readonly module = new ModuleBuilder();
  readonly machine: Machine;
  readonly program: Program;
  readonly entry: FunctionBuilder<'i64'>;
  readonly entryType: FunctionType<'i64'>;
  /** Subprograms in the order they were first called; compiling one may add more. */
  readonly subprograms: { readonly slot: number; readonly f: FunctionBuilder<'i64'> }[] = [];
  readonly parameters: Parameters;
  /** Whether its code is to be read: then each instruction's has a mark with its slot in front. */
  readonly isMarked: boolean;
  #inPlace = 0;
  /** Starts of functions that throw, or call one that does. */
  readonly #throwing: ReadonlySet<number>;
  readonly #frozenMaps: readonly BpfMap[];
  readonly #keeps = new Map<string, boolean>();
  readonly #helpers = new Map<Callable, Callee>();
  readonly #helperImports: Record<string, HelperFunction> = {};
  readonly #callbacks = new Map<number, { readonly value: number; readonly exported: string; run: Callback }>();

  constructor(machine: Machine, program: Program, isMarked = false) {
    this.machine = machine;
    this.program = program;
    this.isMarked = isMarked;
    this.parameters = new Parameters(program.spec.instructions, (target) => this.callee(target));
    this.#throwing = throwingFunctions(program.spec);
    this.#frozenMaps = [...program.maps.values()].filter(({ frozen, type }) => frozen && type.name === 'array');
    this.module.importMemory('machine', 'memory', machine.parallel);
    this.entry = this.module.function(program.spec.name, ['i32'], 'i64');
    this.entryType = this.module.type(['i32'], 'i64');
    this.module.export('entry', this.entry);
  }

  get programTable(): number {
    return this.module.importTable('machine', 'programTable');
  }

  get mapTable(): number {
    return this.module.importTable('machine', 'mapTable');
  }

  /** The function at `slot`, compiled later. */
  subprogram(slot: number): FunctionBuilder<'i64'> {
    const known = this.subprograms.find((subprogram) => subprogram.slot === slot);
    if (known) return known.f;
    const name = this.program.spec.functions.find((candidate) => candidate.slot === slot)?.name ?? `function_${slot}`;
    const f = this.module.function(name, SUBPROGRAM_PARAMS, 'i64');
    this.subprograms.push({ slot, f });
    return f;
  }

  /** The number by which helpers call the function at `slot` back. */
  callback(slot: number): number {
    const known = this.#callbacks.get(slot);
    if (known) return known.value;
    const subprogram = this.subprogram(slot);
    const exported = `${CALLBACK}${slot}`;
    const f = this.module.function(`${subprogram.name}.callback`, SUBPROGRAM_PARAMS.slice(0, 5), 'i64');
    emitCharge(f, this.machine, 1, f.local('i32', 'left'));
    const cell = i32.const(this.machine.cpuBlock + CPU_BLOCK.framePointer);
    // What runs below may call helpers with callbacks of its own, which move the cell.
    const fp = f.let(i32.load(cell), 'fp');
    const result = f.let(call(subprogram, ...[0, 1, 2, 3, 4].map((index) => f.param(index, 'i64', `r${index + 1}`)), fp), 'r0');
    if (this.mayThrow(slot)) emitNotThrown(f, this.machine);
    f.do(i32.store(cell, 0, fp));
    f.return(result);
    this.module.export(exported, f);
    const entry = { value: 0, exported, run: (() => 0n) as Callback };
    const value = this.machine.addCallback((r1, r2, r3, r4, r5) => entry.run(r1, r2, r3, r4, r5));
    entry.value = value;
    this.#callbacks.set(slot, entry);
    return value;
  }

  /** By what value programs know the functions that helpers call back, and what they are exported as. */
  get callbacks(): readonly { readonly value: number; readonly exported: string }[] {
    return Array.from(this.#callbacks.values(), ({ value, exported }) => ({ value, exported }));
  }

  /** The function that a helper calls back by that number. */
  callbackSlot(value: number): number | undefined {
    for (const [slot, callback] of this.#callbacks) if (callback.value === value) return slot;
    return undefined;
  }

  /** Whether the function at `slot` may keep the addresses it is given in `parameters`. */
  keeps(slot: number, parameters: readonly Register[]): boolean {
    const key = `${slot} ${parameters.join()}`;
    let answer = this.#keeps.get(key);
    if (answer === undefined) {
      // For a function that calls itself, which no checked program does.
      this.#keeps.set(key, true);
      this.#keeps.set(key, (answer = keepsAddress(this, slot, parameters)));
    }
    return answer;
  }

  mayThrow(slot: number): boolean {
    return this.#throwing.has(slot);
  }

  /** The helper or kernel function that a call calls. */
  callee(target: CallTarget): Callable | undefined {
    return calleeOf(target, this.program.type);
  }

  /** The function that does what a helper does, for helpers written in WebAssembly or JavaScript. */
  helperFunction(helper: Callable): Callee {
    let callee = this.#helpers.get(helper);
    if (callee === undefined) this.#helpers.set(helper, (callee = this.#defineHelper(helper)));
    return callee;
  }

  #defineHelper(helper: Callable): Callee {
    const { implementation } = helper;
    if (implementation.kind === 'wasm') return implementation.emit(this.module, this.machine);
    if (implementation.kind !== 'js') throw new TypeError(`helper ${helper.name} has no function`);
    this.#helperImports[helper.name] = bindHelper(this.machine, helper);
    return this.module.importFunction('helper', helper.name, helperParams(helper), helperResult(helper));
  }

  mapAt(descriptor: number): BpfMap | undefined {
    return mapsOf(this.machine).byDescriptor(descriptor);
  }

  /** Whether one lookup more may stand in place: a call costs a few nanoseconds, but a large function takes long to compile. */
  takesInPlace(): boolean {
    return ++this.#inPlace <= MOST_LOOKUPS_IN_PLACE;
  }

  mapOperation(map: BpfMap, operation: MapOperation): Callee<'i32'> {
    return map.define(this.module, operation);
  }

  immediate64(value: Immediate64): bigint {
    switch (value.kind) {
      case 'constant':
        return value.value;
      case 'map':
        return BigInt(this.#map(value.map).descriptor);
      case 'map_value':
        return BigInt(this.#map(value.map).geometry.storage) + BigInt(value.offset);
      case 'function':
        return BigInt(this.callback(value.slot));
      case 'btf_id':
        if (kfuncNamed(value.name) !== undefined) return KERNEL_ADDRESS;
        throw this.refuse(`a 64-bit immediate refers to ${value.name ?? `type ${value.id}`} of a running kernel, which is not here`);
      default:
        throw this.refuse(`a 64-bit immediate of kind ${value.kind} refers to a running kernel; load the object file, which names what it means`);
    }
  }

  /** What lies at an address in a map that neither the program nor anybody else may write: a global constant. */
  frozen(address: number, bytes: number): bigint | undefined {
    const map = this.#frozenMaps.find(({ spec, geometry }) => address >= geometry.storage && address + bytes <= geometry.storage + spec.valueBytes);
    if (map === undefined) return undefined;
    const { view } = this.machine.memory;
    let value = 0n;
    for (let index = bytes - 1; index >= 0; index--) value = (value << 8n) | BigInt(view.getUint8(address + index));
    return value;
  }

  #map(name: string): BpfMap {
    const map = this.program.maps.get(name);
    if (map) return map;
    throw this.refuse(`refers to map '${name}', which it is not linked to; its maps are ${[...this.program.maps.keys()].join(', ') || 'none'}`);
  }

  refuse(problem: string): XdplabError {
    return new XdplabError('ERR_PROGRAM', `${this.program.spec.name}: ${problem}`);
  }

  /** The module's bytes, once every function is there. */
  assemble(): Uint8Array<ArrayBuffer> {
    for (const f of [this.entry, ...this.subprograms.map((subprogram) => subprogram.f)]) {
      if (f.lengthBytes <= MAX_BODY_BYTES) continue;
      throw this.refuse(`function ${f.name} is ${f.lengthBytes} bytes of WebAssembly, more than the ${MAX_BODY_BYTES} that V8 compiles; split it, or use --engine interpreter`);
    }
    return this.module.assemble();
  }

  /** Puts the compiled module to work: returns the entry function, and lets callbacks reach theirs. */
  instantiate(compiled: WebAssembly.Module): WebAssembly.ExportValue {
    const { memory, programTable, mapTable } = this.machine;
    const { exports } = new WebAssembly.Instance(compiled, {
      machine: { memory: memory.wasm, programTable, mapTable },
      helper: this.#helperImports as WebAssembly.ModuleImports,
    });
    for (const callback of this.#callbacks.values()) callback.run = exports[callback.exported] as unknown as Callback;
    return exports['entry']!;
  }

  instantiateLookAhead(compiled: WebAssembly.Module): LookAhead {
    const { memory, programTable, mapTable } = this.machine;
    return new WebAssembly.Instance(compiled, { machine: { memory: memory.wasm, programTable, mapTable } }).exports['look_ahead'] as unknown as LookAhead;
  }
}
