/**
 * Whether a function keeps an address that it is given: stores it anywhere but in its own frame, hands it to a helper
 * or a function that does, or returns it. One that does not is done with it when it returns.
 */
import type { Instruction, Register } from '../../bpf/isa.ts';
import { buildBlocks } from './control-flow.ts';
import { isOfStack, SOMEWHERE_ON_STACK } from './known-value.ts';
import type { ProgramModule } from './program-module.ts';
import { stackArguments } from './stack-arguments.ts';
import { surroundingsOf } from './surroundings.ts';
import { analyseValues, copyState, entryState, followedWord, followedWords, transfer, WORD_BYTES, type FollowedWords, type State } from './value-flow.ts';

/** The parameters are looked at as if they were addresses on the function's own stack. */
export function keepsAddress(program: ProgramModule, slot: number, parameters: readonly Register[]): boolean {
  const { instructions } = program.program.spec;
  const blocks = buildBlocks(instructions, slot);
  const words = followedWords(instructions, blocks);
  const surroundings = surroundingsOf(program, words);
  const given = Object.fromEntries(parameters.map((register) => [register, SOMEWHERE_ON_STACK]));
  const flow = analyseValues(instructions, blocks[0]!, entryState(given, words), surroundings);
  const state: State = [];
  for (const block of flow.blocks) {
    copyState(flow.at(block), state);
    for (let at = block.start; at < block.end; at++) {
      if (keeps(instructions[at]!, state, program, words)) return true;
      transfer(instructions[at]!, state, surroundings);
    }
  }
  return false;
}

function keeps(instruction: Instruction, state: State, program: ProgramModule, words: FollowedWords): boolean {
  switch (instruction.kind) {
    case 'store': {
      if (instruction.source.kind === 'immediate' || !isOfStack(state[instruction.source.register]!)) return false;
      const base = state[instruction.dst]!;
      return base.kind !== 'frame' || instruction.bytes !== WORD_BYTES || followedWord(base.offset + instruction.offset, words) === 0;
    }
    case 'atomic':
      return instruction.op !== 'load_acquire' && (isOfStack(state[instruction.src]!) || isOfStack(state[0]!));
    case 'call':
      return stackArguments(instruction, state, program) === undefined;
    case 'exit':
      return isOfStack(state[0]!);
    default:
      return false;
  }
}
