/**
 * How a function uses its stack frame, and so which words of it can live in variables (stack-words.ts keeps them
 * there). A word that is only reached at known offsets can. One that a load may reach at an unknown offset is kept in
 * memory too; one that such a store or an atomic operation may reach is kept in memory only. Where an address on the
 * stack gets away, into memory or into a function that may keep it, the whole frame is.
 *
 * A program that makes an address on its stack out of numbers, which no verifier lets through, is not seen.
 */
import type { Instruction } from '../../bpf/isa.ts';
import { FRAME_BYTES } from '../../machine/cpu.ts';
import { isOfStack, type Known } from './known-value.ts';
import type { ProgramModule } from './program-module.ts';
import { stackArguments } from './stack-arguments.ts';
import { copyState, followedWord, reachOf, transfer, WORD_BYTES, type StackRange, type State, type Surroundings, type ValueFlow } from './value-flow.ts';

const WORDS = FRAME_BYTES / WORD_BYTES;

export interface WordUse {
  /** Bytes of it at which an access begins or ends: bit n for byte n, bit 0 always. */
  boundaries: number;
  /** `shared`: in memory too. `pinned`: in memory only. */
  place: 'variables' | 'shared' | 'pinned';
}

export interface StackUse {
  /** Words that are accessed, by number from the lowest; none if an address gets away. */
  readonly words: ReadonlyMap<number, WordUse>;
  /** What may be read from memory before it is written there. */
  readonly uninitialised: readonly StackRange[];
  /** No address on the stack gets away. */
  readonly keepsAddresses: boolean;
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
  /** What accesses at unknown offsets, and atomic ones, make of the words they may reach. */
  readonly #reached: { readonly range: StackRange; readonly place: WordUse['place'] }[] = [];
  /** Everything from here up may be read or written by somebody who is not known. */
  #exposed = FRAME_BYTES;
  /** The lowest byte that any address points to. */
  #lowest = FRAME_BYTES;

  constructor(instructions: readonly Instruction[], flow: ValueFlow, program: ProgramModule, surroundings: Surroundings) {
    this.#instructions = instructions;
    this.#flow = flow;
    this.#program = program;
    this.#surroundings = surroundings;
  }

  run(): StackUse {
    const state: State = [];
    let keepsAddresses = true;
    for (const block of this.#flow.blocks) {
      copyState(this.#flow.at(block), state);
      for (let slot = block.start; slot < block.end; slot++) {
        const instruction = this.#instructions[slot]!;
        // Also what follows an address that got away: it may point lower.
        if (!this.#visit(instruction, state)) keepsAddresses = false;
        transfer(instruction, state, this.#surroundings);
        if (instruction.kind === 'alu') this.#pointDown(state[instruction.dst]!, 0);
      }
    }
    if (!keepsAddresses) return { words: new Map(), uninitialised: [{ from: this.#lowest - (this.#lowest % WORD_BYTES), to: FRAME_BYTES }], keepsAddresses };
    for (const { range, place } of this.#reached) this.#place(range, place);
    return { words: this.#words, uninitialised: this.#uninitialised(), keepsAddresses };
  }

  /** False when an address on the stack gets away. */
  #visit(instruction: Instruction, state: State): boolean {
    switch (instruction.kind) {
      case 'load':
        this.#access(state[instruction.src]!, instruction.offset, instruction.bytes, 'shared');
        return true;
      case 'store': {
        const base = state[instruction.dst]!;
        this.#access(base, instruction.offset, instruction.bytes, 'pinned');
        if (instruction.source.kind === 'immediate' || !isOfStack(state[instruction.source.register]!)) return true;
        // A word that is followed may hold an address.
        return base.kind === 'frame' && instruction.bytes === WORD_BYTES && followedWord(base.offset + instruction.offset, this.#surroundings.words) !== 0;
      }
      case 'atomic': {
        const loads = instruction.op === 'load_acquire';
        this.#access(state[loads ? instruction.src : instruction.dst]!, instruction.offset, instruction.bytes, 'atomic');
        return loads || !(isOfStack(state[instruction.src]!) || (instruction.op === 'cmpxchg' && isOfStack(state[0]!)));
      }
      case 'call': {
        const found = stackArguments(instruction, state, this.#program);
        for (const range of found ?? []) {
          if (!range.exact) this.#expose(range);
          else if (range.inPlace) this.#access(state[2]!, 0, range.to - range.from, 'shared');
          else for (let word = Math.floor(range.from / WORD_BYTES); word * WORD_BYTES < range.to; word++) this.#word(word);
        }
        return found !== undefined;
      }
      case 'exit':
        return !isOfStack(state[0]!);
      default:
        return true;
    }
  }

  /** Notes an access. `place` is where words go that it may reach at an unknown offset. */
  #access(base: Known, offset: number, bytes: number, place: 'shared' | 'pinned' | 'atomic'): void {
    if (!isOfStack(base)) return;
    this.#pointDown(base, offset);
    const range = reachOf(base, offset, bytes);
    const within = base.kind === 'frame' && this.#note(range, bytes);
    if (!within) this.#expose(range);
    if (base.kind !== 'frame') this.#reached.push({ range, place: place === 'shared' ? place : 'pinned' });
    else if (!within || place === 'atomic') this.#reached.push({ range, place: 'pinned' });
  }

  /** Notes an access at a known place; false if it is not within one word of the frame. */
  #note({ from }: StackRange, bytes: number): boolean {
    const first = Math.floor(from / WORD_BYTES);
    if (from + bytes > FRAME_BYTES || Math.floor((from + bytes - 1) / WORD_BYTES) !== first) return false;
    this.#word(first).boundaries |= (1 << (from % WORD_BYTES)) | (1 << ((from % WORD_BYTES) + bytes));
    return true;
  }

  #word(word: number): WordUse {
    let use = this.#words.get(word);
    if (use === undefined) this.#words.set(word, (use = { boundaries: 1, place: 'variables' }));
    return use;
  }

  #place({ from, to }: StackRange, place: WordUse['place']): void {
    for (const [word, use] of this.#words) {
      if (word * WORD_BYTES < to && (word + 1) * WORD_BYTES > from && use.place !== 'pinned') use.place = place;
    }
  }

  #expose({ from }: StackRange): void {
    this.#exposed = Math.min(this.#exposed, from);
  }

  #pointDown(known: Known, offset: number): void {
    if (known.kind === 'frame') this.#lowest = Math.max(0, Math.min(this.#lowest, FRAME_BYTES + known.offset + offset));
  }

  /** Words that others may read and that are not written to memory before they do. */
  #uninitialised(): readonly StackRange[] {
    const ranges: StackRange[] = [];
    const exposed = Math.max(this.#exposed, this.#lowest);
    for (let word = 0; word < WORDS; word++) {
      const use = this.#words.get(word);
      if (use === undefined ? (word + 1) * WORD_BYTES <= exposed : use.place === 'variables') continue;
      const last = ranges.at(-1);
      const from = word * WORD_BYTES;
      if (last?.to === from) ranges[ranges.length - 1] = { from: last.from, to: from + WORD_BYTES };
      else ranges.push({ from, to: from + WORD_BYTES });
    }
    return ranges;
  }
}
