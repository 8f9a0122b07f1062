/**
 * Calls of kernel functions (Linux: check_kfunc_call, check_kfunc_args): what their arguments have to be, one row for each
 * kind, what they do, and what they answer.
 */
import type { CallTarget, Register } from '../bpf/isa.ts';
import type { ProgramSpec } from '../bpf/spec.ts';
import type { KfuncArgumentKind } from '../helpers/helper.ts';
import { kfuncNamed, kfuncOf, type Kfunc } from '../helpers/index.ts';
import { beginIterator, destroyIterator, followIterator, readIterator, referenceOf } from './iterator.ts';
import { isGplCompatible } from './license.ts';
import { refuse } from './refusal.ts';
import { NOT_INITIALISED, pointer, UNKNOWN_SCALAR, type RegisterState } from './register.ts';
import type { ObjectPlace } from './stack-object.ts';
import type { Walk } from './walk.ts';

type KfuncTarget = Extract<CallTarget, { kind: 'kfunc' }>;

/** What the arguments of one call said. */
interface KfuncCall {
  readonly kfunc: Kfunc;
  iterator: ObjectPlace | undefined;
  reference: number;
}

type Check = (walk: Walk, number: Register, call: KfuncCall) => void;

const scalar: Check = (walk, number) => {
  if (walk.get(number).type !== 'scalar') refuse('EINVAL', `R${number} is not a scalar`);
};

/** The kinds that kernel functions have. */
const CHECKS: Readonly<Partial<Record<KfuncArgumentKind, Check>>> = {
  i32: scalar,
  u32: scalar,
  u64: scalar,
  iterator_out: (walk, number, { kfunc }) => beginIterator(walk, number, kfunc.iterator!.name),
  iterator: (walk, number, call) => {
    call.iterator = readIterator(walk, number, call.kfunc.iterator!.name);
    call.reference = referenceOf(call.iterator);
    if (call.kfunc.iterator?.step === 'destroy') destroyIterator(walk, call.iterator);
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
    return refuse(kfuncNamed(target.name) === undefined ? 'EINVAL' : 'EACCES', kfuncNamed(target.name) === undefined ? `kernel function ${target.name ?? `#${target.btfId}`} is not known here` : `calling kernel function ${target.name} is not allowed`);
  }
  const call: KfuncCall = { kfunc, iterator: undefined, reference: 0 };
  for (const [index, kind] of kfunc.args.entries()) CHECKS[kind]!(walk, (index + 1) as Register, call);
  const { registers } = walk.frame;
  registers.fill(NOT_INITIALISED, 0, 6);
  registers[0] = resultOf(walk, call);
  if (kfunc.iterator?.step === 'next') followIterator(walk, call.iterator!);
}

function resultOf(walk: Walk, { kfunc, reference }: KfuncCall): RegisterState {
  switch (kfunc.returns) {
    case 'void':
      return NOT_INITIALISED;
    case 'int':
    case 'u32':
    case 'u64':
      return UNKNOWN_SCALAR;
    case 'memory_or_null':
      return pointer('mem', { bytes: kfunc.resultBytes ?? 0, readOnly: true, nullable: true, id: walk.newId(), reference });
    default:
      throw new TypeError(`no rule for what ${kfunc.name} answers: ${kfunc.returns}`);
  }
}
