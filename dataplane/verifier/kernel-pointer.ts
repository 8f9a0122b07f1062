/**
 * Pointers in map values to what the kernel has (Linux: kptr, check_map_kptr_access, map_kptr_match_type). A `__kptr` is
 * a reference that only bpf_kptr_xchg puts there and takes out; programs may look through it. A `__kptr_untrusted` may be
 * stored and loaded, and what it points to may be gone.
 */
import type { Register } from '../bpf/isa.ts';
import type { MapSpec } from '../bpf/spec.ts';
import { specialFields, type SpecialField } from '../maps/special-fields.ts';
import { kernelObject, structOf, type StructFacts } from './kernel-object.ts';
import { refuse } from './refusal.ts';
import { isKnownZero, typeText, type RegisterState } from './register.ts';
import { isConstant } from './scalar.ts';
import { tnumText } from './stack.ts';
import type { Walk } from './walk.ts';

export interface KernelPointer extends SpecialField {
  readonly pointee: string;
}

export const isKernelPointer = (field: SpecialField): field is KernelPointer => field.pointee !== undefined;

/** An access touches the field: it has to be of the whole field, at a place that is known, and no helper's. */
export function checkKernelPointer({ offset: start }: KernelPointer, register: RegisterState, offset: number, bytes: number, byHelper: boolean): void {
  if (byHelper) refuse('EACCES', 'kptr cannot be accessed indirectly by helper');
  if (!isConstant(register.scalar)) refuse('EACCES', 'kptr access cannot have variable offset');
  const at = register.offset + offset + Number(register.scalar.value);
  if (at !== start) refuse('EACCES', `kptr access misaligned expected=${start} off=${at}`);
  if (bytes !== 8) refuse('EACCES', 'kptr access size must be BPF_DW');
}

/** The field that a direct access, which was checked, is of. */
export function kernelPointerAt(register: RegisterState, offset: number): KernelPointer | undefined {
  const at = register.offset + offset + Number(BigInt.asIntN(64, register.scalar.value));
  return isConstant(register.scalar) ? fieldAt(register.map!, at) : undefined;
}

const fieldAt = (map: MapSpec, at: number): KernelPointer | undefined => specialFields(map).filter(isKernelPointer).find(({ offset }) => offset === at);

export function loadKernelPointer(walk: Walk, map: MapSpec, { type, pointee }: KernelPointer): RegisterState {
  const local = isLocal(walk, pointee);
  const trust = type === 'kptr' && (local || RCU_PROTECTED.has(pointee)) ? 'rcu' : 'untrusted';
  return kernelObject(pointee, { nullable: true, id: walk.newId() }, { trust, ...(local ? { local: map.btf! } : {}) });
}

/** Structures that stay while an RCU section lasts, which programs for packets are in. */
const RCU_PROTECTED: ReadonlySet<string> = new Set(['task_struct', 'cgroup', 'bpf_cpumask', 'bpf_crypto_ctx', 'prog_test_ref_kfunc']);

/** A structure that the kernel does not know is the program's own. */
const isLocal = (walk: Walk, name: string): boolean => walk.kernelBtf().idsByName(name, 'struct').length === 0;

/** `value`: what is stored, a number where it is an immediate. */
export function storeKernelPointer(walk: Walk, field: KernelPointer, value: { readonly register?: Register; readonly immediate?: number }): void {
  if (field.type === 'kptr') refuse('EACCES', 'store to referenced kptr disallowed');
  if (value.register === undefined) {
    if (value.immediate !== 0) refuse('EACCES', `BPF_ST imm must be 0 when storing to kptr at off=${field.offset}`);
    return;
  }
  const register = walk.get(value.register);
  if (!isKnownZero(register) && !matches(value.register, register, field)) refuse('EACCES', mismatch(value.register, register, field));
}

function matches(number: Register, register: RegisterState, { type, pointee }: KernelPointer): boolean {
  if (register.type !== 'ptr_' || (type === 'kptr' && (register.object as StructFacts).trust === 'untrusted')) return false;
  if (register.offset < 0) refuse('EACCES', `negative offset ptr_ ptr R${number} off=${register.offset} disallowed`);
  if (!isConstant(register.scalar) || register.scalar.value !== 0n) refuse('EACCES', `variable ptr_ access var_off=${tnumText(register.scalar)} disallowed`);
  return structOf(register) === pointee && register.offset === 0;
}

function mismatch(number: Register, register: RegisterState, { type, pointee }: KernelPointer): string {
  const name = register.type === 'ptr_' ? structOf(register) : '';
  return `invalid kptr access, R${number} type=${typeText(register)}${name} expected=ptr_${pointee}${type === 'kptr' ? '' : ` or untrusted_ptr_${pointee}`}`;
}

/** The first argument of bpf_kptr_xchg: the field that it is about. */
export function exchangedField(number: Register, register: RegisterState): KernelPointer {
  const map = register.map!;
  if (!isConstant(register.scalar)) refuse('EINVAL', `R${number} doesn't have constant offset. kptr has to be at the constant offset`);
  if (map.btf === undefined) refuse('EINVAL', `map '${map.name}' has to have BTF in order to use bpf_kptr_xchg`);
  if (!specialFields(map).some(isKernelPointer)) refuse('EINVAL', `R${number} has no valid kptr`);
  const at = register.offset + Number(BigInt.asIntN(64, register.scalar.value));
  const field = fieldAt(map, at) ?? refuse('EACCES', `off=${at} doesn't point to kptr`);
  if (field.type !== 'kptr') refuse('EACCES', `off=${at} kptr isn't referenced kptr`);
  return field;
}

/** The second: what is put there. */
export function checkExchanged(number: Register, register: RegisterState, field: KernelPointer): void {
  if (register.nullable) refuse('EACCES', `Possibly NULL pointer passed to helper arg${number}`);
  if (!matches(number, register, field)) refuse('EACCES', mismatch(number, register, field));
}

/** What was there comes out, and has to be released. */
export function exchanged(walk: Walk, map: MapSpec, { pointee }: KernelPointer): RegisterState {
  walk.newId();
  const id = walk.acquire();
  return kernelObject(pointee, { nullable: true, id, reference: id }, isLocal(walk, pointee) ? { local: map.btf! } : {});
}
