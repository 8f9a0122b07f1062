/** What stops a program from within: the reason goes to the CPU block, then the program traps. */
import { CPU_BLOCK, FAULT, type Fault } from '../../machine/cpu.ts';
import type { Machine } from '../../machine/machine.ts';
import { i32 } from '../../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../../wasm/function-builder.ts';

export function emitFault(f: FunctionBuilder, machine: Machine, fault: Fault): void {
  f.do(i32.store(i32.const(machine.cpuBlock), CPU_BLOCK.fault, i32.const(fault)));
  f.unreachable();
}

/** Charges instructions to the running program; it is stopped when it has spent more than it was given. `left` is any variable. */
export function emitCharge(f: FunctionBuilder, machine: Machine, instructions: number, left: Local<'i32'>): void {
  const cpu = i32.const(machine.cpuBlock);
  f.set(left, i32.sub(i32.load(cpu, CPU_BLOCK.budget), i32.const(instructions)));
  f.do(i32.store(cpu, CPU_BLOCK.budget, left));
  f.if(i32.ltS(left, i32.const(0)), () => emitFault(f, machine, FAULT.budget));
}
