/**
 * Calls out of a program: helpers, map operations and tail calls. Arguments travel as helper.ts says; r1 to r5 are
 * not what they were afterwards, so nothing is done to keep them.
 */
import type { Register } from '../../bpf/isa.ts';
import { ARGUMENT_WORDS, type Callable } from '../../helpers/helper.ts';
import { CPU_BLOCK, FRAME_BYTES, MAX_TAIL_CALLS } from '../../machine/cpu.ts';
import { THROW } from '../../helpers/exception.ts';
import type { BpfMap } from '../../maps/bpf-map.ts';
import { MAP_DESCRIPTOR, OPERATION_NAMES, operationParams, type MapOperation } from '../../maps/map.ts';
import { call, callIndirect, i32, i64, type I32, type I64 } from '../../wasm/expression.ts';
import type { FunctionBuilder } from '../../wasm/function-builder.ts';
import type { Value } from './arithmetic.ts';
import { ANYTHING, bits, immediate, type Known } from './known-value.ts';
import { setThrown } from './fault.ts';
import { emitLoop } from './loop.ts';
import type { ProgramModule } from './program-module.ts';
import type { Registers } from './value-flow.ts';

/** What a call needs of the function it stands in. */
export interface CallSite {
  readonly f: FunctionBuilder;
  readonly program: ProgramModule;
  readonly framePointer: I32;
  value(register: Register): Value;
  setResult(result: I64): void;
  /** Leaves with r0, which was thrown, or hands it to the exception callback. */
  unwind(): void;
}

/** What r0 is known to be after a helper. */
export function helperResultKnown(helper: Callable): Known {
  switch (helper.returns) {
    case 'int':
    case 'u64':
      return ANYTHING;
    case 'void':
      return immediate(0);
    default:
      return bits(32);
  }
}

export function knownMap(program: ProgramModule, known: Known): BpfMap | undefined {
  return known.kind === 'constant' ? program.mapAt(Number(BigInt.asUintN(32, known.value))) : undefined;
}

/** The slot of the function that a helper is told to call back, if it is known. */
export function knownCallback(helper: Callable, program: ProgramModule, registers: Registers): number | undefined {
  const callback = registers[helper.args.indexOf('callback') + 1]!;
  return callback.kind === 'constant' ? program.callbackSlot(Number(BigInt.asUintN(32, callback.value))) : undefined;
}

/** The helper's arguments as i32s, each with the kind it is of. */
function argumentsOf(helper: Callable, site: CallSite): I32[] {
  return helper.args.flatMap((kind, index) => {
    const value = site.value((index + 1) as Register);
    return ARGUMENT_WORDS[kind] === 1 ? [value.narrow] : [value.narrow, upperHalf(value)];
  });
}

function upperHalf({ wide, known }: Value): I32 {
  if (known.kind === 'constant') return i32.const(Number(BigInt.asIntN(32, known.value >> 32n)));
  return i32.wrap(i64.shrU(wide, i64.const(32)));
}

export function emitHelperCall(helper: Callable, site: CallSite, registers: Registers): void {
  const { f, program } = site;
  const { implementation } = helper;
  const callback = helper.name === 'loop' ? knownCallback(helper, program, registers) : undefined;
  if (callback !== undefined) {
    emitLoop(site, callback);
    return;
  }
  if (helper.args.includes('callback')) {
    f.do(i32.store(i32.const(program.machine.cpuBlock), CPU_BLOCK.framePointer, i32.sub(site.framePointer, i32.const(FRAME_BYTES))));
  }
  const args = argumentsOf(helper, site);
  switch (implementation.kind) {
    case 'map': {
      const at = helper.args.indexOf('map');
      const operands = args.filter((_, index) => index !== at);
      setNarrowResult(helper, site, callMap(program, implementation.operation, args[at]!, knownMap(program, registers[at + 1]!), operands));
      return;
    }
    case 'engine':
      if (helper.name === 'tail_call') emitTailCall(site, knownMap(program, registers[2]!));
      else if (helper.name === THROW) emitThrow(site);
      else throw new TypeError(`no control flow is known for helper ${helper.name}`);
      return;
    default: {
      const result = call(program.helperFunction(helper), ...args);
      if (result.type === 'i64') site.setResult(result as I64);
      else if (result.type === 'i32') setNarrowResult(helper, site, result as I32);
      else {
        f.do(result);
        site.setResult(i64.const(0));
      }
    }
  }
}

function setNarrowResult(helper: Callable, site: CallSite, result: I32): void {
  site.setResult(helper.returns === 'int' ? i64.extendS(result) : i64.extendU(result));
}

function callMap(program: ProgramModule, operation: MapOperation, descriptor: I32, map: BpfMap | undefined, operands: readonly I32[]): I32 {
  if (map) return call(program.mapOperation(map, operation), ...operands);
  const type = program.module.type(operationParams(operation), 'i32');
  const index = i32.add(i32.load(descriptor, MAP_DESCRIPTOR.operations), i32.const(OPERATION_NAMES.indexOf(operation)));
  return callIndirect(type, program.mapTable, index, ...operands);
}

function emitThrow({ f, program, value, setResult, unwind }: CallSite): void {
  setResult(value(1).wide);
  setThrown(f, program.machine, 1);
  unwind();
}

/** Of PROG_ARRAY: slots of u32 program ids, 0 where none is. */
const SLOT_SHIFT = 2;

/**
 * bpf_tail_call(ctx, map, index): leaves for the program in the slot, or goes on where there is none or 33 were made.
 * What leaves a subprogram ends that subprogram only, and its successor runs on the same frame.
 */
function emitTailCall({ f, program, framePointer, value, setResult }: CallSite, map: BpfMap | undefined): void {
  const cpu = i32.const(program.machine.cpuBlock);
  const descriptor = value(2).narrow;
  const index = value(3).narrow;
  const [limit, storage] = map
    ? [i32.const(map.spec.maxEntries), i32.const(map.geometry.storage)]
    : [i32.load(descriptor, MAP_DESCRIPTOR.maxEntries), i32.load(descriptor, MAP_DESCRIPTOR.storage)];
  f.if(i32.ltU(index, limit), () => {
    const made = f.let(i32.load(cpu, CPU_BLOCK.tailCalls));
    f.if(i32.ltU(made, i32.const(MAX_TAIL_CALLS)), () => {
      const id = f.let(i32.load(i32.add(storage, i32.shl(index, i32.const(SLOT_SHIFT)))));
      f.if(id, () => {
        f.do(i32.store(cpu, CPU_BLOCK.tailCalls, i32.add(made, i32.const(1))));
        f.do(i32.store(cpu, CPU_BLOCK.framePointer, framePointer));
        f.do(i32.store(cpu, CPU_BLOCK.programId, id));
        f.returnCallIndirect(program.entryType, program.programTable, id, value(1).narrow);
      });
    });
  });
  setResult(i64.const(0));
}
