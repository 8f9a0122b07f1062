/** Calls: of helpers, of the program's own functions, and of callbacks; and how they come back. */
import type { CallTarget, Register } from '../bpf/isa.ts';
import { BPF_MAP_TYPE } from '../bpf/map-type.ts';
import type { ProgramType } from '../bpf/spec.ts';
import { capabilityFor, helperName, kfuncOf, prototypeOf, type HelperPrototype } from '../helpers/index.ts';
import { THROW } from '../helpers/exception.ts';
import { mapAllows } from '../helpers/map-compatibility.ts';
import { hasSpinLock } from '../maps/special-fields.ts';
import { checkArguments, noFacts, release, spinLock, type CallFacts } from './arguments.ts';
import type { CalleeFacts } from './control-flow.ts';
import { coveredRange, invalidScalar } from './exit.ts';
import { refuse } from './refusal.ts';
import { releaseDynptr, sliceOf, type DynptrFacts } from './dynptr.ts';
import { checkGlobalCall } from './global-function.ts';
import { exchanged } from './kernel-pointer.ts';
import { callKfunc, mayCallUnderLock } from './kfunc.ts';
import { isGplCompatible } from './license.ts';
import { isKnownZero, NOT_INITIALISED, pointer, scalarRegister, typeText, UNKNOWN_SCALAR, type RegisterState } from './register.ts';
import { constant, isConstant, UNKNOWN, type Scalar } from './scalar.ts';
import { refine } from './scalar-branch.ts';
import { changeRegisters, Frame, type CallbackContext, type State } from './state.ts';
import { programsOnlyRead, storeByte } from './memory.ts';
import { inOrder } from './references.ts';
import type { Rights } from './user.ts';
import type { Subprogram, Walk } from './walk.ts';
import { keptBefore, widen } from './widen.ts';

const MAX_FRAMES = 8;
const CALLER_SAVED: readonly Register[] = [0, 1, 2, 3, 4, 5];
const HELPER = { map_lookup_elem: 1, get_smp_processor_id: 8, tail_call: 12, spin_lock: 93, get_local_storage: 81, spin_unlock: 94, ringbuf_reserve: 131, for_each_map_elem: 164, timer_set_callback: 170, loop: 181, dynptr_from_mem: 197, dynptr_write: 202 } as const;
/** enum bpf_func_id is closed: what is newer is a kernel function. */
const LAST_HELPER = 211;
const WRITES_MAP: ReadonlySet<number> = new Set([2, 3, 87, 88]);
const SYNCHRONOUS_CALLBACKS: ReadonlySet<number> = new Set([HELPER.for_each_map_elem, HELPER.loop]);

/** Whether the helper runs a callback before it returns. */
export const callsBack = (id: number): boolean => SYNCHRONOUS_CALLBACKS.has(id);

/** The helper, where programs of the type may call it when loaded by whoever has these rights. */
function helperFor(id: number, type: ProgramType, rights: Rights): HelperPrototype | undefined {
  const needs = capabilityFor(id);
  return needs === undefined || rights[needs] ? prototypeOf(id, type) : undefined;
}

/** What control flow has to know of what is called. */
export function calleeFacts(target: CallTarget, type: ProgramType, rights: Rights): CalleeFacts | undefined {
  switch (target.kind) {
    case 'helper': {
      const prototype = helperFor(target.id, type, rights);
      return prototype === undefined ? undefined : { ...(prototype.changesPacket === true ? { changesPacket: true as const } : {}), callsCallback: callsBack(target.id), args: prototype.args.filter((kind) => kind !== 'unchecked').length };
    }
    case 'kfunc': {
      const kfunc = kfuncOf(target.name, type);
      return kfunc === undefined ? undefined : { ...(kfunc.changesPacket === true ? { changesPacket: true as const } : {}), iterates: kfunc.iterator?.step === 'next', args: kfunc.args.length };
    }
    default:
      return undefined;
  }
}

/** Answers the next slot, or undefined where the program ends. */
export function call(walk: Walk, target: CallTarget): number | undefined {
  if (walk.state.lock !== undefined && !(target.kind === 'helper' && target.id === HELPER.spin_unlock)) {
    if (target.kind === 'helper' || (target.kind === 'kfunc' && !mayCallUnderLock(target))) refuse('EINVAL', 'function calls are not allowed while holding a lock');
  }
  switch (target.kind) {
    case 'helper':
      callHelper(walk, target.id);
      return target.id === HELPER.tail_call && walk.state.frames.length > 1 && walk.frame.callback === undefined ? tailCallReturns(walk) : walk.at + 1;
    case 'subprogram':
      return callSubprogram(walk, walk.subprogramAt.get(target.slot)!);
    case 'kfunc':
      callKfunc(walk, target);
      if (target.name !== THROW) return walk.at + 1;
      checkResources(walk, THROW, true);
      return undefined;
    default:
      return target satisfies never;
  }
}

function callHelper(walk: Walk, id: number): void {
  const prototype = helperFor(id, walk.type, walk.rights);
  if (prototype === undefined) return refuse('EINVAL', id > LAST_HELPER ? `invalid func unknown#${id}` : id === 0 ? 'program of this type cannot use helper bpf_unspec#0' : `program of this type cannot use helper ${helperName(id)}`);
  if (prototype.gplOnly === true && !isGplCompatible(walk.spec.license)) refuse('EINVAL', 'cannot call GPL-restricted function from non-GPL compatible program');
  if (prototype.mightSleep === true) refuse('EINVAL', 'helper call might sleep in a non-sleepable prog');
  const facts = noFacts();
  checkArguments(walk, prototype, facts);
  if (facts.fills !== undefined) for (let byte = 0; byte < facts.fills.bytes; byte++) storeByte(walk, facts.fills.register, byte);
  if (id === HELPER.spin_lock || id === HELPER.spin_unlock) spinLock(walk, 1, id === HELPER.spin_lock);
  if (prototype.releases !== undefined) releaseArgument(walk, prototype, id);
  if (id === HELPER.dynptr_from_mem && walk.get(1).type !== 'map_value') refuse('EACCES', `Unsupported reg type ${typeText(walk.get(1))} for bpf_dynptr_from_mem data`);
  if (id === HELPER.get_local_storage && !isKnownZero(walk.get(2))) refuse('EINVAL', "get_local_storage() doesn't support non-zero flags");
  if (id === HELPER.for_each_map_elem && !ITERABLE.has(facts.map!.type)) refuse('ENOTSUPP', 'callback function not allowed for map');
  if (id === HELPER.tail_call) {
    // Linux makes a jump of a tail call whose index it knows.
    const index = walk.get(3);
    if (index.type === 'scalar' && isConstant(index.scalar) && index.scalar.value < BigInt(facts.map!.maxEntries)) walk.precision.markRegister(walk.state, 3);
    checkResources(walk, 'tail_call');
    walk.speculation?.tailCalls(walk.at, facts.map!);
  }
  if (facts.callback !== undefined) enterCallback(walk, id, facts);
  if (facts.map !== undefined && WRITES_MAP.has(id) && programsOnlyRead(facts.map)) refuse('EACCES', 'write into map forbidden');
  const result = resultOf(walk, prototype, facts, id);
  const { registers } = walk.frame;
  for (const number of CALLER_SAVED) registers[number] = NOT_INITIALISED;
  registers[0] = result;
  if (id === HELPER.tail_call && facts.map?.type !== BPF_MAP_TYPE.prog_array) refuse('EINVAL', 'expected prog array map for tail call');
  if (facts.map !== undefined && !mapAllows(facts.map.type, id)) refuse('EINVAL', `cannot pass map_type ${facts.map.type} into func ${helperName(id)}`);
  // Where a tail call fails, nothing has happened; where it succeeds, nothing follows.
  const writesSkb = id === HELPER.dynptr_write && (facts.dynptr!.object as DynptrFacts).of === 'skb';
  if ((prototype.changesPacket === true && id !== HELPER.tail_call) || writesSkb) walk.forgetPackets();
}

/** Where a tail call in a function succeeds, the program called there ends by returning to the function's caller. */
function tailCallReturns(walk: Walk): number {
  walk.push(walk.at + 1);
  walk.forgetPackets();
  walk.frame.registers[0] = UNKNOWN_SCALAR;
  return leaveFunction(walk);
}

function releaseArgument(walk: Walk, { args, releases }: HelperPrototype, id: number): void {
  const number = (releases! + 1) as Register;
  if (args[releases!] === 'ringbuf_dynptr') return releaseDynptr(walk, number);
  const released = walk.get(number);
  if (isKnownZero(released)) return;
  const { reference } = released;
  if (!release(walk.state, reference)) refuse('EINVAL', `func ${helperName(id)} reference has not been acquired before`);
  changeRegisters(walk.state, (register) => (register.reference === reference ? walk.invalid() : register));
}

/** What must not be held where the program ends or is left; where it throws, nor what its callers hold. */
export function checkResources(walk: Walk, what: string, throws = false): void {
  const { references, lock, frames, rcu, preemptOff } = walk.state;
  // A function's caller still holds what it holds when that has come back to it.
  if (references !== undefined && (throws || frames.length === 1 || walk.frame.callback !== undefined)) {
    refuse('EINVAL', `${what} would lead to reference leak`, inOrder(references).map(({ id, acquiredAt }) => `Unreleased reference id=${id} alloc_insn=${acquiredAt}\n`).join(''));
  }
  if (lock !== undefined) refuse('EINVAL', `${what} cannot be used inside bpf_spin_lock-ed region`);
  if (rcu) refuse('EINVAL', `${what} cannot be used inside bpf_rcu_read_lock-ed region`);
  if (preemptOff > 0) refuse('EINVAL', `${what} cannot be used inside bpf_preempt_disable-ed region`);
}

const below = (limit: number): Scalar => refine('jlt', 64, true, UNKNOWN, constant(BigInt(limit)))[0];

/** Types that bpf_for_each_map_elem walks over. */
const ITERABLE: ReadonlySet<number> = new Set((['hash', 'percpu_hash', 'lru_hash', 'lru_percpu_hash', 'array', 'percpu_array'] as const).map((type) => BPF_MAP_TYPE[type]));

function kernelData(id: number): never {
  return refuse('EOPNOTSUPP', `pointers to the kernel's own data, which ${helperName(id)} returns, are not known to this verifier`);
}

function resultOf(walk: Walk, prototype: HelperPrototype, facts: CallFacts, id: number): RegisterState {
  /** Linux numbers what may be NULL before it numbers what is acquired; a socket that was made of another one lives as long as that. */
  const nullable = (): Partial<RegisterState> => {
    const number = walk.newId();
    const reference = prototype.acquires === true ? walk.acquire() : prototype.casts === true ? facts.reference : 0;
    return { nullable: true, id: prototype.acquires === true ? reference : number, reference };
  };
  switch (prototype.returns) {
    case 'void':
    case 'never':
      return NOT_INITIALISED;
    case 'map_value_or_null': {
      const { map, mapUid, constantKey } = facts;
      if (map === undefined) return refuse('EINVAL', 'kernel subsystem misconfigured verifier');
      if (id === HELPER.map_lookup_elem && constantKey !== undefined && constantKey < BigInt(map.maxEntries)) {
        return pointer('map_value', { map, mapUid, ...(hasSpinLock(map) ? { id: walk.newId() } : {}) });
      }
      return pointer('map_value', { map, mapUid, ...nullable() });
    }
    case 'map_value':
      return pointer('map_value', { map: facts.map, mapUid: facts.mapUid });
    case 'ringbuf_record_or_null':
      return pointer('ringbuf_mem', { bytes: facts.allocatedBytes, ...nullable() });
    case 'memory_or_null':
      if (facts.dynptr !== undefined) return sliceOf(walk, facts.dynptr, facts.allocatedBytes, false, false);
      return pointer('mem', { bytes: facts.allocatedBytes, ...nullable() });
    case 'socket_or_null':
      return pointer('sock', nullable());
    case 'sock_common_or_null':
      return pointer('sock_common', nullable());
    case 'tcp_sock_or_null':
      return pointer('tcp_sock', nullable());
    case 'btf_or_null':
      if (facts.kernelPointer !== undefined) return exchanged(walk, facts.map!, facts.kernelPointer);
      return kernelData(id);
    case 'btf':
    case 'btf_trusted':
    case 'percpu':
    case 'percpu_or_null':
      return kernelData(id);
    case 'int':
    case 'u32':
    case 'u64':
      return id === HELPER.get_smp_processor_id && walk.cpus !== undefined ? scalarRegister(below(walk.cpus)) : UNKNOWN_SCALAR;
    default:
      return prototype.returns satisfies never;
  }
}

function frameFor(state: State, subprogram: Subprogram, callSite: number, callback?: CallbackContext): Frame {
  if (state.frames.length >= MAX_FRAMES) refuse('E2BIG', `the call stack of ${state.frames.length + 1} frames is too deep`);
  const frame = new Frame(subprogram.index, callSite, callback);
  frame.registers[10] = pointer('fp', { frame: state.frames.length });
  state.frames.push(frame);
  return frame;
}

function callSubprogram(walk: Walk, subprogram: Subprogram): number {
  if (subprogram.global) {
    if (walk.state.lock !== undefined) refuse('EINVAL', 'global function calls are not allowed while holding a lock,\nuse static function instead');
    checkGlobalCall(walk, subprogram);
    walk.calledGlobals.add(subprogram.index);
    if (walk.changesPacket.has(subprogram.start)) walk.forgetPackets();
    const { registers } = walk.frame;
    for (const number of CALLER_SAVED) registers[number] = NOT_INITIALISED;
    registers[0] = UNKNOWN_SCALAR;
    return walk.at + 1;
  }
  const caller = walk.frame;
  const frame = frameFor(walk.state, subprogram, walk.at);
  for (let number = 1; number <= 5; number++) frame.registers[number] = caller.registers[number]!;
  for (const number of CALLER_SAVED) caller.registers[number] = NOT_INITIALISED;
  return subprogram.start;
}

/** A callback's arguments, as the helper that calls it makes them up. */
function callbackArguments(id: number, caller: readonly RegisterState[], facts: CallFacts): readonly RegisterState[] {
  const map = facts.map;
  const element = (): readonly RegisterState[] => [pointer('map_ptr', { map, mapUid: facts.mapUid }), pointer('map_key', { map }), pointer('map_value', { map, mapUid: facts.mapUid })];
  switch (id) {
    case HELPER.loop:
      return [UNKNOWN_SCALAR, caller[3]!];
    case HELPER.for_each_map_elem:
      return [...element(), caller[3]!];
    default:
      return element();
  }
}

function enterCallback(walk: Walk, id: number, facts: CallFacts): void {
  const callback = facts.callback!;
  const caller = walk.frame;
  walk.callbacks.add(callback.index);
  const given = callbackArguments(id, caller.registers, facts);
  if (!SYNCHRONOUS_CALLBACKS.has(id)) {
    const state = walk.pushAsynchronous(callback, { helper: 'timer', returns: [0, 0], asynchronous: true });
    given.forEach((register, index) => void (state.current.registers[index + 1] = register));
    return;
  }
  if (id === HELPER.loop) {
    walk.precision.markRegister(walk.state, 1);
    if (BigInt(caller.callbackDepth) >= caller.registers[1]!.scalar.umax) {
      caller.callbackDepth = 0;
      return;
    }
  }
  const state = walk.push(callback.start);
  state.current.callbackDepth++;
  state.callbackUnrollDepth++;
  const frame = frameFor(state, callback, walk.at, { helper: id === HELPER.loop ? 'loop' : 'for_each_map_elem', returns: [0, 1], asynchronous: false });
  given.forEach((register, index) => void (frame.registers[index + 1] = register));
  caller.callbackDepth = 0;
}

/** A function of the program returns. Answers the next slot. */
export function leaveFunction(walk: Walk): number {
  const { state } = walk;
  walk.liveness.settle();
  const frame = walk.frame;
  const result = frame.registers[0]!;
  if (result.type === 'fp') refuse('EINVAL', 'cannot return stack pointer to the caller');
  const caller = state.frames[state.frames.length - 2]!;
  const { callback } = frame;
  if (callback !== undefined) {
    if (result.type !== 'scalar') refuse('EACCES', 'R0 not a scalar value');
    walk.precision.markRegister(state, 0);
    if (!coveredRange(result, callback.returns)) refuse('EINVAL', invalidScalar(result, 'At callback return', callback.returns));
  } else {
    caller.registers[0] = result;
  }
  state.frames.pop();
  if (callback === undefined) return frame.callSite + 1;
  // Numbers that the callback changes are unknown from here on where nothing depended on them.
  const before = keptBefore(state.parent, frame.callSite, state);
  if (before !== undefined) widen(before, state);
  return frame.callSite;
}
