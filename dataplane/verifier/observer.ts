/**
 * Watches a verification, path by path. A State is borrowed: it goes on changing as its path is followed, and whoever
 * wants to know later what it was copies it. The registers and slots in it are immutable, and can be kept.
 */
import type { Exactness } from './compare.ts';
import type { State } from './state.ts';

export interface VerificationObserver {
  /** Before the instruction at `state.at` is verified, each time a path comes there. */
  visited(state: State): void;
  /** The path was not covered: the instruction at `state.at` is verified now. */
  verifying?(state: State): void;
  /** The path ends: on a wrong guess the instruction at `state.at` broke a rule, and a barrier in front of it keeps guesses from it. */
  prevented?(state: State, message: string): void;
  /** `later` is where `state` is, and goes on another way when its turn comes. */
  forked(state: State, later: State): void;
  /** `copy` is what `state` is, kept for paths that come here later. */
  kept(state: State, copy: State): void;
  /** The path ends: what follows was, or is being, verified from the earlier `old`. `live`: by frame, the registers that were compared. */
  covered(state: State, old: State, exactness: Exactness, live: (frame: number) => number): void;
}

export function bothObserve(one: VerificationObserver, other: VerificationObserver): VerificationObserver {
  return {
    visited(state) {
      one.visited(state);
      other.visited(state);
    },
    verifying(state) {
      one.verifying?.(state);
      other.verifying?.(state);
    },
    prevented(state, message) {
      one.prevented?.(state, message);
      other.prevented?.(state, message);
    },
    forked(state, later) {
      one.forked(state, later);
      other.forked(state, later);
    },
    kept(state, copy) {
      one.kept(state, copy);
      other.kept(state, copy);
    },
    covered(...path) {
      one.covered(...path);
      other.covered(...path);
    },
  };
}
