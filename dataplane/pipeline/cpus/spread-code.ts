/**
 * What a NIC does with packets, in WebAssembly: each goes to the queue that receive-side scaling chooses, and so to the
 * ring of the CPU that serves the queue (queue modulo CPUs). And back: descriptors and records of what the CPUs have
 * run, in the order of the capture. ring.ts draws what this works on.
 */
import { DEVICE, FROM_HOST, RECORD } from '../layout.ts';
import { FRAME } from '../../packet/frame.ts';
import { DESCRIPTOR } from '../../packet/packet-batch.ts';
import { call, i32, i64, select, type Callee, type I32 } from '../../wasm/expression.ts';
import type { FunctionBuilder, Label, Local } from '../../wasm/function-builder.ts';
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
}

export interface SpreadCode {
  /** Fills the rings with at most `limit` packets from descriptor `first`; answers how many it were, fewer where room for frames or records runs out. */
  spread(first: number, limit: number, mostInRing: number): number;
  /** Brings back what became of the packets, and their records to `out`; answers where these end. `handed`: not 0 where CPUs have left packets for each other. */
  gather(first: number, count: number, out: number, handed: number): number;
}

/** What the reader writes of a descriptor, and what the loop does. */
const HALF = DESCRIPTOR.size / 2;

export function emitSpread(at: SpreadAddresses): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  module.importMemory('machine', 'memory', true);
  module.export('spread', defineSpread(module, at));
  module.export('gather', defineGather(module, at));
  return module.assemble();
}

function copy(f: FunctionBuilder, to: I32, toOffset: number, from: I32, fromOffset: number, lengthBytes: number): void {
  for (let offset = 0; offset < lengthBytes; offset += 8) f.do(i64.store(to, toOffset + offset, i64.load(from, fromOffset + offset)));
}

/** The CPU's SPREAD. */
const rowOf = ({ rows }: SpreadAddresses, cpu: I32): I32 => i32.add(i32.const(rows), i32.mul(cpu, i32.const(SPREAD.size)));

function defineSpread(module: ModuleBuilder, at: SpreadAddresses): Callee<'i32'> {
  const chooseQueue = defineQueueChoice(module);
  const f = module.function('spread', ['i32', 'i32', 'i32'], 'i32');
  const [d, limit, mostInRing] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32')];
  const [done, queue, entry, device] = [f.local('i32', 'done'), f.local('i32', 'queue'), f.local('i32', 'entry'), f.local('i32', 'device')];
  const now = f.let(i64.load(i32.const(at.now)), 'now');
  const finish = (): void => {
    f.do(i64.store(i32.const(at.now), 0, now));
    f.return(done);
  };
  f.while(
    () => i32.ltU(done, limit),
    () => {
      const captured = f.let(i32.load(d, DESCRIPTOR.captured), 'captured');
      f.set(queue, i32.const(0));
      f.block((chosen: Label) => {
        const wireInterface = f.let(i32.load(d, DESCRIPTOR.interface), 'interface');
        f.brIf(chosen, i32.geU(wireInterface, i32.const(at.interfaceCount)));
        f.set(entry, i32.load(i32.add(i32.const(at.interfaces), i32.shl(wireInterface, i32.const(2)))));
        f.set(device, i32.and(entry, i32.const(~FROM_HOST)));
        f.brIf(chosen, i32.or(i32.eqz(device), i32.ltU(captured, i32.const(FRAME.minimumLength))));
        const rss = f.let(i32.load(device, DEVICE.rss), 'rss');
        f.brIf(chosen, i32.eqz(rss));
        const data = f.let(i32.load(d, DESCRIPTOR.address), 'data');
        f.set(queue, call(chooseQueue, data, i32.add(data, captured), rss));
      });
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
