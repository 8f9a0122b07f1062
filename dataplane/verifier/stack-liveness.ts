/**
 * Which stack slots are read again, so that states need not agree about the others. Where paths end depends on what is
 * known of that when it is asked, so it is found in the steps of Linux 6.18 (kernel/bpf/liveness.c):
 *
 *   noting      Paths note what each instruction reads and overwrites, for each function and the chain of calls it is
 *               entered by (an instance), of its own frame and its callers'. It may read what it read on any path; it
 *               overwrites, in whole, what it did on every path so far: nothing before it has run.
 *   settling    Where a path ends or a function returns, in the functions that are open there, the innermost first:
 *                 alive       = (alive after it, without what it overwrites) and what it reads
 *                 overwritten = what it overwrites, and what is overwritten on every way from there
 *               in post-order until nothing changes. It starts from what was alive before, so a slot that was alive all
 *               around a loop stays so; what is overwritten starts anew when an instruction overwrites less than before.
 *               What holds where a function begins of the frames of its callers is then noted of the call.
 *   asking      Of a state whose paths are finished all reads are known, so what is not alive is dead.
 *
 * Settling again costs what changes: instructions are visited again only where something behind them, or of theirs, did.
 */
import type { Instruction } from '../bpf/isa.ts';
import { postorderOf, type Postorder } from './postorder.ts';
import type { State } from './state.ts';
import type { Walk } from './walk.ts';

/** Slots 0..31 and 32..63, a bit each. */
const WORDS = 2;
const MAX_FRAMES = 8;

/** What is known of one frame, for each instruction by its place in post-order, in words of slots. */
class FrameMarks {
  readonly reads: Uint32Array;
  readonly overwrites: Uint32Array;
  readonly alive: Uint32Array;
  /** Of a caller's frame: nobody asks of a function's own. */
  readonly overwritten: Uint32Array | undefined;
  readonly #order: Postorder;
  /** Places to visit, and between which they are. */
  readonly #changed: Uint8Array;
  #first: number;
  #last = -1;

  constructor(order: Postorder, own: boolean) {
    const words = WORDS * order.length;
    this.reads = new Uint32Array(words);
    this.overwrites = new Uint32Array(words);
    this.alive = new Uint32Array(words);
    this.overwritten = own ? undefined : new Uint32Array(words);
    this.#order = order;
    this.#changed = new Uint8Array(order.length);
    this.#first = order.length;
  }

  change(place: number): void {
    this.#changed[place] = 1;
    if (place < this.#first) this.#first = place;
    if (place > this.#last) this.#last = place;
  }

  forgetOverwritten(): void {
    if (this.overwritten === undefined) return;
    this.overwritten.fill(0);
    this.#changed.fill(1);
    this.#first = 0;
    this.#last = this.#order.length - 1;
  }

  settle(): void {
    const { length, before } = this.#order;
    while (this.#first <= this.#last) {
      let [place, last] = [this.#first, this.#last];
      this.#first = length;
      this.#last = -1;
      for (; place <= last; place++) {
        if (this.#changed[place] === 0) continue;
        this.#changed[place] = 0;
        if (!this.#visit(place)) continue;
        for (const earlier of before[place]!) {
          if (earlier <= place) this.change(earlier);
          else {
            this.#changed[earlier] = 1;
            if (earlier > last) last = earlier;
          }
        }
      }
    }
  }

  /** Whether anything is different before the instruction. */
  #visit(place: number): boolean {
    const { reads, overwrites, alive, overwritten } = this;
    const [one, other] = [this.#order.after[2 * place]!, this.#order.after[2 * place + 1]!];
    if (one < 0) return false;
    let different = false;
    for (let word = 0; word < WORDS; word++) {
      const at = WORDS * place + word;
      const [first, second] = [WORDS * one + word, WORDS * (other < 0 ? one : other) + word];
      const aliveHere = (((alive[first]! | alive[second]!) & ~overwrites[at]!) | reads[at]!) >>> 0;
      if (aliveHere !== alive[at]) {
        alive[at] = aliveHere;
        different = true;
      }
      if (overwritten === undefined) continue;
      const overwrittenHere = ((overwritten[first]! & overwritten[second]!) | overwrites[at]!) >>> 0;
      if (overwrittenHere !== overwritten[at]) {
        overwritten[at] = overwrittenHere;
        different = true;
      }
    }
    return different;
  }
}

class Instance {
  readonly caller: Instance | undefined;
  readonly depth: number;
  readonly nested = new Map<number, Instance>();
  readonly #start: number;
  readonly #callSite: number;
  readonly #order: Postorder;
  /** By frame. */
  readonly #marks: (FrameMarks | undefined)[] = [];
  /** By place: whether it is known what the instruction overwrites. */
  readonly #ran: Uint8Array;
  #changed = false;
  #overwritesLess = false;

  constructor(start: number, order: Postorder, caller: Instance | undefined, callSite: number) {
    this.caller = caller;
    this.#start = start;
    this.#callSite = callSite;
    this.depth = caller === undefined ? 0 : caller.depth + 1;
    this.#order = order;
    this.#ran = new Uint8Array(order.length);
  }

  isAlive(at: number, frame: number, slot: number): boolean {
    const marks = this.#marks[frame];
    return marks !== undefined && (marks.alive[WORDS * this.#placeOf(at) + (slot >>> 5)]! & (1 << (slot & 31))) !== 0;
  }

  /** `slots`: of one frame. */
  noteReads(at: number, frame: number, slots: Uint32Array): void {
    const { reads, alive } = this.#marksOf(frame);
    const place = this.#placeOf(at);
    for (let word = 0; word < WORDS; word++) {
      const index = WORDS * place + word;
      if ((slots[word]! & ~alive[index]!) !== 0 && (slots[word]! & ~reads[index]!) !== 0) this.#change(frame, place);
      reads[index]! |= slots[word]!;
    }
  }

  /** `slots`: of all frames. */
  noteOverwrites(at: number, slots: Uint32Array): void {
    const place = this.#placeOf(at);
    const again = this.#ran[place] === 1;
    this.#ran[place] = 1;
    for (let frame = 0; frame <= this.depth; frame++) {
      for (let word = 0; word < WORDS; word++) {
        const here = slots[WORDS * frame + word]!;
        if (here === 0 && (!again || this.#marks[frame] === undefined)) continue;
        const { overwrites } = this.#marksOf(frame);
        const index = WORDS * place + word;
        const before = overwrites[index]!;
        overwrites[index] = again ? before & here : here;
        if (overwrites[index] === before) continue;
        this.#change(frame, place);
        if (again) this.#overwritesLess = true;
      }
    }
  }

  settle(): void {
    if (!this.#changed) return;
    for (const marks of this.#marks) {
      if (this.#overwritesLess) marks?.forgetOverwritten();
      marks?.settle();
    }
    this.#changed = this.#overwritesLess = false;
    this.#noteOfCall();
  }

  #noteOfCall(): void {
    const { caller } = this;
    if (caller === undefined) return;
    const place = this.#placeOf(this.#start);
    const overwrites = new Uint32Array(WORDS * MAX_FRAMES);
    for (let frame = 0; frame < this.depth; frame++) {
      const marks = this.#marks[frame];
      if (marks === undefined) continue;
      caller.noteReads(this.#callSite, frame, marks.alive.subarray(WORDS * place, WORDS * (place + 1)));
      overwrites.set(marks.overwritten!.subarray(WORDS * place, WORDS * (place + 1)), WORDS * frame);
    }
    caller.noteOverwrites(this.#callSite, overwrites);
  }

  #change(frame: number, place: number): void {
    this.#changed = true;
    this.#marks[frame]!.change(place);
  }

  #placeOf(at: number): number {
    return this.#order.places[at - this.#start]!;
  }

  #marksOf(frame: number): FrameMarks {
    return (this.#marks[frame] ??= new FrameMarks(this.#order, frame === this.depth));
  }
}

export class StackLiveness {
  readonly #walk: Walk;
  readonly #instructions: readonly Instruction[];
  readonly #callsBack: (slot: number) => boolean;
  readonly #orders: (Postorder | undefined)[] = [];
  readonly #roots = new Map<number, Instance>();
  /** Of the innermost function of the state that is walked, or of a caller of it. */
  #current: Instance | undefined;
  readonly #reads = new Uint32Array(WORDS);
  /** Of the current instruction, by frame. */
  readonly #overwrites = new Uint32Array(WORDS * MAX_FRAMES);

  constructor(walk: Walk, callsBack: (slot: number) => boolean) {
    this.#walk = walk;
    this.#instructions = walk.spec.instructions;
    this.#callsBack = callsBack;
  }

  /** The current instruction may read slots `first` to `last` of a frame. */
  read(frame: number, first: number, last: number): void {
    this.#reads.fill(0);
    for (let slot = first; slot <= last; slot++) this.#reads[slot >>> 5]! |= 1 << (slot & 31);
    this.#here().noteReads(this.#walk.at, frame, this.#reads);
  }

  /** The current instruction overwrites the whole slot. */
  overwrite(frame: number, slot: number): void {
    this.#overwrites[WORDS * frame + (slot >>> 5)]! |= 1 << (slot & 31);
  }

  /** The current instruction has run, in the function where it is, or was given up. */
  ran(): void {
    this.#here().noteOverwrites(this.#walk.at, this.#overwrites);
    this.#overwrites.fill(0);
  }

  /** The path ends here, or its innermost function returns. */
  settle(): void {
    for (let instance: Instance | undefined = this.#here(); instance !== undefined; instance = instance.caller) instance.settle();
    this.#current = undefined;
  }

  /** Names the slots of a finished state that nobody reads from there on. */
  forEachDead(state: State, at: number, forget: (frame: number, slot: number) => void): void {
    const chain: Instance[] = state.frames.map((_, index) => this.#instanceOf(state, index + 1));
    const top = chain.length - 1;
    for (let frame = 0; frame <= top; frame++) {
      const { stack } = state.frames[frame]!;
      for (let slot = 0; slot < stack.length; slot++) {
        if (stack[slot]!.kinds === 0 || chain[top]!.isAlive(at, frame, slot)) continue;
        let read = false;
        for (let outer = frame; outer < top && !read; outer++) {
          const { callSite } = state.frames[outer + 1]!;
          read = chain[outer]!.isAlive(this.#callsBack(callSite) ? callSite : callSite + 1, frame, slot);
        }
        if (!read) forget(frame, slot);
      }
    }
  }

  #here(): Instance {
    const { state } = this.#walk;
    if (this.#current?.depth !== state.frames.length - 1) this.#current = this.#instanceOf(state, state.frames.length);
    return this.#current;
  }

  #instanceOf({ frames }: State, depth: number): Instance {
    let instance: Instance | undefined;
    for (let index = 0; index < depth; index++) {
      const { callSite, subprogram } = frames[index]!;
      const known: Map<number, Instance> = instance === undefined ? this.#roots : instance.nested;
      // What a helper calls back may differ from path to path.
      const key = index === 0 ? subprogram : callSite * this.#walk.subprograms.length + subprogram;
      let found = known.get(key);
      if (found === undefined) known.set(key, (found = this.#create(subprogram, instance, callSite)));
      instance = found;
    }
    return instance!;
  }

  #create(subprogram: number, caller: Instance | undefined, callSite: number): Instance {
    const { start, end } = this.#walk.subprograms[subprogram]!;
    const order = (this.#orders[subprogram] ??= postorderOf(this.#instructions, start, end));
    return new Instance(start, order, caller, callSite);
  }
}
