/**
 * Members of a map value that the kernel keeps for itself (Linux Documentation/bpf/graph_ds_impl.rst calls them
 * special fields): an update does not copy them, a new element has them zero, and user space sees them as zero.
 * They are found by the BTF type of the value, as members of the value's struct, or variables of a data section.
 */
import type { Btf } from '../bpf/btf.ts';
import { isModifier } from '../bpf/btf-type.ts';
import type { MapSpec } from '../bpf/spec.ts';
import type { I32 } from '../wasm/expression.ts';
import type { FunctionBuilder } from '../wasm/function-builder.ts';
import { copyBytes, zeroBytes } from './words.ts';

/** By the name of the struct: its size. */
const SPECIAL = { bpf_spin_lock: 4, bpf_timer: 16 } as const;

/** Pointers to what the kernel has: by the tag of what is pointed to (`__kptr`). */
const POINTERS = { kptr: 'kptr', kptr_untrusted: 'kptr_untrusted' } as const;
const POINTER_BYTES = 8;

export interface SpecialField {
  readonly type: keyof typeof SPECIAL | keyof typeof POINTERS;
  /** Of a pointer: the structure that it points to. */
  readonly pointee?: string;
  readonly offset: number;
  readonly lengthBytes: number;
}

export function specialFields({ btf, valueTypeId, valueBytes }: MapSpec): readonly SpecialField[] {
  if (btf === undefined || valueTypeId === 0) return [];
  return parts(btf, valueTypeId).flatMap(({ typeId, offset }) => {
    const { type: of } = btf.resolve(typeId);
    if (of.kind === 'ptr') return pointerField(btf, of.type, offset, valueBytes);
    if (of.kind !== 'struct' || !Object.hasOwn(SPECIAL, of.name)) return [];
    const special = of.name as keyof typeof SPECIAL;
    const field = { type: special, offset, lengthBytes: SPECIAL[special] };
    return field.offset + field.lengthBytes <= valueBytes ? [field] : [];
  });
}

function parts(btf: Btf, valueTypeId: number): readonly { readonly typeId: number; readonly offset: number }[] {
  const { type } = btf.resolve(valueTypeId);
  if (type.kind === 'struct') return type.members.map((member) => ({ typeId: member.type, offset: member.offsetBits / 8 }));
  if (type.kind !== 'datasec') return [];
  return type.variables.flatMap((place) => {
    const variable = btf.type(place.type);
    return variable?.kind === 'var' ? [{ typeId: variable.type, offset: place.offset }] : [];
  });
}

function pointerField(btf: Btf, target: number, offset: number, valueBytes: number): readonly SpecialField[] {
  const tag = btf.type(target);
  const { type } = btf.resolve(target);
  if (!isModifier(tag) || tag.kind !== 'type_tag' || !Object.hasOwn(POINTERS, tag.name) || type.kind !== 'struct' || offset + POINTER_BYTES > valueBytes) return [];
  return [{ type: POINTERS[tag.name as keyof typeof POINTERS], pointee: type.name, offset, lengthBytes: POINTER_BYTES }];
}

export function hasSpinLock(spec: MapSpec): boolean {
  return spinLockOffset(spec) !== undefined;
}

/** Where in a value its lock is. */
export function spinLockOffset(spec: MapSpec): number | undefined {
  return specialFields(spec).find((field) => field.type === 'bpf_spin_lock')?.offset;
}

/** What is between the special fields. */
export function plainRanges(spec: MapSpec): readonly { readonly offset: number; readonly lengthBytes: number }[] {
  const fields = specialFields(spec).toSorted((a, b) => a.offset - b.offset);
  const starts = [0, ...fields.map((field) => field.offset + field.lengthBytes)];
  const ends = [...fields.map((field) => field.offset), spec.valueBytes];
  return starts.map((offset, index) => ({ offset, lengthBytes: ends[index]! - offset })).filter((range) => range.lengthBytes > 0);
}

/** Copies a value but for its special fields. */
export function copyValue(f: FunctionBuilder, spec: MapSpec, to: I32, toOffset: number, from: I32): void {
  for (const { offset, lengthBytes } of plainRanges(spec)) copyBytes(f, to, toOffset + offset, from, offset, lengthBytes);
}

export function zeroSpecialFields(f: FunctionBuilder, spec: MapSpec, value: I32, valueOffset: number): void {
  for (const { offset, lengthBytes } of specialFields(spec)) zeroBytes(f, value, valueOffset + offset, lengthBytes);
}
