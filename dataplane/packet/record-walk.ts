/**
 * From records to descriptors, in WebAssembly: what every packet of a capture goes through. It walks from record to
 * record as long as they are ordinary; the format's own file (pcap.ts, pcapng.ts) looks at the one where it ends.
 *
 * What a walk is told and what it tells lies in the window's last bytes (WALK), so that code is made once for a memory
 * and a kind of capture.
 */
import type { MachineMemory } from '../machine/memory.ts';
import { i32, i64, pair, select, swap32, type I32, type I64 } from '../wasm/expression.ts';
import type { FunctionBuilder, Label, Local } from '../wasm/function-builder.ts';
import { ModuleBuilder } from '../wasm/module-builder.ts';
import { DESCRIPTOR } from './packet-batch.ts';

/**
 *    0 u64 packets      so far; the number of the last one
 *    8 u32 interfaces   that the walk knows, of the section it is in, and
 *   12 u32 base         which of the capture's interfaces is the first of them
 *   16 interfaces       each: u64 nanoseconds of a unit of its timestamps; u64 units from which on a time has to be looked at;
 *                       u32 bytes of checksum at the end of each packet, u32 of nothing
 */
export const WALK = { packets: 0, interfaces: 8, base: 12, table: 16, size: 512 } as const;
export const WALK_INTERFACE = { nanoseconds: 0, unitsEnd: 8, fcsBytes: 16, size: 24, most: 20 } as const;

/** `walk(at, end, d, most, state)`: describes the records between two addresses, at most so many, in descriptors from `d` on; answers where the first one begins that it did not describe. */
export type RecordWalk = (at: number, end: number, d: number, most: number, state: number) => number;

/** What a format adds: says where the record at `at` has what, or leaves. */
export interface RecordCode {
  /** Of the code: there is one of each. */
  readonly kind: string;
  readonly littleEndian: boolean;
  readonly emit: (walk: RecordEmitter) => void;
}

/** Where a packet is found in its record. */
export interface FoundPacket {
  readonly bytes: I32;
  readonly captured: Local<'i32'>;
  readonly wire: Local<'i32'>;
  readonly fcsBytes: number | Local<'i32'>;
  readonly interface: I32;
  readonly timestampNs: I64;
  /** The record behind it. */
  readonly next: I32;
}

/** Packets so far, in a state. */
export function storePackets({ u32 }: MachineMemory, state: number, packets: number): void {
  const word = (state + WALK.packets) >>> 2;
  u32[word] = packets;
  u32[word + 1] = packets / TWO_32;
}

export function loadPackets({ u32 }: MachineMemory, state: number): number {
  const word = (state + WALK.packets) >>> 2;
  return u32[word]! + u32[word + 1]! * TWO_32;
}

const TWO_32 = 4_294_967_296;
const CODES = new WeakMap<MachineMemory, Map<string, RecordWalk>>();

export function recordWalk(memory: MachineMemory, code: RecordCode): RecordWalk {
  const codes = CODES.get(memory) ?? new Map<string, RecordWalk>();
  CODES.set(memory, codes);
  let walk = codes.get(code.kind);
  if (walk === undefined) codes.set(code.kind, (walk = compile(memory, code)));
  return walk;
}

function compile(memory: MachineMemory, code: RecordCode): RecordWalk {
  const module = new ModuleBuilder();
  module.importMemory('machine', 'memory', memory.shared);
  const emitter = new RecordEmitter(module, code);
  module.export('walk', emitter.f);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.assemble()), { machine: { memory: memory.wasm } });
  return exports['walk'] as unknown as RecordWalk;
}

export class RecordEmitter {
  readonly f: FunctionBuilder<'i32'>;
  /** The record, and where the bytes of the window end. */
  readonly at: Local<'i32'>;
  readonly end: Local<'i32'>;
  readonly state: Local<'i32'>;
  /** The record is left to the caller. */
  readonly stop: Label;
  readonly #littleEndian: boolean;
  readonly #d: Local<'i32'>;
  readonly #number: Local<'i64'>;

  constructor(module: ModuleBuilder, { littleEndian, emit }: RecordCode) {
    const f = (this.f = module.function('walk', ['i32', 'i32', 'i32', 'i32', 'i32'], 'i32'));
    this.at = f.param(0, 'i32', 'at');
    this.end = f.param(1, 'i32', 'end');
    this.#d = f.param(2, 'i32', 'd');
    const left = f.param(3, 'i32', 'left');
    this.state = f.param(4, 'i32', 'state');
    this.#littleEndian = littleEndian;
    this.#number = f.let(i64.load(this.state, WALK.packets), 'number');
    this.stop = f.open('block');
    f.loop((again) => {
      f.brIf(this.stop, i32.eqz(left));
      emit(this);
      f.set(left, i32.sub(left, i32.const(1)));
      f.br(again);
    });
    f.close();
    f.do(i64.store(this.state, WALK.packets, this.#number));
    f.return(this.at);
  }

  /** A u32 of the record, in the capture's byte order. */
  u32(offset: number, at: I32 = this.at): I32 {
    const value = i32.load(at, offset);
    if (this.#littleEndian) return value;
    return swap32(this.f.let(value));
  }

  /** Leaves the record to the caller where it has fewer bytes, or more are said to be in it than there are. */
  leaveUnless(condition: I32): void {
    this.f.brIf(this.stop, i32.eqz(condition));
  }

  /** Writes the descriptor and goes to the next record. */
  describe({ bytes, captured, wire, fcsBytes, interface: from, timestampNs, next }: FoundPacket): void {
    const { f } = this;
    const behind = f.let(next, 'next');
    const address = f.let(bytes, 'bytes');
    // Some writers leave the wire length below the captured one; what is there has been on the wire.
    f.set(wire, select(i32.gtU(captured, wire), captured, wire));
    if (fcsBytes !== 0) {
      const fcs = typeof fcsBytes === 'number' ? i32.const(fcsBytes) : fcsBytes;
      f.set(wire, select(i32.gtU(wire, fcs), i32.sub(wire, fcs), i32.const(0)));
      f.set(captured, select(i32.ltU(captured, wire), captured, wire));
    }
    f.set(this.#number, i64.add(this.#number, i64.const(1)));
    f.do(i64.store(this.#d, DESCRIPTOR.address, pair(address, captured)));
    f.do(i64.store(this.#d, DESCRIPTOR.wire, pair(wire, from)));
    f.do(i64.store(this.#d, DESCRIPTOR.timestampNs, timestampNs));
    f.do(i64.store(this.#d, DESCRIPTOR.number, this.#number));
    f.set(this.#d, i32.add(this.#d, i32.const(DESCRIPTOR.size)));
    f.set(this.at, behind);
  }
}
