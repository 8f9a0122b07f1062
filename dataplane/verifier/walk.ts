/**
 * What the rules of the verifier share while a program is walked: the state of the path being followed, and how to
 * read and change it. The rules themselves are in one file for each kind of instruction.
 */
import type { Btf } from '../bpf/btf.ts';
import type { Instruction, Register } from '../bpf/isa.ts';
import type { MapSpec, ProgramSpec, ProgramType } from '../bpf/spec.ts';
import type { Signature } from './global-function.ts';
import type { Precision } from './precision.ts';
import { hold } from './references.ts';
import { refuse, type RefusalErrno } from './refusal.ts';
import { isPacketSlice, isPointer, NOT_INITIALISED, UNKNOWN_SCALAR, withFacts, type RegisterState } from './register.ts';
import { isConstant } from './scalar.ts';
import { Speculation } from './speculation.ts';
import type { StackLiveness } from './stack-liveness.ts';
import { changeRegisters, type CallbackContext, type Frame, type Place, type State, type Step } from './state.ts';
import type { Rights } from './user.ts';

export interface Subprogram {
  readonly index: number;
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly global: boolean;
  /** Of a global function. */
  readonly signature: Signature | undefined;
}

export class Walk {
  readonly spec: ProgramSpec;
  readonly type: ProgramType;
  readonly maps: ReadonlyMap<string, MapSpec>;
  readonly rights: Rights;
  /** Where wrong guesses of the processor are followed. */
  readonly speculation: Speculation | undefined;
  /** How many CPUs there are, where that is known. */
  readonly cpus: number | undefined;
  /** The types of the kernel. */
  kernelBtf!: () => Btf;
  readonly subprograms: readonly Subprogram[];
  readonly subprogramAt: ReadonlyMap<number, Subprogram>;
  /** Deepest stack use of each subprogram in bytes. */
  readonly stackBytes: number[];
  precision!: Pick<Precision, 'markRegister' | 'markSlot' | 'propagate'>;
  liveness!: StackLiveness;
  /** By slot, a bit for each register that is read again from there on. */
  liveRegisters!: Uint16Array;
  state!: State;
  /** Starts of functions that may move packets; functions verified by themselves that were called. */
  changesPacket: ReadonlySet<number> = new Set();
  readonly calledGlobals = new Set<number>();
  /** Callbacks, and those of them that run later. */
  readonly callbacks = new Set<number>();
  readonly asynchronous = new Set<number>();
  /** The function that runs when the program throws. */
  readonly exceptionCallback: number | undefined;
  /** Slot of the instruction being verified, and of the one before on this path. */
  at = 0;
  previous = 0;
  /** Paths to follow later. `errno`: what Linux answers where they are too many. */
  push!: (at: number, errno?: RefusalErrno) => State;
  pushAsynchronous!: (callback: Subprogram, context: CallbackContext) => State;
  #ids = 0;
  /** What is remembered of the current instruction, and of which state. */
  #remembered: Step | undefined;
  #rememberedIn: State | undefined;

  constructor(spec: ProgramSpec, type: ProgramType, maps: ReadonlyMap<string, MapSpec>, subprograms: readonly Subprogram[], rights: Rights, cpus: number | undefined) {
    this.spec = spec;
    this.type = type;
    this.maps = maps;
    this.subprograms = subprograms;
    this.subprogramAt = new Map(subprograms.map((one) => [one.start, one]));
    this.exceptionCallback = spec.exceptionCallback === undefined ? undefined : this.subprogramAt.get(spec.exceptionCallback)!.index;
    this.stackBytes = subprograms.map(() => 0);
    this.rights = rights;
    this.speculation = rights.perfmon ? undefined : new Speculation(spec.instructions.length);
    this.cpus = cpus;
  }

  get frame(): Frame {
    return this.state.current;
  }

  get instruction(): Instruction {
    return this.spec.instructions[this.at]!;
  }

  /** A new reference, that something has to release. */
  acquire(): number {
    const id = this.newId();
    this.state.references = hold(this.state.references, { id, acquiredAt: this.at });
    return id;
  }

  /** What remains of a pointer to something that is not there any more. */
  invalid(): RegisterState {
    return this.rights.perfmon ? UNKNOWN_SCALAR : NOT_INITIALISED;
  }

  newId(): number {
    return ++this.#ids;
  }

  get(register: Register): RegisterState {
    return this.frame.registers[register]!;
  }

  /** The register's state, for an instruction that reads it. */
  read(register: Register): RegisterState {
    const found = this.frame.registers[register]!;
    if (found.type === '?') refuse('EACCES', `R${register} !read_ok`);
    return found;
  }

  set(register: Register, state: RegisterState): void {
    if (register === 10) refuse('EACCES', 'frame pointer is read only');
    this.frame.registers[register] = state;
  }

  /** Whether a value has to stay hidden from the program's user. */
  isSecret(register: RegisterState): boolean {
    return !this.rights.perfmon && isPointer(register);
  }

  /** Gives a scalar that is about to be copied an id, so that what is learnt of one copy is known of the other. */
  withSharedId(register: RegisterState): RegisterState {
    if (register.type !== 'scalar') return register;
    let shared = register;
    if (shared.delta !== 0) shared = withFacts(shared, { id: 0, delta: 0, offset: 0 });
    if (shared.id === 0 && !isConstant(shared.scalar)) shared = withFacts(shared, { id: this.newId() });
    return shared;
  }

  /** Remembers the current instruction for backtracking; once, with all that is said about it. */
  remember(frame = -1, slot = -1, linked?: readonly Place[], stackPointers?: number): void {
    const { state } = this;
    const last = state.history;
    const known = last !== undefined && last === this.#remembered && state === this.#rememberedIn ? last : undefined;
    const earlier = known === undefined ? last : known.earlier;
    const step: Step = {
      at: this.at,
      previous: this.previous,
      earlier,
      count: earlier === undefined ? 1 : earlier.count + 1,
      frame: slot >= 0 || known === undefined ? frame : known.frame,
      slot: slot >= 0 || known === undefined ? slot : known.slot,
      linked: linked ?? known?.linked,
      stackPointers: stackPointers ?? known?.stackPointers ?? 0,
    };
    state.history = step;
    this.#remembered = step;
    this.#rememberedIn = state;
  }

  /** What is remembered of the current instruction. */
  get remembered(): Step | undefined {
    return this.#remembered !== undefined && this.state === this.#rememberedIn ? this.#remembered : undefined;
  }

  /** A new instruction begins: what was remembered before is about another one. */
  begin(): void {
    this.#remembered = undefined;
  }

  /** Packets may have moved: nobody knows where they are now. */
  forgetPackets(): void {
    changeRegisters(this.state, (register) => (register.type === 'pkt' || register.type === 'pkt_meta' || register.type === 'pkt_end' || isPacketSlice(register) ? this.invalid() : register));
  }
}
