/**
 * The dominator tree of blocks in reverse post-order, by the Semi-NCA algorithm (Georgiadis, "Linear-Time Algorithms
 * for Dominators and Related Problems", §2.3), without recursion: programs have up to a million instructions.
 */
import { exitEdges, type Block } from './control-flow.ts';

export interface DominatorTree {
  /** Immediate dominator of a block, both by order number; the entry's is itself. */
  readonly parent: Int32Array;
  /** Does block `a` dominate block `b`? */
  dominates(a: Block, b: Block): boolean;
}

/** A depth-first numbering: `vertex` by number, and for each number that of its parent and of its predecessors. */
interface DepthFirst {
  readonly vertex: readonly Block[];
  readonly parent: Int32Array;
  readonly predecessors: readonly (readonly number[])[];
}

function depthFirst(ordered: readonly Block[]): DepthFirst {
  const number = new Int32Array(ordered.length).fill(-1);
  const vertex: Block[] = [];
  const parent = new Int32Array(ordered.length);
  const stack: { readonly block: Block; readonly from: number }[] = [{ block: ordered[0]!, from: 0 }];
  while (stack.length > 0) {
    const { block, from } = stack.pop()!;
    if (number[block.order] !== -1) continue;
    const own = vertex.push(block) - 1;
    number[block.order] = own;
    parent[own] = from;
    for (const { target } of exitEdges(block.exit)) stack.push({ block: target, from: own });
  }
  const predecessors: number[][] = vertex.map(() => []);
  vertex.forEach((block, own) => {
    for (const { target } of exitEdges(block.exit)) predecessors[number[target.order]!]!.push(own);
  });
  return { vertex, parent, predecessors };
}

export function dominatorTree(ordered: readonly Block[]): DominatorTree {
  const { vertex, parent: treeParent, predecessors } = depthFirst(ordered);
  const count = vertex.length;
  const ancestor = treeParent.slice();
  const label = Int32Array.from({ length: count }, (_, own) => own);
  const semi = label.slice();
  const path: number[] = [];

  /** The vertex of least semidominator on the path from `from` up to the vertices not yet linked. */
  const evaluate = (from: number, lastLinked: number): number => {
    if (ancestor[from]! < lastLinked) return label[from]!;
    let at = from;
    do {
      path.push(at);
      at = ancestor[at]!;
    } while (ancestor[at]! >= lastLinked);
    let above = at;
    let best = label[above]!;
    while (path.length > 0) {
      at = path.pop()!;
      ancestor[at] = ancestor[above]!;
      if (semi[best]! < semi[label[at]!]!) label[at] = best;
      else best = label[at]!;
      above = at;
    }
    return label[at]!;
  };

  for (let own = count - 1; own > 0; own--) {
    semi[own] = treeParent[own]!;
    for (const predecessor of predecessors[own]!) {
      const candidate = semi[evaluate(predecessor, own + 1)]!;
      if (candidate < semi[own]!) semi[own] = candidate;
    }
  }
  const dominator = treeParent.slice();
  for (let own = 1; own < count; own++) {
    let up = dominator[own]!;
    while (up > semi[own]!) up = dominator[up]!;
    dominator[own] = up;
  }

  const parent = new Int32Array(count);
  for (let own = 0; own < count; own++) parent[vertex[own]!.order] = vertex[dominator[own]!]!.order;
  return { parent, dominates: dominance(parent) };
}

/** Numbers the tree so that a block's descendants are an interval. Parents come before children in the order. */
function dominance(parent: Int32Array): (a: Block, b: Block) => boolean {
  const size = new Int32Array(parent.length).fill(1);
  for (let order = parent.length - 1; order > 0; order--) size[parent[order]!]! += size[order]!;
  const first = new Int32Array(parent.length);
  const next = new Int32Array(parent.length);
  next[0] = 1;
  for (let order = 1; order < parent.length; order++) {
    const above = parent[order]!;
    first[order] = next[above]!;
    next[above]! += size[order]!;
    next[order] = first[order]! + 1;
  }
  return (a, b) => first[a.order]! <= first[b.order]! && first[b.order]! < first[a.order]! + size[a.order]!;
}

/** In a reducible graph, an edge that goes back in the order goes to a dominator. */
export function isReducible(ordered: readonly Block[], tree: DominatorTree): boolean {
  return ordered.every((block) => exitEdges(block.exit).every(({ target }) => target.order > block.order || tree.dominates(target, block)));
}
