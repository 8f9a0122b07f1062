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
 * Memory costs what is touched, by pages of instructions: a long function may be entered by many chains of calls.
 */
import type { Instruction } from '../bpf/isa.ts';
import { postorderOf, type Postorder } from './postorder.ts';
import type { State } from './state.ts';
import type { Walk } from './walk.ts';

/** Slots 0..31 and 32..63, a bit each. */
const WORDS = 2;
const MAX_FRAMES = 8;

/** Words of a place: four sets of slots, and whether it is to be visited. */
const READS = 0;
const OVERWRITES = 2;
const ALIVE = 4;
/** Of a caller's frame: nobody asks of a function's own. */
const OVERWRITTEN = 6;
const CHANGED = 8;
const PLACE_WORDS = 9;
/** Places of a page. */
const PAGE_BITS = 6;
const PAGE = 1 << PAGE_BITS;

const pageOf = (place: number): number => place >>> PAGE_BITS;
/** In its page. */
const wordOf = (place: number): number => PLACE_WORDS * (place & (PAGE - 1));
const newPage = (): Uint32Array => new Uint32Array(PAGE * PLACE_WORDS);

/** Of what was not touched; never written. */
const UNTOUCHED = newPage();

/** What is known of one frame, for each instruction by its place in post-order. */
class FrameMarks {
  readonly #order: Postorder;
  readonly #own: boolean;
  readonly #pages = new Map<number, Uint32Array>();
  /** Between which places those are that are to be visited. */
  #first: number;
  #last = -1;

  constructor(order: Postorder, own: boolean) {
    this.#order = order;
    this.#own = own;
    this.#first = order.length;
  }

  isAlive(place: number, slot: number): boolean {
    return (this.#page(place)[wordOf(place) + ALIVE + (slot >>> 5)]! & (1 << (slot & 31))) !== 0;
  }

  /** The set of the place that begins at word ALIVE or OVERWRITTEN. Borrowed. */
  setAt(place: number, word: typeof ALIVE | typeof OVERWRITTEN): Uint32Array {
    return this.#page(place).subarray(wordOf(place) + word, wordOf(place) + word + WORDS);
  }

  /** Whether that changes anything. */
  noteReads(place: number, slots: Uint32Array): boolean {
    const page = this.#pageToWrite(place);
    const at = wordOf(place);
    let changes = false;
    for (let word = 0; word < WORDS; word++) {
      const read = slots[word]!;
      if ((read & ~page[at + ALIVE + word]!) !== 0 && (read & ~page[at + READS + word]!) !== 0) changes = true;
      page[at + READS + word]! |= read;
    }
    if (changes) this.#visitLater(place, page);
    return changes;
  }

  /** `again`: it ran before, and overwrites only what it did then as well. Whether that changes anything. */
  noteOverwrites(place: number, low: number, high: number, again: boolean): boolean {
    const page = again ? this.#page(place) : this.#pageToWrite(place);
    if (page === UNTOUCHED) return false;
    const at = wordOf(place) + OVERWRITES;
    const [lowBefore, highBefore] = [page[at]!, page[at + 1]!];
    page[at] = again ? lowBefore & low : low;
    page[at + 1] = again ? highBefore & high : high;
    if (page[at] === lowBefore && page[at + 1] === highBefore) return false;
    this.#visitLater(place, page);
    return true;
  }

  forgetOverwritten(): void {
    if (this.#own) return;
    for (const [number, page] of this.#pages) {
      const least = PAGE * number;
      const end = Math.min(least + PAGE, this.#order.length);
      for (let place = least; place < end; place++) {
        page.fill(0, wordOf(place) + OVERWRITTEN, wordOf(place) + OVERWRITTEN + WORDS);
        page[wordOf(place) + CHANGED] = 1;
      }
      this.#first = Math.min(this.#first, least);
      this.#last = Math.max(this.#last, end - 1);
    }
  }

  settle(): void {
    const { length, before } = this.#order;
    while (this.#first <= this.#last) {
      let [place, last] = [this.#first, this.#last];
      this.#first = length;
      this.#last = -1;
      let page = this.#page(place);
      for (; place <= last; place++) {
        if ((place & (PAGE - 1)) === 0) page = this.#page(place);
        if (page === UNTOUCHED) {
          place |= PAGE - 1;
          continue;
        }
        if (page[wordOf(place) + CHANGED] === 0) continue;
        page[wordOf(place) + CHANGED] = 0;
        if (!this.#visit(place, page)) continue;
        for (const earlier of before[place]!) {
          const its = this.#pageToWrite(earlier);
          if (earlier <= place) this.#visitLater(earlier, its);
          else {
            its[wordOf(earlier) + CHANGED] = 1;
            if (earlier > last) last = earlier;
          }
        }
      }
    }
  }

  /** Whether anything is different before the instruction. */
  #visit(place: number, page: Uint32Array): boolean {
    const { after } = this.#order;
    const [one, other] = [after[2 * place]!, after[2 * place + 1]!];
    if (one < 0) return false;
    const [onePage, otherPage] = [this.#page(one), this.#page(other < 0 ? one : other)];
    const [at, oneAt, otherAt] = [wordOf(place), wordOf(one), wordOf(other < 0 ? one : other)];
    let different = false;
    for (let word = 0; word < WORDS; word++) {
      const overwrites = page[at + OVERWRITES + word]!;
      const alive = (((onePage[oneAt + ALIVE + word]! | otherPage[otherAt + ALIVE + word]!) & ~overwrites) | page[at + READS + word]!) >>> 0;
      if (alive !== page[at + ALIVE + word]) {
        page[at + ALIVE + word] = alive;
        different = true;
      }
      if (this.#own) continue;
      const overwritten = ((onePage[oneAt + OVERWRITTEN + word]! & otherPage[otherAt + OVERWRITTEN + word]!) | overwrites) >>> 0;
      if (overwritten !== page[at + OVERWRITTEN + word]) {
        page[at + OVERWRITTEN + word] = overwritten;
        different = true;
      }
    }
    return different;
  }

  #visitLater(place: number, page: Uint32Array): void {
    page[wordOf(place) + CHANGED] = 1;
    if (place < this.#first) this.#first = place;
    if (place > this.#last) this.#last = place;
  }

  #page(place: number): Uint32Array {
    return this.#pages.get(pageOf(place)) ?? UNTOUCHED;
  }

  #pageToWrite(place: number): Uint32Array {
    let page = this.#pages.get(pageOf(place));
    if (page === undefined) this.#pages.set(pageOf(place), (page = newPage()));
    return page;
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
  /** Places of which it is known what the instruction overwrites. */
  readonly #ran = new Set<number>();
  #changed = false;
  #overwritesLess = false;

  constructor(start: number, order: Postorder, caller: Instance | undefined, callSite: number) {
    this.caller = caller;
    this.#start = start;
    this.#callSite = callSite;
    this.depth = caller === undefined ? 0 : caller.depth + 1;
    this.#order = order;
  }

  isAlive(at: number, frame: number, slot: number): boolean {
    return this.#marks[frame]?.isAlive(this.#placeOf(at), slot) === true;
  }

  /** `slots`: of one frame. */
  noteReads(at: number, frame: number, slots: Uint32Array): void {
    if ((slots[0]! | slots[1]!) !== 0 && this.#marksOf(frame).noteReads(this.#placeOf(at), slots)) this.#changed = true;
  }

  /** `slots`: of all frames. */
  noteOverwrites(at: number, slots: Uint32Array): void {
    const place = this.#placeOf(at);
    const again = this.#ran.has(place);
    if (!again) this.#ran.add(place);
    for (let frame = 0; frame <= this.depth; frame++) {
      const [low, high] = [slots[WORDS * frame]!, slots[WORDS * frame + 1]!];
      if ((low | high) === 0 && (!again || this.#marks[frame] === undefined)) continue;
      if (!this.#marksOf(frame).noteOverwrites(place, low, high, again)) continue;
      this.#changed = true;
      if (again) this.#overwritesLess = true;
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
      caller.noteReads(this.#callSite, frame, marks.setAt(place, ALIVE));
      overwrites.set(marks.setAt(place, OVERWRITTEN), WORDS * frame);
    }
    caller.noteOverwrites(this.#callSite, overwrites);
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
