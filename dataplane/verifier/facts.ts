/**
 * What verification found of each instruction, over all the ways to it: what every register is before it, and which way a
 * branch always goes. A fact holds in every run: it is what all states say that a path came here in (join.ts), and
 * what numbers may be besides, which no state says, where paths ended at earlier states (stray-values.ts).
 *
 * Facts are collected only where somebody asks. The checking interpreter holds every instruction it runs against them.
 */
import { jumpTarget, type Instruction } from '../bpf/isa.ts';
import type { ProgramSpec } from '../bpf/spec.ts';
import type { Exactness } from './compare.ts';
import { registersReplaced } from './control-flow.ts';
import { joinRegisters, joinScalars } from './join.ts';
import type { VerificationObserver } from './observer.ts';
import { withFacts, type RegisterState } from './register.ts';
import { rangeWithin, tnumIn, type Scalar } from './scalar.ts';
import { hasSlot } from './slot-set.ts';
import { MAX_STACK_BYTES, slotOf } from './stack.ts';
import { isSpilledScalar, SLOT_BYTES, type Frame, type State } from './state.ts';
import { ANYTHING, joinStrays, REGISTERS, strayValues, type Explored, type Way } from './stray-values.ts';
import { verifyProgram, type VerifierReport, type VerifyOptions } from './verify.ts';

export interface InstructionFacts {
  /** r0 to r10 before the instruction; `undefined` where nothing holds of all runs. */
  readonly registers: readonly (RegisterState | undefined)[];
  /** What it leaves in the register that it replaces, r0 of a call; where nothing else leads to the next instruction. */
  readonly result?: RegisterState;
  /** Of a branch that only ever goes one way. */
  readonly always?: 'taken' | 'not taken';
}

/** By slot; `undefined` of what no run reaches. */
export type ProgramFacts = readonly (InstructionFacts | undefined)[];

/** Verifies, and says what was found; of what is refused, nothing. */
export function verifyWithFacts(spec: ProgramSpec, options: VerifyOptions): { readonly report: VerifierReport; readonly facts: ProgramFacts | undefined } {
  const collector = new FactCollector(spec.instructions);
  const report = verifyProgram(spec, { ...options, observer: collector });
  return { report, facts: report.accepted ? collector.facts() : undefined };
}

/** Where a path was last. */
interface Last {
  at: number;
  depth: number;
  callSite: number;
}

export class FactCollector implements VerificationObserver {
  readonly #instructions: readonly Instruction[];
  readonly #explored: (Explored | undefined)[];
  readonly #last = new WeakMap<State, Last>();
  readonly #strayPlaces = new Set<number>();

  constructor(instructions: readonly Instruction[]) {
    this.#instructions = instructions;
    this.#explored = instructions.map(() => undefined);
  }

  visited(state: State): void {
    const { at, current } = state;
    const { registers } = current;
    const known = this.#explored[at];
    const explored = known ?? (this.#explored[at] = { registers: registers.slice(), ways: [], given: [], places: new Set(), relatives: { registers: new Set(), places: new Set() } });
    if (known !== undefined) for (let number = 0; number < REGISTERS; number++) known.registers[number] = joinRegisters(known.registers[number]!, registers[number]!);
    this.#came(state);
    const instruction = this.#instructions[at]!;
    if (instruction.kind === 'branch') noteRelatives(explored, state, instruction);
    else notePlaces(explored, state, instruction);
  }

  #came(state: State): void {
    const { at, frames, current } = state;
    const last = this.#last.get(state);
    if (last === undefined) {
      this.#last.set(state, { at, depth: frames.length, callSite: current.callSite });
      return;
    }
    // Numbers that an instruction treats apart: not after it, but before it.
    const isPart = last.at === at && this.#instructions[at]!.kind === 'alu';
    const frame: Way['frame'] = frames.length > last.depth ? 'enters' : frames.length < last.depth ? 'leaves' : 'stays';
    const { ways } = this.#explored[last.at]!;
    if (!isPart && !ways.some((way) => way.to === at && way.frame === frame && way.callSite === last.callSite)) ways.push({ to: at, frame, callSite: last.callSite });
    last.at = at;
    last.depth = frames.length;
    last.callSite = current.callSite;
  }

  forked(state: State, later: State): void {
    this.#last.set(later, { ...this.#last.get(state)! });
  }

  kept(): void {}

  covered(state: State, old: State, exactness: Exactness, live: (frame: number) => number): void {
    const shared = exactness === 'used' ? sharedIds(old, live) : NO_IDS;
    for (const [index, before] of old.frames.entries()) {
      const now = state.frames[index]!;
      const { given } = this.#explored[old.frames[index + 1]?.callSite ?? old.at]!;
      for (let number = 0; number < 10; number++) {
        const stray = strayRegister(before, now, number, exactness, live(index), shared);
        if (stray !== undefined) given[number] = joinStrays(given[number], stray);
      }
      if (exactness !== 'used') continue;
      for (let slot = 0; slot < before.stack.length; slot++) if (mayStray(before, now, slot, shared)) this.#strayPlaces.add(placeOf(before, slot));
    }
  }

  /** Once all paths were followed. */
  facts(): ProgramFacts {
    const strays = strayValues(this.#instructions, this.#explored, this.#strayPlaces);
    const before = this.#explored.map((explored, slot) => explored?.registers.map((register, number) => factOf(register, strays[slot]![number])));
    const comeTo = new Uint32Array(this.#instructions.length);
    for (const explored of this.#explored) for (const { to } of explored?.ways ?? []) comeTo[to]!++;
    return this.#explored.map((explored, slot) => {
      if (explored === undefined) return undefined;
      const instruction = this.#instructions[slot]!;
      const [way, ...others] = explored.ways;
      const registers = before[slot]!;
      if (way === undefined || others.length > 0) return { registers };
      if (instruction.kind === 'branch') return instruction.offset === 0 ? { registers } : { registers, always: way.to === jumpTarget(slot, instruction.offset) ? 'taken' : 'not taken' };
      const result = comeTo[way.to] === 1 && way.frame === 'stays' ? before[way.to]![replacedBy(instruction)] : undefined;
      return result === undefined ? { registers } : { registers, result };
    });
  }
}

/** -1 for none. Of a call all that is read again is r0. */
function replacedBy(instruction: Instruction): number {
  const replaced = registersReplaced(instruction);
  return instruction.kind === 'call' ? 0 : replaced === 0 ? -1 : 31 - Math.clz32(replaced);
}

function factOf(register: RegisterState, stray: Scalar | undefined): RegisterState | undefined {
  if (register.type === '?' || stray === ANYTHING || (stray !== undefined && register.type !== 'scalar')) return undefined;
  const alone = register.id === 0 && register.reference === 0 && register.delta === 0 ? register : withFacts(register, { id: 0, reference: 0, delta: 0, ...(register.type === 'scalar' ? { offset: 0 } : {}) });
  const scalar = stray === undefined ? alone.scalar : joinScalars(alone.scalar, stray);
  return scalar === alone.scalar ? alone : withFacts(alone, { scalar });
}

/** Of all frames of one function, whoever called it. */
const placeOf = ({ subprogram }: Frame, slot: number): number => (subprogram * MAX_STACK_BYTES) / SLOT_BYTES + slot;

/** Where an access to the stack may go. */
function notePlaces({ places }: Explored, { frames, current }: State, instruction: Instruction): void {
  if (instruction.kind !== 'load' && instruction.kind !== 'store' && instruction.kind !== 'atomic') return;
  const base = instruction.kind === 'load' || (instruction.kind === 'atomic' && instruction.op === 'load_acquire') ? instruction.src : instruction.dst;
  const { type, frame, offset, scalar } = current.registers[base]!;
  if (type !== 'fp') return;
  const least = Math.max(-MAX_STACK_BYTES, offset + instruction.offset + Number(scalar.smin));
  const most = Math.min(-1, offset + instruction.offset + Number(scalar.smax) + instruction.bytes - 1);
  for (let slot = slotOf(most); slot <= slotOf(least); slot++) places.add(placeOf(frames[frame]!, slot));
}

/** Of a comparison of two numbers: registers and places on the stack that it says something of besides. */
function noteRelatives({ relatives }: Explored, { at, frames, current }: State, { dst, source }: Extract<Instruction, { kind: 'branch' }>): void {
  if (source.kind !== 'register') return;
  const isRelated = ({ type, id }: RegisterState): boolean => type === 'scalar' && id !== 0 && (id === left.id || id === right.id);
  const [left, right] = [current.registers[dst]!, current.registers[source.register]!];
  if (left.type !== 'scalar' || right.type !== 'scalar' || (left.id === 0 && right.id === 0)) return;
  for (const [index, frame] of frames.entries()) {
    const slotOfFrame = frames[index + 1]?.callSite ?? at;
    for (const [number, register] of frame.registers.entries()) if (isRelated(register)) relatives.registers.add(slotOfFrame * REGISTERS + number);
    for (const [slot, content] of frame.stack.entries()) if (isSpilledScalar(content) && isRelated(content.spilled)) relatives.places.add(placeOf(frame, slot));
  }
}

/** Ids of an earlier state: those that several numbers have, and of them those that one has on which nothing depended. */
interface SharedIds {
  readonly several: ReadonlySet<number>;
  readonly loose: ReadonlySet<number>;
}

const NO_IDS: SharedIds = { several: new Set(), loose: new Set() };

function sharedIds({ frames }: State, live: (frame: number) => number): SharedIds {
  const [seen, several, loose] = [new Set<number>(), new Set<number>(), new Set<number>()];
  const note = ({ id }: RegisterState, precise: boolean): void => {
    if (id === 0) return;
    (seen.has(id) ? several : seen).add(id);
    if (!precise) loose.add(id);
  };
  for (const [index, { registers, stack, preciseRegisters, preciseSlots }] of frames.entries()) {
    for (let number = 0; number < 10; number++) if (registers[number]!.type === 'scalar' && (live(index) & (1 << number)) !== 0) note(registers[number]!, (preciseRegisters & (1 << number)) !== 0);
    for (const [slot, content] of stack.entries()) if (isSpilledScalar(content)) note(content.spilled, hasSlot(preciseSlots, slot));
  }
  return { several, loose };
}

/** What a run may have in the register that is not what the earlier state says. */
function strayRegister(before: Frame, now: Frame, number: number, exactness: Exactness, live: number, shared: SharedIds): Scalar | undefined {
  const [was, is] = [before.registers[number]!, now.registers[number]!];
  // Nobody reads it, and of an earlier state it was forgotten.
  if ((live & (1 << number)) === 0) return ANYTHING;
  if (was.type === '?') return is.type === '?' ? undefined : ANYTHING;
  if (was.type !== 'scalar' || exactness !== 'used') return undefined;
  return isKept(was, is, (before.preciseRegisters & (1 << number)) !== 0, shared) ? undefined : is.scalar;
}

/** Whether what the earlier state, and all that follows from it, says of a number holds for this one, too. */
function isKept(was: RegisterState, is: RegisterState, precise: boolean, { several, loose }: SharedIds): boolean {
  // Then what is learnt of one is not known of the other.
  if (several.has(was.id) && loose.has(was.id)) return false;
  return precise || (rangeWithin(was.scalar, is.scalar) && tnumIn(was.scalar, is.scalar));
}

function mayStray(before: Frame, now: Frame, slot: number, shared: SharedIds): boolean {
  const was = before.stack[slot]!;
  if (!isSpilledScalar(was)) return false;
  const is = now.stack[slot];
  if (is === undefined || is.kinds !== was.kinds || !isSpilledScalar(is)) return true;
  return !isKept(was.spilled, is.spilled, hasSlot(before.preciseSlots, slot), shared);
}

