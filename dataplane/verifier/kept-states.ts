/**
 * States that are kept where paths meet, and whether one of them covers a path that comes there (Linux: is_state_visited).
 * Not everywhere: where little has happened since the last one, and where it covered nothing for long, a state costs
 * more than it saves. Which are kept decides how much is walked, so it is done as Linux does it.
 */
import type { Instruction } from '../bpf/isa.ts';
import { coveredBy, isSameKind } from './compare.ts';
import { POINT, type ControlFlow } from './control-flow.ts';
import { goesOn, iteratorsWentOn } from './iterator.ts';
import { LoopVisits } from './loop-visits.ts';
import type { Precision } from './precision.ts';
import { refuse } from './refusal.ts';
import { NOT_INITIALISED } from './register.ts';
import { scalarsEqual } from './scalar.ts';
import { NO_SLOTS, withoutSlot } from './slot-set.ts';
import { EMPTY_SLOT, type State } from './state.ts';
import type { VerifyOptions } from './verify.ts';
import type { Walk } from './walk.ts';
import { sameCalls } from './widen.ts';

const MAX_HISTORY = 40;
/** Of one instruction, without CAP_BPF. */
const MAX_KEPT = 64;

/** How much was walked, over all paths. */
export interface Progress {
  processed: number;
  jumps: number;
}

/** What is asked of the instruction at a slot. */
export interface Asks {
  readonly callsBack: (slot: number) => boolean;
  readonly iterates: (slot: number) => boolean;
}

export class KeptStates {
  /** How many were kept, and how many at once. */
  total = 0;
  peak = 0;
  readonly #instructions: readonly Instruction[];
  readonly #flow: ControlFlow;
  readonly #asks: Asks;
  readonly #options: Pick<VerifyOptions, 'stateFrequency' | 'pruning' | 'observer'>;
  readonly #progress: Progress;
  readonly #loops: LoopVisits;
  /** By slot and call, as Linux divides them (explored_state), so that functions called from two places do not meet. */
  #kept: (State[] | undefined)[] = [];
  #count = 0;
  #processedAtLast = 0;
  #jumpsAtLast = 0;

  constructor(instructions: readonly Instruction[], flow: ControlFlow, precision: Precision, asks: Asks, options: Pick<VerifyOptions, 'stateFrequency' | 'pruning' | 'observer'>, progress: Progress) {
    this.#instructions = instructions;
    this.#flow = flow;
    this.#asks = asks;
    this.#options = options;
    this.#progress = progress;
    this.#loops = new LoopVisits(flow.scc, precision);
  }

  /** Another function is verified by itself. */
  begin(): void {
    this.#kept = [];
  }

  /** Whether an earlier state covers this one; keeps it for later ones where that may help. */
  covers(walk: Walk, point: number): boolean {
    const { state, at } = walk;
    const { jumps, processed } = this.#progress;
    const meetsItself = (point & POINT.force) !== 0;
    const force = this.#options.stateFrequency === true || meetsItself || (state.history?.count ?? 0) > MAX_HISTORY;
    let add = force || (jumps - this.#jumpsAtLast >= 2 && processed - this.#processedAtLast >= 8);
    const kept = (this.#kept[((at ^ walk.frame.callSite) >>> 0) % this.#instructions.length] ??= []);
    const live = (frame: number): number => this.#flow.liveRegisters[frame === state.frames.length - 1 ? at : state.frames[frame + 1]!.callSite]!;
    const callsBackHere = meetsItself && this.#asks.callsBack(at);
    const iteratesHere = meetsItself && this.#asks.iterates(at);
    const mayGoHere = meetsItself && this.#instructions[at]!.kind === 'may_goto';
    const among = kept.length;
    if (this.#options.pruning !== false) this.#cleanFinished(walk, kept, live);
    for (let index = 0; index < kept.length; ) {
      const old = kept[index]!;
      if (old.at !== at) {
        index++;
        continue;
      }
      let covered = false;
      let loop = false;
      if (old.branches > 0) {
        const comesBack = callsBackHere || iteratesHere || (mayGoHere && old.mayGotoDepth !== state.mayGotoDepth);
        if (comesBack && coveredBy(old, state, 'range', live, walk) && (!iteratesHere || goesOn(walk, 1))) {
          covered = true;
          loop = true;
        } else if (!callsBackHere && !iteratesHere && !iteratorsWentOn(old, state) && old.callbackUnrollDepth === state.callbackUnrollDepth && old.mayGotoDepth === state.mayGotoDepth && mayLoop(old, state) && coveredBy(old, state, 'exact', live, walk)) {
          refuse('EINVAL', `infinite loop detected at insn ${at}`);
        }
        if (!covered && !force && jumps - this.#jumpsAtLast < 20 && processed - this.#processedAtLast < 100) add = false;
      } else if (this.#options.pruning !== false) {
        loop = this.#loops.isOpen(old);
        covered = coveredBy(old, state, loop ? 'range' : 'used', live, walk);
      }
      if (covered) {
        old.hits++;
        this.#options.observer?.covered(state, old, loop ? 'range' : 'used', live);
        if ((point & POINT.jump) !== 0) walk.remember();
        walk.precision.propagate(old, state);
        if (loop) this.#loops.comeBack(old, state);
        return true;
      }
      if (add) old.misses++;
      const patience = meetsItself && old.branches > 0 ? 64 : 3;
      if (old.misses > old.hits * patience + patience) {
        kept.splice(index, 1);
        this.#count--;
      } else index++;
    }
    if (add && (walk.rights.bpf || among <= MAX_KEPT)) this.#keep(walk, kept);
    return false;
  }

  /** At once, since what is known of the stack changes. */
  #cleanFinished(walk: Walk, kept: readonly State[], live: (frame: number) => number): void {
    for (const old of kept) {
      if (old.branches === 0 && !old.cleaned && old.at === walk.at && sameCalls(old, walk.state) && !this.#loops.isOpen(old)) this.#clean(walk, old, live);
    }
  }

  /** All paths from here are known, so registers and slots that none of them read say nothing: neither what they hold, nor whether it matters. */
  #clean(walk: Walk, old: State, live: (frame: number) => number): void {
    old.cleaned = true;
    old.frames.forEach((frame, index) => {
      const read = live(index);
      frame.preciseRegisters &= read;
      for (let register = 0; register < 10; register++) {
        if ((read & (1 << register)) === 0) frame.registers[register] = NOT_INITIALISED;
      }
    });
    walk.liveness.forEachDead(old, old.at, (number, slot) => {
      const frame = old.frames[number]!;
      frame.stack[slot] = EMPTY_SLOT;
      frame.preciseSlots = withoutSlot(frame.preciseSlots, slot);
    });
  }

  #keep(walk: Walk, kept: State[]): void {
    const { state, at } = walk;
    this.total++;
    this.peak = Math.max(this.peak, ++this.#count);
    this.#jumpsAtLast = this.#progress.jumps;
    this.#processedAtLast = this.#progress.processed;
    forgetPrecision(state);
    const copy = state.copy();
    copy.at = at;
    copy.last = walk.previous;
    this.#options.observer?.kept(state, copy);
    kept.unshift(copy);
    this.#loops.enter(copy);
    state.parent = copy;
    state.first = at;
    state.history = undefined;
    walk.begin();
  }

  /** The path ends in the middle of a function. Linux takes it for a mistake of its own where that is in a loop of which it has kept no state. */
  threw(state: State): undefined {
    const loop = this.#loops.unknownTo(state);
    if (loop !== undefined && !state.speculative) refuse('EFAULT', `verifier bug: scc exit: no visit info for call chain (${loop})`);
    return undefined;
  }

  /** One path less begins at each checkpoint behind it. */
  finished(state: State): void {
    for (let parent = state.parent; parent !== undefined; parent = parent.parent) {
      if (--parent.branches > 0) return;
      this.#loops.leave(parent);
    }
  }
}

/** Linux asks first whether all registers of the function are the same to the byte, ids included: a loop that copies a number in each round is not one that stands still. */
function mayLoop(old: State, state: State): boolean {
  const [before, now] = [old.current, state.current];
  if (old.frames.length !== state.frames.length) return false;
  return before.registers.every((register, number) => {
    const other = now.registers[number]!;
    return register === other || (isSameKind(register, other) && register.offset === other.offset && register.id === other.id && register.delta === other.delta && register.reference === other.reference && scalarsEqual(register.scalar, other.scalar));
  });
}

function forgetPrecision(state: State): void {
  for (const frame of state.frames) {
    frame.preciseRegisters = 0;
    frame.preciseSlots = NO_SLOTS;
  }
}
