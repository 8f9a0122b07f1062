/**
 * One contract, several engines. An engine turns a linked program into an entry function in machine.programTable;
 * everything around it (packet path, maps, helpers) is shared, so engines can differ in speed only.
 *
 * The entry function is WebAssembly, `(ctx: i32) -> i64`: ctx is the context's address, the result is r0. Before
 * each run the caller resets CPU_BLOCK.budget and tailCalls, as machine.beginRun does; a program that faults traps,
 * after writing CPU_BLOCK.fault where it knows why.
 */
import type { Machine } from '../machine/machine.ts';
import type { VerifiedProgram } from '../program/program.ts';
import type { ProgramImage } from './program-image.ts';

export type EngineName = 'wasm' | 'interpreter' | 'kernel';

export interface Engine {
  readonly name: EngineName;
  /** Compiles `program` and puts its entry function at machine.programTable[program.id]. */
  load(program: VerifiedProgram): void;
  /** Of engines whose programs may run in the threads of several CPUs: those that were loaded, and what such a thread takes. */
  readonly parallel?: { readonly loaded: readonly VerifiedProgram[]; image(program: VerifiedProgram, cpu: number): ProgramImage };
  /** Linux runs the programs, and refuses what it does not take: nobody else has to. */
  readonly verifies?: true;
  /** What whoever reads its results has to know, each in a line. */
  readonly remarks?: readonly string[];
  /** Gives back what is not this process's memory. Nothing can run afterwards. */
  close?(): void;
}

export type EngineFactory = (machine: Machine) => Engine;
