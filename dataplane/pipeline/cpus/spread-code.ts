/**
 * What a NIC does with packets, in WebAssembly: each goes to the queue that receive-side scaling chooses, and so to the
 * ring of the CPU that serves the queue (queue modulo CPUs). Or, where CPUs have received them by themselves, they are
 * put in order by time. And back: descriptors and records of what the CPUs have run, in that order. ring.ts draws what
 * this works on.
 */
import { DEVICE, RECORD, SENDER } from '../layout.ts';
import { FRAME } from '../../packet/frame.ts';
import { DESCRIPTOR } from '../../packet/packet-batch.ts';
import { call, i32, i64, select, type Callee, type I32 } from '../../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../../wasm/function-builder.ts';
import { ModuleBuilder } from '../../wasm/module-builder.ts';
import { defineQueueChoice } from '../receive-side-scaling.ts';
import { SPREAD } from './ring.ts';

export interface SpreadAddresses {
  readonly cpus: number;
  /** Of the first CPU's SPREAD. */
  readonly rows: number;
  /** A u64: the latest time of a packet so far. */
  readonly now: number;
  /** The first CPU's table of interfaces. */
  readonly interfaces: number;
  readonly interfaceCount: number;
  /** No device has more queues than there are CPUs: who has a packet knows its queue. */
  readonly oneQueueEach: boolean;
}

export interface SpreadCode {
  /** Fills the rings with at most `limit` packets from descriptor `first`; answers how many it were, fewer where room for frames or records runs out. */
  spread(first: number, limit: number, mostInRing: number): number;
  /** Puts at most `limit` packets that CPUs have received in order, from descriptor `first` on, numbered from `number`; how many they are, fewer where room runs out or none is left. Adds their bytes to a u64 behind the time. */
  collect(first: number, limit: number, mostInRing: number, number: bigint): number;
  /** Brings back what became of the packets, and their records to `out`; answers where these end. `handed`: not 0 where CPUs have left packets for each other. */
  gather(first: number, count: number, out: number, handed: number): number;
}

/** What the reader writes of a descriptor, and what the loop does. */
const HALF = DESCRIPTOR.size / 2;

export function emitSpread(at: SpreadAddresses): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  module.importMemory('machine', 'memory', true);
  module.export('spread', defineSpread(module, at));
  module.export('collect', defineCollect(module, at));
  module.export('gather', defineGather(module, at));
  return module.assemble();
}

function copy(f: FunctionBuilder, to: I32, toOffset: number, from: I32, fromOffset: number, lengthBytes: number): void {
  for (let offset = 0; offset < lengthBytes; offset += 8) f.do(i64.store(to, toOffset + offset, i64.load(from, fromOffset + offset)));
}

/** The CPU's SPREAD. */
const rowOf = ({ rows }: SpreadAddresses, cpu: I32): I32 => i32.add(i32.const(rows), i32.mul(cpu, i32.const(SPREAD.size)));

function defineSpread(module: ModuleBuilder, at: SpreadAddresses): Callee<'i32'> {
  const chooseQueue = defineQueueOf(module, at);
  const f = module.function('spread', ['i32', 'i32', 'i32'], 'i32');
  const [d, limit, mostInRing] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32')];
  const done = f.local('i32', 'done');
  const now = f.let(i64.load(i32.const(at.now)), 'now');
  const finish = (): void => {
    f.do(i64.store(i32.const(at.now), 0, now));
    f.return(done);
  };
  f.while(
    () => i32.ltU(done, limit),
    () => {
      const captured = f.let(i32.load(d, DESCRIPTOR.captured), 'captured');
      const queue = f.let(call(chooseQueue, d), 'queue');
      const cpu = f.let(i32.remU(queue, i32.const(at.cpus)), 'cpu');
      const row = f.let(rowOf(at, cpu), 'row');
      const count = f.let(i32.load(row, SPREAD.count), 'count');
      f.if(i32.geU(count, mostInRing), finish);
      const frame = f.let(i32.add(captured, i32.const(FRAME.skbHeadroom + FRAME.size)), 'frame');
      const room = f.let(i32.load(row, SPREAD.room), 'room');
      f.if(i32.gtU(frame, room), finish);
      f.do(i32.store(row, SPREAD.room, i32.sub(room, frame)));
      f.do(i32.store(row, SPREAD.count, i32.add(count, i32.const(1))));
      const timestamp = f.let(i64.load(d, DESCRIPTOR.timestampNs), 'timestamp');
      f.set(now, select(i64.gtU(timestamp, now), timestamp, now));
      const slot = f.let(i32.add(i32.load(row, SPREAD.ring), i32.mul(count, i32.const(DESCRIPTOR.size))), 'slot');
      copy(f, slot, 0, d, 0, HALF);
      f.do(i32.store(slot, DESCRIPTOR.queue, queue));
      f.do(i64.store(slot, DESCRIPTOR.now, now));
      f.do(i32.store(d, DESCRIPTOR.queue, cpu));
      f.do(i64.store(d, DESCRIPTOR.now, now));
      f.set(done, i32.add(done, i32.const(1)));
      f.set(d, i32.add(d, i32.const(DESCRIPTOR.size)));
    },
  );
  finish();
  return f;
}

/** `queue_of(descriptor) -> queue`, 0 for what cannot be run. */
function defineQueueOf(module: ModuleBuilder, at: SpreadAddresses): Callee<'i32'> {
  const chooseQueue = defineQueueChoice(module);
  const f = module.function('queue_of', ['i32'], 'i32');
  const d = f.param(0, 'i32');
  const none = i32.const(0);
  const captured = f.let(i32.load(d, DESCRIPTOR.captured), 'captured');
  const wireInterface = f.let(i32.load(d, DESCRIPTOR.interface), 'interface');
  f.if(i32.geU(wireInterface, i32.const(at.interfaceCount)), () => f.return(none));
  const entry = f.let(i32.load(i32.add(i32.const(at.interfaces), i32.shl(wireInterface, i32.const(2)))), 'entry');
  const device = f.let(i32.and(entry, i32.const(~SENDER.mask)), 'device');
  f.if(i32.or(i32.eqz(device), i32.ltU(captured, i32.const(FRAME.minimumLength))), () => f.return(none));
  const rss = f.let(i32.load(device, DEVICE.rss), 'rss');
  f.if(i32.eqz(rss), () => f.return(none));
  const data = f.let(i32.load(d, DESCRIPTOR.address), 'data');
  f.return(call(chooseQueue, data, i32.add(data, captured), rss));
  return f;
}

/** The oldest packet of all rings first; each ring is in order by itself. */
function defineCollect(module: ModuleBuilder, at: SpreadAddresses): Callee<'i32'> {
  const f = module.function('collect', ['i32', 'i32', 'i32', 'i64'], 'i32');
  const [d, limit, mostInRing, number] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32'), f.param(3, 'i64')];
  const [done, row, best, slot] = [f.local('i32', 'done'), f.local('i32', 'row'), f.local('i32', 'best'), f.local('i32', 'slot')];
  const [oldest, bytes] = [f.local('i64', 'oldest'), f.let(i64.load(i32.const(at.now), 8), 'bytes')];
  const now = f.let(i64.load(i32.const(at.now)), 'now');
  const queueOf = at.oneQueueEach ? undefined : defineQueueOf(module, at);
  const finish = (): void => {
    f.do(i64.store(i32.const(at.now), 0, now));
    f.do(i64.store(i32.const(at.now), 8, bytes));
    f.return(done);
  };
  f.while(
    () => i32.ltU(done, limit),
    () => {
      f.set(best, i32.const(0));
      f.set(row, i32.const(at.rows));
      f.while(
        () => i32.ltU(row, i32.const(at.rows + at.cpus * SPREAD.size)),
        () => {
          f.if(i32.ltU(i32.load(row, SPREAD.count), i32.load(row, SPREAD.received)), () => {
            f.set(slot, i32.add(i32.load(row, SPREAD.ring), i32.shl(i32.load(row, SPREAD.count), i32.const(Math.log2(DESCRIPTOR.size)))));
            const time = f.let(i64.load(slot, DESCRIPTOR.timestampNs), 'time');
            f.if(i32.or(i32.eqz(best), i64.ltU(time, oldest)), () => {
              f.set(best, row);
              f.set(oldest, time);
            });
          });
          f.set(row, i32.add(row, i32.const(SPREAD.size)));
        },
      );
      f.if(i32.eqz(best), finish);
      const count = f.let(i32.load(best, SPREAD.count), 'count');
      f.if(i32.geU(count, mostInRing), finish);
      f.set(slot, i32.add(i32.load(best, SPREAD.ring), i32.shl(count, i32.const(Math.log2(DESCRIPTOR.size)))));
      const captured = f.let(i32.load(slot, DESCRIPTOR.captured), 'captured');
      const frame = f.let(i32.add(captured, i32.const(FRAME.skbHeadroom + FRAME.size)), 'frame');
      const room = f.let(i32.load(best, SPREAD.room), 'room');
      f.if(i32.gtU(frame, room), finish);
      f.do(i32.store(best, SPREAD.room, i32.sub(room, frame)));
      f.do(i32.store(best, SPREAD.count, i32.add(count, i32.const(1))));
      f.set(now, select(i64.gtU(oldest, now), oldest, now));
      f.set(bytes, i64.add(bytes, i64.extendU(captured)));
      const cpu = f.let(i32.divU(i32.sub(best, i32.const(at.rows)), i32.const(SPREAD.size)), 'cpu');
      f.do(i64.store(slot, DESCRIPTOR.number, number));
      f.do(i32.store(slot, DESCRIPTOR.queue, queueOf === undefined ? cpu : call(queueOf, slot)));
      f.do(i64.store(slot, DESCRIPTOR.now, now));
      copy(f, d, 0, slot, 0, HALF);
      f.do(i32.store(d, DESCRIPTOR.queue, cpu));
      f.do(i64.store(d, DESCRIPTOR.now, now));
      f.set(number, i64.add(number, i64.const(1n)));
      f.set(done, i32.add(done, i32.const(1)));
      f.set(d, i32.add(d, i32.const(DESCRIPTOR.size)));
    },
  );
  finish();
  return f;
}

function defineGather(module: ModuleBuilder, at: SpreadAddresses): Callee<'i32'> {
  const f = module.function('gather', ['i32', 'i32', 'i32', 'i32'], 'i32');
  const [d, count, out, handed] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32'), f.param(3, 'i32')];
  const record = f.local('i32', 'record');
  f.while(
    () => count,
    () => {
      const row = f.let(rowOf(at, i32.load(d, DESCRIPTOR.queue)), 'row');
      const gathered = f.let(i32.load(row, SPREAD.gathered), 'gathered');
      f.do(i32.store(row, SPREAD.gathered, i32.add(gathered, i32.const(1))));
      copy(f, d, HALF, i32.add(i32.load(row, SPREAD.ring), i32.mul(gathered, i32.const(DESCRIPTOR.size))), HALF, HALF);
      gatherRecords(f, d, row, record, out, SPREAD.records, SPREAD.recordsEnd);
      f.if(handed, () => {
        f.set(row, i32.const(at.rows));
        f.while(
          () => i32.ltU(row, i32.const(at.rows + at.cpus * SPREAD.size)),
          () => {
            gatherRecords(f, d, row, record, out, SPREAD.later, SPREAD.laterEnd);
            f.set(row, i32.add(row, i32.const(SPREAD.size)));
          },
        );
      });
      f.set(d, i32.add(d, i32.const(DESCRIPTOR.size)));
      f.set(count, i32.sub(count, i32.const(1)));
    },
  );
  f.return(out);
  return f;
}

/** A packet's records are one behind the other, and those of a CPU in the order of the capture. `next` and `last` are members of the row. */
function gatherRecords(f: FunctionBuilder, d: Local<'i32'>, row: Local<'i32'>, record: Local<'i32'>, out: Local<'i32'>, next: number, last: number): void {
  f.set(record, i32.load(row, next));
  const end = f.let(i32.load(row, last), 'end');
  f.while(
    () => i32.ltU(record, end),
    (_again, other) => {
      f.brIf(other, i64.ne(i64.load(record, RECORD.number), i64.load(d, DESCRIPTOR.number)));
      copy(f, out, 0, record, 0, RECORD.size);
      f.set(record, i32.add(record, i32.const(RECORD.size)));
      f.set(out, i32.add(out, i32.const(RECORD.size)));
    },
  );
  f.do(i32.store(row, next, record));
}
