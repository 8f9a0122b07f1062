/** Calls of kernel functions for allocated objects, lists and trees: refused as Linux refuses them, and where it would not, because nothing here allocates. */
import type { Register } from '../bpf/isa.ts';
import { GRAPH_FUNCTIONS, GRAPH_PROGRAMS, type GraphArgument } from '../helpers/graph.ts';
import { specialFields } from '../maps/special-fields.ts';
import { refuse } from './refusal.ts';
import { isKnownZero, type RegisterState } from './register.ts';
import { isConstant } from './scalar.ts';
import type { Walk } from './walk.ts';

type Check = (walk: Walk, number: Register, name: string) => void;

const scalar: Check = (walk, number) => {
  if (walk.get(number).type !== 'scalar') refuse('EINVAL', `R${number} is not a scalar`);
};

const root = (type: 'bpf_list_head' | 'bpf_rb_root'): Check => (walk, number) => {
  const register = walk.get(number);
  const { map } = register;
  if (register.type !== 'map_value' || map === undefined) return refuse('EINVAL', `arg#${number - 1} expected pointer to map value or allocated object`);
  if (!isConstant(register.scalar)) refuse('EINVAL', `R${number} doesn't have constant offset. ${type} has to be at the constant offset`);
  const at = register.offset + Number(register.scalar.value);
  const fields = specialFields(map);
  if (!fields.some((field) => field.type === type && field.offset === at)) refuse('EINVAL', `${type} not found at offset=${at}`);
  const { lock } = walk.state;
  if (lock?.id !== register.id || lock.map !== map.name) refuse('EINVAL', `bpf_spin_lock at off=${fields.find((field) => field.type === 'bpf_spin_lock')?.offset} must be held for ${type}`);
};

const CHECKS: Readonly<Record<GraphArgument, Check>> = {
  type_id: (walk, number, name) => {
    scalar(walk, number, name);
    if (!isConstant(walk.get(number).scalar)) refuse('EINVAL', `R${number} must be a known constant`);
  },
  scalar,
  ignored: () => {},
  callback: () => {},
  allocated: (walk, number) => refuse('EINVAL', walk.get(number).reference === 0 ? `R${number} must be referenced or trusted` : `arg#${number - 1} expected pointer to allocated object`),
  refcounted: (_walk, number) => refuse('EINVAL', `arg#${number - 1} is neither owning or non-owning ref`),
  bpf_list_head: root('bpf_list_head'),
  bpf_rb_root: root('bpf_rb_root'),
  node: (_walk, number) => refuse('EINVAL', `arg#${number - 1} expected pointer to allocated object`),
  linked_node: (_walk, _number, name) => refuse('EINVAL', `${name} can only take non-owning or refcounted bpf_rb_node pointer`),
};

const MAY_BE_ZERO: ReadonlySet<GraphArgument> = new Set(['type_id', 'scalar', 'ignored']);

const mayBeNull = (register: RegisterState): boolean => isKnownZero(register) || register.nullable;

/** Whether it is one of those. */
export const isGraphFunction = (name: string | undefined): boolean => GRAPH_FUNCTIONS.has(name);

/** Lists and trees are changed under their lock. */
export const isUnderLock = (name: string | undefined): boolean => GRAPH_FUNCTIONS.get(name)?.args.some((kind) => kind === 'bpf_list_head' || kind === 'bpf_rb_root') === true;

export function callGraphFunction(walk: Walk, name: string): never {
  if (!GRAPH_PROGRAMS.includes(walk.type)) refuse('EACCES', `calling kernel function ${name} is not allowed`);
  for (const [index, kind] of GRAPH_FUNCTIONS.get(name)!.args.entries()) {
    const number = (index + 1) as Register;
    if (!MAY_BE_ZERO.has(kind) && mayBeNull(walk.get(number))) refuse('EACCES', `Possibly NULL pointer passed to trusted arg${index}`);
    CHECKS[kind](walk, number, name);
  }
  return refuse('EOPNOTSUPP', `kernel function ${name} is not supported here: objects that programs allocate, lists and trees of them are Linux's alone`);
}
