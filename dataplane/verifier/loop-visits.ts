/**
 * Loops that come back to a state whose paths are not finished (Linux: struct bpf_scc_visit). What such a state was used
 * for is not all known yet, so neither is it of the path that came back:
 *
 *      ┌─► A ──┐       B comes back to what A covers. C is followed later, and may depend on numbers that A passed on:
 *      └── B   C       then B passed them on as well
 *
 * The path is kept. Once all that begins where the loop was entered is finished, what mattered is carried along the ways
 * back, until nothing is new. Until then states of the loop cover others only by the ranges of all their numbers.
 */
import type { Precision } from './precision.ts';
import type { State } from './state.ts';

const MOST_ROUNDS = 64;

/** One entry into a loop, from one chain of calls. */
interface Visit {
  /** The first state that was kept in it. */
  entry: State | undefined;
  /** Ends of paths, and the state that covers each. */
  ways: { readonly state: State; readonly coveredBy: State }[];
}

export class LoopVisits {
  readonly #scc: Uint32Array;
  readonly #precision: Precision;
  readonly #visits = new Map<string, Visit>();
  readonly #hasLoops: boolean;
  /** How many ways back are kept, so that the common answer is quick. */
  #ways = 0;

  /** `scc`: by slot, the loop that an instruction is in, 0 for none. */
  constructor(scc: Uint32Array, precision: Precision) {
    this.#scc = scc;
    this.#precision = precision;
    this.#hasLoops = scc.some((number) => number !== 0);
  }

  /** The state is kept. */
  enter(state: State): void {
    const key = this.#visitOf(state);
    if (key === undefined) return;
    let visit = this.#visits.get(key);
    if (visit === undefined) this.#visits.set(key, (visit = { entry: undefined, ways: [] }));
    visit.entry ??= state;
  }

  /** A path comes back to where an unfinished state covers it. */
  comeBack(coveredBy: State, path: State): void {
    const visit = this.#visits.get(this.#visitOf(coveredBy) ?? '');
    if (visit === undefined) return;
    visit.ways.push({ state: path.copy(), coveredBy });
    this.#ways++;
  }

  /** Whether more may become known of what the state was used for. */
  isOpen(state: State): boolean {
    const key = this.#ways === 0 ? undefined : this.#visitOf(state);
    return key !== undefined && (this.#visits.get(key)?.ways.length ?? 0) > 0;
  }

  /** All paths of a state that was kept are finished. */
  leave(state: State): void {
    const key = this.#visitOf(state);
    const visit = key === undefined ? undefined : this.#visits.get(key);
    if (visit === undefined || visit.entry !== state) return;
    visit.entry = undefined;
    for (let round = 0, changed = visit.ways.length > 0; changed; round++) {
      changed = false;
      for (const { state: end, coveredBy } of visit.ways) {
        if (round >= MOST_ROUNDS) this.#precision.markAll(end);
        else changed = this.#precision.propagate(coveredBy, end) || changed;
      }
    }
    this.#ways -= visit.ways.length;
    visit.ways = [];
  }

  /** A path ends here: the loop that it ends in, if no state was kept there. */
  unknownTo(state: State): string | undefined {
    const key = this.#visitOf(state);
    return key === undefined || this.#visits.has(key) ? undefined : key;
  }

  /** The outermost loop that the state is in, and the calls on the way there. */
  #visitOf({ frames, at }: State): string | undefined {
    if (!this.#hasLoops) return undefined;
    let calls = '';
    for (let index = 0; index < frames.length; index++) {
      const slot = index === frames.length - 1 ? at : frames[index + 1]!.callSite;
      if (this.#scc[slot] !== 0) return `${calls}${this.#scc[slot]}`;
      calls += `${slot},`;
    }
    return undefined;
  }
}
