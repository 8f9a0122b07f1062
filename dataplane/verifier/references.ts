/**
 * What a path has acquired and not released: a list, the newest first, whose end paths share, since a loop may acquire in
 * each of a hundred thousand turns, and be followed through all of them.
 */
export interface Reference {
  readonly id: number;
  /** Slot of the call that acquired it. */
  readonly acquiredAt: number;
}

export interface Held extends Reference {
  /** What was acquired before, and how much there is with it. */
  readonly earlier: Held | undefined;
  readonly count: number;
}

export function hold(earlier: Held | undefined, { id, acquiredAt }: Reference): Held {
  return { id, acquiredAt, earlier, count: (earlier?.count ?? 0) + 1 };
}

/** The same list where that is not in it. */
export function without(held: Held | undefined, id: number): Held | undefined {
  const later: Held[] = [];
  for (let at = held; at !== undefined; at = at.earlier) {
    if (at.id === id) return later.reduceRight<Held | undefined>(hold, at.earlier);
    later.push(at);
  }
  return held;
}

/** In the order of acquiring. */
export function inOrder(held: Held | undefined): readonly Reference[] {
  const all: Reference[] = [];
  for (let at = held; at !== undefined; at = at.earlier) all.push({ id: at.id, acquiredAt: at.acquiredAt });
  return all.toReversed();
}
