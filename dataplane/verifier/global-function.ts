/**
 * Global functions are verified once, by what their BTF says of their parameters, and not again where they are called:
 * there only the arguments are compared with it (Linux: btf_prepare_func_args, btf_check_func_arg_match).
 */
import type { Btf } from '../bpf/btf.ts';
import { btfName, type BtfType } from '../bpf/btf-type.ts';
import { tagsOf } from '../bpf/declaration-tags.ts';
import type { Register } from '../bpf/isa.ts';
import type { FunctionSpec, ProgramType } from '../bpf/spec.ts';
import { checkHelperMemory } from './arguments.ts';
import { readDynptr } from './dynptr.ts';
import { checkUnmodified } from './memory.ts';
import { Refused, refuse } from './refusal.ts';
import { isKnownZero, pointer, UNKNOWN_SCALAR, withFacts, type RegisterState } from './register.ts';
import type { Frame } from './state.ts';
import type { Subprogram, Walk } from './walk.ts';

export type Parameter = { readonly kind: 'scalar' } | { readonly kind: 'ctx' } | { readonly kind: 'dynptr' } | { readonly kind: 'memory'; readonly bytes: number; readonly nonNull: boolean };

/** What BTF says of a function, or why Linux does not take it. */
export type Signature = { readonly parameters: readonly Parameter[]; readonly refused?: undefined } | { readonly refused: Refused };

/** Structs that stand for a context, and the kernel's own name of each. */
const XDP_CONTEXTS: readonly string[] = ['xdp_md', 'xdp_buff'];
const SKB_CONTEXTS: readonly string[] = ['__sk_buff', 'sk_buff'];
const contextsOf = (type: ProgramType): readonly string[] => (type === 'xdp' ? XDP_CONTEXTS : SKB_CONTEXTS);

const MAX_ARGUMENTS = 5;
const ARGUMENT_TAG = 'arg:';
const TAGS: ReadonlySet<string> = new Set(['ctx', 'trusted', 'nonnull', 'nullable', 'arena']);

/** Whether a function returns a number, as far as BTF says it. */
export function returnsNumber(btf: Btf | undefined, functionTypeId: number): boolean {
  const prototype = prototypeOf(btf, functionTypeId);
  return prototype === undefined || isScalar(btf!, prototype.returnType);
}

/** Of a global function of the object. */
export function signatureOf(btf: Btf | undefined, { name, typeId }: FunctionSpec, type: ProgramType): Signature {
  const prototype = prototypeOf(btf, typeId);
  try {
    if (prototype === undefined) return refuse('EINVAL', `Global function ${name}() has arguments that its BTF does not describe`);
    const count = prototype.parameters.length;
    if (count > MAX_ARGUMENTS) refuse('EINVAL', `Global function ${name}() with ${count} > ${MAX_ARGUMENTS} args. Buggy compiler.`);
    if (!isScalar(btf!, prototype.returnType)) refuse('EINVAL', `Global function ${name}() doesn't return scalar. Only those are supported.`);
    const tags = tagsOf(btf!, typeId).filter(({ text }) => text.startsWith(ARGUMENT_TAG));
    return { parameters: prototype.parameters.map((parameter, index) => parameterOf(btf!, parameter.type, { name, type, index, tags: tags.flatMap(({ text, component }) => (component === index ? [text.slice(ARGUMENT_TAG.length)] : [])) })) };
  } catch (error) {
    if (error instanceof Refused) return { refused: error };
    throw error;
  }
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

/** Whose parameter it is, its number, and what its tags say. */
interface Place {
  readonly name: string;
  readonly type: ProgramType;
  readonly index: number;
  readonly tags: readonly string[];
}

function parameterOf(btf: Btf, typeId: number, { name, type: programType, index, tags }: Place): Parameter {
  if (tags.some((tag) => !TAGS.has(tag))) refuse('EOPNOTSUPP', `arg#${index} has unsupported set of tags`);
  const { type } = btf.resolve(typeId);
  if (type.kind !== 'ptr') {
    if (tags.length > 0) refuse('EINVAL', `arg#${index} has pointer tag, but is not a pointer type`);
    if (!isScalar(btf, typeId)) refuse('EINVAL', `Arg#${index} type ${type.kind.toUpperCase()} in ${name}() is not supported yet.`);
    return { kind: 'scalar' };
  }
  const target = btf.resolve(type.type).type;
  const targetName = btfName(target);
  const only = (tag: string): boolean => tags.every((each) => each === tag);
  const contexts = contextsOf(programType);
  if (tags.includes('ctx') || (target.kind === 'struct' && contexts.includes(targetName))) {
    if (!only('ctx')) refuse('EINVAL', `arg#${index} has invalid combination of tags`);
    if (tags.length > 0 && target.kind !== 'void' && targetName === '') refuse('EINVAL', `arg#${index} type doesn't have a name`);
    if (tags.length > 0 && target.kind !== 'void' && targetName !== contexts[0]) refuse('EINVAL', `arg#${index} should be \`struct ${contexts[0]} *\``);
    return { kind: 'ctx' };
  }
  if (targetName === 'bpf_dynptr') {
    if (tags.length > 0) refuse('EINVAL', `arg#${index} has invalid combination of tags`);
    return { kind: 'dynptr' };
  }
  if (tags.includes('trusted') || tags.includes('arena')) refuse('EOPNOTSUPP', `arg#${index} of global function ${name}() has a tag that this verifier does not know: ${tags.join(', ')}`);
  if (tags.includes('nullable')) refuse('EINVAL', `arg#${index} has invalid combination of tags`);
  const bytes = target.kind === 'ptr' || target.kind === 'array' || 'sizeBytes' in target ? btf.sizeBytes(type.type) : undefined;
  if (bytes === undefined) refuse('EINVAL', `arg#${index} reference type('${target.kind === 'void' ? 'UNKNOWN' : target.kind.toUpperCase()} ${targetName}') size cannot be determined: -22`);
  return { kind: 'memory', bytes, nonNull: tags.includes('nonnull') };
}

/** The frame that a global function is verified in. */
export function enterGlobal(walk: Walk, frame: Frame, { index, signature }: Subprogram): void {
  const parameters = parametersIn(signature!);
  if (index === walk.exceptionCallback && (parameters.length !== 1 || parameters[0]!.kind !== 'scalar')) refuse('EINVAL', 'exception cb only supports single integer argument');
  parameters.forEach((parameter, number) => void (frame.registers[number + 1] = argumentState(walk, parameter)));
}

function parametersIn(signature: Signature): readonly Parameter[] {
  if (signature.refused !== undefined) throw signature.refused;
  return signature.parameters;
}

function argumentState(walk: Walk, parameter: Parameter): RegisterState {
  switch (parameter.kind) {
    case 'scalar':
      return UNKNOWN_SCALAR;
    case 'ctx':
      return pointer('ctx');
    case 'dynptr':
      return refuse('EOPNOTSUPP', 'dynptrs are not followed into global functions here');
    case 'memory':
      return pointer('mem', { bytes: parameter.bytes, nullable: !parameter.nonNull, id: parameter.nonNull ? 0 : walk.newId() });
    default:
      return parameter satisfies never;
  }
}

/** Linux says what is wrong with an argument, then whose argument it is. */
export function checkGlobalCall(walk: Walk, subprogram: Subprogram): void {
  const whose = `Caller passes invalid args into func#${subprogram.index} ('${subprogram.name}')`;
  try {
    for (const [index, parameter] of parametersIn(subprogram.signature!).entries()) checkArgument(walk, (index + 1) as Register, parameter);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    refuse(error.errno, `${error.message}\n${whose}`, error.before);
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
    case 'dynptr':
      readDynptr(walk, number);
      break;
    case 'memory':
      try {
        if (!isKnownZero(register)) checkMemory(walk, number, register, parameter.bytes);
      } catch (error) {
        throw error instanceof Refused ? new Refused('EINVAL', error.message) : error;
      }
      if (parameter.nonNull && (isKnownZero(register) || register.nullable)) refuse('EINVAL', `arg#${number - 1} is expected to be non-NULL`);
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
