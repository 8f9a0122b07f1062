/**
 * Global functions are verified once, by what their BTF says of their parameters, and not again where they are called:
 * there only the arguments are compared with it (Linux: btf_prepare_func_args, btf_check_func_arg_match).
 */
import type { Btf } from '../bpf/btf.ts';
import type { BtfType } from '../bpf/btf-type.ts';
import type { Register } from '../bpf/isa.ts';
import { checkHelperMemory } from './arguments.ts';
import { checkUnmodified } from './memory.ts';
import { Refused, refuse } from './refusal.ts';
import { isKnownZero, pointer, UNKNOWN_SCALAR, withFacts, type RegisterState } from './register.ts';
import type { Frame } from './state.ts';
import type { Subprogram, Walk } from './walk.ts';

export type Parameter = { readonly kind: 'scalar' } | { readonly kind: 'ctx' } | { readonly kind: 'memory'; readonly bytes: number; readonly nonNull: boolean };

/** Structs that stand for a context, and the kernel's own name of each. */
const CONTEXTS: ReadonlySet<string> = new Set(['xdp_md', '__sk_buff', 'xdp_buff', 'sk_buff']);

/** Whether a function returns a number, as far as BTF says it. */
export function returnsNumber(btf: Btf | undefined, functionTypeId: number): boolean {
  const prototype = prototypeOf(btf, functionTypeId);
  return prototype === undefined || isScalar(btf!, prototype.returnType);
}

/** Of a function of the object; undefined where its BTF does not say, or says of it what Linux does not take. */
export function parametersOf(btf: Btf | undefined, functionTypeId: number): readonly Parameter[] | undefined {
  const prototype = prototypeOf(btf, functionTypeId);
  if (prototype === undefined || !isScalar(btf!, prototype.returnType)) return undefined;
  const parameters = prototype.parameters.map(({ type }) => parameterOf(btf!, type));
  return parameters.some((parameter) => parameter === undefined) ? undefined : (parameters as readonly Parameter[]);
}

/** Undefined where the BTF does not say. */
function prototypeOf(btf: Btf | undefined, functionTypeId: number): Extract<BtfType, { kind: 'func_proto' }> | undefined {
  if (btf === undefined || functionTypeId === 0) return undefined;
  const declared = btf.resolve(functionTypeId).type;
  const prototype = declared.kind === 'func' ? btf.resolve(declared.type).type : declared;
  return prototype.kind === 'func_proto' ? prototype : undefined;
}

function isScalar(btf: Btf, typeId: number): boolean {
  const { kind } = btf.resolve(typeId).type;
  return kind === 'int' || kind === 'enum' || kind === 'enum64';
}

function parameterOf(btf: Btf, typeId: number): Parameter | undefined {
  if (isScalar(btf, typeId)) return { kind: 'scalar' };
  const { type } = btf.resolve(typeId);
  if (type.kind !== 'ptr') return undefined;
  const target = btf.resolve(type.type).type;
  if (target.kind === 'struct' && CONTEXTS.has(target.name)) return { kind: 'ctx' };
  const bytes = target.kind === 'ptr' || target.kind === 'array' || 'sizeBytes' in target ? btf.sizeBytes(type.type) : 0;
  return bytes > 0 ? { kind: 'memory', bytes, nonNull: false } : undefined;
}

/** The frame that a global function is verified in. */
export function enterGlobal(walk: Walk, frame: Frame, parameters: readonly Parameter[]): void {
  parameters.forEach((parameter, index) => void (frame.registers[index + 1] = argumentState(walk, parameter)));
}

function argumentState(walk: Walk, parameter: Parameter): RegisterState {
  switch (parameter.kind) {
    case 'scalar':
      return UNKNOWN_SCALAR;
    case 'ctx':
      return pointer('ctx');
    case 'memory':
      return pointer('mem', { bytes: parameter.bytes, nullable: !parameter.nonNull, id: parameter.nonNull ? 0 : walk.newId() });
    default:
      return parameter satisfies never;
  }
}

/** Linux says what is wrong with an argument, then whose argument it is. */
export function checkGlobalCall(walk: Walk, subprogram: Subprogram): void {
  const whose = `Caller passes invalid args into func#${subprogram.index} ('${subprogram.name}')`;
  const { parameters } = subprogram;
  if (parameters === undefined) refuse('EINVAL', whose);
  try {
    for (const [index, parameter] of parameters.entries()) checkArgument(walk, (index + 1) as Register, parameter);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    refuse(error.errno, `${error.message}\n${whose}`);
  }
}

/** What was never written is no number, which is said before that it may not be read. */
function checkArgument(walk: Walk, number: Register, parameter: Parameter): void {
  const register = parameter.kind === 'scalar' ? walk.get(number) : walk.read(number);
  switch (parameter.kind) {
    case 'scalar':
      if (register.type !== 'scalar') refuse('EINVAL', `R${number} is not a scalar`);
      break;
    case 'ctx':
      if (register.type === 'ctx') checkUnmodified(register, number);
      else refuse('EINVAL', `arg#${number - 1} expects pointer to ctx`);
      break;
    case 'memory':
      if (isKnownZero(register) && !parameter.nonNull) break;
      try {
        checkMemory(walk, number, register, parameter.bytes);
      } catch (error) {
        throw error instanceof Refused ? new Refused('EINVAL', error.message) : error;
      }
      break;
    default:
      parameter satisfies never;
  }
}

function checkMemory(walk: Walk, number: Register, register: RegisterState, bytes: number): void {
  const { registers } = walk.frame;
  if (register.nullable) registers[number] = withFacts(register, { nullable: false });
  else checkHelperMemory(walk, number, bytes, 'read', false);
  checkHelperMemory(walk, number, bytes, 'write', false);
  registers[number] = register;
}
