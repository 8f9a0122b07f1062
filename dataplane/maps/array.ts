/**
 * BPF_MAP_TYPE_ARRAY and BPF_MAP_TYPE_PERCPU_ARRAY (Linux Documentation/bpf/map_array.rst): values by index, all of
 * them there from the start, zero.
 *
 *   storage + cpu * block + index * stride     block = maxEntries * stride, up to a cache line; one block where values are
 *                                              not per CPU
 *
 * A CPU's values lie together, so that two CPUs do not write to one cache line.
 */
import { BPF_MAP_TYPE, type MapTypeName } from '../bpf/map-type.ts';
import type { MapSpec } from '../bpf/spec.ts';
import type { Machine } from '../machine/machine.ts';
import { i32, type I32 } from '../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../wasm/function-builder.ts';
import { underSpinLock } from './exclusion.ts';
import { MAP_FLAG, checkAccessFlags, checkMaxEntries, checkPerCpuValue, refuse } from './map-check.ts';
import { ERRNO, UPDATE, roundUp, valueStride, type MapCode, type MapGeometry, type MapType } from './map.ts';
import { copyValue, spinLockOffset } from './special-fields.ts';

const FLAGS = MAP_FLAG.NUMA_NODE | MAP_FLAG.ACCESS | MAP_FLAG.MMAPABLE | MAP_FLAG.INNER_MAP;
const INDEX_BYTES = 4;
const CACHE_LINE_BYTES = 64;
const MAX_VALUE_BYTES = 0x7fff_ffff;

function blockBytes(spec: MapSpec): number {
  return roundUp(spec.maxEntries * valueStride(spec), CACHE_LINE_BYTES);
}

/** Walks the words of the values: a real object declares 33 million, and few are ever written. */
function nonZeroIndexes({ spec, machine, storage }: MapGeometry, blocks: number): number[] {
  const { u32 } = machine.memory;
  const [first, stride, block] = [storage, valueStride(spec), blockBytes(spec)].map((bytes) => bytes / 4) as [number, number, number];
  const isNonZero = (at: number): boolean => {
    for (let word = at; word < at + stride; word++) if (u32[word] !== 0) return true;
    return false;
  };
  const found: number[] = [];
  for (let index = 0; index < spec.maxEntries; index++) {
    for (let at = first + index * stride, cpu = 0; cpu < blocks; at += block, cpu++) {
      if (!isNonZero(at)) continue;
      found.push(index);
      break;
    }
  }
  return found;
}

/** Address of a value of the first CPU's block. `index` is less than maxEntries. */
function valueAt({ spec, storage }: MapGeometry, index: I32, block = 0): I32 {
  return i32.add(i32.mul(index, i32.const(valueStride(spec))), i32.const(storage + block));
}

export function emitIndex(f: FunctionBuilder<'i32'>, { spec }: MapGeometry, outside: number): Local<'i32'> {
  const index = f.let(i32.load(f.param(0, 'i32')), 'index');
  f.if(i32.geU(index, i32.const(spec.maxEntries)), () => f.return(i32.const(outside)));
  return index;
}

/** get_next_key of all maps whose keys are 0 to maxEntries − 1. */
export function emitNextIndex(f: FunctionBuilder<'i32'>, { geometry: { spec } }: MapCode): void {
  const [key, out] = [f.param(0, 'i32'), f.param(1, 'i32')];
  const next = f.local('i32', 'next');
  f.if(key, () => {
    f.set(next, i32.load(key));
    f.if(i32.eq(next, i32.const(spec.maxEntries - 1)), () => f.return(i32.const(-ERRNO.ENOENT)));
    f.set(next, i32.add(next, i32.const(1)));
    f.if(i32.geU(next, i32.const(spec.maxEntries)), () => f.set(next, i32.const(0)));
  });
  f.do(i32.store(out, 0, next));
  f.return(i32.const(0));
}

function arrayType(name: MapTypeName, perCpu: boolean): MapType {
  const addressOf = (geometry: MapGeometry, index: I32): I32 => valueAt(geometry, index, perCpu ? geometry.machine.cpu * blockBytes(geometry.spec) : 0);
  return {
    id: BPF_MAP_TYPE[name],
    name,
    perCpu,
    keys: 'indexes',
    holds: 'bytes',
    check(spec) {
      if (spec.keyBytes !== INDEX_BYTES) refuse(spec, name, 'EINVAL', `a key of ${spec.keyBytes} bytes`, `an index of ${INDEX_BYTES}`);
      if (spec.valueBytes === 0) refuse(spec, name, 'EINVAL', 'a value of 0 bytes', 'at least 1');
      checkMaxEntries(spec, name);
      checkAccessFlags(spec, name, perCpu ? FLAGS & ~(MAP_FLAG.MMAPABLE | MAP_FLAG.INNER_MAP | MAP_FLAG.NUMA_NODE) : FLAGS);
      if (spec.valueBytes > MAX_VALUE_BYTES) refuse(spec, name, 'E2BIG', `a value of ${spec.valueBytes} bytes`, `at most ${MAX_VALUE_BYTES}`);
      if (perCpu) checkPerCpuValue(spec, name);
    },
    allocate(machine: Machine, spec: MapSpec) {
      return machine.memory.allocate(blockBytes(spec) * (perCpu ? machine.cpus : 1), 64, `map '${spec.name}'`);
    },
    size: ({ spec }) => spec.maxEntries,
    nonZero: (geometry) => nonZeroIndexes(geometry, perCpu ? geometry.machine.cpus : 1),
    operations: {
      lookup(f, { geometry }) {
        const index = emitIndex(f, geometry, 0);
        f.return(addressOf(geometry, index));
      },
      lookup_percpu(f, { geometry }) {
        const cpu = f.param(1, 'i32');
        f.if(i32.geU(cpu, i32.const(geometry.machine.cpus)), () => f.return(i32.const(0)));
        const index = emitIndex(f, geometry, 0);
        const value = valueAt(geometry, index);
        f.return(perCpu ? i32.add(value, i32.mul(cpu, i32.const(blockBytes(geometry.spec)))) : value);
      },
      update(f, code) {
        const { geometry } = code;
        const [value, flags] = [f.param(1, 'i32'), f.param(2, 'i32')];
        f.if(i32.gtU(i32.and(flags, i32.const(~UPDATE.lock)), i32.const(UPDATE.exist)), () => f.return(i32.const(-ERRNO.EINVAL)));
        const index = emitIndex(f, geometry, -ERRNO.E2BIG);
        f.if(i32.and(flags, i32.const(UPDATE.noExist)), () => f.return(i32.const(-ERRNO.EEXIST)));
        const lock = spinLockOffset(geometry.spec);
        if (lock === undefined) f.if(i32.and(flags, i32.const(UPDATE.lock)), () => f.return(i32.const(-ERRNO.EINVAL)));
        const to = f.let(addressOf(geometry, index), 'to');
        if (lock !== undefined) {
          f.if(i32.and(flags, i32.const(UPDATE.lock)), () => {
            underSpinLock(f, code, i32.add(to, i32.const(lock)), () => copyValue(f, geometry.spec, to, 0, value));
            f.return(i32.const(0));
          });
        }
        copyValue(f, geometry.spec, to, 0, value);
        f.return(i32.const(0));
      },
      delete(f) {
        f.return(i32.const(-ERRNO.EINVAL));
      },
      next: emitNextIndex,
    },
    addressOf,
  };
}

export const ARRAY = arrayType('array', false);
export const PERCPU_ARRAY = arrayType('percpu_array', true);
