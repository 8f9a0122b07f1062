/**
 * Watches the interpreter, instruction by instruction. Registers are borrowed: they go on changing. What an observer
 * throws ends the run, and reaches whoever started it.
 */
import type { Fault } from '../machine/cpu.ts';
import type { Program } from '../program/program.ts';

export interface StepObserver {
  /** A program begins; no other is running. */
  entered(program: Program, registers: BigUint64Array): void;
  /** A function of the program begins, in a frame of its own: called by the program, or as a callback by a helper or a timer. */
  called(program: Program, slot: number, registers: BigUint64Array): void;
  /** The instruction at `slot` of the function that runs is next. */
  stepping(slot: number, registers: BigUint64Array): void;
  /** The function that runs goes on as another program, from its start. */
  replaced(program: Program, registers: BigUint64Array): void;
  /** The function that was called is over; registers are its caller's again, as they were before the call. */
  returned(registers: BigUint64Array): void;
  /** The program is over. */
  exited(result: bigint): void;
  /** The program was stopped. */
  faulted(fault: Fault): void;
}
