/**
 * What the verifier knows of a register: the kind of thing in it, and where in that thing it may point.
 *
 * A RegisterState is immutable. Moves share it, states copy references, and two states that hold the same object
 * hold the same facts, which is how most comparisons end. Whether a register's value mattered (`precise` in Linux)
 * is a fact about a state, not about a value, and is kept there (state.ts).
 */
import type { Btf } from '../bpf/btf.ts';
import type { MapSpec } from '../bpf/spec.ts';
import { constant, UNKNOWN, type Scalar } from './scalar.ts';

/** enum bpf_reg_type, as far as packet programs meet it, spelled as the kernel's log spells it. */
export type RegisterType =
  /** Not initialised. */
  | '?'
  | 'scalar'
  | 'ctx'
  | 'map_ptr'
  | 'map_value'
  | 'map_key'
  | 'fp'
  | 'pkt'
  | 'pkt_meta'
  | 'pkt_end'
  | 'flow_keys'
  | 'sock'
  | 'sock_common'
  | 'tcp_sock'
  | 'mem'
  | 'ringbuf_mem'
  | 'func'
  /** Something of the kernel that BTF describes. */
  | 'ptr_'
  /** Not of registers: what a stack slot is part of. */
  | 'iterator'
  | 'dynptr';

/** What else is known of what an object is, or a pointer points to. */
export type ObjectFacts =
  /** An open-coded iterator: whether `next` has answered NULL, and how often it has not. */
  | { readonly kind: 'iterator'; readonly name: string; readonly drained: boolean; readonly depth: number }
  /** A dynptr, which is two slots. */
  | { readonly kind: 'dynptr'; readonly of: DynptrType; readonly first: boolean }
  /** Of memory: the dynptr that it is a part of, by its id, and of what that is where it says so. */
  | { readonly kind: 'slice'; readonly dynptr: number; readonly of: DynptrType | undefined }
  /** A structure of the kernel, or of the program itself (`local`: where it is described); and what is known of how long it stays. */
  | { readonly kind: 'struct'; readonly name: string; readonly trust?: 'rcu' | 'untrusted'; readonly local?: Btf };

export type DynptrType = 'local' | 'ringbuf' | 'skb' | 'xdp';

/** `range` of a packet pointer that was compared with the packet's end and found to be past it, or at it. */
export const AT_PACKET_END = -1;
export const BEYOND_PACKET_END = -2;

export interface RegisterState {
  readonly type: RegisterType;
  /** May be NULL until a branch says otherwise. */
  readonly nullable: boolean;
  /** May be read, not written. */
  readonly readOnly: boolean;
  /** Of a pointer: the constant part of where it points. Of a scalar with `delta`: how far it is from its relatives. */
  readonly offset: number;
  /** The number itself, or the variable part of where a pointer points. */
  readonly scalar: Scalar;
  /** Registers with the same id have the same value (scalars), variable part (packet pointers) or null-ness; 0 for none. */
  readonly id: number;
  /** Of a scalar from which its relatives with the same id differ by `offset`: how many bits wide that was added (BPF_ADD_CONST32, BPF_ADD_CONST64). */
  readonly delta: 0 | 32 | 64;
  /** The reference that has to be released, 0 for none. */
  readonly reference: number;
  /** Of a packet pointer: bytes from it, its variable part included and `offset` not, that are proven to be there. */
  readonly range: number;
  /** Size of 'mem' and 'ringbuf_mem'. */
  readonly bytes: number;
  /** Frame that an 'fp' points into; slot of a 'func'. */
  readonly frame: number;
  readonly map: MapSpec | undefined;
  /** Distinguishes values of inner maps that were looked up at different times. */
  readonly mapUid: number;
  readonly object: ObjectFacts | undefined;
}

const BLANK: RegisterState = { type: '?', nullable: false, readOnly: false, offset: 0, scalar: UNKNOWN, id: 0, delta: 0, reference: 0, range: 0, bytes: 0, frame: 0, map: undefined, mapUid: 0, object: undefined };
const POWERS: readonly bigint[] = Array.from({ length: 64 }, (_, bits) => 1n << BigInt(bits));
const ZERO: Scalar = constant(0n);

export const NOT_INITIALISED: RegisterState = BLANK;
export const UNKNOWN_SCALAR: RegisterState = { ...BLANK, type: 'scalar' };
/** Any 64-bit scalar, as a read of bytes that nobody tracked. */
export const scalarRegister = (scalar: Scalar): RegisterState => (scalar === UNKNOWN ? UNKNOWN_SCALAR : withFacts(UNKNOWN_SCALAR, { scalar }));
export const constantRegister = (value: bigint): RegisterState => scalarRegister(constant(value));

/** A pointer to the beginning of something. */
export function pointer(type: Exclude<RegisterType, '?' | 'scalar'>, more: Partial<RegisterState> = {}): RegisterState {
  return withFacts({ ...BLANK, type, scalar: ZERO }, more);
}

/** The register with some facts replaced; of one shape, so that V8 reads every register in the same way. */
export function withFacts(register: RegisterState, more: Partial<RegisterState>): RegisterState {
  const { type, nullable, readOnly, offset, scalar, id, delta, reference, range, bytes, frame, mapUid } = more;
  return {
    type: type ?? register.type,
    nullable: nullable ?? register.nullable,
    readOnly: readOnly ?? register.readOnly,
    offset: offset ?? register.offset,
    scalar: scalar ?? register.scalar,
    id: id ?? register.id,
    delta: delta ?? register.delta,
    reference: reference ?? register.reference,
    range: range ?? register.range,
    bytes: bytes ?? register.bytes,
    frame: frame ?? register.frame,
    map: more.map ?? register.map,
    mapUid: mapUid ?? register.mapUid,
    object: more.object ?? register.object,
  };
}

export const isPointer = (register: RegisterState): boolean => register.type !== 'scalar' && register.type !== '?';
export const isPacketPointer = ({ type }: RegisterState): boolean => type === 'pkt' || type === 'pkt_meta';
/** A slice of a packet, which moves when the packet does. */
export const isPacketSlice = ({ object }: RegisterState): boolean => object?.kind === 'slice' && (object.of === 'skb' || object.of === 'xdp');
/** Linux keeps of what the dynptr is in the type of a slice, which few rules look past. */
export const isTaggedSlice = ({ object }: RegisterState): boolean => object?.kind === 'slice' && object.of !== undefined;
export const isPacketOrEnd = ({ type }: RegisterState): boolean => type === 'pkt' || type === 'pkt_meta' || type === 'pkt_end';
export const isKnownZero = (register: RegisterState): boolean => register.type === 'scalar' && register.scalar.mask === 0n && register.scalar.value === 0n;

/** Whether the number is known to fit into so many bits, unsigned. */
export function fitsBits({ scalar }: RegisterState, bits: number): boolean {
  return bits === 64 || scalar.umax < POWERS[bits]!;
}

/** As messages name it: `map_value_or_null`. */
export function typeText(register: RegisterState): string {
  if (register.type === 'ptr_') {
    const trust = register.object?.kind === 'struct' ? register.object.trust : undefined;
    return `${trust === undefined ? '' : `${trust}_`}ptr_${register.nullable ? 'or_null_' : ''}`;
  }
  return `${register.readOnly && register.type !== 'map_value' ? 'rdonly_' : ''}${register.type}${register.nullable ? '_or_null' : ''}`;
}
