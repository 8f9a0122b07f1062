/**
 * Which stack slots are read again, so that states need not agree about the others (Linux: kernel/bpf/liveness.c).
 *
 * Reads and writes are noted while paths are followed, for each function and the chain of calls it is entered by (an
 * instance). A slot is alive before an instruction that may read it, or where it is alive after one that does not
 * always overwrite it. The answer is right for a state whose paths are finished: all that can read has been met.
 * What is alive only grows, so every new fact is carried backwards at once, as far as it changes anything.
 *
 *   frames      an instance at depth 2 also reads slots of frames 0 and 1, its callers'; what is alive where it begins
 *               is read by the call, in the caller's instance
 *   words       two 32-bit words a slot set: slots 0..31, 32..63
 */
import type { Instruction } from '../bpf/isa.ts';
import { jumpTarget } from '../bpf/isa.ts';
import type { State } from './state.ts';
import type { Subprogram, Walk } from './walk.ts';

const WORDS = 2;

class Instance {
  readonly subprogram: Subprogram;
  readonly depth: number;
  readonly caller: Instance | undefined;
  readonly callSite: number;
  /** By frame, then instruction: slots that are alive before it. */
  readonly alive: Uint32Array[] = [];
  /** Of its own frame: slots that an instruction overwrites whenever it runs. All of them until it has run. */
  readonly mustWrite: Uint32Array;
  readonly nested = new Map<number, Instance>();

  constructor(subprogram: Subprogram, depth: number, caller: Instance | undefined, callSite: number, instructions: readonly Instruction[]) {
    const slots = subprogram.end - subprogram.start;
    this.subprogram = subprogram;
    this.depth = depth;
    this.caller = caller;
    this.callSite = callSite;
    for (let frame = 0; frame <= depth; frame++) this.alive.push(new Uint32Array(WORDS * slots));
    this.mustWrite = new Uint32Array(WORDS * slots);
    for (let position = 0; position < slots; position++) {
      if (writes(instructions[subprogram.start + position]!)) this.mustWrite.fill(0xffff_ffff, WORDS * position, WORDS * (position + 1));
    }
  }
}

export class StackLiveness {
  readonly #walk: Walk;
  readonly #instructions: readonly Instruction[];
  readonly #callsBack: (slot: number) => boolean;
  readonly #roots = new Map<number, Instance>();
  /** By slot: instructions that control comes from, within the function. */
  readonly #before: readonly number[][];

  constructor(walk: Walk, callsBack: (slot: number) => boolean) {
    this.#walk = walk;
    this.#instructions = walk.spec.instructions;
    this.#callsBack = callsBack;
    const before: number[][] = this.#instructions.map(() => []);
    for (const [slot, instruction] of this.#instructions.entries()) {
      if (instruction.kind !== 'upper') for (const next of following(instruction, slot)) before[next]?.push(slot);
    }
    this.#before = before;
  }

  /** The current instruction may read slots `first` to `last` of a frame. */
  read(frame: number, first: number, last: number): void {
    const { state, at } = this.#walk;
    const instance = this.#instanceOf(state, state.frames.length);
    let [low, high] = [0, 0];
    for (let slot = first; slot <= last; slot++) {
      if (slot < 32) low |= 1 << slot;
      else high |= 1 << (slot - 32);
    }
    this.#comesAlive(instance, frame, at, low, high);
  }

  /** The current instruction is a store; it overwrites the whole slot of its own frame, or of none. */
  write(slot: number | undefined): void {
    const { state, at } = this.#walk;
    const instance = this.#instanceOf(state, state.frames.length);
    const { mustWrite, subprogram, depth } = instance;
    const position = at - subprogram.start;
    const index = WORDS * position;
    const low = slot !== undefined && slot < 32 ? 1 << slot : 0;
    const high = slot !== undefined && slot >= 32 ? 1 << (slot - 32) : 0;
    const [lowLeft, highLeft] = [(mustWrite[index]! & low) >>> 0, (mustWrite[index + 1]! & high) >>> 0];
    if (lowLeft === mustWrite[index] && highLeft === mustWrite[index + 1]) return;
    mustWrite[index] = lowLeft;
    mustWrite[index + 1] = highLeft;
    const alive = instance.alive[depth]!;
    for (const next of following(this.#instructions[at]!, at)) {
      const after = WORDS * (next - subprogram.start);
      this.#comesAlive(instance, depth, at, alive[after]! & ~lowLeft, alive[after + 1]! & ~highLeft);
    }
  }

  /** Names the slots of a finished state that nobody reads from there on. */
  forEachDead(state: State, at: number, forget: (frame: number, slot: number) => void): void {
    const chain: Instance[] = state.frames.map((_, index) => this.#instanceOf(state, index + 1));
    const top = chain.length - 1;
    for (let frame = 0; frame <= top; frame++) {
      const { stack } = state.frames[frame]!;
      for (let slot = 0; slot < stack.length; slot++) {
        if (stack[slot]!.kinds === 0 || isAlive(chain[top]!, at, frame, slot)) continue;
        let read = false;
        for (let outer = frame; outer < top && !read; outer++) {
          const { callSite } = state.frames[outer + 1]!;
          read = isAlive(chain[outer]!, this.#callsBack(callSite) ? callSite : callSite + 1, frame, slot);
        }
        if (!read) forget(frame, slot);
      }
    }
  }

  #instanceOf({ frames }: State, depth: number): Instance {
    const first = frames[0]!.subprogram;
    let instance = this.#roots.get(first);
    if (instance === undefined) {
      instance = this.#create(first, 0, undefined, -1);
      this.#roots.set(first, instance);
    }
    for (let index = 1; index < depth; index++) {
      const { callSite, subprogram } = frames[index]!;
      let nested: Instance | undefined = instance.nested.get(callSite);
      if (nested === undefined) {
        nested = this.#create(subprogram, index, instance, callSite);
        instance.nested.set(callSite, nested);
      }
      instance = nested;
    }
    return instance;
  }

  #create(subprogram: number, depth: number, caller: Instance | undefined, callSite: number): Instance {
    return new Instance(this.#walk.subprograms[subprogram]!, depth, caller, callSite, this.#instructions);
  }

  /** Slots are alive before the instruction; carries that backwards, and out to the callers. */
  #comesAlive(instance: Instance, frame: number, at: number, low: number, high: number): void {
    const { start } = instance.subprogram;
    const alive = instance.alive[frame]!;
    const own = frame === instance.depth;
    if (!add(alive, WORDS * (at - start), low, high)) return;
    const pending = [at];
    for (let slot = pending.pop(); slot !== undefined; slot = pending.pop()) {
      const index = WORDS * (slot - start);
      const [lowHere, highHere] = [alive[index]!, alive[index + 1]!];
      if (slot === start && instance.caller !== undefined && !own) this.#comesAlive(instance.caller, frame, instance.callSite, lowHere, highHere);
      for (const before of this.#before[slot]!) {
        const place = WORDS * (before - start);
        const lowBefore = own ? lowHere & ~instance.mustWrite[place]! : lowHere;
        const highBefore = own ? highHere & ~instance.mustWrite[place + 1]! : highHere;
        if (add(alive, place, lowBefore, highBefore)) pending.push(before);
      }
    }
  }
}

/** Whether it is said of the instruction what it overwrites (StackLiveness.write) whenever it runs. */
const writes = (instruction: Instruction): boolean => instruction.kind === 'store' || (instruction.kind === 'atomic' && instruction.op !== 'load_acquire');

/** Whether that changed anything. */
function add(words: Uint32Array, index: number, low: number, high: number): boolean {
  const [lowNow, highNow] = [(words[index]! | low) >>> 0, (words[index + 1]! | high) >>> 0];
  if (lowNow === words[index] && highNow === words[index + 1]) return false;
  words[index] = lowNow;
  words[index + 1] = highNow;
  return true;
}

function isAlive(instance: Instance, at: number, frame: number, slot: number): boolean {
  return (instance.alive[frame]![WORDS * (at - instance.subprogram.start) + (slot >>> 5)]! & (1 << (slot & 31))) !== 0;
}

/** Where control goes next, within the function. */
function following(instruction: Instruction, slot: number): readonly number[] {
  switch (instruction.kind) {
    case 'exit':
      return [];
    case 'jump':
      return [jumpTarget(slot, instruction.offset)];
    case 'branch':
    case 'may_goto':
      return [slot + 1, jumpTarget(slot, instruction.offset)];
    case 'load_imm64':
      return [slot + 2];
    default:
      return [slot + 1];
  }
}
