/**
 * What the array types that hold references share: slots by index, empty where their first u32 is 0.
 *
 *   storage + index * slotBytes
 */
import type { MapSpec } from '../bpf/spec.ts';
import { i32, memory, select } from '../wasm/expression.ts';
import { emitIndex, emitNextIndex } from './array.ts';
import { checkAccessFlags, checkMaxEntries, refuse } from './map-check.ts';
import { ERRNO, UPDATE, type MapType } from './map.ts';
import { copyBytes } from './words.ts';

const INDEX_BYTES = 4;

/** Linux has two families of such arrays, which differ in what they refuse. */
export interface SlotFamily {
  /** Whether BPF_NOEXIST and BPF_EXIST are known; an index below max_entries counts as existing. */
  readonly takesExistFlags: boolean;
  /** Deleting outside, and deleting what is empty. */
  readonly deleteOutside: number;
  readonly deleteEmpty: number;
}

/** PROG_ARRAY, PERF_EVENT_ARRAY, ARRAY_OF_MAPS. */
export const DESCRIPTOR_ARRAY: SlotFamily = { takesExistFlags: false, deleteOutside: -ERRNO.E2BIG, deleteEmpty: -ERRNO.ENOENT };
/** DEVMAP, CPUMAP, XSKMAP. */
export const REDIRECT_ARRAY: SlotFamily = { takesExistFlags: true, deleteOutside: -ERRNO.EINVAL, deleteEmpty: 0 };

/** What is wrong with an update before its value is looked at: 0 or negative errno. */
export function slotUpdateErrno({ maxEntries }: MapSpec, family: SlotFamily, key: Uint8Array, flags: number): number {
  if (flags > (family.takesExistFlags ? UPDATE.exist : UPDATE.any)) return -ERRNO.EINVAL;
  if (new DataView(key.buffer, key.byteOffset).getUint32(0, true) >= maxEntries) return -ERRNO.E2BIG;
  return flags === UPDATE.noExist ? -ERRNO.EEXIST : 0;
}

export function checkSlots(spec: MapSpec, name: string, valueBytes: readonly number[], flags: number): void {
  if (spec.keyBytes !== INDEX_BYTES) refuse(spec, name, 'EINVAL', `a key of ${spec.keyBytes} bytes`, `an index of ${INDEX_BYTES}`);
  if (!valueBytes.includes(spec.valueBytes)) refuse(spec, name, 'EINVAL', `a value of ${spec.valueBytes} bytes`, valueBytes.join(' or '));
  checkMaxEntries(spec, name);
  checkAccessFlags(spec, name, flags);
}

export interface SlotArray {
  readonly slotBytes: 4 | 8;
  readonly family: SlotFamily;
  /** Programs get what the slot holds, not its address. */
  readonly answersContent?: true;
}

export function slotArray({ slotBytes, family, answersContent }: SlotArray): Pick<MapType, 'keys' | 'allocate' | 'size' | 'operations'> {
  const lookup: MapType['operations']['lookup'] = (f, { geometry }) => {
    const index = emitIndex(f, geometry, 0);
    const slot = f.let(i32.add(i32.mul(index, i32.const(slotBytes)), i32.const(geometry.storage)), 'slot');
    f.return(answersContent ? i32.load(slot) : select(i32.load(slot), slot, i32.const(0)));
  };
  return {
    keys: 'indexes',
    allocate: (machine, spec) => machine.memory.allocate(spec.maxEntries * slotBytes, 8, `map '${spec.name}'`),
    size({ machine, storage, spec }) {
      let used = 0;
      for (let index = 0; index < spec.maxEntries; index++) if (machine.memory.u32[(storage + index * slotBytes) >>> 2] !== 0) used++;
      return used;
    },
    operations: {
      lookup,
      lookup_percpu: lookup,
      update(f, { geometry }) {
        const index = emitIndex(f, geometry, -ERRNO.E2BIG);
        const slot = f.let(i32.add(i32.mul(index, i32.const(slotBytes)), i32.const(geometry.storage)), 'slot');
        copyBytes(f, slot, 0, f.param(1, 'i32'), 0, slotBytes);
        f.return(i32.const(0));
      },
      delete(f, { geometry }) {
        const index = emitIndex(f, geometry, family.deleteOutside);
        const slot = f.let(i32.add(i32.mul(index, i32.const(slotBytes)), i32.const(geometry.storage)), 'slot');
        f.if(i32.eqz(i32.load(slot)), () => f.return(i32.const(family.deleteEmpty)));
        f.do(memory.fill(slot, i32.const(0), i32.const(slotBytes)));
        f.return(i32.const(0));
      },
      next: emitNextIndex,
    },
  };
}

export function readU32(bytes: Uint8Array, offset = 0): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset, true);
}

/** The u32 as bytes, little-endian as machine memory is. */
export function u32Bytes(...words: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(words).buffer);
}
