/**
 * A state of the verifier: what is known of registers, stack and obligations at one point of one path.
 *
 * A frame's stack is an array of 8-byte slots, slot 0 is fp-8..fp-1. A slot's bytes have a kind each, 4 bits in
 * `kinds`, counted downwards as Linux does: byte 0 is the highest address, and bits 28..31 (byte 7) are those of the
 * address that is a multiple of 8. A register that was spilled begins at byte 7, so that is where to look for it.
 *
 *   address   fp-8 … fp-1          kinds   0x7654_3210  (number of the byte whose kind is there)
 */
import type { Held } from './references.ts';
import { NOT_INITIALISED, type RegisterState } from './register.ts';
import { NO_SLOTS } from './slot-set.ts';

export const BYTE = { invalid: 0, spill: 1, misc: 2, zero: 3, dynptr: 4, iterator: 5 } as const;
export type ByteKind = (typeof BYTE)[keyof typeof BYTE];

export const SLOT_BYTES = 8;
export const ALL_SPILL = 0x1111_1111;

export interface StackSlot {
  readonly kinds: number;
  /** Meaningful where byte 7 is a spill, or where the slot is part of an object. */
  readonly spilled: RegisterState;
}

export const EMPTY_SLOT: StackSlot = { kinds: 0, spilled: NOT_INITIALISED };

export const kindAt = (slot: StackSlot, byte: number): ByteKind => ((slot.kinds >>> (4 * byte)) & 0xf) as ByteKind;
export const isSpilled = (slot: StackSlot): boolean => slot.kinds >>> 28 === BYTE.spill;
/** Part of an object that only the kernel reads and writes: all its bytes are of one kind. */
export const isObject = (slot: StackSlot): boolean => (slot.kinds & 0xf) > BYTE.zero;
export const objectSlot = (kind: ByteKind, spilled: RegisterState): StackSlot => ({ kinds: (kind * 0x1111_1111) >>> 0, spilled });
export const isSpilledScalar = (slot: StackSlot): boolean => isSpilled(slot) && slot.spilled.type === 'scalar';
export const withKind = (kinds: number, byte: number, kind: ByteKind): number => ((kinds & ~(0xf << (4 * byte))) | (kind << (4 * byte))) >>> 0;

/** Why a function runs as a callback, and what its return value has to be. */
export interface CallbackContext {
  readonly helper: 'loop' | 'for_each_map_elem' | 'timer' | 'find_vma' | 'user_ringbuf_drain';
  readonly returns: readonly [number, number];
  /** Runs later, on its own: its exit ends the path. */
  readonly asynchronous: boolean;
}

export class Frame {
  /** Number of the function, in the order of functions. */
  readonly subprogram: number;
  /** Slot of the call. */
  readonly callSite: number;
  readonly callback: CallbackContext | undefined;
  /** How often the callback was entered on this path. */
  callbackDepth = 0;
  registers: RegisterState[];
  stack: StackSlot[] = [];
  /** Bit per register, and set of slots: whether a later decision depended on its value. */
  preciseRegisters = 0;
  preciseSlots = NO_SLOTS;

  constructor(subprogram: number, callSite: number, callback?: CallbackContext, registers: RegisterState[] = Array.from({ length: 11 }, () => NOT_INITIALISED)) {
    this.subprogram = subprogram;
    this.callSite = callSite;
    this.callback = callback;
    this.registers = registers;
  }

  copy(): Frame {
    const copy = new Frame(this.subprogram, this.callSite, this.callback, this.registers.slice());
    copy.stack = this.stack.slice();
    copy.callbackDepth = this.callbackDepth;
    copy.preciseRegisters = this.preciseRegisters;
    copy.preciseSlots = this.preciseSlots;
    return copy;
  }
}

/** Which register, or spilled register, is meant. */
export interface Place {
  readonly frame: number;
  readonly register?: number;
  readonly slot?: number;
}

/** One instruction on the way from a checkpoint, as far as it matters to backtracking; a list, whose beginning paths share. */
export interface Step {
  readonly at: number;
  /** The instruction before. */
  readonly previous: number;
  /** The step before, and how many there are. */
  readonly earlier: Step | undefined;
  readonly count: number;
  /** A register was spilled to, or filled from, this slot of this frame; -1 for none. */
  readonly frame: number;
  readonly slot: number;
  /** Scalars that the branch here narrowed together. */
  readonly linked: readonly Place[] | undefined;
  /** Registers, as bits, that the branch here compared as pointers to the stack: no numbers that could matter. */
  readonly stackPointers: number;
}

export class State {
  frames: Frame[] = [];
  references: Held | undefined;
  /** Identity of the lock that is held: register id of the map value. */
  lock: { readonly id: number; readonly map: string } | undefined;
  /** Within bpf_rcu_read_lock; how often preemption was disabled. */
  rcu = false;
  preemptOff = 0;
  /** The processor would come here by a wrong guess alone. */
  speculative = false;
  /** Paths that begin here and are not finished. */
  branches = 1;
  parent: State | undefined;
  /** The first instruction after the checkpoint `parent`, and the last one before `this` was made. */
  first = 0;
  last = -1;
  at = 0;
  /** The last step since the checkpoint. */
  history: Step | undefined;
  callbackUnrollDepth = 0;
  /** How often may_gotos went on along this path. */
  mayGotoDepth = 0;
  /** Slots that no path reads were emptied. */
  cleaned = false;
  /** All that is known here, and in every state before, matters to a later decision. */
  everythingMatters = false;
  /** Where the last state that was compared with this one differed, which is where the next one will (compare.ts): frame, -1 for none, and place. */
  differedIn = -1;
  differedAt = 0;
  hits = 0;
  misses = 0;

  get current(): Frame {
    return this.frames[this.frames.length - 1]!;
  }

  copy(): State {
    const copy = new State();
    copy.frames = this.frames.map((frame) => frame.copy());
    copy.references = this.references;
    copy.lock = this.lock;
    copy.rcu = this.rcu;
    copy.preemptOff = this.preemptOff;
    copy.speculative = this.speculative;
    copy.parent = this.parent;
    copy.first = this.first;
    copy.last = this.last;
    copy.at = this.at;
    copy.history = this.history;
    copy.callbackUnrollDepth = this.callbackUnrollDepth;
    copy.mayGotoDepth = this.mayGotoDepth;
    return copy;
  }
}

/** Replaces every register and spilled register of all frames for which `change` answers another one. */
export function changeRegisters(state: State, change: (register: RegisterState) => RegisterState): void {
  for (const frame of state.frames) {
    const { registers, stack } = frame;
    for (let number = 0; number < registers.length; number++) registers[number] = change(registers[number]!);
    for (let slot = 0; slot < stack.length; slot++) {
      const before = stack[slot]!;
      if (!isSpilled(before)) continue;
      const spilled = change(before.spilled);
      if (spilled !== before.spilled) stack[slot] = { kinds: before.kinds, spilled };
    }
  }
}

/** Whether going backwards from a state's end arrived at the first instruction after its checkpoint; `step` is the newest that is left. */
export function isFirst(state: State, at: number, step: Step | undefined): boolean {
  return at === state.first && (step === undefined || (step.earlier === undefined && step.at === at));
}
