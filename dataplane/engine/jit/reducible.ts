/**
 * Makes an irreducible graph reducible. WebAssembly's loops have one entry. Where a cycle has several, a dispatcher
 * becomes its only one: every edge to one of the old entries goes through a block that sets the region's selector
 * to the dispatcher, which branches on it. What is inside the cycle without its entries is looked at again, until no
 * cycle has more than one entry. Compilers of C hardly ever make such graphs, but nothing forbids them.
 */
import { exitEdges, type Block, type Edge, type Exit } from './control-flow.ts';

/** Returns the number of regions, which is the number of selectors needed. Orders are stale afterwards. */
export function makeReducible(ordered: readonly Block[]): number {
  let regions = 0;
  const pending: (readonly Block[])[] = [ordered];
  const predecessors = predecessorsOf(ordered);
  while (pending.length > 0) {
    const part = pending.pop()!;
    for (const cycle of cycles(part)) {
      const inside = new Set(cycle);
      const entries = cycle.filter((block) => block === ordered[0] || predecessors.get(block)!.some((from) => !inside.has(from)));
      if (entries.length > 1) addDispatcher(entries, regions++, predecessors);
      const headers = new Set(entries);
      pending.push(cycle.filter((block) => !headers.has(block)));
    }
  }
  return regions;
}

type Predecessors = Map<Block, Block[]>;

function predecessorsOf(blocks: readonly Block[]): Predecessors {
  const predecessors: Predecessors = new Map(blocks.map((block) => [block, []]));
  for (const block of blocks) {
    for (const { target } of exitEdges(block.exit)) predecessors.get(target)!.push(block);
  }
  return predecessors;
}

function addDispatcher(entries: readonly Block[], region: number, predecessors: Predecessors): void {
  const exit: Exit = { kind: 'dispatch', region, to: entries.map((target) => ({ target, charge: 0 })) };
  const dispatcher: Block = { start: 0, end: 0, exit, order: -1 };
  predecessors.set(dispatcher, []);
  entries.forEach((entry, index) => {
    for (const from of new Set(predecessors.get(entry)!)) {
      from.exit = redirect(from.exit, entry, () => {
        const selects: Block = { start: 0, end: 0, exit: { kind: 'goto', to: { target: dispatcher, charge: 0 } }, selects: { region, index }, order: -1 };
        predecessors.set(selects, [from]);
        predecessors.get(dispatcher)!.push(selects);
        return selects;
      });
    }
    predecessors.set(entry, [dispatcher]);
  });
}

/** `exit` with each edge to `old` leading to a block of `replacement`'s making; the charge stays. */
function redirect(exit: Exit, old: Block, replacement: () => Block): Exit {
  const edge = (from: Edge): Edge => (from.target === old ? { target: replacement(), charge: from.charge } : from);
  switch (exit.kind) {
    case 'goto':
      return { kind: 'goto', to: edge(exit.to) };
    case 'branch':
      return { kind: 'branch', taken: edge(exit.taken), fallthrough: edge(exit.fallthrough) };
    case 'dispatch':
      return { ...exit, to: exit.to.map(edge) };
    case 'end':
      return exit;
  }
}

/** The strongly connected components of `blocks` that are cycles (Tarjan, without recursion). Edges leaving `blocks` do not count. */
function cycles(blocks: readonly Block[]): Block[][] {
  const index = new Map<Block, { number: number; low: number; onStack: boolean }>();
  const members = new Set(blocks);
  const found: Block[][] = [];
  const component: Block[] = [];
  for (const root of blocks) {
    if (index.has(root)) continue;
    const walk: { block: Block; edges: readonly Edge[]; next: number }[] = [];
    const enter = (block: Block): void => {
      index.set(block, { number: index.size, low: index.size, onStack: true });
      component.push(block);
      walk.push({ block, edges: exitEdges(block.exit), next: 0 });
    };
    enter(root);
    while (walk.length > 0) {
      const top = walk[walk.length - 1]!;
      const own = index.get(top.block)!;
      const edge = top.edges[top.next++];
      if (edge !== undefined) {
        if (!members.has(edge.target)) continue;
        const seen = index.get(edge.target);
        if (seen === undefined) enter(edge.target);
        else if (seen.onStack) own.low = Math.min(own.low, seen.number);
        continue;
      }
      walk.pop();
      const above = walk[walk.length - 1];
      if (above) {
        const parent = index.get(above.block)!;
        parent.low = Math.min(parent.low, own.low);
      }
      if (own.low !== own.number) continue;
      const cycle = component.splice(component.lastIndexOf(top.block));
      for (const block of cycle) index.get(block)!.onStack = false;
      if (cycle.length > 1 || top.edges.some(({ target }) => target === top.block)) found.push(cycle);
    }
  }
  return found;
}
