/** What value-flow.ts is told about a program's calls, maps and constants. */
import { FRAME_BYTES } from '../../machine/cpu.ts';
import { helperResultKnown } from './calls.ts';
import { ANYTHING } from './known-value.ts';
import type { ProgramModule } from './program-module.ts';
import { stackArguments } from './stack-arguments.ts';
import type { FollowedWords, StackRange, Surroundings } from './value-flow.ts';

const NO_RANGES: readonly StackRange[] = [];
const EVERYTHING: readonly StackRange[] = [{ from: 0, to: FRAME_BYTES }];

export function surroundingsOf(program: ProgramModule, words: FollowedWords): Surroundings {
  return {
    words,
    immediate64: (value) => program.immediate64(value),
    frozen: (address, bytes) => program.frozen(address, bytes),
    callResult({ target }) {
      const callee = program.callee(target);
      return callee ? helperResultKnown(callee) : ANYTHING;
    },
    callWrites(instruction, state) {
      const reached = stackArguments(instruction, state, program);
      if (reached === undefined) return EVERYTHING;
      return reached.length === 0 ? NO_RANGES : reached.filter(({ written }) => written);
    },
  };
}
