/**
 * The control flow of one function of a program: basic blocks, and edges that carry what a taken jump costs.
 *
 * A function is the blocks that can be reached from its first slot; a subprogram's blocks are its own, because calls
 * come back. Facts about values prune the graph: an edge whose condition is known to be false is not there, so
 * everything downstream sees only what can run.
 *
 * A jump whose target is not after it charges the instructions it goes back over, itself included, to the running
 * program's budget; a call charges 1. That depends on slots alone, so every engine stops a program at the same place.
 */
import type { Instruction } from '../../bpf/isa.ts';
import { isJump, jumpTarget } from '../../bpf/isa.ts';

export interface Edge {
  readonly target: Block;
  /** Instructions charged when it is taken; 0 for forward edges. */
  readonly charge: number;
}

export type Exit =
  | { readonly kind: 'goto'; readonly to: Edge }
  /** The block's last instruction decides: a branch or a may_goto. */
  | { readonly kind: 'branch'; readonly taken: Edge; readonly fallthrough: Edge }
  /** The last instruction ends the function. */
  | { readonly kind: 'end' }
  /** Goes where variable `selector` of an irreducible region says. */
  | { readonly kind: 'dispatch'; readonly region: number; readonly to: readonly Edge[] };

export interface Block {
  /** First slot, and the slot after the last. A block of no slots only directs. */
  readonly start: number;
  readonly end: number;
  exit: Exit;
  /** Set on the way into the dispatcher of an irreducible region. */
  readonly selects?: { readonly region: number; readonly index: number };
  /** Place in reverse post-order; -1 until ordered. */
  order: number;
}

export function exitEdges(exit: Exit): readonly Edge[] {
  switch (exit.kind) {
    case 'goto':
      return [exit.to];
    case 'branch':
      return [exit.taken, exit.fallthrough];
    case 'dispatch':
      return exit.to;
    case 'end':
      return [];
  }
}

function charge(slot: number, target: number): number {
  return target <= slot ? slot - target + 1 : 0;
}

/** Marks the slots of the function at `start` that begin a block, walking what is reachable. */
function leadersOf(instructions: readonly Instruction[], start: number): { leaders: Uint8Array; reached: Uint8Array } {
  const leaders = new Uint8Array(instructions.length + 1);
  const reached = new Uint8Array(instructions.length + 1);
  const pending = [start];
  leaders[start] = 1;
  while (pending.length > 0) {
    let slot = pending.pop()!;
    while (reached[slot] === 0) {
      const instruction = instructions[slot];
      if (instruction === undefined) throw new RangeError(`control flow leaves the program at slot ${slot}`);
      reached[slot] = 1;
      if (instruction.kind === 'exit') break;
      if (isJump(instruction)) {
        const target = jumpTarget(slot, instruction.offset);
        leaders[target] = 1;
        pending.push(target);
        if (instruction.kind === 'jump') break;
        leaders[slot + 1] = 1;
      }
      slot += instruction.kind === 'load_imm64' ? 2 : 1;
    }
  }
  return { leaders, reached };
}

/** The blocks of the function that starts at `start`, its entry first. */
export function buildBlocks(instructions: readonly Instruction[], start: number): Block[] {
  const { leaders, reached } = leadersOf(instructions, start);
  const at = new Map<number, Block>();
  const blocks: Block[] = [];
  const end: Exit = { kind: 'end' };
  for (let slot = 0; slot < instructions.length; slot++) {
    if (leaders[slot] === 0 || reached[slot] === 0) continue;
    let last = slot;
    for (;;) {
      const instruction = instructions[last]!;
      const next = last + (instruction.kind === 'load_imm64' ? 2 : 1);
      const leaves = instruction.kind === 'exit' || isJump(instruction);
      if (leaves || leaders[next] === 1) {
        last = next;
        break;
      }
      last = next;
    }
    const block: Block = { start: slot, end: last, exit: end, order: -1 };
    at.set(slot, block);
    blocks.push(block);
  }
  for (const block of blocks) block.exit = exitOf(instructions, block, at);
  const entry = at.get(start)!;
  return [entry, ...blocks.filter((block) => block !== entry)];
}

function exitOf(instructions: readonly Instruction[], block: Block, at: ReadonlyMap<number, Block>): Exit {
  const slot = block.end - 1;
  const last = instructions[slot]!;
  const edge = (target: number): Edge => ({ target: at.get(target)!, charge: charge(slot, target) });
  switch (last.kind) {
    case 'exit':
      return { kind: 'end' };
    case 'jump':
      return { kind: 'goto', to: edge(jumpTarget(slot, last.offset)) };
    case 'branch':
    case 'may_goto':
      return { kind: 'branch', taken: edge(jumpTarget(slot, last.offset)), fallthrough: { target: at.get(block.end)!, charge: 0 } };
    default:
      return { kind: 'goto', to: { target: at.get(block.end)!, charge: 0 } };
  }
}

/** Blocks reachable from `entry` in reverse post-order: every forward edge goes to a later one. Sets `order`. */
export function reversePostOrder(entry: Block): Block[] {
  const visited = new Set<Block>([entry]);
  const finished: Block[] = [];
  const stack: { block: Block; edges: readonly Edge[]; next: number }[] = [{ block: entry, edges: exitEdges(entry.exit), next: 0 }];
  while (stack.length > 0) {
    const top = stack[stack.length - 1]!;
    const edge = top.edges[top.next++];
    if (edge === undefined) {
      finished.push(top.block);
      stack.pop();
    } else if (!visited.has(edge.target)) {
      visited.add(edge.target);
      stack.push({ block: edge.target, edges: exitEdges(edge.target.exit), next: 0 });
    }
  }
  finished.reverse();
  finished.forEach((block, order) => (block.order = order));
  return finished;
}
