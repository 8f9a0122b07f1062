/**
 * Calls of kernel functions (Linux: check_kfunc_call, check_kfunc_args): what their arguments have to be, one row for each
 * kind, what they do, and what they answer.
 */
import type { CallTarget, Register } from '../bpf/isa.ts';
import type { ProgramSpec } from '../bpf/spec.ts';
import type { KfuncArgumentKind } from '../helpers/helper.ts';
import { kfuncNamed, kfuncOf, type Kfunc } from '../helpers/index.ts';
import { checkSize } from './arguments.ts';
import { makeDynptr, readDynptr, sliceOf, type DynptrFacts } from './dynptr.ts';
import { beginIterator, destroyIterator, followIterator, readIterator, referenceOf } from './iterator.ts';
import { isGplCompatible } from './license.ts';
import { checkUnmodified, mayWritePacket } from './memory.ts';
import { refuse, Refused } from './refusal.ts';
import { isKnownZero, NOT_INITIALISED, pointer, typeText, UNKNOWN_SCALAR, withFacts, type RegisterState, type RegisterType } from './register.ts';
import { isConstant } from './scalar.ts';
import type { ObjectPlace } from './stack-object.ts';
import type { Walk } from './walk.ts';

type KfuncTarget = Extract<CallTarget, { kind: 'kfunc' }>;

/** What the arguments of one call said. */
interface KfuncCall {
  readonly kfunc: Kfunc;
  iterator: ObjectPlace | undefined;
  dynptr: RegisterState | undefined;
  reference: number;
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
  memory_or_null: () => {},
  constant_size: (walk, number, call) => {
    const size = walk.get(number);
    const memory = walk.get((number - 1) as Register);
    if (!isKnownZero(memory)) memoryAndSize(walk, number);
    if (!isConstant(size.scalar)) refuse('EINVAL', `R${number} must be a known constant`);
    call.bytes = Number(BigInt.asIntN(32, size.scalar.value));
  },
};

/** Kernel functions are for programs whose license is compatible with the kernel's. */
export function checkLicense({ instructions, license }: ProgramSpec): void {
  if (!isGplCompatible(license) && instructions.some((each) => each.kind === 'call' && each.target.kind === 'kfunc')) refuse('EINVAL', 'cannot call kernel function from non-GPL compatible program');
}

export function mayCallUnderLock({ name }: KfuncTarget): boolean {
  return kfuncNamed(name)?.underLock === true;
}

export function callKfunc(walk: Walk, target: KfuncTarget): void {
  const kfunc = kfuncOf(target.name, walk.type);
  if (kfunc === undefined) {
    if (kfuncNamed(target.name) === undefined) refuse('EINVAL', `kernel function ${target.name ?? `#${target.btfId}`} is not known here`);
    return refuse('EACCES', `calling kernel function ${target.name} is not allowed`);
  }
  const call: KfuncCall = { kfunc, iterator: undefined, dynptr: undefined, reference: 0, bytes: 0 };
  for (const [index, kind] of kfunc.args.entries()) checkArgument(walk, (index + 1) as Register, kind, call);
  const { registers } = walk.frame;
  registers.fill(NOT_INITIALISED, 0, 6);
  registers[0] = resultOf(walk, call);
  if (kfunc.iterator?.step === 'next') followIterator(walk, call.iterator!);
}

const SCALARS: ReadonlySet<KfuncArgumentKind> = new Set(['i32', 'u32', 'u64', 'constant_size']);
/** Pointers that may have been moved. */
const MOVABLE: ReadonlySet<RegisterType> = new Set(['?', 'scalar', 'fp', 'pkt', 'pkt_meta', 'map_key', 'map_value', 'mem', 'ringbuf_mem']);

function checkArgument(walk: Walk, number: Register, kind: KfuncArgumentKind, call: KfuncCall): void {
  const register = walk.get(number);
  if (!SCALARS.has(kind)) {
    if (call.kfunc.trustedArguments === true && (isKnownZero(register) || register.nullable)) refuse('EACCES', `Possibly NULL pointer passed to trusted arg${number - 1}`);
    if (!MOVABLE.has(register.type)) checkUnmodified(register, number);
  }
  CHECKS[kind]!(walk, number, call);
}

/** Memory that may be read and written; NULL it may be too, and is then not touched. */
function memoryAndSize(walk: Walk, number: Register): void {
  const address = (number - 1) as Register;
  const { registers } = walk.frame;
  const saved = registers[address]!;
  if (saved.nullable) registers[address] = withFacts(saved, { nullable: false });
  try {
    checkSize(walk, number, walk.get(number), true, 'memory', undefined);
    checkSize(walk, number, walk.get(number), true, 'memory_inout', undefined);
  } catch (error) {
    if (error instanceof Refused) refuse(error.errno, `arg#${number - 2} arg#${number - 1} memory, len pair leads to invalid memory access`);
    throw error;
  } finally {
    registers[address] = saved;
  }
}

function resultOf(walk: Walk, { kfunc, dynptr, reference, bytes }: KfuncCall): RegisterState {
  switch (kfunc.returns) {
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
