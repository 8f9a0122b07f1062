/**
 * Which bytes of a function's stack frame its instructions and helper calls touch. As long as no address on the
 * stack gets away (into memory, into another function, into arithmetic that ends in an access), the words that are
 * only reached at known offsets can live in variables; stack-words.ts keeps them there.
 *
 * A program that makes an address on its stack out of numbers, which no verifier lets through, is not seen.
 */
import type { Instruction } from '../../bpf/isa.ts';
import type { ArgumentKind, Helper } from '../../helpers/helper.ts';
import { FRAME_BYTES } from '../../machine/cpu.ts';
import { knownMap } from './calls.ts';
import { isOfStack, type Known } from './known-value.ts';
import type { ProgramModule } from './program-module.ts';
import { copyRegisters, transfer, type Registers, type Surroundings, type ValueFlow } from './value-flow.ts';

export const WORD_BYTES = 8;

/** Bytes `from` to `to`, exclusive, from the lowest byte of the frame. */
export interface StackRange {
  readonly from: number;
  readonly to: number;
}

/** A helper's access. */
export interface StackArgument extends StackRange {
  readonly written: boolean;
}

type ArgumentUse = 'none' | 'read' | 'write' | 'escape';

/** What a helper does with an argument that points to the stack. `memory` may be written: bpf_fib_lookup does. */
const ARGUMENT_USE = {
  ctx: 'escape',
  map: 'escape',
  map_key: 'read',
  map_value: 'read',
  map_value_out: 'write',
  memory: 'write',
  memory_or_null: 'write',
  memory_out: 'write',
  size: 'none',
  size_or_zero: 'none',
  u32: 'none',
  i32: 'none',
  u64: 'none',
  callback: 'none',
  callback_ctx: 'escape',
  spin_lock: 'escape',
  timer: 'escape',
  ringbuf_record: 'escape',
  allocated_size: 'none',
  socket: 'escape',
  long_out: 'write',
  int_out: 'write',
  const_string: 'read',
} as const satisfies Record<ArgumentKind, ArgumentUse>;

/** How many bytes a helper's argument reaches; undefined where nobody can say. */
function reach(helper: Helper, index: number, registers: Registers, program: ProgramModule): number | undefined {
  switch (helper.args[index]!) {
    case 'map_key':
    case 'map_value':
    case 'map_value_out': {
      const map = knownMap(program, registers[helper.args.indexOf('map') + 1]!);
      return helper.args[index] === 'map_key' ? map?.spec.keyBytes : map?.spec.valueBytes;
    }
    case 'memory':
    case 'memory_or_null':
    case 'memory_out': {
      const size = registers[index + 2];
      return size?.kind === 'constant' ? Number(BigInt.asUintN(32, size.value)) : undefined;
    }
    case 'long_out':
      return 8;
    case 'int_out':
      return 4;
    default:
      return undefined;
  }
}

/** The parts of the stack that a helper call reaches; undefined if it takes away an address on the stack. */
export function stackArguments(helper: Helper, registers: Registers, program: ProgramModule): readonly StackArgument[] | undefined {
  const found: StackArgument[] = [];
  for (const [index, kind] of helper.args.entries()) {
    const known = registers[index + 1]!;
    const use = ARGUMENT_USE[kind];
    if (use === 'none' || !isOfStack(known)) continue;
    if (use === 'escape' || known.kind !== 'frame') return undefined;
    const from = FRAME_BYTES + known.offset;
    if (from < 0 || from > FRAME_BYTES) return undefined;
    const bytes = reach(helper, index, registers, program) ?? FRAME_BYTES - from;
    found.push({ from, to: Math.min(from + bytes, FRAME_BYTES), written: use === 'write' });
  }
  return found;
}

/** How a word of the frame is used. */
export interface WordUse {
  /** Bytes of it at which an access begins or ends: bit n for byte n, bit 0 always. */
  boundaries: number;
  /** It has to stay in memory. */
  pinned: boolean;
}

export interface StackUse {
  /** Words that no address gets away with, by number from the lowest. */
  readonly words: ReadonlyMap<number, WordUse>;
  /** What stays in memory and may be read before it is written. */
  readonly uninitialised: readonly StackRange[];
}

export function stackUse(instructions: readonly Instruction[], flow: ValueFlow, program: ProgramModule, surroundings: Surroundings): StackUse {
  return new StackWalk(instructions, flow, program, surroundings).run();
}

class StackWalk {
  readonly #instructions: readonly Instruction[];
  readonly #flow: ValueFlow;
  readonly #program: ProgramModule;
  readonly #surroundings: Surroundings;
  readonly #words = new Map<number, WordUse>();
  /** The lowest byte that any address points to. */
  #lowest = FRAME_BYTES;

  constructor(instructions: readonly Instruction[], flow: ValueFlow, program: ProgramModule, surroundings: Surroundings) {
    this.#instructions = instructions;
    this.#flow = flow;
    this.#program = program;
    this.#surroundings = surroundings;
  }

  run(): StackUse {
    const registers: Registers = [];
    let stays = true;
    for (const block of this.#flow.blocks) {
      copyRegisters(this.#flow.at(block), registers);
      for (let slot = block.start; slot < block.end; slot++) {
        const instruction = this.#instructions[slot]!;
        // The others are walked too: they may point lower.
        stays = this.#visit(instruction, registers) && stays;
        transfer(instruction, registers, this.#surroundings);
        if (instruction.kind === 'alu') this.#reachDown(registers[instruction.dst]!, 0);
      }
    }
    if (!stays) return { words: new Map(), uninitialised: [{ from: this.#lowest - (this.#lowest % WORD_BYTES), to: FRAME_BYTES }] };
    const pinned = [...this.#words].filter(([, use]) => use.pinned);
    return { words: this.#words, uninitialised: pinned.map(([word]) => ({ from: word * WORD_BYTES, to: (word + 1) * WORD_BYTES })) };
  }

  /** False when an address on the stack gets away. */
  #visit(instruction: Instruction, registers: Registers): boolean {
    switch (instruction.kind) {
      case 'load':
        return this.#access(registers[instruction.src]!, instruction.offset, instruction.bytes);
      case 'store': {
        const kept = instruction.source.kind === 'immediate' || !isOfStack(registers[instruction.source.register]!);
        return this.#access(registers[instruction.dst]!, instruction.offset, instruction.bytes) && kept;
      }
      case 'atomic': {
        const loads = instruction.op === 'load_acquire';
        const kept = loads || !(isOfStack(registers[instruction.src]!) || (instruction.op === 'cmpxchg' && isOfStack(registers[0]!)));
        return this.#access(registers[loads ? instruction.src : instruction.dst]!, instruction.offset, instruction.bytes, true) && kept;
      }
      case 'call':
        return this.#visitCall(instruction, registers);
      case 'exit':
        return !isOfStack(registers[0]!);
      default:
        return true;
    }
  }

  #visitCall({ target }: Extract<Instruction, { kind: 'call' }>, registers: Registers): boolean {
    const helper = target.kind === 'helper' ? this.#program.helper(target.id) : undefined;
    if (target.kind === 'subprogram') return !this.#program.parameters.of(target.slot).some((register) => isOfStack(registers[register]!));
    if (helper === undefined) return true;
    const found = stackArguments(helper, registers, this.#program);
    for (const { from, to } of found ?? []) {
      for (let word = Math.floor(from / WORD_BYTES); word * WORD_BYTES < to; word++) this.#word(word);
    }
    return found !== undefined;
  }

  /** Notes an access through `base`; false if it is to somewhere on the stack that is not known. */
  #access(base: Known, offset: number, bytes: number, pin = false): boolean {
    if (!isOfStack(base)) return true;
    if (base.kind !== 'frame') return false;
    this.#reachDown(base, offset);
    const from = FRAME_BYTES + base.offset + offset;
    if (from < 0 || from + bytes > FRAME_BYTES) return false;
    const first = Math.floor(from / WORD_BYTES);
    const last = Math.floor((from + bytes - 1) / WORD_BYTES);
    for (let word = first; word <= last; word++) {
      const use = this.#word(word);
      if (pin || first !== last) use.pinned = true;
      else use.boundaries |= (1 << (from % WORD_BYTES)) | (1 << ((from % WORD_BYTES) + bytes));
    }
    return true;
  }

  #word(word: number): WordUse {
    let use = this.#words.get(word);
    if (use === undefined) this.#words.set(word, (use = { boundaries: 1, pinned: false }));
    return use;
  }

  #reachDown(known: Known, offset: number): void {
    if (known.kind === 'frame') this.#lowest = Math.max(0, Math.min(this.#lowest, FRAME_BYTES + known.offset + offset));
  }
}
