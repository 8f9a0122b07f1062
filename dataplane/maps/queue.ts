/**
 * BPF_MAP_TYPE_QUEUE and STACK (Linux Documentation/bpf/map_queue_stack.rst): values without keys, in a ring.
 *
 *   0 u32 count    4 u32 oldest: index of the slot pushed first    8 u32 lock (exclusion.ts)    16 slots, valueStride apart
 *
 * BPF_EXIST pushes onto a full map by dropping its oldest value, of a stack too.
 */
import { BPF_MAP_TYPE, type MapTypeName } from '../bpf/map-type.ts';
import { i32, memory, type I32 } from '../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../wasm/function-builder.ts';
import { exclusively } from './exclusion.ts';
import { MAP_FLAG, checkAccessFlags, checkMaxEntries, refuse } from './map-check.ts';
import { ERRNO, UPDATE, valueStride, type MapGeometry, type MapType } from './map.ts';
import { copyBytes } from './words.ts';

const HEADER = { count: 0, oldest: 4, lock: 8, size: 16 } as const;
const FLAGS = MAP_FLAG.NUMA_NODE | MAP_FLAG.ACCESS;

/** Address of the value `place` after the oldest. */
function slotAt({ spec, storage }: MapGeometry, oldest: I32, place: I32, f: FunctionBuilder): I32 {
  const index = f.let(i32.add(oldest, place), 'index');
  f.if(i32.geU(index, i32.const(spec.maxEntries)), () => f.set(index, i32.sub(index, i32.const(spec.maxEntries))));
  return i32.add(i32.mul(index, i32.const(valueStride(spec))), i32.const(storage + HEADER.size));
}

/** Leaves the oldest value behind. */
function advance({ spec }: MapGeometry, f: FunctionBuilder, oldest: Local<'i32'>): void {
  f.set(oldest, i32.add(oldest, i32.const(1)));
  f.if(i32.eq(oldest, i32.const(spec.maxEntries)), () => f.set(oldest, i32.const(0)));
}

function queueType(name: MapTypeName, takes: 'oldest' | 'newest'): MapType {
  /** Copies the value that is next to leave; for an empty map, writes zeros and returns. */
  const take = (f: FunctionBuilder<'i32'>, geometry: MapGeometry): { header: I32; count: Local<'i32'>; oldest: Local<'i32'> } => {
    const { spec, storage } = geometry;
    const [value, header] = [f.param(0, 'i32'), i32.const(storage)];
    const [count, oldest] = [f.let(i32.load(header, HEADER.count), 'count'), f.let(i32.load(header, HEADER.oldest), 'oldest')];
    f.if(i32.eqz(count), () => {
      f.do(memory.fill(value, i32.const(0), i32.const(spec.valueBytes)));
      f.return(i32.const(-ERRNO.ENOENT));
    });
    const slot = f.let(slotAt(geometry, oldest, takes === 'oldest' ? i32.const(0) : i32.sub(count, i32.const(1)), f), 'slot');
    copyBytes(f, value, 0, slot, 0, spec.valueBytes);
    return { header, count, oldest };
  };

  return {
    id: BPF_MAP_TYPE[name],
    name,
    perCpu: false,
    keys: 'none',
    holds: 'bytes',
    check(spec) {
      if (spec.keyBytes !== 0) refuse(spec, name, 'EINVAL', `a key of ${spec.keyBytes} bytes`, 'none');
      if (spec.valueBytes === 0) refuse(spec, name, 'EINVAL', 'a value of 0 bytes', 'at least 1');
      checkMaxEntries(spec, name);
      checkAccessFlags(spec, name, FLAGS);
    },
    allocate: (machine, spec) => machine.memory.allocate(HEADER.size + spec.maxEntries * valueStride(spec), 64, `map '${spec.name}'`),
    *values({ machine, spec, storage }) {
      const { u32 } = machine.memory;
      const [count, oldest] = [u32[(storage + HEADER.count) >>> 2]!, u32[(storage + HEADER.oldest) >>> 2]!];
      for (let place = 0; place < count; place++) {
        const index = (oldest + (takes === 'oldest' ? place : count - 1 - place)) % spec.maxEntries;
        const at = storage + HEADER.size + index * valueStride(spec);
        yield machine.memory.u8.slice(at, at + spec.valueBytes);
      }
    },
    size: ({ machine, storage }) => machine.memory.u32[(storage + HEADER.count) >>> 2]!,
    missing: { update: ERRNO.EINVAL, delete: ERRNO.EINVAL, next: ERRNO.EINVAL },
    operations: {
      push: exclusively(HEADER.lock, (f, { geometry }) => {
        const { spec, storage } = geometry;
        const [value, flags, header] = [f.param(0, 'i32'), f.param(1, 'i32'), i32.const(storage)];
        f.if(i32.and(flags, i32.const(~UPDATE.exist)), () => f.return(i32.const(-ERRNO.EINVAL)));
        const [count, oldest] = [f.let(i32.load(header, HEADER.count), 'count'), f.let(i32.load(header, HEADER.oldest), 'oldest')];
        f.if(i32.eq(count, i32.const(spec.maxEntries)), () => {
          f.if(i32.eqz(flags), () => f.return(i32.const(-ERRNO.E2BIG)));
          advance(geometry, f, oldest);
          f.do(i32.store(header, HEADER.oldest, oldest));
          f.set(count, i32.sub(count, i32.const(1)));
        });
        const slot = f.let(slotAt(geometry, oldest, count, f), 'slot');
        copyBytes(f, slot, 0, value, 0, spec.valueBytes);
        f.do(i32.store(header, HEADER.count, i32.add(count, i32.const(1))));
        f.return(i32.const(0));
      }),
      pop: exclusively(HEADER.lock, (f, { geometry }) => {
        const { header, count, oldest } = take(f, geometry);
        if (takes === 'oldest') {
          advance(geometry, f, oldest);
          f.do(i32.store(header, HEADER.oldest, oldest));
        }
        f.do(i32.store(header, HEADER.count, i32.sub(count, i32.const(1))));
        f.return(i32.const(0));
      }),
      peek: exclusively(HEADER.lock, (f, { geometry }) => {
        take(f, geometry);
        f.return(i32.const(0));
      }),
    },
  };
}

export const QUEUE = queueType('queue', 'oldest');
export const STACK = queueType('stack', 'newest');
