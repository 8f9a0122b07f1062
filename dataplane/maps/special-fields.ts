/**
 * Members of a map value that the kernel keeps for itself (Linux Documentation/bpf/graph_ds_impl.rst calls them
 * special fields): an update does not copy them, a new element has them zero, and user space sees them as zero.
 * They are found by the BTF type of the value, as members of the value's struct, or variables of a data section, also in
 * structs and arrays within.
 */
import type { Btf } from '../bpf/btf.ts';
import { isModifier } from '../bpf/btf-type.ts';
import type { MapSpec } from '../bpf/spec.ts';
import type { I32 } from '../wasm/expression.ts';
import type { FunctionBuilder } from '../wasm/function-builder.ts';
import { copyBytes, zeroBytes } from './words.ts';

/** By the name of the struct: its size. */
const SPECIAL = { bpf_spin_lock: 4, bpf_res_spin_lock: 4, bpf_timer: 16, bpf_wq: 16, bpf_task_work: 8, bpf_list_head: 16, bpf_rb_root: 16, bpf_refcount: 4 } as const;

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

/** Linux takes no more of a value. */
const MOST_FIELDS = 11;
/** How deep it looks for them. */
const MOST_LEVELS = 32;

const KNOWN = new WeakMap<MapSpec, readonly SpecialField[]>();

export function specialFields(spec: MapSpec): readonly SpecialField[] {
  let known = KNOWN.get(spec);
  if (known === undefined) KNOWN.set(spec, (known = findFields(spec)));
  return known;
}

function findFields({ btf, valueTypeId, valueBytes }: MapSpec): readonly SpecialField[] {
  const found: SpecialField[] = [];
  if (btf === undefined || valueTypeId === 0) return found;
  const add = (field: SpecialField): void => {
    if (field.offset + field.lengthBytes <= valueBytes && found.length <= MOST_FIELDS) found.push(field);
  };
  const look = (typeId: number, at: number, level: number): void => {
    const { type } = btf.resolve(typeId);
    if (level > MOST_LEVELS || found.length > MOST_FIELDS) return;
    if (type.kind === 'array') {
      const bytes = btf.sizeBytes(type.type);
      for (let index = 0; index < Math.min(type.length, MOST_FIELDS + 1); index++) look(type.type, at + index * bytes, level + 1);
    } else if (type.kind === 'ptr') {
      pointerField(btf, type.type, at, add);
    } else if (type.kind === 'struct') {
      if (Object.hasOwn(SPECIAL, type.name)) {
        const special = type.name as keyof typeof SPECIAL;
        add({ type: special, offset: at, lengthBytes: SPECIAL[special] });
      } else for (const member of type.members) look(member.type, at + member.offsetBits / 8, level + 1);
    }
  };
  const { type } = btf.resolve(valueTypeId);
  if (type.kind === 'struct') for (const member of type.members) look(member.type, member.offsetBits / 8, 0);
  if (type.kind === 'datasec') {
    for (const place of type.variables) {
      const variable = btf.type(place.type);
      if (variable?.kind === 'var') look(variable.type, place.offset, 0);
    }
  }
  return found;
}

function pointerField(btf: Btf, target: number, offset: number, add: (field: SpecialField) => void): void {
  const tag = btf.type(target);
  const { type } = btf.resolve(target);
  if (!isModifier(tag) || tag.kind !== 'type_tag' || !Object.hasOwn(POINTERS, tag.name) || type.kind !== 'struct') return;
  add({ type: POINTERS[tag.name as keyof typeof POINTERS], pointee: type.name, offset, lengthBytes: POINTER_BYTES });
}

export function hasSpinLock(spec: MapSpec): boolean {
  return spinLockOffset(spec) !== undefined;
}

const CALLING: ReadonlySet<SpecialField['type']> = new Set(['bpf_timer', 'bpf_wq', 'bpf_task_work']);

/** Whether values hold what calls back later, with the map that it is in. */
export function callsBack(spec: MapSpec): boolean {
  return specialFields(spec).some(({ type }) => CALLING.has(type));
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
