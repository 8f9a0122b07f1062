/** What stops a program from within: the reason goes to the CPU block, then the program traps. */
import { CPU_BLOCK, FAULT, type Fault } from '../../machine/cpu.ts';
import type { Machine } from '../../machine/machine.ts';
import { i32, type I32 } from '../../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../../wasm/function-builder.ts';

export function emitFault(f: FunctionBuilder, machine: Machine, fault: Fault): void {
  f.do(i32.store(i32.const(machine.cpuBlock), CPU_BLOCK.fault, i32.const(fault)));
  f.unreachable();
}

/** Charges instructions to the running program, which has spent more than it was given where the result is not 0. `left` is any variable. */
export function charge(f: FunctionBuilder, machine: Machine, instructions: number, left: Local<'i32'>): I32 {
  const cpu = i32.const(machine.cpuBlock);
  f.set(left, i32.sub(i32.load(cpu, CPU_BLOCK.budget), i32.const(instructions)));
  f.do(i32.store(cpu, CPU_BLOCK.budget, left));
  return i32.ltS(left, i32.const(0));
}

/** The same, and stops the program. */
export function emitCharge(f: FunctionBuilder, machine: Machine, instructions: number, left: Local<'i32'>): void {
  f.if(charge(f, machine, instructions, left), () => emitFault(f, machine, FAULT.budget));
}

/** Whether the function that was just called unwinds. */
export function isThrown(machine: Machine): I32 {
  return i32.load(i32.const(machine.cpuBlock), CPU_BLOCK.thrown);
}

export function setThrown(f: FunctionBuilder, machine: Machine, thrown: 0 | 1): void {
  f.do(i32.store(i32.const(machine.cpuBlock), CPU_BLOCK.thrown, i32.const(thrown)));
}

/** Stops a program whose callback throws: Linux refuses it, for there nothing can unwind. */
export function emitNotThrown(f: FunctionBuilder, machine: Machine): void {
  f.if(isThrown(machine), () => {
    setThrown(f, machine, 0);
    emitFault(f, machine, FAULT.unsupported);
  });
}
