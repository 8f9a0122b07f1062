/**
 * The verifier: whether a program is one that Linux would load, found by following every path through it with what is
 * known of registers and stack (Linux Documentation/bpf/verifier.rst; kernel/bpf/verifier.c is the behaviour to match).
 *
 * Paths are followed depth first. Where paths meet, states are kept, and a path ends where an earlier state covers its
 * own (kept-states.ts). Global functions are verified by themselves, each from what its BTF says of its arguments.
 */
import { checkProgram, StructureError, type FunctionRange } from '../bpf/check.ts';
import type { Btf } from '../bpf/btf.ts';
import { exceptionCallbacks } from '../bpf/declaration-tags.ts';
import type { Instruction } from '../bpf/isa.ts';
import { defaultKernelBtf } from '../bpf/kernel-btf.ts';
import { jumpTarget } from '../bpf/isa.ts';
import { BPF_MAP_TYPE } from '../bpf/map-type.ts';
import { whyNoType } from '../bpf/section-name.ts';
import type { MapSpec, ProgramSpec, ProgramType } from '../bpf/spec.ts';
import { XdplabError } from '../errors.ts';
import { HELPER_NAMES, kfuncNamed } from '../helpers/index.ts';
import { hasSpinLock } from '../maps/special-fields.ts';
import { alu, negation, signExtendingMove, swap } from './arithmetic.ts';
import { branch } from './branches.ts';
import { call, calleeFacts, callsBack, checkResources, leaveFunction } from './calls.ts';
import { analyseControlFlow, isTailCall, POINT, type ControlFlow } from './control-flow.ts';
import { checkResult } from './exit.ts';
import { enterGlobal, returnsNumber, signatureOf } from './global-function.ts';
import { atomic, checkUnmodified, loadFrom, storeTo } from './memory.ts';
import { KeptStates, type Progress } from './kept-states.ts';
import { checkKfuncs } from './kfunc.ts';
import type { VerificationObserver } from './observer.ts';
import { Precision } from './precision.ts';
import { Refused, refuse, type RefusalErrno } from './refusal.ts';
import { constantRegister, NOT_INITIALISED, pointer, UNKNOWN_SCALAR, type RegisterState } from './register.ts';
import { inOrder, type Reference } from './references.ts';
import { Frame, isFirst, State, type Step } from './state.ts';
import { StackLiveness } from './stack-liveness.ts';
import { checkStackDepth } from './subprograms.ts';
import { checkUser, USERS, type Rights, type User } from './user.ts';
import { Walk, type Subprogram } from './walk.ts';
import { mayGoto } from './widen.ts';

export interface VerifyOptions {
  /** By the names that instructions use. */
  readonly maps: ReadonlyMap<string, MapSpec>;
  /** The object's types: global functions and their arguments. */
  readonly btf?: Btf | undefined;
  /** The types of the kernel that it is for: of what kernel functions hand out. The running kernel's where it can be read, unless said. */
  readonly kernelBtf?: Btf;
  /** Bound to one device: BPF_F_XDP_DEV_BOUND_ONLY. */
  readonly deviceBound?: boolean;
  /** Where the section does not say it. */
  readonly type?: ProgramType;
  /** CPUs of the machine that will run it; bounds what bpf_get_smp_processor_id answers. Unknown unless said. */
  readonly cpus?: number;
  /** Who loads it; `privileged` unless said. */
  readonly user?: User;
  /** BPF_F_TEST_STATE_FREQ: a state is kept wherever paths may meet, so that far more of them end at an earlier one. */
  readonly stateFrequency?: boolean;
  /** `false` follows every path to its end, but for what would come back for ever: callbacks, iterators, may_goto. */
  readonly pruning?: boolean;
  /** Is told of every state. */
  readonly observer?: VerificationObserver;
}

export interface Refusal {
  readonly slot: number;
  readonly errno: RefusalErrno;
  /** As Linux spells it. */
  readonly message: string;
  /** What Linux's log says first; each line with its end. */
  readonly before: string;
  /** Slots of the path that led here, in order. */
  readonly path: readonly number[];
  /** What was known of the registers, and what had been acquired and not released. */
  readonly registers: readonly RegisterState[];
  readonly references: readonly Reference[];
}

export interface VerifierReport {
  readonly accepted: boolean;
  readonly refusal?: Refusal;
  readonly instructionsProcessed: number;
  readonly totalStates: number;
  readonly peakStates: number;
  /** Deepest stack of each function in bytes. */
  readonly stackBytes: readonly number[];
  readonly elapsedNs: number;
  /** By slot: 1 where some path went. What no path reached is dead code. */
  readonly reached: Uint8Array;
}

/** Types whose programs may have LD_ABS and LD_IND. */
const PACKET_LOADS: ReadonlySet<ProgramType> = new Set(['socket_filter', 'sched_cls', 'sched_act']);
const MAX_PROCESSED = 1_000_000;
const MAX_PENDING = 8192;
/** Of an address in a map. */
const MAX_DIRECT_OFFSET = 1 << 29;

/** Instructions that overwrite stack slots on some paths, and on others may not. */
const mayOverwrite = ({ kind }: Instruction): boolean => kind === 'store' || kind === 'atomic' || kind === 'call';

/** Where nobody asks which numbers mattered. */
const NOT_FOLLOWED: Walk['precision'] = { markRegister: () => {}, markSlot: () => {}, propagate: () => false };

/** A path to follow later. */
interface Pending {
  readonly state: State;
  readonly at: number;
  readonly previous: number;
}

export function verifyProgram(spec: ProgramSpec, options: VerifyOptions): VerifierReport {
  const started = performance.now();
  const verifier = verifierOf(spec, options);
  const refusal = verifier.run();
  return { accepted: refusal === undefined, ...(refusal === undefined ? {} : { refusal }), ...verifier.statistics(), elapsedNs: Math.round((performance.now() - started) * 1e6) };
}

/** Follows the path of a refusal once more; `visit` sees what was known before each of its instructions. The state is borrowed: it changes with the next instruction. */
export function retrace(spec: ProgramSpec, options: VerifyOptions, path: readonly number[], visit: (state: State) => void): void {
  verifierOf(spec, options).retrace(path, visit);
}

function verifierOf(spec: ProgramSpec, options: VerifyOptions): Verifier {
  const type = spec.type ?? options.type;
  if (type === undefined) throw new XdplabError('ERR_OBJECT', `program '${spec.name}': ${whyNoType(spec.section)}`);
  return new Verifier(spec, type, options);
}

class Verifier {
  readonly #spec: ProgramSpec;
  readonly #type: ProgramType;
  readonly #options: VerifyOptions;
  readonly #rights: Rights;
  readonly #reached: Uint8Array;
  #walk: Walk | undefined;
  #structureAt = 0;
  #flow!: ControlFlow;
  #pending: Pending[] = [];
  readonly #progress: Progress = { processed: 0, jumps: 0 };
  #kept: KeptStates | undefined;

  constructor(spec: ProgramSpec, type: ProgramType, options: VerifyOptions) {
    this.#spec = spec;
    this.#type = type;
    this.#options = options;
    this.#rights = USERS[options.user ?? 'privileged'];
    this.#reached = new Uint8Array(spec.instructions.length);
  }

  statistics(): Pick<VerifierReport, 'instructionsProcessed' | 'totalStates' | 'peakStates' | 'stackBytes' | 'reached'> {
    return { instructionsProcessed: this.#progress.processed, totalStates: this.#kept?.total ?? 0, peakStates: this.#kept?.peak ?? 0, stackBytes: this.#walk?.stackBytes ?? [], reached: this.#reached };
  }

  run(): Refusal | undefined {
    try {
      checkUser(this.#spec, this.#type, this.#rights, this.#options.maps, (slot) => void (this.#structureAt = slot));
      checkKfuncs(this.#spec, this.#options.deviceBound === true);
      this.#checkExceptionCallback();
      const ranges = this.#checkStructure();
      this.#checkMaps();
      const walk = this.#begin(ranges);
      this.#walk = walk;
      const verified = new Set<number>();
      this.#verifyFunction(walk, walk.subprograms[0]!);
      if (walk.exceptionCallback !== undefined) walk.calledGlobals.add(walk.exceptionCallback);
      for (let more = true; more; ) {
        more = false;
        for (const subprogram of walk.subprograms) {
          if (!subprogram.global || subprogram.index === 0 || verified.has(subprogram.index) || !walk.calledGlobals.has(subprogram.index)) continue;
          verified.add(subprogram.index);
          more = true;
          this.#verifyFunction(walk, subprogram);
        }
      }
      this.#checkStackDepth(walk);
      this.#checkTailCalls(walk);
      return undefined;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return this.#refusal(error);
    }
  }

  #refusal({ errno, message, before }: Refused): Refusal {
    const walk = this.#walk;
    if (walk?.state === undefined) return { slot: this.#structureAt, errno, message, before, path: [], registers: [], references: [] };
    return { slot: walk.at, errno, message, before, path: this.#path(walk), registers: walk.frame?.registers.slice() ?? [], references: inOrder(walk.state.references) };
  }

  /** The way to the current instruction. */
  #path(walk: Walk): number[] {
    const path = [walk.at];
    let state: State | undefined = walk.state;
    let { at } = walk;
    let step: Step | undefined = state.history;
    if (walk.remembered === undefined && (step !== undefined || at !== state.first)) path.push((at = walk.previous));
    while (at >= 0) {
      if (isFirst(state, at, step)) {
        state = state.parent;
        if (state === undefined || state.last < 0) break;
        at = state.last;
        step = state.history;
      } else if (step?.at === at) {
        at = step.previous;
        step = step.earlier;
      } else at--;
      path.push(at);
    }
    return path.filter((slot) => this.#spec.instructions[slot]?.kind !== 'upper').toReversed();
  }

  retrace(path: readonly number[], visit: (state: State) => void): void {
    if (path.length === 0) return;
    const walk = this.#begin(this.#checkStructure());
    const subprogram = walk.subprogramAt.get(path[0]!);
    // What a callback begins with that runs later is known only where it was set.
    if (subprogram === undefined || (subprogram.index > 0 && !subprogram.global)) return;
    this.#enter(walk, subprogram);
    // Nothing is compared, so nobody asks what mattered.
    walk.precision = NOT_FOLLOWED;
    let other: State | undefined;
    walk.push = () => (other = walk.state.copy());
    for (const [index, at] of path.entries()) {
      walk.previous = walk.at;
      walk.at = at;
      walk.state.at = at;
      visit(walk.state);
      if (index === path.length - 1) return;
      if (this.#step(walk, this.#spec.instructions[at]!) === path[index + 1]) continue;
      if (other === undefined) return;
      walk.state = other;
    }
  }

  /** The function that tags of the entry function name: one, global, and part of the program. */
  #checkExceptionCallback(): void {
    const { functions, exceptionCallback } = this.#spec;
    const { btf } = this.#options;
    const [name, ...others] = exceptionCallbacks(btf, functions[0]?.typeId ?? 0);
    if (name === undefined) return;
    if (others.length > 0) refuse('EEXIST', 'multiple exception callback tags for main subprog');
    if (btf!.idsByName(name, 'func').length === 0) refuse('ENOENT', `exception callback '${name}' could not be found in BTF`);
    const found = functions.find((one) => one.name === name);
    if (found?.linkage === 'static') refuse('EINVAL', `exception callback '${name}' must have global linkage`);
    if (found?.slot === 0) refuse('EINVAL', 'invalid exception callback insn_off in func_info: 0');
    if (exceptionCallback === undefined) refuse('EINVAL', 'exception callback type id not found in func_info');
  }

  #checkStructure(): readonly FunctionRange[] {
    try {
      return checkProgram(this.#spec, { isHelper: () => true, isKfunc: (name) => kfuncNamed(name) !== undefined, packetLoads: true, verified: true, loops: this.#rights.bpf, helperName: (id) => HELPER_NAMES[id] });
    } catch (error) {
      if (error instanceof StructureError) {
        this.#structureAt = error.slot;
        return refuse('EINVAL', error.terse);
      }
      throw error;
    }
  }

  #begin(ranges: readonly FunctionRange[]): Walk {
    const { instructions, functions } = this.#spec;
    const named = new Map(functions.map((one) => [one.slot, one]));
    const subprograms: Subprogram[] = ranges.map(({ start, end }, index) => {
      const declared = named.get(start);
      const global = index > 0 && declared?.linkage === 'global';
      return { index, start, end, name: declared?.name ?? `func#${index}`, global, signature: global ? signatureOf(this.#options.btf, declared, this.#type) : undefined };
    });
    for (const { start, end } of ranges.slice(1)) if (!returnsNumber(this.#options.btf, this.#spec.functions.find(({ slot }) => slot === start)?.typeId ?? 0)) this.#checkReturnsByItself(start, end);
    this.#flow = analyseControlFlow(instructions, ranges, (target) => calleeFacts(target, this.#type, this.#rights));
    const walk = new Walk(this.#spec, this.#type, this.#options.maps, subprograms, this.#rights, this.#options.cpus);
    walk.changesPacket = this.#flow.changesPacket;
    walk.liveRegisters = this.#flow.liveRegisters;
    walk.kernelBtf = () => this.#options.kernelBtf ?? defaultKernelBtf();
    const precision = new Precision({
      instructions,
      isGlobal: (slot) => walk.subprogramAt.get(slot)?.global === true,
      callsBack: (slot) => this.#callsBack(slot),
    });
    walk.precision = this.#rights.bpf ? precision : NOT_FOLLOWED;
    this.#kept = new KeptStates(instructions, this.#flow, precision, { callsBack: (slot) => this.#callsBack(slot), iterates: (slot) => this.#iterates(slot) }, this.#options, this.#progress);
    walk.liveness = new StackLiveness(walk, (slot) => this.#callsBack(slot));
    walk.push = (at, errno) => {
      const later = this.#push(walk, walk.state.copy(), at, errno);
      this.#options.observer?.forked(walk.state, later);
      return later;
    };
    walk.pushAsynchronous = (callback, context) => {
      walk.asynchronous.add(callback.index);
      const state = new State();
      const frame = new Frame(callback.index, -1, context);
      frame.registers[10] = pointer('fp');
      state.frames.push(frame);
      state.first = callback.start;
      return this.#push(walk, state, callback.start);
    };
    return walk;
  }

  /** What may end a function in the middle has it return a number, which it has to return anyway. */
  #checkReturnsByItself(start: number, end: number): void {
    for (let slot = start; slot < end; slot++) {
      const instruction = this.#spec.instructions[slot]!;
      const tailCalls = isTailCall(instruction);
      this.#structureAt = slot;
      if (instruction.kind === 'load_packet' || tailCalls) refuse('EINVAL', `${tailCalls ? 'tail_call' : 'LD_ABS'} is only allowed in functions that return 'int'.`);
    }
  }

  #callsBack(slot: number): boolean {
    const instruction = this.#spec.instructions[slot];
    return instruction?.kind === 'call' && instruction.target.kind === 'helper' && callsBack(instruction.target.id);
  }

  #iterates(slot: number): boolean {
    const instruction = this.#spec.instructions[slot];
    return instruction?.kind === 'call' && instruction.target.kind === 'kfunc' && kfuncNamed(instruction.target.name)?.iterator?.step === 'next';
  }

  #push(walk: Walk, state: State, at: number, errno: RefusalErrno = 'EFAULT'): State {
    if (this.#pending.length >= MAX_PENDING) refuse(errno, `The sequence of ${MAX_PENDING + 1} jumps is too complex.`);
    this.#pending.push({ state, at, previous: walk.at });
    if (state.parent !== undefined) state.parent.branches++;
    return state;
  }

  #enter(walk: Walk, subprogram: Subprogram): void {
    const state = new State();
    const frame = new Frame(subprogram.index, -1);
    state.frames.push(frame);
    frame.registers[10] = pointer('fp');
    if (subprogram.index === 0) frame.registers[1] = pointer('ctx');
    else enterGlobal(walk, frame, subprogram);
    state.first = subprogram.start;
    walk.state = state;
    walk.at = subprogram.start;
    walk.previous = -1;
  }

  #verifyFunction(walk: Walk, subprogram: Subprogram): void {
    this.#kept!.begin();
    this.#pending = [];
    this.#enter(walk, subprogram);
    for (;;) {
      this.#followPath(walk);
      this.#kept!.finished(walk.state);
      walk.liveness.settle();
      const next = this.#pending.pop();
      if (next === undefined) return;
      walk.state = next.state;
      walk.at = next.at;
      walk.previous = next.previous;
    }
  }

  /** Goes on until the path ends or is covered by an earlier one. */
  #followPath(walk: Walk): void {
    const { instructions } = this.#spec;
    const { points } = this.#flow;
    const { observer } = this.#options;
    const progress = this.#progress;
    const kept = this.#kept!;
    for (;;) {
      const { at, state } = walk;
      state.at = at;
      observer?.visited(state);
      walk.begin();
      if (++progress.processed > MAX_PROCESSED) refuse('E2BIG', `BPF program is too large. Processed ${progress.processed} insn`);
      state.last = walk.previous;
      const point = points[at]!;
      if ((point & POINT.prune) !== 0 && kept.covers(walk, point)) return;
      observer?.verifying?.(state);
      if ((point & POINT.jump) !== 0) walk.remember();
      if (!state.speculative) this.#reached[at] = 1;
      const instruction = instructions[at]!;
      const depth = state.frames.length;
      const next = state.speculative ? this.#stepAhead(walk, instruction) : this.#step(walk, instruction);
      if (mayOverwrite(instruction) && state.frames.length === depth) walk.liveness.ran();
      if (next === undefined) return;
      walk.previous = at;
      walk.at = next;
    }
  }

  /** The same on a wrong guess, which barriers end. */
  #stepAhead(walk: Walk, instruction: Instruction): number | undefined {
    const { at } = walk;
    const speculation = walk.speculation!;
    if (speculation.stopsBefore(at)) return undefined;
    try {
      const next = this.#step(walk, instruction);
      return speculation.stopsBehind(at) ? undefined : next;
    } catch (error) {
      if (!speculation.prevents(error, at)) throw error;
      this.#options.observer?.prevented?.(walk.state, `${error.before}${error.message}`);
      return undefined;
    }
  }

  /** Verifies one instruction. The next slot, or undefined where the program ends. */
  #step(walk: Walk, instruction: Instruction): number | undefined {
    const next = walk.at + 1;
    switch (instruction.kind) {
      case 'alu':
        alu(walk, instruction);
        return next;
      case 'neg':
        negation(walk, instruction);
        return next;
      case 'movsx':
        signExtendingMove(walk, instruction);
        return next;
      case 'endian':
        swap(walk, instruction);
        return next;
      case 'load_imm64':
        walk.set(instruction.dst, this.#immediate(walk, instruction));
        return next + 1;
      case 'load': {
        const { dst, src, offset, bytes, signed } = instruction;
        const from = walk.read(src);
        if (dst === 10) refuse('EACCES', 'frame pointer is read only');
        const loaded = loadFrom(walk, src, offset, bytes, signed);
        this.#sameKind(walk, from);
        walk.set(dst, loaded);
        return next;
      }
      case 'store':
        storeTo(walk, instruction.dst, instruction.offset, instruction.bytes, instruction.source);
        this.#sameKind(walk, walk.get(instruction.dst));
        return next;
      case 'atomic':
        atomic(walk, instruction);
        return next;
      case 'load_packet':
        return this.#packetLoad(walk, instruction);
      case 'jump':
        this.#progress.jumps++;
        return jumpTarget(walk.at, instruction.offset);
      case 'branch':
        this.#progress.jumps++;
        return branch(walk, instruction);
      case 'may_goto':
        this.#progress.jumps++;
        return mayGoto(walk, instruction.offset);
      case 'call':
        this.#progress.jumps++;
        return call(walk, instruction.target) ?? this.#kept!.threw(walk.state);
      case 'exit':
        this.#progress.jumps++;
        return this.#exit(walk);
      case 'upper':
        throw new TypeError('the second slot of a 64-bit immediate load was reached: the program was not checked');
      default:
        return instruction satisfies never;
    }
  }

  #exit(walk: Walk): number | undefined {
    if (walk.state.frames.length === 1) {
      checkResources(walk, 'BPF_EXIT instruction in main prog');
      checkResult(walk);
      return undefined;
    }
    return leaveFunction(walk);
  }

  readonly #kinds = new Map<number, string>();

  /** One instruction is rewritten in one way: it cannot reach the context on one path and something else on another. */
  #sameKind(walk: Walk, { type }: RegisterState): void {
    const kind = type === 'ctx' || type === 'ptr_' || type === 'sock' || type === 'sock_common' || type === 'tcp_sock' ? type : 'memory';
    const before = this.#kinds.get(walk.at);
    if (before === undefined) this.#kinds.set(walk.at, kind);
    else if (before !== kind) refuse('EINVAL', 'same insn cannot be used with different pointers');
  }

  #immediate(walk: Walk, { value }: Extract<Instruction, { kind: 'load_imm64' }>): RegisterState {
    switch (value.kind) {
      case 'constant':
        return constantRegister(value.value);
      case 'map':
        return pointer('map_ptr', { map: this.#map(value.map) });
      case 'map_value':
        return pointer('map_value', { map: this.#map(value.map), offset: value.offset });
      case 'function':
        if (walk.subprogramAt.get(value.slot)?.global === true) refuse('EINVAL', 'callback function not static');
        return pointer('func', { frame: value.slot });
      case 'btf_id':
        // Of a function all that can be asked is whether it is there.
        return pointer('mem', { bytes: 0, readOnly: true });
      default:
        return refuse('EINVAL', 'unrecognized bpf_ld_imm64 insn');
    }
  }

  /** Maps, and places in their values, are looked at before any path is, so in dead code too. */
  #checkMaps(): void {
    for (const [slot, instruction] of this.#spec.instructions.entries()) {
      if (instruction.kind !== 'load_imm64') continue;
      const { value } = instruction;
      if (value.kind !== 'map' && value.kind !== 'map_value') continue;
      this.#structureAt = slot;
      const map = this.#map(value.map);
      if (value.kind === 'map') continue;
      if (value.offset >>> 0 >= MAX_DIRECT_OFFSET) refuse('EINVAL', `direct value offset of ${value.offset >>> 0} is not allowed`);
      const place = `invalid access to map value pointer, value_size=${map.valueBytes} off=${value.offset >>> 0}`;
      if (map.type !== BPF_MAP_TYPE.array) refuse('EINVAL', 'no direct value access support for this map type');
      if (map.maxEntries !== 1) refuse('ENOTSUPP', place);
      if (value.offset >>> 0 >= map.valueBytes) refuse('EINVAL', place);
    }
  }

  #map(name: string): MapSpec {
    const map = this.#options.maps.get(name) ?? refuse('EINVAL', `fd 0 is not pointing to valid bpf_map: ${name}`);
    if (this.#type === 'socket_filter' && hasSpinLock(map)) refuse('EINVAL', 'socket filter progs cannot use bpf_spin_lock yet');
    return map;
  }

  /** A packet that is too short ends the function, with 0. */
  #packetLoad(walk: Walk, { index }: Extract<Instruction, { kind: 'load_packet' }>): number {
    const { frame, state } = walk;
    if (!PACKET_LOADS.has(walk.type)) refuse('EINVAL', 'BPF_LD_[ABS|IND] instructions not allowed for this program type');
    const skb = walk.read(6);
    checkResources(walk, 'BPF_LD_[ABS|IND]');
    if (skb.type !== 'ctx') refuse('EINVAL', 'at the time of BPF_LD_ABS|IND R6 != pointer to skb');
    if (index !== undefined) walk.read(index);
    checkUnmodified(skb, 6);
    const { registers } = frame;
    for (let number = 0; number <= 5; number++) registers[number] = NOT_INITIALISED;
    registers[0] = UNKNOWN_SCALAR;
    if (state.frames.length === 1 || frame.callback !== undefined) return walk.at + 1;
    walk.push(walk.at + 1);
    registers[0] = constantRegister(0n);
    return leaveFunction(walk);
  }

  #checkTailCalls(walk: Walk): void {
    const mixed = walk.speculation?.mixedTailCall;
    if (mixed === undefined) return;
    walk.at = mixed;
    refuse('EINVAL', 'tail_call abusing map_ptr');
  }

  #checkStackDepth(walk: Walk): void {
    const { instructions } = this.#spec;
    const { subprograms: functions, stackBytes, callbacks, asynchronous, exceptionCallback } = walk;
    const { refused } = checkStackDepth({ instructions, functions, stackBytes, callbacks, asynchronous, ...(exceptionCallback === undefined ? {} : { exceptionCallback }) });
    if (refused !== undefined) refuse(refused.errno, refused.message);
  }
}
