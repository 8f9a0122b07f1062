import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { exitEdges, reversePostOrder, type Block, type Edge } from '../../dataplane/engine/jit/control-flow.ts';
import { dominatorTree, isReducible } from '../../dataplane/engine/jit/dominators.ts';
import { makeReducible } from '../../dataplane/engine/jit/reducible.ts';

/** A graph with edges from node `index` to each of `targets[index]`, at most two; returns its entry. */
function graph(targets: readonly (readonly number[])[]): Block {
  const blocks = targets.map((_, index): Block => ({ start: index, end: index, exit: { kind: 'end' }, order: -1 }));
  targets.forEach((to, index) => {
    const [first, second] = to.map((target): Edge => ({ target: blocks[target % blocks.length]!, charge: 0 }));
    if (first && second) blocks[index]!.exit = { kind: 'branch', taken: first, fallthrough: second };
    else if (first) blocks[index]!.exit = { kind: 'goto', to: first };
  });
  return blocks[0]!;
}

/** What can be reached without going through `without`. */
function reachable(entry: Block, without?: Block): Set<Block> {
  const found = new Set<Block>();
  const pending = [entry];
  for (let block = pending.pop(); block !== undefined; block = pending.pop()) {
    if (block === without || found.has(block)) continue;
    found.add(block);
    pending.push(...exitEdges(block.exit).map(({ target }) => target));
  }
  return found;
}

const anyGraph = fc.array(fc.array(fc.nat(100), { maxLength: 2 }), { minLength: 1, maxLength: 24 });

describe('the dominator tree', () => {
  test('a block dominates what cannot be reached without it', () => {
    fc.assert(
      fc.property(anyGraph, (targets) => {
        const entry = graph(targets);
        const ordered = reversePostOrder(entry);
        const tree = dominatorTree(ordered);
        for (const a of ordered) {
          const others = reachable(entry, a);
          for (const b of ordered) expect(tree.dominates(a, b)).toBe(a === b || !others.has(b));
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('an irreducible graph', () => {
  test('is reducible once dispatchers lead into its cycles, and leads to the same blocks', () => {
    fc.assert(
      fc.property(anyGraph, (targets) => {
        const entry = graph(targets);
        const before = reversePostOrder(entry);
        const wasReducible = isReducible(before, dominatorTree(before));
        const regions = makeReducible(before);
        const after = reversePostOrder(entry);
        expect(regions === 0).toBe(wasReducible);
        expect(isReducible(after, dominatorTree(after))).toBe(true);
        expect(new Set(after.filter((block) => block.exit.kind !== 'dispatch' && block.selects === undefined))).toEqual(new Set(before));
      }),
      { numRuns: 300 },
    );
  });
});
