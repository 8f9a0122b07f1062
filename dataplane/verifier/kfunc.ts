/**
 * Calls of kernel functions (Linux: check_kfunc_call, check_kfunc_args): what their arguments have to be, one row for each
 * kind, what they do, and what they answer.
 */
import type { CallTarget, Register } from '../bpf/isa.ts';
import type { ProgramSpec } from '../bpf/spec.ts';
import type { KfuncArgumentKind } from '../helpers/helper.ts';
import { THROW } from '../helpers/exception.ts';
import { kfuncNamed, kfuncOf, type Kfunc } from '../helpers/index.ts';
import { checkHelperMemory, checkSize, release } from './arguments.ts';
import { makeDynptr, readDynptr, sliceOf, type DynptrFacts } from './dynptr.ts';
import { checkResult } from './exit.ts';
import { callGraphFunction, isGraphFunction, isUnderLock } from './graph.ts';
import { beginIterator, destroyIterator, followIterator, readIterator, referenceOf } from './iterator.ts';
import { kernelObject, structOf } from './kernel-object.ts';
import { isGplCompatible } from './license.ts';
import { checkUnmodified, mayWritePacket } from './memory.ts';
import { Refused, refuse, refuseFor } from './refusal.ts';
import { isKnownZero, NOT_INITIALISED, pointer, typeText, UNKNOWN_SCALAR, withFacts, type RegisterState, type RegisterType } from './register.ts';
import { isConstant } from './scalar.ts';
import type { ObjectPlace } from './stack-object.ts';
import { changeRegisters } from './state.ts';
import type { Walk } from './walk.ts';

type KfuncTarget = Extract<CallTarget, { kind: 'kfunc' }>;

/** What the arguments of one call said. */
interface KfuncCall {
  readonly kfunc: Kfunc;
  iterator: ObjectPlace | undefined;
  dynptr: RegisterState | undefined;
  reference: number;
  /** The reference that it takes away. */
  releases: number;
  /** The constant that says how long a slice is. */
  bytes: number;
}

type Check = (walk: Walk, number: Register, call: KfuncCall) => void;

const scalar: Check = (walk, number) => {
  if (walk.get(number).type !== 'scalar') refuse('EINVAL', `R${number} is not a scalar`);
};

/** The kinds that kernel functions have. Memory is looked at together with its size, which comes next. */
const CHECKS: Readonly<Partial<Record<KfuncArgumentKind, Check>>> = {
  i32: scalar,
  u32: scalar,
  u64: scalar,
  ctx: (walk, number) => {
    const register = walk.get(number);
    if (register.type !== 'ctx') refuse('EINVAL', `arg#${number - 1} expected pointer to ctx, but got ${typeText(register)}`);
  },
  iterator_out: (walk, number, { kfunc }) => beginIterator(walk, number, kfunc.iterator!.name),
  iterator: (walk, number, call) => {
    call.iterator = readIterator(walk, number, call.kfunc.iterator!.name);
    call.reference = referenceOf(call.iterator);
    if (call.kfunc.iterator?.step === 'destroy') destroyIterator(walk, call.iterator);
  },
  dynptr: (walk, number, call) => void (call.dynptr = readDynptr(walk, number)),
  dynptr_out: (walk, number, { kfunc, dynptr }) => {
    if (kfunc.makes === 'clone') makeDynptr(walk, number, (dynptr!.object as DynptrFacts).of, dynptr!.reference);
    else makeDynptr(walk, number, kfunc.makes!);
  },
  object: objectArgument,
  memory_or_null: () => {},
  memory_inout: (walk, number, { kfunc }) => {
    const bytes = kfunc.sizes?.[number - 1];
    if (bytes === undefined || isKnownZero(walk.get(number))) return;
    asIfNotNull(walk, number, () => {
      checkHelperMemory(walk, number, bytes, 'read', true);
      checkHelperMemory(walk, number, bytes, 'write', true);
    });
  },
  size_or_zero: (walk, number, call) => {
    scalar(walk, number, call);
    memoryAndSize(walk, number);
  },
  constant_size: (walk, number, call) => {
    const size = walk.get(number);
    const memory = walk.get((number - 1) as Register);
    if (!isKnownZero(memory)) memoryAndSize(walk, number);
    if (!isConstant(size.scalar)) refuse('EINVAL', `R${number} must be a known constant`);
    call.bytes = Number(BigInt.asIntN(32, size.scalar.value));
  },
};

/** Of all calls, before any path: kernel functions are for programs whose license is compatible with the kernel's, and some for one device. */
export function checkKfuncs({ instructions, license }: ProgramSpec, deviceBound: boolean): void {
  for (const instruction of instructions) {
    if (instruction.kind !== 'call' || instruction.target.kind !== 'kfunc') continue;
    if (!isGplCompatible(license)) refuse('EINVAL', 'cannot call kernel function from non-GPL compatible program');
    if (!deviceBound && kfuncNamed(instruction.target.name)?.deviceBound === true) refuse('EINVAL', 'metadata kfuncs require device-bound program');
  }
}

export function mayCallUnderLock({ name }: KfuncTarget): boolean {
  return kfuncNamed(name)?.underLock === true || isUnderLock(name);
}

export function callKfunc(walk: Walk, target: KfuncTarget): void {
  const kfunc = kfuncOf(target.name, walk.type);
  if (kfunc === undefined) {
    if (isGraphFunction(target.name)) return callGraphFunction(walk, target.name!);
    if (kfuncNamed(target.name) === undefined) refuse('EINVAL', `kernel function ${target.name ?? `#${target.btfId}`} is not known here`);
    return refuse('EACCES', `calling kernel function ${target.name} is not allowed`);
  }
  const call: KfuncCall = { kfunc, iterator: undefined, dynptr: undefined, reference: 0, releases: 0, bytes: 0 };
  for (const [index, kind] of kfunc.args.entries()) checkArgument(walk, (index + 1) as Register, kind, call);
  // Without a callback what is thrown is the verdict.
  if (kfunc.name === THROW && walk.exceptionCallback === undefined) checkResult(walk, 1);
  if (kfunc.section !== undefined) section(walk, kfunc.name, kfunc.section);
  if (call.releases !== 0) {
    release(walk.state, call.releases);
    changeRegisters(walk.state, (register) => (register.reference === call.releases ? walk.invalid() : register));
  }
  const { registers } = walk.frame;
  registers.fill(NOT_INITIALISED, 0, 6);
  registers[0] = resultOf(walk, call);
  if (kfunc.iterator?.step === 'next') followIterator(walk, call.iterator!);
  if (kfunc.changesPacket === true) walk.forgetPackets();
}

const SCALARS: ReadonlySet<KfuncArgumentKind> = new Set(['i32', 'u32', 'u64', 'constant_size', 'size_or_zero']);
/** Pointers that may have been moved. */
const MOVABLE: ReadonlySet<RegisterType> = new Set(['?', 'scalar', 'fp', 'pkt', 'pkt_meta', 'map_key', 'map_value', 'mem', 'ringbuf_mem', 'ptr_']);

function checkArgument(walk: Walk, number: Register, kind: KfuncArgumentKind, call: KfuncCall): void {
  const register = walk.get(number);
  if (!SCALARS.has(kind)) {
    if (call.kfunc.trustedArguments === true && (isKnownZero(register) || register.nullable)) refuse('EACCES', `Possibly NULL pointer passed to trusted arg${number - 1}`);
    if (!MOVABLE.has(register.type)) checkUnmodified(register, number);
  }
  CHECKS[kind]!(walk, number, call);
}

/** A structure of the kernel, of which the program has to hold a reference. */
function objectArgument(walk: Walk, number: Register, call: KfuncCall): void {
  const { kfunc } = call;
  const register = walk.get(number);
  const expected = kfunc.objects![number - 1]!;
  const given = register.type === 'ptr_' ? structOf(register) : SOCKETS[register.type];
  if (given === undefined) return refuse('EINVAL', `arg#${number - 1} pointer type STRUCT ${expected} must point to scalar, or struct with scalar`);
  if (register.type === 'ptr_' && register.reference === 0) refuse('EINVAL', `R${number} must be referenced or trusted`);
  if (kfunc.releases === true && register.offset !== 0) refuse('EINVAL', `R${number} must have zero offset when passed to release func or trusted arg to kfunc`);
  if (given !== expected || register.offset !== 0) refuse('EINVAL', `kernel function ${kfunc.name} args#${number - 1} expected pointer to STRUCT ${expected} but R${number} has a pointer to STRUCT ${given}`);
  if (kfunc.releases === true) call.releases = register.reference;
}

/** What the kernel has behind pointers that are not described by BTF. */
const SOCKETS: Readonly<Partial<Record<RegisterType, string>>> = { sock: 'sock', sock_common: 'sock_common', tcp_sock: 'tcp_sock' };

function section({ state }: Walk, name: string, { of, step }: NonNullable<Kfunc['section']>): void {
  const enters = step === 'enter';
  if (of === 'preempt') {
    if (!enters && state.preemptOff === 0) refuse('EINVAL', `unmatched attempt to enable preemption (kernel function ${name})`);
    state.preemptOff += enters ? 1 : -1;
    return;
  }
  if (enters && state.rcu) refuse('EINVAL', `nested rcu read lock (kernel function ${name})`);
  if (!enters && !state.rcu) refuse('EINVAL', `unmatched rcu read unlock (kernel function ${name})`);
  state.rcu = enters;
  if (!enters) changeRegisters(state, untrusted);
}

/** What an RCU section kept in place. */
function untrusted(register: RegisterState): RegisterState {
  const { object } = register;
  return object?.kind === 'struct' && object.trust === 'rcu' ? withFacts(register, { nullable: false, object: { ...object, trust: 'untrusted' } }) : register;
}

/** Memory that may be read and written; NULL it may be too, and is then not touched. */
function memoryAndSize(walk: Walk, number: Register): void {
  try {
    asIfNotNull(walk, (number - 1) as Register, () => {
      checkSize(walk, number, walk.get(number), true, 'memory', undefined);
      checkSize(walk, number, walk.get(number), true, 'memory_inout', undefined);
    });
  } catch (error) {
    if (error instanceof Refused) refuseFor(error, `arg#${number - 2} arg#${number - 1} memory, len pair leads to invalid memory access`);
    throw error;
  }
}

function asIfNotNull({ frame: { registers } }: Walk, number: Register, check: () => void): void {
  const saved = registers[number]!;
  if (saved.nullable) registers[number] = withFacts(saved, { nullable: false });
  try {
    check();
  } finally {
    registers[number] = saved;
  }
}

function resultOf(walk: Walk, { kfunc, dynptr, reference, bytes }: KfuncCall): RegisterState {
  switch (kfunc.returns) {
    case 'btf_or_null': {
      const number = walk.newId();
      const id = kfunc.acquires === true ? walk.acquire() : number;
      return kernelObject(kfunc.struct!, { nullable: true, id, reference: kfunc.acquires === true ? id : 0 });
    }
    case 'void':
      return NOT_INITIALISED;
    case 'int':
    case 'u32':
    case 'u64':
      return UNKNOWN_SCALAR;
    case 'memory_or_null':
      if (kfunc.slice === undefined) return pointer('mem', { bytes: kfunc.resultBytes ?? 0, readOnly: true, nullable: true, id: walk.newId(), reference });
      if (kfunc.slice === 'write' && !mayWritePacket(walk)) refuse('EINVAL', 'the prog does not allow writes to packet data');
      return sliceOf(walk, dynptr!, bytes, true, kfunc.slice === 'read');
    default:
      throw new TypeError(`no rule for what ${kfunc.name} answers: ${kfunc.returns}`);
  }
}
