/**
 * Pointers to what the kernel has, described by its BTF (Linux: PTR_TO_BTF_ID, check_ptr_to_btf_access, btf_struct_walk).
 * Fields may be read; of a connection, the mark may be written. What a pointer field points to is no more to be trusted
 * than memory that anybody may free: it may be read, and handed to nobody.
 */
import type { AccessBytes, Register } from '../bpf/isa.ts';
import type { Btf } from '../bpf/btf.ts';
import type { BtfComposite, BtfType } from '../bpf/btf-type.ts';
import { isGplCompatible } from './license.ts';
import { refuse } from './refusal.ts';
import { pointer, scalarRegister, type ObjectFacts, type RegisterState } from './register.ts';
import { isConstant, UNKNOWN_OF_BYTES } from './scalar.ts';
import { tnumText } from './stack.ts';
import type { Walk } from './walk.ts';

export type StructFacts = Extract<ObjectFacts, { kind: 'struct' }>;

export const structOf = ({ object }: RegisterState): string => (object as StructFacts).name;

export function kernelObject(name: string, more: Partial<RegisterState> = {}, facts: Pick<StructFacts, 'trust' | 'local'> = {}): RegisterState {
  return pointer('ptr_', { ...more, object: { kind: 'struct', name, ...facts } });
}

/** What a load of `bytes` gives. */
export function readObject(walk: Walk, number: Register, register: RegisterState, offset: number, bytes: AccessBytes): RegisterState {
  const at = checkPlace(walk, number, register, offset);
  const { name, local, trust } = register.object as StructFacts;
  const btf = local ?? walk.kernelBtf();
  const found = readStruct(btf, name, at, bytes) ?? refuse('EOPNOTSUPP', `struct ${name} is not in the BTF that is at hand; give the kernel's`);
  if (found.type !== 'ptr_') return found;
  if (local !== undefined) return scalarOf(bytes);
  return trust === 'untrusted' ? kernelObject(structOf(found), {}, { trust }) : found;
}

/** What a load from a structure of the kernel's gives; undefined where the BTF at hand does not have it. */
export function readStruct(btf: Btf, name: string, at: number, bytes: AccessBytes): RegisterState | undefined {
  const [id] = btf.idsByName(name, 'struct');
  return id === undefined ? undefined : memberAt(btf, btf.type(id) as BtfComposite, at, bytes);
}

/** Structures that programs of some types may write, and what of them. */
const WRITABLE: Readonly<Record<string, { readonly member: string; readonly programs: readonly string[] }>> = {
  nf_conn: { member: 'mark', programs: ['xdp', 'sched_cls', 'sched_act'] },
  nf_conn___init: { member: 'mark', programs: ['xdp', 'sched_cls', 'sched_act'] },
};

export function writeObject(walk: Walk, number: Register, register: RegisterState, offset: number, bytes: AccessBytes): void {
  const at = checkPlace(walk, number, register, offset);
  const { name, local, trust } = register.object as StructFacts;
  if (trust === 'untrusted') refuse('EACCES', 'only read is supported');
  if (local !== undefined) {
    memberAt(local, local.type(local.idsByName(name, 'struct')[0]!) as BtfComposite, at, bytes);
    return;
  }
  const writable = WRITABLE[structOf(register)];
  if (writable === undefined || !writable.programs.includes(walk.type)) return refuse('EACCES', 'only read is supported');
  const btf = walk.kernelBtf();
  const [id] = btf.idsByName('nf_conn', 'struct');
  const member = id === undefined ? undefined : (btf.type(id) as BtfComposite).members.find((each) => each.name === writable.member);
  const start = (member?.offsetBits ?? -8) / 8;
  if (at !== start) refuse('EACCES', `no write support to nf_conn at off ${at}`);
  const end = start + btf.sizeBytes(member!.type);
  if (at + bytes > end) refuse('EACCES', `write access at off ${at} with size ${bytes} beyond the member of nf_conn ended at ${end}`);
}

function checkPlace(walk: Walk, number: Register, register: RegisterState, offset: number): number {
  const name = structOf(register);
  if (!walk.rights.perfmon) refuse('EPERM', `'struct ${name}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN`);
  if (!isGplCompatible(walk.spec.license)) refuse('EINVAL', `Cannot access kernel 'struct ${name}' from non-GPL compatible program`);
  const at = register.offset + offset;
  if (at < 0) refuse('EACCES', `R${number} is ptr_${name} invalid negative access: off=${at}`);
  if (!isConstant(register.scalar) || register.scalar.value !== 0n) refuse('EACCES', `R${number} is ptr_${name} invalid variable offset: off=${at}, var_off=${tnumText(register.scalar)}`);
  return at;
}

/** Walks into structures and arrays until something is left that is read as a whole, or in part where it is a number. */
function memberAt(btf: Btf, struct: BtfComposite, at: number, bytes: number): RegisterState {
  if (at + bytes > struct.sizeBytes) refuse('EACCES', `access beyond struct ${struct.name} at off ${at} size ${bytes}`);
  for (const member of struct.members) {
    const start = Math.floor(member.offsetBits / 8);
    if (member.bitfieldBits > 0) {
      if (at <= start + Math.floor((member.bitfieldBits - 1 + (member.offsetBits % 8)) / 8) && start < at + bytes) return scalarOf(bytes);
      continue;
    }
    if (at + bytes <= start) break;
    const end = start + btf.sizeBytes(member.type);
    if (at >= end) continue;
    if (at < start) refuse('EACCES', `access beyond the end of member ${member.name} (mend:${end}) in struct ${struct.name} with off ${at} size ${bytes}`);
    return withinMember(btf, struct, member.name, member.type, start, at, bytes);
  }
  return refuse('EINVAL', `struct ${struct.name} doesn't have field at offset ${at}`);
}

function withinMember(btf: Btf, struct: BtfComposite, name: string, type: number, start: number, at: number, bytes: number): RegisterState {
  let { type: found } = btf.resolve(type);
  let [from, end] = [start, start + btf.sizeBytes(type)];
  while (found.kind === 'array') {
    const each = btf.sizeBytes(found.type);
    // A number of an array may be read together with its neighbours.
    if (isNumber(btf.resolve(found.type).type)) break;
    if (each === 0) refuse('EACCES', `access beyond the end of member ${name} (mend:${end}) in struct ${struct.name} with off ${at} size ${bytes}`);
    from += Math.floor((at - from) / each) * each;
    end = from + each;
    found = btf.resolve(found.type).type;
  }
  if (found.kind === 'struct' || found.kind === 'union') return memberAt(btf, found, at - from, bytes);
  if (found.kind === 'ptr') {
    if (bytes !== 8 || at !== from) refuse('EACCES', `cannot access ptr member ${name} with moff ${from} in struct ${struct.name} with off ${at} size ${bytes}`);
    const target = btf.resolve(found.type).type;
    return target.kind === 'struct' ? kernelObject(target.name) : scalarOf(8);
  }
  if (at + bytes > end) refuse('EACCES', `access beyond the end of member ${name} (mend:${end}) in struct ${struct.name} with off ${at} size ${bytes}`);
  return scalarOf(bytes);
}

const isNumber = ({ kind }: BtfType): boolean => kind === 'int' || kind === 'enum' || kind === 'enum64';
const scalarOf = (bytes: number): RegisterState => scalarRegister(UNKNOWN_OF_BYTES[bytes as AccessBytes]);
