/**
 * Follows a running program through what the verifier explored of it. Before each instruction there has to be a state
 * that some path of the verifier was in, reached as the program came here, of which registers and stack are a member
 * (membership.ts). It throws where there is none, where an instruction does what it must not (demands.ts), and where
 * something is not as the facts say that hold on all ways (../verifier/facts.ts).
 *
 *   thread       one verification being followed: a program, and each global function and callback that is verified by
 *                itself, a thread of its own; functions and callbacks that are verified in their caller are frames of it
 *   candidates   the states the program may be in, which is one, mostly
 */
import { jumpTarget, type Instruction } from '../bpf/isa.ts';
import type { MapSpec } from '../bpf/spec.ts';
import type { StepObserver } from '../engine/step-observer.ts';
import { prototypeOf } from '../helpers/index.ts';
import { FAULT, FRAME_BYTES, type Fault } from '../machine/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import { mapsOf } from '../maps/map-registry.ts';
import { SK_BUFF, XDP_MD } from '../packet/frame.ts';
import type { Program } from '../program/program.ts';
import type { ProgramFacts } from '../verifier/facts.ts';
import { registerText } from '../verifier/log.ts';
import { SLOT_BYTES } from '../verifier/state.ts';
import { beginElement, carry, low } from './carry.ts';
import { broken } from './demands.ts';
import type { ExploredState, Exploration } from './exploration.ts';
import { isMember, isOfRegion, type Surroundings } from './membership.ts';
import { mismatch, valueText, type ComparedFrame } from './mismatch.ts';
import { FrameProvenance } from './provenance.ts';
import { violation } from './violation.ts';

const SPIN_LOCK = 93;
const SPIN_UNLOCK = 94;
const SLOTS = FRAME_BYTES / SLOT_BYTES;

/** A frame of the running program, and what was in it before the last instruction. */
class CheckedFrame implements ComparedFrame {
  readonly framePointer: number;
  readonly registers = new BigUint64Array(11);
  readonly stack = new BigUint64Array(SLOTS);

  constructor(framePointer: number) {
    this.framePointer = framePointer;
  }
}

interface Candidate {
  readonly state: ExploredState;
  /** By frame. */
  readonly provenance: FrameProvenance[];
}

/** What verification found of a program. */
export interface Found {
  readonly exploration: Exploration;
  readonly facts: ProgramFacts;
}

class Thread {
  readonly program: Program;
  readonly found: Found;
  /** Address of the context, 0 where there is none. */
  readonly context: number;
  readonly frames: CheckedFrame[];
  candidates: readonly Candidate[] | undefined;
  /** References that it has to release, and whether it holds a lock. */
  references = 0;
  locked = false;
  packet: readonly number[] = [];

  constructor(program: Program, found: Found, context: number, framePointer: number) {
    this.program = program;
    this.found = found;
    this.context = context;
    this.frames = [new CheckedFrame(framePointer)];
  }
}

/** A function that runs. */
interface Activation {
  thread: Thread;
  /** The thread that it is a frame of, where that is its caller's. */
  readonly frameOf: Thread | undefined;
  readonly isCallback: boolean;
}

export class RunCheck implements StepObserver {
  readonly #machine: Machine;
  readonly #foundOf: (program: Program) => Found;
  #activations: Activation[] = [];
  /** Instructions that were found to be as the verifier says. */
  checked = 0;

  constructor(machine: Machine, foundOf: (program: Program) => Found) {
    this.#machine = machine;
    this.#foundOf = foundOf;
  }

  entered(program: Program, registers: BigUint64Array): void {
    this.#activations = [{ thread: this.#thread(program, low(registers[1]!), registers), frameOf: undefined, isCallback: false }];
  }

  called(program: Program, slot: number, registers: BigUint64Array): void {
    const caller = this.#activations.at(-1)?.thread;
    const instruction = caller === undefined ? undefined : this.#instructionOf(caller);
    const isCallback = instruction?.kind === 'call' && instruction.target.kind === 'helper';
    // What is verified in its caller begins with a state that the caller's goes on to.
    const isFrame = caller?.candidates?.some(({ state }) => state.next.some((next) => next.slot === slot && next.frames.length > state.frames.length)) === true;
    if (isFrame) caller!.frames.push(new CheckedFrame(low(registers[10]!)));
    const thread = isFrame ? caller! : this.#thread(program, caller?.context ?? 0, registers);
    this.#activations.push({ thread, frameOf: isFrame ? caller : undefined, isCallback });
  }

  replaced(program: Program, registers: BigUint64Array): void {
    const activation = this.#activations.at(-1)!;
    activation.thread = this.#thread(program, activation.thread.context, registers);
  }

  stepping(slot: number, registers: BigUint64Array): void {
    const { thread } = this.#activations.at(-1)!;
    const around = this.#surroundings(thread);
    const from = thread.candidates?.[0]?.state.slot;
    this.#arrive(thread, slot, registers, around);
    this.#demand(thread, slot, registers, around);
    if (from !== undefined) this.#followsFacts(thread, from, slot);
    this.#agreesWithFacts(thread, slot, registers, around);
    this.#remember(thread, registers, around);
    this.checked++;
  }

  returned(registers: BigUint64Array): void {
    const { thread, frameOf, isCallback } = this.#activations.pop()!;
    if (thread !== frameOf) this.#finished(thread);
    if (frameOf === undefined) return;
    frameOf.frames.pop();
    // The helper that called it goes on, and may call it again.
    if (!isCallback || thread !== frameOf) return;
    const around = this.#surroundings(frameOf);
    this.#arrive(frameOf, frameOf.candidates![0]!.state.frames.at(-1)!.callSite, registers, around);
    this.#remember(frameOf, registers, around);
  }

  exited(): void {
    this.#finished(this.#activations.pop()!.thread);
  }

  faulted(fault: Fault): void {
    const thread = this.#activations.at(-1)?.thread;
    this.#activations = [];
    if (thread?.candidates === undefined || (fault !== FAULT.memory && fault !== FAULT.null)) return;
    throw violation(thread.program, thread.candidates[0]!.state.slot, 'memory is accessed that is not there');
  }

  #thread(program: Program, context: number, registers: BigUint64Array): Thread {
    return new Thread(program, this.#foundOf(program), context, low(registers[10]!));
  }

  /** The instruction that was last begun. */
  #instructionOf({ program, candidates }: Thread): Instruction | undefined {
    const state = candidates?.[0]?.state;
    return state === undefined ? undefined : program.spec.instructions[state.slot];
  }

  #finished(thread: Thread): void {
    const { program, candidates, references } = thread;
    const last = this.#instructionOf(thread);
    // A global function threw, of which Linux does not ask what its callers hold.
    if (last?.kind === 'call' && last.target.kind === 'subprogram') return;
    if (references > 0 && candidates !== undefined) throw violation(program, candidates[0]!.state.slot, 'the program ends, and holds what it should have released');
  }

  /** The states that the program may be in now. */
  #arrive(thread: Thread, slot: number, registers: BigUint64Array, around: Surroundings): void {
    const before = thread.candidates;
    this.#countHeld(thread, registers);
    const hasMoved = around.data !== thread.packet[0] || around.dataEnd !== thread.packet[1] || around.dataMeta !== thread.packet[2];
    const found: Candidate[] = [];
    let reason: string | undefined;
    const settle = (state: ExploredState, previous: ExploredState | undefined, provenance: FrameProvenance[]): void => {
      const disagreement = heldOtherwise(thread, state) ?? mismatch({ state, previous, frames: thread.frames, provenance, registers, around, hasMoved, word: this.#word });
      if (disagreement !== undefined) {
        reason ??= disagreement;
        return;
      }
      for (const part of state.next) if (this.#isPart(thread, state, part)) settle(part, state, provenance.map((frame) => frame.copy()));
      if (state.coveredBy === undefined) {
        if (!found.some((candidate) => candidate.state === state)) found.push({ state, provenance });
        return;
      }
      state.coveredBy.forgotten.forEach((forgotten, frame) => provenance[frame]!.forget(forgotten));
      settle(state.coveredBy.state, state, provenance);
    };
    if (before === undefined) {
      for (const state of thread.found.exploration.beginnings(slot)) settle(state, undefined, [this.#begin(state, registers)]);
    } else {
      for (const { state, provenance } of before) {
        const instruction = thread.program.spec.instructions[state.slot]!;
        const following = state.next.filter((next) => next.slot === slot && next.frames.length === thread.frames.length && !this.#isPart(thread, state, next));
        for (const next of following) {
          const carried = following.length === 1 ? provenance : provenance.map((frame) => frame.copy());
          carry(carried, { instruction, from: state, to: next, frames: thread.frames, registers, type: thread.program.type, map: this.#map });
          settle(next, state, carried);
        }
      }
    }
    if (found.length === 0) throw violation(thread.program, slot, reason ?? `no path that the verifier followed comes here${before === undefined ? '' : ` from instruction ${before[0]!.state.slot}`}`);
    thread.candidates = found;
  }

  #begin({ frames }: ExploredState, registers: BigUint64Array): FrameProvenance {
    const provenance = new FrameProvenance();
    if (frames[0]!.isCallback) beginElement(provenance, registers, this.#map);
    return provenance;
  }

  /** Numbers that an instruction treats apart: not after it, but before it. */
  #isPart({ program }: Thread, state: ExploredState, next: ExploredState): boolean {
    return next.slot === state.slot && program.spec.instructions[state.slot]!.kind === 'alu';
  }

  /** Of the instruction that was run, a call perhaps. */
  #countHeld(thread: Thread, registers: BigUint64Array): void {
    const instruction = this.#instructionOf(thread);
    if (instruction?.kind !== 'call' || instruction.target.kind !== 'helper') return;
    const { id } = instruction.target;
    const prototype = prototypeOf(id, thread.program.type);
    if (prototype?.acquires === true && registers[0] !== 0n) thread.references++;
    if (prototype?.releases !== undefined) thread.references--;
    if (id === SPIN_LOCK || id === SPIN_UNLOCK) thread.locked = id === SPIN_LOCK;
  }

  /** Leaves the candidates that the instruction may be run from. */
  #demand(thread: Thread, slot: number, registers: BigUint64Array, around: Surroundings): void {
    const { program } = thread;
    const instruction = program.spec.instructions[slot]!;
    let reason: string | undefined;
    const good = thread.candidates!.filter(({ state, provenance }) => {
      const found = broken({ instruction, state, provenance: provenance.at(-1)!, registers, around, type: program.type, map: this.#map });
      reason ??= found;
      return found === undefined;
    });
    if (good.length === 0) throw violation(program, slot, reason!);
    thread.candidates = good;
  }

  #followsFacts({ program, found }: Thread, from: number, slot: number): void {
    const always = found.facts[from]?.always;
    const instruction = program.spec.instructions[from]!;
    if (always === undefined || instruction.kind !== 'branch') return;
    const wanted = always === 'taken' ? jumpTarget(from, instruction.offset) : from + 1;
    if (slot !== wanted) throw violation(program, from, `it goes to ${slot}, but the facts say that it is always ${always}`);
  }

  #agreesWithFacts({ program, found, candidates }: Thread, slot: number, registers: BigUint64Array, around: Surroundings): void {
    const facts = found.facts[slot];
    if (facts === undefined) throw violation(program, slot, 'it runs, but the facts say that it never does');
    const provenance = candidates![0]!.provenance.at(-1)!;
    for (let number = 0; number < registers.length; number++) {
      const fact = facts.registers[number];
      const region = provenance.region(number);
      if (fact === undefined || (isOfRegion(fact) && region === undefined) || isMember(fact, registers[number]!, region, around)) continue;
      throw violation(program, slot, `r${number} is ${valueText(registers[number]!, fact, around)}, but the facts say ${registerText(fact)}`);
    }
  }

  #remember(thread: Thread, registers: BigUint64Array, { data, dataEnd, dataMeta }: Surroundings): void {
    thread.frames.at(-1)!.registers.set(registers);
    // Instructions, and helpers, may write to any frame.
    for (const [index, frame] of thread.frames.entries()) {
      const { stack } = thread.candidates![0]!.state.frames[index]!;
      for (let slot = 0; slot < stack.length; slot++) frame.stack[slot] = this.#word(frame, slot);
    }
    thread.packet = [data, dataEnd, dataMeta];
  }

  readonly #word = ({ framePointer }: ComparedFrame, slot: number): bigint => this.#machine.memory.u64[(framePointer - SLOT_BYTES * (slot + 1)) / 8]!;

  readonly #map = (descriptor: number) => mapsOf(this.#machine).byDescriptor(descriptor);

  #surroundings({ context, frames, program }: Thread): Surroundings {
    const { view } = this.#machine.memory;
    const fields = program.type === 'xdp' ? XDP_MD : SK_BUFF;
    const field = (offset: number): number => (context === 0 ? 0 : view.getUint32(context + offset, true));
    return {
      context,
      data: field(fields.data),
      dataEnd: field(fields.data_end),
      dataMeta: field(fields.data_meta),
      framePointer: (frame) => frames[frame]!.framePointer,
      isMap: (descriptor, declared) => this.#isMap(program, descriptor, declared),
    };
  }

  /** The map that an instruction names; of inner maps, any that looks like it. */
  #isMap({ maps }: Program, descriptor: number, declared: MapSpec): boolean {
    const live = this.#map(descriptor);
    if (live === undefined) return false;
    const named = maps.get(declared.name);
    if (named?.spec === declared) return live === named;
    return live.spec.type === declared.type && live.spec.keyBytes === declared.keyBytes && live.spec.valueBytes === declared.valueBytes;
  }
}

/** References and locks, which the program is counted to hold. */
function heldOtherwise({ references, locked }: Thread, state: ExploredState): string | undefined {
  if (state.references < references) return `references that are held: ${references}, but the verifier knew of ${state.references}`;
  if (state.locked !== locked) return `it ${locked ? 'holds a' : 'does not hold the'} lock, but the verifier took it for ${locked ? 'free' : 'held'}`;
  return undefined;
}
