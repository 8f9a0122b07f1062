/** Loads, stores and atomics: what each kind of pointer lets an access reach, and what a load gives. */
import type { AccessBytes, Instruction, Operand, Register } from '../bpf/isa.ts';
import { BPF_MAP_TYPE } from '../bpf/map-type.ts';
import type { MapSpec } from '../bpf/spec.ts';
import { contextAccess, type ContextAccess } from '../hooks/context-access.ts';
import { MAP_FLAG } from '../maps/map-check.ts';
import { specialFields } from '../maps/special-fields.ts';
import { checkKernelPointer, isKernelPointer, kernelPointerAt, loadKernelPointer, storeKernelPointer } from './kernel-pointer.ts';
import { readObject, readStruct, writeObject } from './kernel-object.ts';
import { refuse } from './refusal.ts';
import { constantRegister, pointer, scalarRegister, typeText, UNKNOWN_SCALAR, withFacts, type RegisterState } from './register.ts';
import { coerceToBytes, isConstant, SIGNED_OF_BYTES, UNKNOWN_OF_BYTES } from './scalar.ts';
import { signExtend } from './scalar-arithmetic.ts';
import { checkStackBounds, readStack, tnumText, writeStack } from './stack.ts';
import type { Walk } from './walk.ts';

export const MAX_VARIABLE_OFFSET = 1n << 29n;

/** What is stored; nothing of it for helpers that write on their own. */
interface Stored {
  readonly register?: Register;
  readonly immediate?: number;
}

/** NET_IP_ALIGN where unaligned access is slow: packets are taken to begin 2 bytes behind a multiple of 4. */
const ETHERNET_ALIGNMENT = 2;

/** The constant and variable parts as text: `off 0+-8+2`. */
function alignmentText(register: RegisterState, offset: number): string {
  return `${tnumText(register.scalar)}+${register.offset}+${offset}`;
}

/** That the access begins at a multiple of its size: of the stack always, of packets nowhere on machines like x86-64. */
export function checkAlignment(register: RegisterState, offset: number, bytes: number, strict: boolean): void {
  if (register.type !== 'fp' && !strict) return;
  const { value, mask } = register.scalar;
  const place = BigInt(register.offset + offset + (register.type === 'pkt' || register.type === 'pkt_meta' ? ETHERNET_ALIGNMENT : 0)) + value;
  if (((place | mask) & BigInt(bytes - 1)) === 0n) return;
  const what: Partial<Record<RegisterState['type'], string>> = { fp: 'stack ', map_value: 'value ', ctx: 'context ', pkt: 'packet ', pkt_meta: 'packet ' };
  const packet = register.type === 'pkt' || register.type === 'pkt_meta' ? `${ETHERNET_ALIGNMENT}+` : '';
  refuse('EACCES', `misaligned ${what[register.type] ?? ''}access off ${packet}${alignmentText(register, offset)} size ${bytes}`);
}

const unsignedHint = (number: number): string => `R${number} min value is negative, either use unsigned index or do a if (index >=0) check.`;

/** An access at a constant place of something of a known size. */
function inside(offset: number, bytes: number, sizeBytes: number, zeroSizeAllowed: boolean): boolean {
  return offset >= 0 && (bytes > 0 || zeroSizeAllowed) && offset + bytes <= sizeBytes;
}

/** How far an access goes, and of what. */
function outside(number: number, register: RegisterState, offset: number, bytes: number, sizeBytes: number): string {
  switch (register.type) {
    case 'map_key':
      return `invalid access to map key, key_size=${sizeBytes} off=${offset} size=${bytes}\n`;
    case 'map_value':
      return `invalid access to map value, value_size=${sizeBytes} off=${offset} size=${bytes}\n`;
    case 'pkt':
    case 'pkt_meta':
      return `invalid access to packet, off=${offset} size=${bytes}, R${number}(id=${register.id},off=${offset},r=${sizeBytes})\n`;
    default:
      return `invalid access to memory, mem_size=${sizeBytes} off=${offset} size=${bytes}\n`;
  }
}

/** Constant and variable offsets within a region of `sizeBytes` (Linux: check_mem_region_access). */
export function checkRegion(number: number, register: RegisterState, offset: number, bytes: number, sizeBytes: number, zeroSizeAllowed = false): void {
  const { smin, umax } = register.scalar;
  const base = register.offset + offset;
  if (smin < 0n && (smin === -(1n << 63n) || BigInt(base) + smin < 0n || BigInt(base) !== BigInt.asIntN(32, BigInt(base)))) refuse('EACCES', unsignedHint(number));
  const least = base + Number(smin);
  if (!inside(least, bytes, sizeBytes, zeroSizeAllowed)) refuse('EACCES', `R${number} min value is outside of the allowed memory range`, outside(number, register, least, bytes, sizeBytes));
  if (umax >= MAX_VARIABLE_OFFSET) refuse('EACCES', `R${number} unbounded memory access, make sure to bounds check any such access`);
  const most = base + Number(umax);
  if (!inside(most, bytes, sizeBytes, zeroSizeAllowed)) refuse('EACCES', `R${number} max value is outside of the allowed memory range`, outside(number, register, most, bytes, sizeBytes));
}

/** Bytes of a packet that a comparison with its end has proven (check_packet_access). */
export function checkPacketRange(number: number, register: RegisterState, offset: number, bytes: number, zeroSizeAllowed = false): void {
  if (register.scalar.smin < 0n) refuse('EACCES', unsignedHint(number));
  const base = register.offset + offset;
  if (register.range < 0) refuse('EINVAL', `R${number} offset is outside of the packet`);
  if (!inside(base, bytes, register.range, zeroSizeAllowed)) refuse('EACCES', `R${number} offset is outside of the packet`, outside(number, register, base, bytes, register.range));
}

/** Programs of some types, and maps with some flags, only read. */
export function mayWritePacket(walk: Walk): boolean {
  return walk.type !== 'socket_filter' && walk.type !== 'cgroup_skb';
}

/** What is at `offset` of a map value may be reached, and is not kept by the kernel for itself. */
export function checkMapValue(number: number, register: RegisterState, offset: number, bytes: number, zeroSizeAllowed = false, byHelper = false): void {
  const map = register.map!;
  checkRegion(number, register, offset, bytes, map.valueBytes, zeroSizeAllowed);
  if (bytes === 0) return;
  for (const field of specialFields(map)) {
    const from = BigInt(register.offset + offset) + register.scalar.smin;
    const to = BigInt(register.offset + offset) + register.scalar.umax + BigInt(bytes);
    if (from >= BigInt(field.offset + field.lengthBytes) || BigInt(field.offset) >= to) continue;
    if (isKernelPointer(field)) checkKernelPointer(field, register, offset, bytes, byHelper);
    else refuse('EACCES', `${field.type} cannot be accessed directly by load/store`);
  }
}

/** Devices are written by user space only. */
const READ_ONLY_TYPES: ReadonlySet<number> = new Set([BPF_MAP_TYPE.devmap, BPF_MAP_TYPE.devmap_hash]);

export const programsOnlyRead = ({ type, flags }: MapSpec): boolean => (flags & MAP_FLAG.RDONLY_PROG) !== 0 || READ_ONLY_TYPES.has(type);

export function checkMapRights(map: MapSpec, access: 'read' | 'write', offset: number, bytes: number): void {
  const denied = access === 'write' ? programsOnlyRead(map) : (map.flags & MAP_FLAG.WRONLY_PROG) !== 0;
  if (denied) refuse('EACCES', access === 'write' ? `write into map forbidden, value_size=${map.valueBytes} off=${offset} size=${bytes}` : `read from map forbidden, value_size=${map.valueBytes} off=${offset} size=${bytes}`);
}

/** A pointer that has to be as it was given: no part of it added or subtracted. */
export function checkUnmodified(register: RegisterState, number: number, allowFixed = false): void {
  if (register.offset < 0) refuse('EACCES', `negative offset ${typeText(register)} ptr R${number} off=${register.offset} disallowed`);
  if (!allowFixed && register.offset !== 0) refuse('EACCES', `dereference of modified ${typeText(register)} ptr R${number} off=${register.offset} disallowed`);
  if (!isConstant(register.scalar) || register.scalar.value !== 0n) refuse('EACCES', `variable ${typeText(register)} access var_off=${tnumText(register.scalar)} disallowed`);
}

const CONTEXT_POINTERS: Readonly<Record<Exclude<ContextAccess['kind'], 'scalar'>, (walk: Walk) => RegisterState>> = {
  packet: () => pointer('pkt'),
  packet_meta: () => pointer('pkt_meta'),
  packet_end: () => pointer('pkt_end'),
  socket_or_null: (walk) => pointer('sock_common', { nullable: true, id: walk.newId() }),
  flow_keys: () => pointer('flow_keys'),
};

/** Loads `bytes` at `register + offset`. */
export function loadFrom(walk: Walk, number: Register, offset: number, bytes: AccessBytes, signed: boolean): RegisterState {
  const loaded = read(walk, number, walk.read(number), offset, bytes, signed);
  if (loaded.type !== 'scalar' || bytes === 8) return loaded;
  const scalar = signed ? signExtend(64, (8 * bytes) as 8 | 16 | 32, loaded.scalar) : coerceToBytes(loaded.scalar, bytes);
  return scalar === loaded.scalar ? loaded : withFacts(loaded, { scalar });
}

function read(walk: Walk, number: Register, register: RegisterState, offset: number, bytes: AccessBytes, signed: boolean): RegisterState {
  if (register.nullable) refuse('EACCES', `R${number} invalid mem access '${typeText(register)}'`);
  switch (register.type) {
    case 'fp':
      checkAlignment(register, offset, bytes, true);
      checkStackBounds(walk, number, register, offset, bytes, 'read');
      return readStack(walk, number, register, offset, bytes);
    case 'ctx': {
      checkUnmodified(register, number);
      const at = offset;
      const access = contextAccess(walk.type, at, bytes, false, walk.spec.attach, walk.rights.bpf);
      if (access === undefined || (signed && access.kind !== 'scalar')) refuse('EACCES', `invalid bpf_context access off=${at} size=${bytes}`);
      if (access.kind === 'scalar') return fromMemory(bytes, signed);
      return CONTEXT_POINTERS[access.kind](walk);
    }
    case 'map_value':
      checkMapRights(register.map!, 'read', register.offset + offset, bytes);
      checkMapValue(number, register, offset, bytes);
      {
        const kernelPointer = kernelPointerAt(register, offset);
        if (kernelPointer !== undefined) return loadKernelPointer(walk, register.map!, kernelPointer);
      }
      return frozenValue(register, offset, bytes, signed) ?? fromMemory(bytes, signed);
    case 'map_key':
      checkRegion(number, register, offset, bytes, register.map!.keyBytes);
      return fromMemory(bytes, signed);
    case 'mem':
    case 'ringbuf_mem':
      checkRegion(number, register, offset, bytes, register.bytes);
      return fromMemory(bytes, signed);
    case 'pkt':
    case 'pkt_meta':
      checkPacketRange(number, register, offset, bytes);
      return fromMemory(bytes, signed);
    case 'sock':
    case 'sock_common':
    case 'tcp_sock':
      checkUnmodified(register, number, true);
      if (!socketAccess(register, offset + register.offset, bytes)) refuse('EACCES', `R${number} invalid ${typeText(register)} access off=${offset} size=${bytes}`);
      return fromMemory(bytes, signed);
    case 'ptr_':
      return readObject(walk, number, register, offset, bytes);
    case 'map_ptr':
      return readMapPointer(walk, number, register, offset, bytes, signed);
    default:
      return refuse('EACCES', `R${number} invalid mem access '${typeText(register)}'`);
  }
}

const UNSIGNED: Readonly<Record<AccessBytes, RegisterState>> = { 1: scalarRegister(UNKNOWN_OF_BYTES[1]), 2: scalarRegister(UNKNOWN_OF_BYTES[2]), 4: scalarRegister(UNKNOWN_OF_BYTES[4]), 8: UNKNOWN_SCALAR };
const SIGNED: Readonly<Record<AccessBytes, RegisterState>> = { 1: scalarRegister(SIGNED_OF_BYTES[1]), 2: scalarRegister(SIGNED_OF_BYTES[2]), 4: scalarRegister(SIGNED_OF_BYTES[4]), 8: UNKNOWN_SCALAR };
const fromMemory = (bytes: AccessBytes, signed: boolean): RegisterState => (signed ? SIGNED : UNSIGNED)[bytes];

/** Places in struct bpf_sock and struct bpf_tcp_sock (include/uapi/linux/bpf.h). */
const SOCK = { type: 8, src_ip4: 24, dst_port: 48, bytes: 80 } as const;
const SOCK_WHOLE_FIELDS: ReadonlySet<number> = new Set([0, 16, 20]);
const TCP_SOCK = { bytes_received: 80, bytes_acked: 88, bytes: 112 } as const;

/** Whole fields; of most of struct bpf_sock also parts. What is not known of every socket is not readable through sock_common. */
function socketAccess({ type }: RegisterState, offset: number, bytes: number): boolean {
  if (offset < 0 || offset % bytes !== 0) return false;
  if (type === 'tcp_sock') return offset < TCP_SOCK.bytes && bytes === (offset === TCP_SOCK.bytes_received || offset === TCP_SOCK.bytes_acked ? 8 : 4);
  if (offset >= SOCK.bytes || bytes === 8 || (type === 'sock_common' && offset >= SOCK.type && offset < SOCK.src_ip4)) return false;
  if (SOCK_WHOLE_FIELDS.has(offset & ~3)) return bytes === 4;
  // A port of 16 bits, and padding that old programs read with it.
  if (offset >= SOCK.dst_port && offset < SOCK.dst_port + 4) return offset === SOCK.dst_port || bytes < 4 && offset < SOCK.dst_port + 2;
  return true;
}

/** The kernel's struct behind a map, which BTF lets programs read. */
function mapStruct({ type }: MapSpec): string {
  return MAP_STRUCTS[type] ?? 'bpf_map';
}

const { hash, percpu_hash, lru_hash, lru_percpu_hash, hash_of_maps, lpm_trie, devmap, devmap_hash, cpumap, xskmap, ringbuf, queue, stack } = BPF_MAP_TYPE;
const MAP_STRUCTS: Readonly<Record<number, string>> = {
  ...Object.fromEntries([BPF_MAP_TYPE.array, BPF_MAP_TYPE.percpu_array, BPF_MAP_TYPE.prog_array, BPF_MAP_TYPE.perf_event_array, BPF_MAP_TYPE.array_of_maps].map((type) => [type, 'bpf_array'])),
  ...Object.fromEntries([hash, percpu_hash, lru_hash, lru_percpu_hash, hash_of_maps].map((type) => [type, 'bpf_htab'])),
  ...Object.fromEntries([devmap, devmap_hash].map((type) => [type, 'bpf_dtab'])),
  ...Object.fromEntries([queue, stack].map((type) => [type, 'bpf_queue_stack'])),
  [lpm_trie]: 'lpm_trie', [cpumap]: 'bpf_cpu_map', [xskmap]: 'xsk_map', [ringbuf]: 'bpf_ringbuf_map',
};

/** Of the kernel's own structure of a map. */
function placeInMap(walk: Walk, number: Register, register: RegisterState, offset: number): { readonly struct: string; readonly at: number } {
  const struct = mapStruct(register.map!);
  if (!walk.rights.perfmon) refuse('EPERM', `'struct ${struct}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN`);
  const at = register.offset + offset;
  if (at < 0) refuse('EACCES', `R${number} is ${struct} invalid negative access: off=${at}`);
  return { struct, at };
}

function readMapPointer(walk: Walk, number: Register, register: RegisterState, offset: number, bytes: AccessBytes, signed: boolean): RegisterState {
  const { struct, at } = placeInMap(walk, number, register, offset);
  const found = readStruct(walk.kernelBtf(), struct, at, bytes);
  return found === undefined || found.type === 'scalar' ? fromMemory(bytes, signed) : found;
}

/** The value of a map that nobody can write any more is a constant (bpf_map_direct_read). */
function frozenValue(register: RegisterState, offset: number, bytes: AccessBytes, signed: boolean): RegisterState | undefined {
  const map = register.map!;
  if (!map.frozen || map.type !== BPF_MAP_TYPE.array || (map.flags & MAP_FLAG.RDONLY_PROG) === 0 || map.contents === undefined || !isConstant(register.scalar)) return undefined;
  const at = register.offset + offset + Number(BigInt.asIntN(64, register.scalar.value));
  const view = new DataView(map.contents.buffer, map.contents.byteOffset, map.contents.byteLength);
  if (at + bytes > view.byteLength) return undefined;
  const value = bytes === 8 ? view.getBigUint64(at, true) : BigInt(bytes === 4 ? view.getUint32(at, true) : bytes === 2 ? view.getUint16(at, true) : view.getUint8(at));
  return constantRegister(signed ? BigInt.asIntN(8 * bytes, value) : value);
}

/** Stores at `register + offset`. */
export function storeTo(walk: Walk, number: Register, offset: number, bytes: AccessBytes, source: Operand): void {
  const stored: Stored = source.kind === 'register' ? { register: source.register } : { immediate: source.value };
  const value = stored.register === undefined ? undefined : walk.read(stored.register);
  const register = walk.read(number);
  write(walk, number, register, offset, bytes, value, stored);
}

/** A kernel function writes 8 bytes at `register + offset`. */
export function storeWord(walk: Walk, number: Register, offset: number): void {
  write(walk, number, walk.read(number), offset, 8, undefined, {});
}

/** A helper writes one byte at `register + offset`. */
export function storeByte(walk: Walk, number: Register, offset: number): void {
  write(walk, number, walk.read(number), offset, 1, undefined, {});
}

function refuseLeak(walk: Walk, value: RegisterState | undefined, stored: Stored, into: string): void {
  if (value !== undefined && walk.isSecret(value)) refuse('EACCES', `R${stored.register!} leaks addr into ${into}`);
}

function write(walk: Walk, number: Register, register: RegisterState, offset: number, bytes: AccessBytes, value: RegisterState | undefined, stored: Stored): void {
  if (register.nullable) refuse('EACCES', `R${number} invalid mem access '${typeText(register)}'`);
  switch (register.type) {
    case 'fp':
      checkAlignment(register, offset, bytes, true);
      checkStackBounds(walk, number, register, offset, bytes, 'write');
      writeStack(walk, register, offset, bytes, value, stored.register, stored.immediate);
      return;
    case 'ctx': {
      refuseLeak(walk, value, stored, 'ctx');
      checkUnmodified(register, number);
      const at = offset;
      if (contextAccess(walk.type, at, bytes, true, walk.spec.attach, walk.rights.bpf) === undefined) refuse('EACCES', `invalid bpf_context access off=${at} size=${bytes}`);
      return;
    }
    case 'map_value':
      refuseLeak(walk, value, stored, 'map');
      checkMapRights(register.map!, 'write', register.offset + offset, bytes);
      checkMapValue(number, register, offset, bytes);
      {
        const kernelPointer = kernelPointerAt(register, offset);
        if (kernelPointer !== undefined) storeKernelPointer(walk, kernelPointer, stored);
      }
      return;
    case 'map_key':
      return refuse('EACCES', `write to change key R${number} not allowed`);
    case 'mem':
    case 'ringbuf_mem':
      if (register.readOnly) refuse('EACCES', `R${number} cannot write into ${typeText(register)}`);
      refuseLeak(walk, value, stored, 'mem');
      checkRegion(number, register, offset, bytes, register.bytes);
      return;
    case 'pkt':
    case 'pkt_meta':
      if (!mayWritePacket(walk)) refuse('EACCES', 'cannot write into packet');
      refuseLeak(walk, value, stored, 'packet');
      checkPacketRange(number, register, offset, bytes);
      return;
    case 'sock':
    case 'sock_common':
    case 'tcp_sock':
      return refuse('EACCES', `R${number} cannot write into ${typeText(register)}`);
    case 'ptr_':
      refuseLeak(walk, value, stored, 'mem');
      return writeObject(walk, number, register, offset, bytes as AccessBytes);
    case 'map_ptr':
      return refuse('EACCES', `only read from ${placeInMap(walk, number, register, offset).struct} is supported`);
    default:
      return refuse('EACCES', `R${number} invalid mem access '${typeText(register)}'`);
  }
}

/** Atomic operations: on memory that is the program's, never on packets, sockets or the context. */
export function atomic(walk: Walk, instruction: Extract<Instruction, { kind: 'atomic' }>): void {
  const { op, bytes, dst, src, offset, fetch } = instruction;
  const address = op === 'load_acquire' ? src : dst;
  const modifies = op !== 'load_acquire' && op !== 'store_release';
  if (modifies && bytes < 4) refuse('EINVAL', 'invalid atomic operand size');
  if (op !== 'load_acquire') walk.read(src);
  const fetched = !modifies ? undefined : op === 'cmpxchg' ? 0 : fetch ? src : undefined;
  const register = walk.read(address);
  if (op === 'cmpxchg' && walk.isSecret(walk.read(0))) refuse('EACCES', 'R0 leaks addr into mem');
  if (modifies && walk.isSecret(walk.read(src))) refuse('EACCES', `R${src} leaks addr into mem`);
  if (fetched === 10 && !NO_ATOMICS.has(register.type)) refuse('EACCES', 'frame pointer is read only');
  if (op === 'load_acquire' && dst === 10) refuse('EACCES', 'frame pointer is read only');
  // A register that is fetched into is a number before the memory that it points to is looked at.
  if (!modifies || !NO_ATOMICS.has(register.type)) checkAlignment(fetched === address ? UNKNOWN_SCALAR : register, offset, bytes, true);
  if (NO_ATOMICS.has(register.type)) refuse('EACCES', `BPF_ATOMIC ${op === 'load_acquire' ? 'loads from' : 'stores into'} R${address} ${typeText(register)} is not allowed`);
  if (modifies && !isStackConstant(register)) {
    refuse('EACCES', `variable offset stack pointer cannot be passed into helper function; var_off=${tnumText(register.scalar)} off=${offset} size=${bytes}`);
  }
  if (register.type === 'map_value' && !register.nullable) {
    checkMapValue(address, register, offset, bytes);
    if (kernelPointerAt(register, offset) !== undefined) refuse('EACCES', 'kptr in map can only be accessed using BPF_MEM instruction mode');
  }
  if (op === 'load_acquire') {
    walk.set(dst, loadFrom(walk, src, offset, bytes, false));
    return;
  }
  if (op === 'store_release') {
    storeTo(walk, dst, offset, bytes, { kind: 'register', register: src });
    return;
  }
  const old = loadFrom(walk, dst, offset, bytes, false);
  if (register.type === 'fp' && !fetch && walk.isSecret(old)) refuse('EACCES', `leaking pointer from stack off ${register.offset + offset}`);
  write(walk, dst, register, offset, bytes, undefined, {});
  if (fetched !== undefined) walk.set(fetched, old);
}

const NO_ATOMICS: ReadonlySet<RegisterState['type']> = new Set(['ctx', 'pkt', 'pkt_meta', 'flow_keys', 'sock', 'sock_common', 'tcp_sock']);
const isStackConstant = (register: RegisterState): boolean => register.type !== 'fp' || isConstant(register.scalar);
