/**
 * Which of r1 to r5 a function reads before it sets them: its real parameters. A caller's other registers may hold
 * anything, an old address on its stack among it, and that does not get away by the call.
 */
import type { CallTarget, Instruction, Operand, Register } from '../../bpf/isa.ts';
import type { Callable } from '../../helpers/helper.ts';
import { buildBlocks, exitEdges, reversePostOrder, type Block } from './control-flow.ts';

/** Bit n for register n. */
type RegisterSet = number;

const CALLER_SAVED: RegisterSet = 0b11_1111;
const ALL_PARAMETERS: RegisterSet = 0b11_1110;

const bit = (register: Register): RegisterSet => 1 << register;
const ofOperand = (operand: Operand): RegisterSet => (operand.kind === 'register' ? bit(operand.register) : 0);

/** What an instruction reads and writes; `calls` answers which registers a call reads. */
function effect(instruction: Instruction, calls: (call: Extract<Instruction, { kind: 'call' }>) => RegisterSet): { readonly reads: RegisterSet; readonly writes: RegisterSet } {
  switch (instruction.kind) {
    case 'alu': {
      const own = bit(instruction.dst);
      return { reads: ofOperand(instruction.source) | (instruction.op === 'mov' ? 0 : own), writes: own };
    }
    case 'neg':
    case 'endian':
      return { reads: bit(instruction.dst), writes: bit(instruction.dst) };
    case 'movsx':
    case 'load':
      return { reads: bit(instruction.src), writes: bit(instruction.dst) };
    case 'load_imm64':
      return { reads: 0, writes: bit(instruction.dst) };
    case 'store':
      return { reads: bit(instruction.dst) | ofOperand(instruction.source), writes: 0 };
    case 'atomic': {
      if (instruction.op === 'load_acquire') return { reads: bit(instruction.src), writes: bit(instruction.dst) };
      return { reads: bit(instruction.dst) | bit(instruction.src) | (instruction.op === 'cmpxchg' ? bit(0) : 0), writes: 0 };
    }
    case 'load_packet':
      return { reads: bit(6) | (instruction.index === undefined ? 0 : bit(instruction.index)), writes: CALLER_SAVED };
    case 'branch':
      return { reads: bit(instruction.dst) | ofOperand(instruction.source), writes: 0 };
    case 'call':
      return { reads: calls(instruction), writes: CALLER_SAVED };
    case 'exit':
      return { reads: bit(0), writes: 0 };
    case 'upper':
    case 'jump':
    case 'may_goto':
      return { reads: 0, writes: 0 };
  }
}

export class Parameters {
  readonly #instructions: readonly Instruction[];
  readonly #callee: (target: CallTarget) => Callable | undefined;
  readonly #known = new Map<number, RegisterSet>();

  constructor(instructions: readonly Instruction[], callee: (target: CallTarget) => Callable | undefined) {
    this.#instructions = instructions;
    this.#callee = callee;
  }

  /** The parameters of the function at `slot`. */
  of(slot: number): readonly Register[] {
    const read = this.#read(slot);
    return ([1, 2, 3, 4, 5] as const).filter((register) => (read & bit(register)) !== 0);
  }

  /** Whether what a register holds where `block` begins may be read. */
  isRead(register: Register, block: Block): boolean {
    const visited = new Set([block]);
    // Grows while it is walked.
    for (const each of visited) {
      let written = false;
      for (let slot = each.start; slot < each.end && !written; slot++) {
        const { reads, writes } = effect(this.#instructions[slot]!, this.#calls);
        if ((reads & bit(register)) !== 0) return true;
        written = (writes & bit(register)) !== 0;
      }
      if (!written) for (const { target } of exitEdges(each.exit)) visited.add(target);
    }
    return false;
  }

  #read(slot: number): RegisterSet {
    const known = this.#known.get(slot);
    if (known !== undefined) return known;
    // For a function that calls itself, which no checked program does.
    this.#known.set(slot, ALL_PARAMETERS);
    const read = this.#liveAtEntry(slot) & ALL_PARAMETERS;
    this.#known.set(slot, read);
    return read;
  }

  #calls = ({ target }: Extract<Instruction, { kind: 'call' }>): RegisterSet => {
    if (target.kind === 'subprogram') return this.#read(target.slot);
    const callee = this.#callee(target);
    return callee === undefined ? ALL_PARAMETERS : ((1 << callee.args.length) - 1) << 1;
  };

  #liveAtEntry(slot: number): RegisterSet {
    const [entry] = buildBlocks(this.#instructions, slot);
    const blocks = reversePostOrder(entry!).toReversed();
    const live = new Map<Block, RegisterSet>();
    for (let changed = true; changed; ) {
      changed = false;
      for (const block of blocks) {
        const before = this.#throughBlock(block, live);
        if (before === (live.get(block) ?? 0)) continue;
        live.set(block, before);
        changed = true;
      }
    }
    return live.get(entry!) ?? 0;
  }

  #throughBlock(block: Block, live: ReadonlyMap<Block, RegisterSet>): RegisterSet {
    let set = exitEdges(block.exit).reduce((all, { target }) => all | (live.get(target) ?? 0), 0);
    for (let slot = block.end - 1; slot >= block.start; slot--) {
      const { reads, writes } = effect(this.#instructions[slot]!, this.#calls);
      set = (set & ~writes) | reads;
    }
    return set;
  }
}
