/**
 * Turns a reducible graph of blocks into WebAssembly's nested control flow (Ramsey, "Beyond Relooper", 2022), walking
 * the dominator tree with a stack of its own: nesting follows the program, recursion would too.
 *
 * A block that several forward edges reach is placed behind a `block` that its dominator opens, and each of these
 * edges is a `br` out of it; a block that an edge goes back to is a `loop`; any other block stands where its only
 * edge is.
 *
 *   block $merge
 *     ...dominator...          br_if $merge
 *     ...its only successor... br $merge
 *   end
 *   ...merge...
 */
import type { I32 } from '../../wasm/expression.ts';
import type { FunctionBuilder, Label } from '../../wasm/function-builder.ts';
import { exitEdges, type Block, type Edge } from './control-flow.ts';
import type { DominatorTree } from './dominators.ts';

/** Emits what is inside blocks and on edges. */
export interface BlockEmitter {
  /** Everything of the block up to its exit; for a block that ends the function, that too. */
  body(block: Block): void;
  /** The condition of the branch that ends the block: not zero where it is taken, or where it is not. Asked once, after `body`. */
  condition(block: Block, whenTaken: boolean): I32;
  /** What a taken edge costs; called for edges with a charge only. */
  charge(edge: Edge): void;
  /** The selector of an irreducible region. */
  selector(region: number): I32;
}

type Work = { readonly kind: 'place'; readonly block: Block } | { readonly kind: 'body'; readonly block: Block } | { readonly kind: 'close' } | { readonly kind: 'edge'; readonly edge: Edge };

export function emitStructured(f: FunctionBuilder, ordered: readonly Block[], tree: DominatorTree, emitter: BlockEmitter): void {
  const { isMerge, isLoop } = classify(ordered);
  /** The merge blocks that a block immediately dominates, in order. */
  const merges = new Map<number, Block[]>();
  for (const block of ordered) {
    if (isMerge[block.order] === 0) continue;
    const above = tree.parent[block.order]!;
    const siblings = merges.get(above);
    if (siblings) siblings.push(block);
    else merges.set(above, [block]);
  }
  /** Where a branch to a block goes: out of the `block` before it, or back to its `loop` once that is open. */
  const labels = ordered.map((): Label | undefined => undefined);
  const stack: Work[] = [{ kind: 'place', block: ordered[0]! }];
  const needsLabel = (from: Block, edge: Edge): boolean => edge.target.order <= from.order || isMerge[edge.target.order] === 1;

  const exit = (block: Block): void => {
    const leaving = block.exit;
    switch (leaving.kind) {
      case 'end':
        break;
      case 'goto':
        stack.push({ kind: 'edge', edge: leaving.to });
        break;
      case 'branch': {
        const { taken, fallthrough } = leaving;
        if (needsLabel(block, taken) && taken.charge === 0) {
          f.brIf(labels[taken.target.order]!, emitter.condition(block, true));
          stack.push({ kind: 'edge', edge: fallthrough });
        } else if (needsLabel(block, fallthrough)) {
          f.brIf(labels[fallthrough.target.order]!, emitter.condition(block, false));
          stack.push({ kind: 'edge', edge: taken });
        } else {
          f.open('if', emitter.condition(block, true));
          stack.push({ kind: 'edge', edge: fallthrough }, { kind: 'close' }, { kind: 'edge', edge: taken });
        }
        break;
      }
      case 'dispatch': {
        const targets = leaving.to.map(({ target }) => labels[target.order]!);
        f.brTable(emitter.selector(leaving.region), targets.slice(0, -1), targets.at(-1)!);
        break;
      }
    }
  };

  for (let work = stack.pop(); work !== undefined; work = stack.pop()) {
    switch (work.kind) {
      case 'close':
        f.close();
        break;
      case 'edge': {
        const { edge } = work;
        if (edge.charge > 0) emitter.charge(edge);
        const label = labels[edge.target.order];
        if (label === undefined) stack.push({ kind: 'place', block: edge.target });
        else f.br(label);
        break;
      }
      case 'place': {
        const { block } = work;
        if (isLoop[block.order] === 1) {
          labels[block.order] = f.open('loop');
          stack.push({ kind: 'close' });
        }
        const behind = merges.get(block.order) ?? [];
        for (const merge of behind.toReversed()) {
          labels[merge.order] = f.open('block');
          stack.push({ kind: 'place', block: merge }, { kind: 'close' });
        }
        // Popped in the reverse order of opening: the innermost block is the first merge.
        stack.push({ kind: 'body', block });
        break;
      }
      case 'body':
        emitter.body(work.block);
        exit(work.block);
        break;
    }
  }
}

function classify(ordered: readonly Block[]): { isMerge: Uint8Array; isLoop: Uint8Array } {
  const forward = new Uint32Array(ordered.length);
  const isLoop = new Uint8Array(ordered.length);
  for (const block of ordered) {
    for (const { target } of exitEdges(block.exit)) {
      if (target.order <= block.order) isLoop[target.order] = 1;
      // A table of branches has room for labels only.
      else forward[target.order]! += block.exit.kind === 'dispatch' ? 2 : 1;
    }
  }
  return { isMerge: Uint8Array.from(forward, (count) => (count > 1 ? 1 : 0)), isLoop };
}
