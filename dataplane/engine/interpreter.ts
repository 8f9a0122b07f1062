/**
 * The reference engine: every instruction is a step (interpreter-steps.ts) that follows RFC 9669 to the letter, run
 * one after the other. It is for reading, for tracing, and for comparing the compiler with; it shares memory, maps
 * and helpers with it, and charges the instruction budget at the same places:
 *
 *   - a backward jump from slot s to slot t costs s - t + 1; a call of a subprogram, or of a callback by a helper, 1
 *   - what a function leaves in r1 to r5 is gone: after a call they are what they were before it
 *   - registers and stack of a function are zero where nothing has been written
 */
import { MAY_GOTO_LIMIT, type CallTarget, type Immediate64 } from '../bpf/isa.ts';
import { THROW } from '../helpers/exception.ts';
import { bindHelper, calleeOf, kfuncNamed } from '../helpers/index.ts';
import type { Callable, HelperFunction } from '../helpers/helper.ts';
import { ARGUMENT_WORDS } from '../helpers/helper.ts';
import { KERNEL_ADDRESS } from '../helpers/kfunc.ts';
import { CPU_BLOCK, FAULT, FRAME_BYTES, MAX_TAIL_CALLS, type Fault } from '../machine/cpu.ts';
import type { Callback, Machine } from '../machine/machine.ts';
import { MAP_DESCRIPTOR } from '../maps/map.ts';
import type { Program } from '../program/program.ts';
import type { Engine, EngineFactory } from './engine.ts';
import { JavaScriptEntry } from './javascript-entry.ts';
import { InterpreterState, ProgramFault } from './interpreter-state.ts';
import { compileStep, type Control, type Step } from './interpreter-steps.ts';
import type { StepObserver } from './step-observer.ts';

/** Of a PROG_ARRAY: a u32 program id, 0 where there is none. */
const PROGRAM_SLOT_BYTES = 4;

/** In place of a slot: the program that `#successor` names takes over; the program unwinds, with what was thrown in r0. */
const TAIL_CALL = -2;
const THROWN = -3;

interface Loaded {
  readonly program: Program;
  readonly steps: readonly Step[];
}

export class Interpreter implements Engine {
  readonly name = 'interpreter';
  readonly #machine: Machine;
  readonly #state: InterpreterState;
  readonly #programs = new Map<number, Loaded>();
  readonly #entry: JavaScriptEntry;
  readonly #observer: StepObserver | undefined;
  #successor: Loaded | undefined;
  /** The function that was called last did not return: its caller unwinds too. */
  #isThrown = false;

  constructor(machine: Machine, observer?: StepObserver) {
    this.#machine = machine;
    this.#observer = observer;
    this.#state = new InterpreterState(machine);
    this.#entry = new JavaScriptEntry(machine);
  }

  load(program: Program): void {
    const steps: Step[] = [];
    const loaded: Loaded = { program, steps };
    const control: Control = {
      call: (target, next) => this.#call(loaded, target, next),
      immediate: (value) => this.#immediate(loaded, value),
    };
    for (const [slot, instruction] of program.spec.instructions.entries()) {
      steps.push(this.#observed(slot, compileStep(instruction, slot, this.#state, control)));
    }
    this.#programs.set(program.id, loaded);
    this.#entry.set(program.id, (context) => this.#enter(loaded, context));
  }

  /** The step as it is where nobody watches. */
  #observed(slot: number, step: Step): Step {
    const { u64 } = this.#state;
    const observer = this.#observer;
    if (observer === undefined) return step;
    return () => {
      observer.stepping(slot, u64);
      return step();
    };
  }

  /** Runs a program from its start. A fault is left in the CPU block for the entry function to trap on. */
  #enter(loaded: Loaded, context: number): bigint {
    this.#machine.setCell(CPU_BLOCK.fault, FAULT.none);
    try {
      this.#openFrame(this.#machine.stackTop);
      this.#state.setLow(1, context);
      this.#observer?.entered(loaded.program, this.#state.u64);
      this.#runFunction(loaded, 0);
      const result = this.#state.u64[0]!;
      this.#observer?.exited(result);
      return result;
    } catch (error) {
      const fault = faultOf(error);
      this.#machine.setCell(CPU_BLOCK.fault, fault);
      this.#observer?.faulted(fault);
      return 0n;
    }
  }

  /** Runs steps until the function exits, or unwinds. After a tail call these are another program's. */
  #runFunction(loaded: Loaded, start: number): void {
    let running = loaded;
    let isEntry = start === 0;
    let slot = start;
    for (;;) {
      slot = running.steps[slot]!();
      if (slot >= 0) continue;
      this.#isThrown = slot === THROWN;
      if (slot !== TAIL_CALL) break;
      running = this.#successor!;
      isEntry = true;
      slot = 0;
    }
    if (this.#isThrown && isEntry) this.#catch(running);
  }

  /** What was thrown has come to the program's entry function. Its callback says what the program ends with, or else that is it. */
  #catch(loaded: Loaded): void {
    const { u64 } = this.#state;
    const { exceptionCallback } = loaded.program.spec;
    this.#isThrown = false;
    if (exceptionCallback === undefined) return;
    this.#state.spend(1);
    u64[0] = this.#callFunction(loaded, exceptionCallback, ([cookie]) => (u64[1] = cookie!));
    this.#mayNotThrow();
  }

  /** Linux refuses programs whose callbacks throw: there nothing can unwind. */
  #mayNotThrow(): void {
    if (this.#isThrown) throw new ProgramFault(FAULT.unsupported);
  }

  /** Registers and stack of a function that begins. */
  #openFrame(framePointer: number): void {
    const bottom = framePointer - FRAME_BYTES;
    if (bottom < this.#machine.cpuBlock + CPU_BLOCK.stack) throw new ProgramFault(FAULT.depth);
    this.#state.zero(bottom, FRAME_BYTES);
    this.#state.u64.fill(0n);
    this.#state.setLow(10, framePointer);
    this.#state.goesOn = MAY_GOTO_LIMIT;
  }

  /** Runs the function at `slot` in a frame below the running one; all registers but r0 are restored. */
  #callFunction(loaded: Loaded, slot: number, args: (registers: BigUint64Array) => void): bigint {
    const { u64 } = this.#state;
    const saved = u64.slice();
    const { goesOn } = this.#state;
    this.#openFrame(this.#state.low(10) - FRAME_BYTES);
    args(saved);
    this.#observer?.called(loaded.program, slot, u64);
    this.#runFunction(loaded, slot);
    const result = u64[0]!;
    u64.set(saved);
    this.#state.goesOn = goesOn;
    this.#observer?.returned(u64);
    return result;
  }

  #call(loaded: Loaded, target: CallTarget, next: number): Step {
    const { u64 } = this.#state;
    switch (target.kind) {
      case 'subprogram': {
        const passArguments = (caller: BigUint64Array): void => u64.set(caller.subarray(1, 6), 1);
        return () => {
          this.#state.spend(1);
          u64[0] = this.#callFunction(loaded, target.slot, passArguments);
          return this.#isThrown ? THROWN : next;
        };
      }
      case 'helper':
      case 'kfunc': {
        const callee = calleeOf(target, loaded.program.type);
        if (callee === undefined) return unsupported;
        if (callee.implementation.kind !== 'engine') return this.#callHelper(callee, next);
        return callee.name === THROW ? this.#throw : this.#tailCall(next);
      }
      default:
        return target satisfies never;
    }
  }

  #callHelper(helper: Callable, next: number): Step {
    const { i32: halves } = this.#state;
    const callable = bindHelper(this.#machine, helper);
    const setResult = this.#resultOf(helper);
    // Where in the halves of r1 to r5 each number of the call is.
    const places = helper.args.flatMap((kind, index) => (ARGUMENT_WORDS[kind] === 1 ? [2 * (index + 1)] : [2 * (index + 1), 2 * (index + 1) + 1]));
    return () => {
      setResult(callable(...places.map((place) => halves[place]!)));
      return next;
    };
  }

  #resultOf(helper: Callable): (result: ReturnType<HelperFunction>) => void {
    const { u64 } = this.#state;
    switch (helper.returns) {
      case 'void':
      case 'never':
        return () => {
          u64[0] = 0n;
        };
      case 'u64':
      case 'int':
        return (result) => {
          u64[0] = BigInt(result!);
        };
      default:
        return (result) => this.#state.setLow(0, Number(result));
    }
  }

  readonly #throw: Step = () => {
    const { u64 } = this.#state;
    u64[0] = u64[1]!;
    return THROWN;
  };

  /** bpf_tail_call(ctx, map, index). Only a populated slot counts against the limit; without one the program goes on. */
  #tailCall(next: number): Step {
    const state = this.#state;
    return () => {
      const context = state.low(1);
      const successor = this.#programs.get(this.#programAt(state.low(2), state.low(3)));
      const made = this.#machine.cell(CPU_BLOCK.tailCalls);
      if (successor === undefined || made >= MAX_TAIL_CALLS) {
        state.u64[0] = 0n;
        return next;
      }
      this.#machine.setCell(CPU_BLOCK.tailCalls, made + 1);
      this.#machine.setCell(CPU_BLOCK.programId, successor.program.id);
      this.#openFrame(state.low(10));
      state.setLow(1, context);
      this.#observer?.replaced(successor.program, state.u64);
      this.#successor = successor;
      return TAIL_CALL;
    };
  }

  /** The id in a PROG_ARRAY's slot, 0 where there is none. */
  #programAt(map: number, index: number): number {
    const maxEntries = this.#state.loadLow(map + MAP_DESCRIPTOR.maxEntries, 4);
    const storage = this.#state.loadLow(map + MAP_DESCRIPTOR.storage, 4);
    return index < maxEntries ? this.#state.loadLow(storage + PROGRAM_SLOT_BYTES * index, 4) : 0;
  }

  #immediate(loaded: Loaded, value: Immediate64): bigint {
    const { maps } = loaded.program;
    switch (value.kind) {
      case 'constant':
        return value.value;
      case 'map':
        return BigInt(maps.get(value.map)!.descriptor);
      case 'map_value':
        return BigInt(maps.get(value.map)!.geometry.storage + value.offset);
      case 'function':
        return BigInt(this.#machine.addCallback(this.#callback(loaded, value.slot)));
      case 'btf_id':
        if (kfuncNamed(value.name) !== undefined) return KERNEL_ADDRESS;
        throw new TypeError(`reference to ${value.name ?? value.id}: the program was not checked`);
      default:
        throw new TypeError(`reference of kind ${value.kind}: the program was not checked`);
    }
  }

  #callback(loaded: Loaded, slot: number): Callback {
    const { u64 } = this.#state;
    return (...args) => {
      this.#state.spend(1);
      const result = this.#callFunction(loaded, slot, () => args.forEach((arg, index) => (u64[index + 1] = arg)));
      this.#mayNotThrow();
      return result;
    };
  }
}

function unsupported(): never {
  throw new ProgramFault(FAULT.unsupported);
}

/** Helpers are WebAssembly or JavaScript on machine memory; with a bad address they trap or miss their view. */
function faultOf(error: unknown): Fault {
  if (error instanceof ProgramFault) return error.fault;
  if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) return FAULT.memory;
  throw error;
}

export const createInterpreter: EngineFactory = (machine) => new Interpreter(machine);
