/** What a helper's arguments have to be: one row for each kind of argument (Linux: check_func_arg). */
import type { AccessBytes, Register } from '../bpf/isa.ts';
import { BPF_MAP_TYPE } from '../bpf/map-type.ts';
import type { MapSpec } from '../bpf/spec.ts';
import type { ArgumentKind, HelperPrototype } from '../helpers/helper.ts';
import { specialFields } from '../maps/special-fields.ts';
import { checkReleasable, makeDynptr, readDynptr } from './dynptr.ts';
import { checkAlignment, checkMapRights, checkMapValue, checkPacketRange, checkRegion, checkUnmodified, mayWritePacket } from './memory.ts';
import { structOf } from './kernel-object.ts';
import { checkExchanged, exchangedField, type KernelPointer } from './kernel-pointer.ts';
import { without } from './references.ts';
import { refuse } from './refusal.ts';
import { isKnownZero, isPacketPointer, isTaggedSlice, typeText, type RegisterState, type RegisterType } from './register.ts';
import { isConstant } from './scalar.ts';
import { checkNoDynptr, checkStackBounds, checkStackBytes, frameOf } from './stack.ts';
import { BYTE, isSpilledScalar, kindAt, type State } from './state.ts';
import type { Subprogram, Walk } from './walk.ts';

/** What the arguments of one call said that other arguments, the result or the effects depend on. */
export interface CallFacts {
  map: MapSpec | undefined;
  mapUid: number;
  /** The value of a map's key, where the stack says it. */
  constantKey: bigint | undefined;
  /** Stack that the helper fills: register, and how many bytes. */
  fills: { readonly register: Register; readonly bytes: number } | undefined;
  reference: number;
  callback: Subprogram | undefined;
  allocatedBytes: number;
  /** The dynptr that it is about. */
  dynptr: RegisterState | undefined;
  /** The field of a map value that bpf_kptr_xchg is about. */
  kernelPointer: KernelPointer | undefined;
}

export const noFacts = (): CallFacts => ({ map: undefined, mapUid: 0, constantKey: undefined, fills: undefined, reference: 0, callback: undefined, allocatedBytes: 0, dynptr: undefined, kernelPointer: undefined });

type Check = (walk: Walk, number: Register, register: RegisterState, facts: CallFacts) => void;

interface Rule {
  /** Types it may have, in the order Linux names them; any initialised value where absent. */
  readonly types?: readonly (RegisterType | 'xdp_sock' | 'buf' | 'trusted_ptr_' | 'rcu_ptr_' | 'dynptr_ptr')[];
  /** Nobody looks at it. */
  readonly ignored?: true;
  readonly nullAllowed?: true;
  /** Whether something of the kernel is of the right kind; comes before where in it the pointer is. */
  readonly checkObject?: Check;
  readonly check?: Check;
}

const MEMORY_TYPES = ['fp', 'pkt', 'pkt_meta', 'map_key', 'map_value', 'mem', 'ringbuf_mem', 'buf', 'trusted_ptr_'] as const;
const SOCKET_TYPES = ['sock_common', 'sock', 'tcp_sock', 'xdp_sock'] as const;
const DYNPTR_TYPES = ['fp', 'dynptr_ptr'] as const;
const MAX_VARIABLE_SIZE = 1n << 29n;

const mapOf = (facts: CallFacts): MapSpec => facts.map ?? refuse('EACCES', 'invalid map_ptr to access map->key');
/** Types whose lookups cannot fail for an index that exists. */
const ELIDES_NULL: ReadonlySet<number> = new Set([BPF_MAP_TYPE.array, BPF_MAP_TYPE.percpu_array]);
const memory = (more: Partial<Rule> = {}): Rule => ({ types: MEMORY_TYPES, ...more });
/** What packet programs hardly use, and what is not followed here. */
const unknown = (what: string): Rule => ({ types: [], check: () => refuse('EOPNOTSUPP', `${what} are not known to this verifier`) });

const RULES: Readonly<Record<Exclude<ArgumentKind, 'size' | 'size_or_zero'>, Rule>> = {
  ctx: { types: ['ctx'] },
  ctx_or_null: { types: ['ctx'], nullAllowed: true },
  map: { types: ['map_ptr'], check: (_walk, number, register, facts) => mapArgument(number, register, facts) },
  map_key: memory({
    check: (walk, number, register, facts) => {
      checkHelperMemory(walk, number, mapOf(facts).keyBytes, 'read', false);
      if (ELIDES_NULL.has(mapOf(facts).type)) facts.constantKey = constantKey(walk, register, mapOf(facts).keyBytes);
    },
  }),
  map_value: memory({ check: (walk, number, _register, facts) => checkHelperMemory(walk, number, mapOf(facts).valueBytes, 'read', false) }),
  map_value_or_null: memory({ nullAllowed: true, check: (walk, number, _register, facts) => checkHelperMemory(walk, number, mapOf(facts).valueBytes, 'read', false) }),
  map_value_out: memory({ check: (walk, number, _register, facts) => fill(walk, number, mapOf(facts).valueBytes, facts) }),
  memory: memory(),
  memory_or_null: memory({ nullAllowed: true }),
  memory_out: memory(),
  memory_inout: memory(),
  memory_inout_or_null: memory({ nullAllowed: true }),
  long_out: memory(),
  int_inout: memory(),
  u32: {},
  i32: {},
  u64: {},
  unchecked: { ignored: true },
  callback: { types: ['func'], check: (walk, _number, register, facts) => void (facts.callback = walk.subprogramAt.get(register.frame)) },
  callback_ctx: { types: ['fp'], nullAllowed: true },
  spin_lock: { types: ['map_value', 'ptr_'] },
  timer: { types: ['map_value'], check: (_walk, number, register, facts) => timerAt(number, register, facts) },
  ringbuf_record: { types: ['ringbuf_mem'] },
  allocated_size: {
    types: ['scalar'],
    check: (walk, number, register, facts) => {
      if (!isConstant(register.scalar)) refuse('EACCES', `R${number} is not a known constant'`);
      // Linux keeps 32 bits of it; of so much there is none.
      facts.allocatedBytes = Number(BigInt.asUintN(32, register.scalar.value));
      walk.precision.markRegister(walk.state, number);
    },
  },
  socket: {
    types: [...SOCKET_TYPES, 'ptr_', 'trusted_ptr_'],
    checkObject: (_walk, number, register) => {
      if (register.type === 'ptr_') refuse('EACCES', `R${number} is of type ${structOf(register)} but sock_common is expected`);
    },
  },
  sock_common: { types: SOCKET_TYPES },
  const_string: { types: ['map_value'], check: (_walk, number, register) => constantString(number, register) },
  dynptr: { types: DYNPTR_TYPES, check: (walk, number, _register, facts) => void (facts.dynptr = readDynptr(walk, number)) },
  dynptr_out: { types: DYNPTR_TYPES, check: (walk, number) => makeDynptr(walk, number, 'local') },
  ringbuf_dynptr: {
    types: DYNPTR_TYPES,
    check: (walk, number) => {
      checkReleasable(walk, number);
      readDynptr(walk, number, 'ringbuf');
    },
  },
  ringbuf_dynptr_out: { types: DYNPTR_TYPES, check: (walk, number) => makeDynptr(walk, number, 'ringbuf') },
  kptr_slot: {
    types: ['map_value', 'ptr_'],
    check: (_walk, number, register, facts) => {
      facts.kernelPointer = exchangedField(number, register);
      facts.map = register.map;
    },
  },
  kptr_or_null: { types: ['ptr_', 'trusted_ptr_', 'rcu_ptr_'], nullAllowed: true, checkObject: (_walk, number, register, facts) => checkExchanged(number, register, facts.kernelPointer!) },
  percpu_variable: unknown('per-CPU variables of the kernel'),
  task: unknown('tasks'),
  task_or_null: unknown('tasks'),
  cgroup_or_null: unknown('control groups'),
};

/** Checks the arguments in order. */
export function checkArguments(walk: Walk, prototype: HelperPrototype, facts: CallFacts): void {
  for (const index of prototype.args.keys()) checkArgument(walk, prototype, index, facts);
}

function checkArgument(walk: Walk, prototype: HelperPrototype, index: number, facts: CallFacts): void {
  const kind = prototype.args[index]!;
  const number = (index + 1) as Register;
  if (kind === 'size' || kind === 'size_or_zero') {
    const size = walk.read(number);
    checkType(number, size, ['scalar']);
    checkSize(walk, number, size, kind === 'size_or_zero', prototype.args[index - 1]!, facts);
    return;
  }
  const rule = RULES[kind];
  if (rule.ignored === true) return;
  const register = walk.read(number);
  if (rule.types === undefined) {
    if (walk.isSecret(register)) refuse('EACCES', `R${number} leaks addr into helper function`);
    return;
  }
  if (isPacketPointer(register) && (prototype.packetAccess !== true || walk.type === 'socket_filter')) refuse('EACCES', 'helper access to the packet is not allowed');
  if (isKnownZero(register) && rule.nullAllowed === true) return;
  if (rule.types.length > 0) checkType(number, register, rule.types, rule.nullAllowed, isOtherMemory(kind, register));
  rule.checkObject?.(walk, number, register, facts);
  const releases = prototype.releases === index;
  if (releases && register.type !== 'fp') checkReleased(register, number);
  else checkOffset(register, number);
  if (register.reference !== 0) {
    if (facts.reference !== 0) refuse('EACCES', `more than one arg with ref_obj_id R${number} ${register.reference} ${facts.reference}`);
    facts.reference = register.reference;
  }
  rule.check?.(walk, number, register, facts);
  const bytes = prototype.sizes?.[index];
  if (bytes === undefined) return;
  if (kind.endsWith('_out')) fill(walk, number, bytes, facts);
  else checkHelperMemory(walk, number, bytes, kind.includes('inout') ? 'write' : 'read', false);
  if (kind === 'long_out' || kind === 'int_inout') checkAlignment(register, 0, bytes as AccessBytes, true);
}

/** The map; behind a timer, it has to be the one that the timer is in. */
function mapArgument(number: Register, register: RegisterState, facts: CallFacts): void {
  if (facts.map !== undefined && (facts.map !== register.map || facts.mapUid !== register.mapUid)) {
    refuse('EINVAL', `timer pointer in R1 map_uid=${facts.mapUid} doesn't match map pointer in R${number} map_uid=${register.mapUid}`);
  }
  facts.map = register.map;
  facts.mapUid = register.mapUid;
}

/** Memory that may not be written, or that is known as a part of a dynptr, is of a type of its own that not every argument takes. */
function isOtherMemory(kind: ArgumentKind, register: RegisterState): boolean {
  return register.type === 'mem' && ((register.readOnly && kind.includes('out')) || (isTaggedSlice(register) && kind.startsWith('map_')));
}

function checkType(number: Register, register: RegisterState, types: readonly string[], nullAllowed = false, isOther = false): void {
  const { object } = register;
  const type = object?.kind === 'struct' && object.trust !== undefined ? `${object.trust}_${register.type}` : register.type;
  if (types.includes(type) && (nullAllowed || !register.nullable) && !isOther) return;
  refuse('EACCES', `R${number} type=${typeText(register)} expected=${types.join(', ')}`);
}

const MOVED_ALLOWED: ReadonlySet<RegisterType> = new Set(['fp', 'pkt', 'pkt_meta', 'map_key', 'map_value', 'mem', 'scalar']);

/** What is handed back has to be what was acquired, and not a place inside it. */
function checkReleased(register: RegisterState, number: Register): void {
  if (register.offset !== 0) refuse('EINVAL', `R${number} must have zero offset when passed to release func or trusted arg to kfunc`);
  checkUnmodified(register, number);
  if (register.reference === 0) refuse('EINVAL', `R${number} must be referenced when passed to release function`);
}

function checkOffset(register: RegisterState, number: Register): void {
  if (MOVED_ALLOWED.has(register.type) && !isTaggedSlice(register)) return;
  if (register.type === 'ringbuf_mem') return;
  checkUnmodified(register, number);
}

export function checkSize(walk: Walk, number: Register, register: RegisterState, zeroAllowed: boolean, memory: ArgumentKind, facts: CallFacts | undefined): void {
  const { smin, umin, umax } = register.scalar;
  const address = (number - 1) as Register;
  if (smin < 0n) refuse('EACCES', `R${number} min value is negative, either use unsigned or 'var &= const'`);
  if (umin === 0n && !zeroAllowed) refuse('EACCES', `R${number} invalid zero-sized read: u64=[${umin},${umax}]`);
  if (umax >= MAX_VARIABLE_SIZE) refuse('EACCES', `R${number} unbounded memory access, use 'var &= const' or 'if (var < const)'`);
  const writes = memory.includes('out');
  if (facts !== undefined && memory === 'memory_out' && isConstant(register.scalar)) fill(walk, address, Number(umax), facts, zeroAllowed);
  else checkHelperMemory(walk, address, Number(umax), writes ? 'write' : 'read', zeroAllowed);
  walk.precision.markRegister(walk.state, number);
}

/** Memory that the helper writes, and that need not be initialised before. */
function fill(walk: Walk, number: Register, bytes: number, facts: CallFacts, zeroAllowed = false): void {
  const register = walk.get(number);
  if (register.type === 'fp' && isConstant(register.scalar)) {
    if (bytes === 0 && !zeroAllowed) refuse('EACCES', 'invalid zero-sized read');
    checkStackBounds(walk, number, register, 0, bytes, 'write');
    checkNoDynptr(walk, register, bytes);
    if (bytes > 0) facts.fills = { register: number, bytes };
    return;
  }
  checkHelperMemory(walk, number, bytes, 'write', zeroAllowed);
}

/**
 * Bytes behind a pointer that a helper reads or writes (check_helper_mem_access). Where NULL is allowed, Linux takes what
 * may be NULL with any size, and the helper reads at NULL: here it has to be none.
 */
export function checkHelperMemory(walk: Walk, number: Register, bytes: number, access: 'read' | 'write', zeroAllowed: boolean): void {
  const register = walk.get(number);
  if (register.nullable && bytes > 0) refuse('EACCES', `R${number} type=${typeText(register)} expected=fp`);
  switch (register.type) {
    case 'pkt':
    case 'pkt_meta':
      if (access === 'write' && !mayWritePacket(walk)) refuse('EACCES', 'cannot write into packet');
      checkPacketRange(number, register, 0, bytes, zeroAllowed);
      return;
    case 'map_key':
      if (access === 'write') refuse('EACCES', `R${number} cannot write into ${typeText(register)}`);
      checkRegion(number, register, 0, bytes, register.map!.keyBytes, zeroAllowed);
      return;
    case 'map_value':
      checkMapRights(register.map!, access, register.offset, bytes);
      checkMapValue(number, register, 0, bytes, zeroAllowed, true);
      return;
    case 'mem':
    case 'ringbuf_mem':
      if (access === 'write' && register.readOnly) refuse('EACCES', `R${number} cannot write into ${typeText(register)}`);
      checkRegion(number, register, 0, bytes, register.bytes, zeroAllowed);
      return;
    case 'fp': {
      if (bytes === 0 && !zeroAllowed) refuse('EACCES', 'invalid zero-sized read');
      checkStackBounds(walk, number, register, 0, bytes, access);
      const least = register.offset + Number(register.scalar.smin);
      const end = register.offset + Number(register.scalar.smax) + bytes;
      checkStackBytes(walk, frameOf(walk, register), number, register, least, end, bytes, access === 'write');
      return;
    }
    case 'scalar':
      if (zeroAllowed && bytes === 0 && isKnownZero(register)) return;
      break;
    default:
  }
  refuse('EACCES', `R${number} type=${typeText(register)} expected=fp`);
}

/** The key, where it is a number that the stack holds, and numbers are followed there (get_constant_map_key). The slot then matters. */
function constantKey(walk: Walk, register: RegisterState, keyBytes: number): bigint | undefined {
  if (!walk.rights.bpf || register.type !== 'fp' || !isConstant(register.scalar)) return undefined;
  const offset = register.offset + Number(BigInt.asIntN(64, register.scalar.value));
  const slot = (-offset - 1) >> 3;
  const found = frameOf(walk, register).stack[slot];
  if (found === undefined) return undefined;
  const first = (-offset - 1) & 7;
  let zeros = 0;
  while (first - zeros >= 0 && kindAt(found, first - zeros) === BYTE.zero) zeros++;
  if (zeros >= keyBytes) return 0n;
  if (!isSpilledScalar(found) || !isConstant(found.spilled.scalar)) return undefined;
  let spills = 0;
  while (first - spills >= 0 && kindAt(found, first - spills) === BYTE.spill) spills++;
  if (spills !== keyBytes) return undefined;
  walk.precision.markSlot(walk.state, register.frame, slot);
  return found.spilled.scalar.value;
}

function timerAt(number: Register, register: RegisterState, facts: CallFacts): void {
  const map = register.map!;
  if (!isConstant(register.scalar)) refuse('EINVAL', `R${number} doesn't have constant offset. bpf_timer has to be at the constant offset`);
  const field = specialFields(map).find(({ type }) => type === 'bpf_timer');
  if (field === undefined) refuse('EINVAL', map.btf === undefined ? `map '${map.name}' has to have BTF in order to use bpf_timer` : `map '${map.name}' has no valid bpf_timer`);
  const at = register.offset + Number(register.scalar.value);
  if (at !== field.offset) refuse('EINVAL', `off ${at} doesn't point to 'struct bpf_timer' that is at ${field.offset}`);
  facts.map = map;
  facts.mapUid = register.mapUid;
}

/** Text that nobody can change. */
function constantString(number: Register, register: RegisterState): void {
  const map = register.map!;
  if (map.type !== BPF_MAP_TYPE.array || !map.frozen) refuse('EACCES', `R${number} does not point to a readonly map'`);
  if (!isConstant(register.scalar)) refuse('EACCES', `R${number} is not a constant address'`);
}

/** bpf_spin_lock and bpf_spin_unlock. */
export function spinLock(walk: Walk, number: Register, locks: boolean): void {
  const register = walk.get(number);
  const map = register.map!;
  if (!isConstant(register.scalar)) refuse('EINVAL', `R${number} doesn't have constant offset. bpf_spin_lock has to be at the constant offset`);
  if (map.btf === undefined) refuse('EINVAL', `map '${map.name}' has to have BTF in order to use bpf_spin_lock`);
  const field = specialFields(map).find(({ type }) => type === 'bpf_spin_lock');
  if (field === undefined) refuse('EINVAL', `map '${map.name}' has no valid bpf_spin_lock`);
  const at = register.offset + Number(register.scalar.value);
  if (at !== field.offset) refuse('EINVAL', `off ${at} doesn't point to 'struct bpf_spin_lock' that is at ${field.offset}`);
  const { state } = walk;
  if (locks) {
    if (state.lock !== undefined) refuse('EINVAL', 'Locking two bpf_spin_locks are not allowed');
    state.lock = { id: register.id, map: map.name };
    return;
  }
  if (state.lock === undefined) refuse('EINVAL', 'bpf_spin_unlock without taking a lock');
  if (state.lock.id !== register.id || state.lock.map !== map.name) refuse('EINVAL', 'bpf_spin_unlock of different lock');
  state.lock = undefined;
}

/** A reference ends: its pointers are numbers nobody may use as pointers. */
export function release(state: State, reference: number): boolean {
  const left = without(state.references, reference);
  if (left === state.references) return false;
  state.references = left;
  return true;
}

