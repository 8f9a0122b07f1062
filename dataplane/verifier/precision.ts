/**
 * Which scalars mattered. A state is compared with an earlier one by the ranges of those scalars only on which some
 * decision depended; when one does, it is traced back, instruction by instruction, through the history of the
 * path and its checkpoints, and marked in each of them (Linux: mark_chain_precision, backtrack_insn).
 *
 * The trace holds registers and stack slots per frame. An instruction that computes a traced register replaces it by
 * its operands; one that loads it from the stack, by the slot; one that makes it up (constants, helpers, packets),
 * by nothing. What cannot be followed marks everything: correct, and less can be pruned.
 */
import type { Instruction } from '../bpf/isa.ts';
import { isTailCall } from './control-flow.ts';
import { refuse } from './refusal.ts';
import { forEachSlot, hasSlot, isEmpty, NO_SLOTS, withoutSlot, withSlot, type SlotSet } from './slot-set.ts';
import { isFirst, isSpilledScalar, type Place, type State, type Step } from './state.ts';

const ARGUMENTS = 0b11_1110;
const MAX_FRAMES = 8;
/** Too hard to follow. */
const UNTRACEABLE = 'untraceable';

/** Registers and slots that are traced, by frame. */
class Trace {
  frame = 0;
  readonly registers: number[] = [0, 0, 0, 0, 0, 0, 0, 0];
  readonly slots: SlotSet[] = [NO_SLOTS, NO_SLOTS, NO_SLOTS, NO_SLOTS, NO_SLOTS, NO_SLOTS, NO_SLOTS, NO_SLOTS];

  begin(frames: number): this {
    this.frame = frames - 1;
    this.registers.fill(0);
    this.slots.fill(NO_SLOTS);
    return this;
  }

  get empty(): boolean {
    for (let index = 0; index <= this.frame; index++) if (this.registers[index] !== 0 || !isEmpty(this.slots[index]!)) return false;
    return true;
  }

  has(register: number): boolean {
    return (this.registers[this.frame]! & (1 << register)) !== 0;
  }

  add(register: number, frame = this.frame): void {
    this.registers[frame]! |= 1 << register;
  }

  addSlot(frame: number, slot: number): void {
    this.slots[frame] = withSlot(this.slots[frame]!, slot);
  }

  drop(register: number): void {
    this.registers[this.frame]! &= ~(1 << register);
  }

  /** Whether it was traced. */
  dropSlot(frame: number, slot: number): boolean {
    const before = this.slots[frame]!;
    this.slots[frame] = withoutSlot(before, slot);
    return this.slots[frame] !== before;
  }
}

export interface ProgramView {
  readonly instructions: readonly Instruction[];
  /** Whether the function that begins at a slot was verified by itself. */
  readonly isGlobal: (slot: number) => boolean;
  /** Whether a call runs a callback before it returns. */
  readonly callsBack: (slot: number) => boolean;
}

export class Precision {
  readonly #program: ProgramView;
  /** One for all, so that tracing allocates little. */
  readonly #trace = new Trace();

  constructor(program: ProgramView) {
    this.#program = program;
  }

  /** A decision at `state.at`, the instruction being verified, depends on the register's value. */
  markRegister(state: State, register: number): void {
    if (state.current.registers[register]!.type !== 'scalar') return;
    this.#trace.begin(state.frames.length).add(register);
    this.#mark(state, this.#trace);
  }

  markSlot(state: State, frame: number, slot: number): void {
    this.#trace.begin(state.frames.length).addSlot(frame, slot);
    this.#mark(state, this.#trace);
  }

  /** `state` goes on as `old` did: what mattered there matters on the way here. Whether anything was marked. */
  propagate(old: State, state: State): boolean {
    const trace = this.#trace.begin(state.frames.length);
    for (let index = 0; index < old.frames.length; index++) {
      const frame = old.frames[index]!;
      trace.registers[index] = frame.preciseRegisters;
      trace.slots[index] = frame.preciseSlots;
    }
    return trace.empty ? false : this.#mark(state, trace);
  }

  /** Everything matters on the way to `state`. */
  markAll(state: State): void {
    markEverything(state);
  }

  #mark(start: State, trace: Trace): boolean {
    let changed = false;
    let state: State | undefined = start;
    let at = start.at;
    let following = -1;
    let skip = true;
    while (state !== undefined) {
      let step: Step | undefined = state.history;
      for (;;) {
        if (skip) skip = false;
        else if (this.#back(at, following, step?.at === at ? step : undefined, trace) === UNTRACEABLE) {
          markEverything(start);
          return true;
        }
        if (trace.empty) return changed;
        following = at;
        if (isFirst(state, at, step)) break;
        if (step?.at === at) {
          at = step.previous;
          step = step.earlier;
        } else at--;
        if (at < 0) {
          markEverything(start);
          return true;
        }
      }
      const { first }: State = state;
      state = state.parent;
      if (state === undefined) break;
      changed = markIn(state, trace) || changed;
      if (trace.empty) return changed;
      following = first;
      at = state.last;
      // The function begins here: what is traced are its arguments.
      if (at < 0) return changed;
    }
    if (!trace.empty) markEverything(start);
    return changed;
  }

  #back(at: number, following: number, step: Step | undefined, trace: Trace): void | typeof UNTRACEABLE {
    const instruction = this.#program.instructions[at]!;
    if (step?.linked !== undefined) linkTogether(trace, step.linked);
    switch (instruction.kind) {
      case 'alu':
      case 'movsx': {
        if (!trace.has(instruction.dst)) return;
        const isMove = instruction.kind === 'movsx' || instruction.op === 'mov';
        if (isMove) trace.drop(instruction.dst);
        if (instruction.kind === 'movsx') trace.add(instruction.src);
        else if (instruction.source.kind === 'register' && instruction.source.register !== 10) trace.add(instruction.source.register);
        return;
      }
      case 'load':
        if (!trace.has(instruction.dst)) return;
        trace.drop(instruction.dst);
        if (hasStack(step)) trace.addSlot(step.frame, step.slot);
        return;
      case 'store':
        if (trace.has(instruction.dst)) return UNTRACEABLE;
        if (!hasStack(step) || !trace.dropSlot(step.frame, step.slot)) return;
        if (instruction.source.kind === 'register') trace.add(instruction.source.register);
        return;
      case 'atomic': {
        if (instruction.op === 'load_acquire') {
          if (!trace.has(instruction.dst)) return;
          trace.drop(instruction.dst);
          if (hasStack(step)) trace.addSlot(step.frame, step.slot);
          return;
        }
        if (trace.has(instruction.dst)) return UNTRACEABLE;
        const fetched = instruction.op === 'cmpxchg' ? 0 : instruction.fetch ? instruction.src : undefined;
        if (fetched !== undefined && trace.has(fetched)) {
          trace.drop(fetched);
          if (hasStack(step)) trace.addSlot(step.frame, step.slot);
          return;
        }
        if (instruction.op === 'store_release' && hasStack(step) && trace.dropSlot(step.frame, step.slot)) trace.add(instruction.src);
        return;
      }
      case 'branch':
        if (instruction.source.kind === 'register' && (trace.has(instruction.dst) || trace.has(instruction.source.register))) {
          for (const operand of [instruction.dst, instruction.source.register]) if (((step?.stackPointers ?? 0) & (1 << operand)) === 0) trace.add(operand);
        }
        if (step?.linked !== undefined) linkTogether(trace, step.linked);
        return;
      case 'load_imm64':
        trace.drop(instruction.dst);
        return;
      case 'load_packet':
        return trace.has(0) ? UNTRACEABLE : undefined;
      case 'call':
        return this.#backOverCall(instruction, at, following, trace);
      case 'exit': {
        // Into a function that was left, or a callback that came back to the helper that calls it.
        const returnsTo = following - 1;
        const call = this.#program.instructions[returnsTo];
        const called = call?.kind === 'call' && call.target.kind === 'subprogram';
        const wanted = called && trace.has(0);
        if (following >= 0 && this.#program.callsBack(following)) trace.registers[trace.frame]! &= ~ARGUMENTS;
        if (called) trace.drop(0);
        if (++trace.frame === MAX_FRAMES) return UNTRACEABLE;
        if (wanted) trace.add(0);
        return;
      }
      default:
        return;
    }
  }

  #backOverCall(instruction: Extract<Instruction, { kind: 'call' }>, at: number, following: number, trace: Trace): void | typeof UNTRACEABLE {
    const { target } = instruction;
    if (target.kind === 'subprogram') {
      if (this.#program.isGlobal(target.slot)) {
        trace.drop(0);
        return;
      }
      leaveFunction(trace);
      return;
    }
    if (this.#program.callsBack(at) && following !== at + 1) return leaveCallback(trace);
    // What was called there returned to the function's caller.
    if (isTailCall(instruction) && following !== at + 1 && ++trace.frame === MAX_FRAMES) return UNTRACEABLE;
    trace.drop(0);
    if ((trace.registers[trace.frame]! & ARGUMENTS) !== 0) return UNTRACEABLE;
  }
}

/**
 * Backwards out of a called function: its arguments are its caller's. A packet load that ended the function is met
 * without the way into it, so that what is traced is the caller's still; Linux takes that for a bug of its own.
 */
function leaveFunction(trace: Trace): void {
  const own = trace.registers[trace.frame]!;
  if ((own & ~ARGUMENTS) !== 0) refuse('EFAULT', `verifier bug: static subprog unexpected regs ${own.toString(16)}`);
  const { low, high } = trace.slots[trace.frame]!;
  if ((low | high) !== 0) refuse('EFAULT', `verifier bug: static subprog leftover stack slots ${((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)).toString(16)}`);
  if (trace.frame === 0) refuse('EFAULT', 'verifier bug: subprog exit from frame 0');
  trace.registers[trace.frame] = 0;
  trace.frame--;
  trace.registers[trace.frame]! |= own;
}

/** A callback's arguments are made up by the helper. */
function leaveCallback(trace: Trace): void | typeof UNTRACEABLE {
  if ((trace.registers[trace.frame]! & ~ARGUMENTS) !== 0 || !isEmpty(trace.slots[trace.frame]!) || trace.frame === 0) return UNTRACEABLE;
  trace.registers[trace.frame] = 0;
  trace.frame--;
}

const hasStack = (step: Step | undefined): step is Step => step !== undefined && step.slot >= 0;

function linkTogether(trace: Trace, linked: readonly Place[]): void {
  const some = linked.some(({ frame, register, slot }) => (register === undefined ? hasSlot(trace.slots[frame]!, slot!) : (trace.registers[frame]! & (1 << register)) !== 0));
  if (!some) return;
  for (const { frame, register, slot } of linked) {
    if (register === undefined) trace.addSlot(frame, slot!);
    else trace.add(register, frame);
  }
}

/** Marks what is traced in a checkpoint, and goes on with what was not marked there before. */
function markIn(state: State, trace: Trace): boolean {
  let changed = false;
  for (let index = 0; index <= trace.frame && index < state.frames.length; index++) {
    const frame = state.frames[index]!;
    let fresh = 0;
    for (let register = 0; register < 10; register++) {
      const bit = 1 << register;
      if ((trace.registers[index]! & bit) === 0) continue;
      if (frame.registers[register]!.type !== 'scalar' || (frame.preciseRegisters & bit) !== 0) continue;
      fresh |= bit;
    }
    trace.registers[index] = fresh;
    frame.preciseRegisters |= fresh;
    changed ||= fresh !== 0;
    forEachSlot(trace.slots[index]!, (slot) => {
      const known = frame.stack[slot];
      if (known === undefined || !isSpilledScalar(known) || hasSlot(frame.preciseSlots, slot)) {
        trace.dropSlot(index, slot);
        return;
      }
      frame.preciseSlots = withSlot(frame.preciseSlots, slot);
      changed = true;
    });
  }
  return changed;
}

/** Up to a state where that was done before: then it was in all behind it. */
function markEverything(from: State): void {
  for (let state = from.parent; state !== undefined && !state.everythingMatters; state = state.parent) {
    state.everythingMatters = true;
    for (const frame of state.frames) {
      frame.registers.forEach((register, number) => {
        if (register.type === 'scalar') frame.preciseRegisters |= 1 << number;
      });
      frame.stack.forEach((slot, number) => {
        if (isSpilledScalar(slot)) frame.preciseSlots = withSlot(frame.preciseSlots, number);
      });
    }
  }
}
