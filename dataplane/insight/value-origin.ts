/**
 * Where values were made, as a program runs: for every register, and for what was spilled to the stack, the
 * instruction that made the value, wherever it was moved to since. Compilers gather all returns of a function at one
 * exit, so it is the origin of r0 there that says which `return` it was.
 */
import type { Instruction } from '../bpf/isa.ts';
import type { Program } from '../program/program.ts';

/** An instruction that ran. */
export interface Place {
  readonly program: Program;
  readonly slot: number;
  /** How many had run before it. */
  readonly step: number;
}

const REGISTERS = 11;
const FRAME_POINTER = 10;

export class ValueOrigins {
  #registers: (Place | undefined)[] = Array.from({ length: REGISTERS });
  /** Of the callers of the function that runs, the innermost last. */
  readonly #callers: (Place | undefined)[][] = [];
  /** By address. */
  readonly #spilled = new Map<number, Place>();

  get result(): Place | undefined {
    return this.#registers[0];
  }

  begin(): void {
    this.#registers.fill(undefined);
    this.#callers.length = 0;
    this.#spilled.clear();
  }

  /** A function begins. What its parameters are came from the caller. */
  called(): void {
    this.#callers.push(this.#registers);
    this.#registers = [...this.#registers];
  }

  returned(): void {
    const result = this.result;
    this.#registers = this.#callers.pop() ?? this.#registers;
    this.#registers[0] = result;
  }

  /** Before the instruction runs. */
  stepping(instruction: Instruction, place: Place, framePointer: number): void {
    switch (instruction.kind) {
      case 'alu':
        if (keepsValue(instruction)) return;
        this.#registers[instruction.dst] = instruction.op === 'mov' && instruction.source.kind === 'register' ? this.#registers[instruction.source.register] : place;
        return;
      case 'load':
        this.#registers[instruction.dst] = (instruction.src === FRAME_POINTER ? this.#spilled.get(framePointer + instruction.offset) : undefined) ?? place;
        return;
      case 'store':
        if (instruction.dst !== FRAME_POINTER) return;
        this.#spilled.set(framePointer + instruction.offset, (instruction.source.kind === 'register' ? this.#registers[instruction.source.register] : undefined) ?? place);
        return;
      case 'movsx':
        this.#registers[instruction.dst] = this.#registers[instruction.src];
        return;
      case 'neg':
      case 'endian':
      case 'load_imm64':
        this.#registers[instruction.dst] = place;
        return;
      case 'call':
      case 'load_packet':
        this.#registers[0] = place;
    }
  }
}

/** Shifting up and down again is how compilers cut a number to 32 bits where they have no such registers. */
function keepsValue({ op, source }: Instruction & { readonly kind: 'alu' }): boolean {
  return (op === 'lsh' || op === 'rsh' || op === 'arsh') && source.kind === 'immediate' && source.value === 32;
}
