/** Helpers of ring buffers. The record and its states are the map's to know: maps/ringbuf.ts. */
import { CPU_BLOCK } from '../machine/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import { emitRingbufCommit, emitRingbufQuery, emitRingbufReserve, RINGBUF_WAKEUP } from '../maps/ringbuf.ts';
import { i32, memory, select, type I32, type ValueType } from '../wasm/expression.ts';
import type { FunctionBuilder } from '../wasm/function-builder.ts';
import { DYNPTR, DYNPTR_FIELD, LARGEST_DYNPTR_BYTES } from './dynptr.ts';
import { helperParams, helperResult, type ArgumentKind, type Helper, type ReturnKind } from './helper.ts';
import { ANY_PROGRAM } from './program-sets.ts';

const WAKEUP_FLAGS = RINGBUF_WAKEUP.none | RINGBUF_WAKEUP.force;

/** Whoever reads is told of every record before the next packet, so the flags that ask for a wake-up are checked and change nothing. */
function committed(f: FunctionBuilder, { cpuBlock }: Machine): void {
  f.do(i32.store(i32.const(cpuBlock), CPU_BLOCK.records, i32.const(1)));
}

function output(f: FunctionBuilder, machine: Machine): void {
  const [map, data, size, flags, flagsHigh] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32'), f.param(3, 'i32'), f.param(4, 'i32')];
  f.if(i32.or(i32.and(flags, i32.const(~WAKEUP_FLAGS)), flagsHigh), () => f.return(i32.const(-ERRNO.EINVAL)));
  const record = emitRingbufReserve(f, machine, map, size);
  f.if(i32.eqz(record), () => f.return(i32.const(-ERRNO.EAGAIN)));
  f.do(memory.copy(record, data, size));
  emitRingbufCommit(f, machine, record, false);
  committed(f, machine);
  f.return(i32.const(0));
}

function reserve(f: FunctionBuilder, machine: Machine): void {
  f.if(i32.or(f.param(2, 'i32'), f.param(3, 'i32')), () => f.return(i32.const(0)));
  f.return(emitRingbufReserve(f, machine, f.param(0, 'i32'), f.param(1, 'i32')));
}

const commit =
  (discard: boolean) =>
  (f: FunctionBuilder, machine: Machine): void => {
    emitRingbufCommit(f, machine, f.param(0, 'i32'), discard);
    committed(f, machine);
  };

function setDynptr(f: FunctionBuilder, dynptr: I32, record: I32, kind: number, size: I32): void {
  f.do(i32.store(dynptr, DYNPTR_FIELD.of, record));
  f.do(i32.store(dynptr, DYNPTR_FIELD.kind, i32.const(kind)));
  f.do(i32.store(dynptr, DYNPTR_FIELD.size, size));
  f.do(i32.store(dynptr, DYNPTR_FIELD.offset, i32.const(0)));
}

/** Whatever it answers, the dynptr has to be submitted or discarded: where there is no record, that does nothing. */
function reserveDynptr(f: FunctionBuilder, machine: Machine): void {
  const [map, size, flags, flagsHigh, dynptr] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32'), f.param(3, 'i32'), f.param(4, 'i32')];
  setDynptr(f, dynptr, i32.const(0), 0, i32.const(0));
  f.if(i32.or(flags, flagsHigh), () => f.return(i32.const(-ERRNO.EINVAL)));
  f.if(i32.gtU(size, i32.const(LARGEST_DYNPTR_BYTES)), () => f.return(i32.const(-ERRNO.E2BIG)));
  const record = emitRingbufReserve(f, machine, map, size);
  f.if(i32.eqz(record), () => f.return(i32.const(-ERRNO.EINVAL)));
  setDynptr(f, dynptr, record, DYNPTR.ringbuf, size);
  f.return(i32.const(0));
}

const commitDynptr =
  (discard: boolean) =>
  (f: FunctionBuilder, machine: Machine): void => {
    const dynptr = f.param(0, 'i32');
    const record = f.let(i32.load(dynptr, DYNPTR_FIELD.of), 'record');
    f.if(record, () => {
      emitRingbufCommit(f, machine, record, discard);
      committed(f, machine);
      setDynptr(f, dynptr, i32.const(0), 0, i32.const(0));
    });
  };

/** No question has a number past 32 bits. */
function query(f: FunctionBuilder): void {
  const what = f.let(select(f.param(2, 'i32'), i32.const(-1), f.param(1, 'i32')), 'what');
  emitRingbufQuery(f as FunctionBuilder<'i64'>, f.param(0, 'i32'), what);
}

function row(id: number, name: string, args: readonly ArgumentKind[], returns: ReturnKind, body: (f: FunctionBuilder, machine: Machine) => void, more: Pick<Helper, 'acquires' | 'releases'> = {}): Helper {
  const helper: Helper = {
    id,
    name,
    args,
    returns,
    programs: ANY_PROGRAM,
    ...more,
    implementation: {
      kind: 'wasm',
      emit: (module, machine) => {
        const f = module.function<ValueType | undefined>(name, helperParams(helper), helperResult(helper));
        body(f, machine);
        return f;
      },
    },
  };
  return helper;
}

export const RINGBUF_HELPERS: readonly Helper[] = [
  row(130, 'ringbuf_output', ['map', 'memory', 'size_or_zero', 'u64'], 'int', output),
  row(131, 'ringbuf_reserve', ['map', 'allocated_size', 'u64'], 'ringbuf_record_or_null', reserve, { acquires: true }),
  row(132, 'ringbuf_submit', ['ringbuf_record', 'u64'], 'void', commit(false), { releases: 0 }),
  row(133, 'ringbuf_discard', ['ringbuf_record', 'u64'], 'void', commit(true), { releases: 0 }),
  row(134, 'ringbuf_query', ['map', 'u64'], 'u64', query),
  row(198, 'ringbuf_reserve_dynptr', ['map', 'u32', 'u64', 'ringbuf_dynptr_out'], 'int', reserveDynptr),
  row(199, 'ringbuf_submit_dynptr', ['ringbuf_dynptr', 'u64'], 'void', commitDynptr(false), { releases: 0 }),
  row(200, 'ringbuf_discard_dynptr', ['ringbuf_dynptr', 'u64'], 'void', commitDynptr(true), { releases: 0 }),
];
