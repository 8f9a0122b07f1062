/** Everything that is found out about a function before it is compiled: what can run, what is known there, how it nests. */
import type { Instruction, Register } from '../../bpf/isa.ts';
import { buildBlocks, reversePostOrder, type Block } from './control-flow.ts';
import { dominatorTree, isReducible, type DominatorTree } from './dominators.ts';
import type { Known } from './known-value.ts';
import type { ProgramModule } from './program-module.ts';
import { makeReducible } from './reducible.ts';
import { stackUse, type StackUse } from './stack-use.ts';
import { surroundingsOf } from './surroundings.ts';
import { analyseValues, entryState, followedWords, NO_WORDS, type FollowedWords, type Surroundings, type ValueFlow } from './value-flow.ts';

export interface FunctionPlan {
  readonly flow: ValueFlow;
  /** What `flow` was told. */
  readonly surroundings: Surroundings;
  readonly stack: StackUse;
  /** What can run, in reverse post-order, made reducible; with the dispatchers of that many regions. */
  readonly ordered: readonly Block[];
  readonly tree: DominatorTree;
  readonly regions: number;
}

/** Plans the function at `start`; `parameters` is what is known of its registers there. */
export function planFunction(program: ProgramModule, start: number, parameters: Partial<Record<Register, Known>>): FunctionPlan {
  const { instructions } = program.program.spec;
  const { entry, flow, surroundings, stack } = analyse(program, instructions, start, parameters);
  const { blocks } = flow;
  const tree = dominatorTree(blocks);
  if (isReducible(blocks, tree)) return { flow, surroundings, stack, ordered: blocks, tree, regions: 0 };
  const regions = makeReducible(blocks);
  const ordered = reversePostOrder(entry);
  return { flow, surroundings, stack, ordered, tree: dominatorTree(ordered), regions };
}

type Analysis = Pick<FunctionPlan, 'flow' | 'surroundings' | 'stack'> & { readonly entry: Block };

/** Where an address on the stack gets away, nothing is known of what is on the stack, so all is looked at again. */
function analyse(program: ProgramModule, instructions: readonly Instruction[], start: number, parameters: Partial<Record<Register, Known>>): Analysis {
  const following = (blocks: readonly Block[], words: FollowedWords): Analysis => {
    const entry = blocks[0]!;
    const surroundings = surroundingsOf(program, words);
    const flow = analyseValues(instructions, entry, entryState(parameters, words), surroundings);
    return { entry, flow, surroundings, stack: stackUse(instructions, flow, program, surroundings) };
  };
  const blocks = buildBlocks(instructions, start);
  const found = following(blocks, followedWords(instructions, blocks));
  return found.stack.keepsAddresses ? found : following(buildBlocks(instructions, start), NO_WORDS);
}
