/**
 * Finished packets of a batch as enhanced packet blocks (drawn in pcapng.ts and pcapng-writer.ts), put together in
 * WebAssembly: where every packet is written, this is what most of the time would go to.
 */
import type { MachineMemory, Region } from '../machine/memory.ts';
import { i32, i64, memory as bytesOf, pair, select, type I32 } from '../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../wasm/function-builder.ts';
import { ModuleBuilder } from '../wasm/module-builder.ts';
import { MAX_CAPTURED_BYTES } from './capture-reader.ts';
import { FRAME } from './frame.ts';
import { DESCRIPTOR, MAX_INTERFACES, NO_VERDICT, type PacketBatch } from './packet-batch.ts';
import { BLOCK, PACKET_BLOCK, VERDICT_OPTION } from './pcapng.ts';

/** The longest packet of a capture, and what helpers can add to it. */
export const LONGEST_LEFT_BYTES: number = MAX_CAPTURED_BYTES + FRAME.skbHeadroom + FRAME.size;

/** Which of a capture's interfaces packets are written with. */
export interface LeftInterfaces {
  /** By the ifindex of the device that a packet left through. All of them, before the first packet. */
  readonly ofDevice: ReadonlyMap<number, number>;
  /** By the interface it came in on, where it left through none. */
  readonly ofInput: readonly number[];
}

/** What the code is told, and tells: u32 where the blocks end; u32 interfaces of the input, and u32 ofInput of each. */
const STATE = { end: 0, inputs: 4, ofInput: 8, size: 8 + 4 * MAX_INTERFACES } as const;
/** Two verdicts and the end of options. */
const OPTIONS_BYTES = 2 * VERDICT_OPTION.size + 4;
const PIECE_BYTES = 16;
/** Above this, the engine's own copy wins. */
const COPIED_IN_PIECES = 256;
const ROOM_BYTES = 1 << 19;

type Encode = (d: number, count: number, out: number, outEnd: number, memoryPages: number) => number;

export class LeftPackets {
  readonly #memory: MachineMemory;
  readonly #state: Region;
  readonly #room: Region;
  readonly #encode: Encode;

  constructor(memory: MachineMemory, ofDevice: LeftInterfaces['ofDevice']) {
    this.#memory = memory;
    this.#state = memory.region(STATE.size, 64, 'packets to be written');
    this.#room = memory.region(ROOM_BYTES, 64, 'packets to be written');
    const code = new WebAssembly.Module(emitLeftPackets(memory.shared, this.#state.address, ofDevice));
    this.#encode = new WebAssembly.Instance(code, { machine: { memory: memory.wasm } }).exports['encode'] as unknown as Encode;
  }

  /** Makes blocks of packets from `first` on, as many as there is room for: answers how many. */
  encode(batch: PacketBatch, first: number, count: number, ofInput: LeftInterfaces['ofInput']): number {
    const { u32, u8 } = this.#memory;
    u32[(this.#state.address + STATE.inputs) >>> 2] = ofInput.length;
    u32.set(ofInput, (this.#state.address + STATE.ofInput) >>> 2);
    return this.#encode(batch.descriptor(first), count, this.#room.address, this.#room.address + ROOM_BYTES, u8.length / 65_536);
  }

  /** Borrowed: the blocks, until the next ones are made. */
  get blocks(): Uint8Array {
    const { address } = this.#room;
    return this.#memory.bytes(address, this.#memory.u32[(this.#state.address + STATE.end) >>> 2]! - address);
  }
}

function emitLeftPackets(shared: boolean, state: number, ofDevice: LeftInterfaces['ofDevice']): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  module.importMemory('machine', 'memory', shared);
  const f = module.function('encode', ['i32', 'i32', 'i32', 'i32', 'i32'], 'i32');
  const [d, count, out, outEnd, pages] = [f.param(0, 'i32', 'd'), f.param(1, 'i32', 'count'), f.param(2, 'i32', 'out'), f.param(3, 'i32', 'outEnd'), f.param(4, 'i32', 'pages')];
  const done = f.local('i32', 'done');
  f.while(
    () => i32.ltU(done, count),
    (_again, full) => {
      const address = f.let(i32.load(d, DESCRIPTOR.leftAddress), 'address');
      const claimed = f.let(i32.load(d, DESCRIPTOR.leftLength), 'claimed');
      // A program may have overwritten its context, where these come from.
      const isInside = i64.leU(i64.add(i64.extendU(address), i64.extendU(claimed)), i64.shl(i64.extendU(pages), i64.const(16)));
      const isThere = f.let(i32.and(i32.leU(claimed, i32.const(LONGEST_LEFT_BYTES)), isInside), 'isThere');
      const length = f.let(select(isThere, claimed, i32.const(0)), 'length');
      f.set(address, select(isThere, address, i32.const(0)));
      const body = f.let(i32.add(out, i32.const(PACKET_BLOCK.bytes)), 'body');
      const next = f.let(i32.add(body, i32.and(i32.add(length, i32.const(3)), i32.const(~3))), 'next');
      // What is copied in pieces may reach beyond the packet.
      f.brIf(full, i32.gtU(i32.add(next, i32.const(OPTIONS_BYTES + 4 + PIECE_BYTES)), outEnd));
      copyPacket(f, body, address, length, pages);
      f.if(i32.and(length, i32.const(3)), () => {
        const last = f.let(i32.sub(next, i32.const(4)));
        const kept = i32.sub(i32.shl(i32.const(1), i32.shl(i32.and(length, i32.const(3)), i32.const(3))), i32.const(1));
        f.do(i32.store(last, 0, i32.and(i32.load(last), kept)));
      });
      const options = f.let(next, 'options');
      const egress = f.let(i32.load(d, DESCRIPTOR.tcEgress), 'egress');
      putVerdict(f, next, VERDICT_OPTION.xdp, f.let(i32.load(d, DESCRIPTOR.xdp), 'xdp'));
      putVerdict(f, next, VERDICT_OPTION.tc, f.let(select(i32.ne(egress, i32.const(NO_VERDICT)), egress, i32.load(d, DESCRIPTOR.tcIngress)), 'tc'));
      f.if(i32.ne(next, options), () => {
        f.do(i32.store(next, 0, i32.const(0)));
        f.set(next, i32.add(next, i32.const(4)));
      });
      const total = f.let(i32.add(i32.sub(next, out), i32.const(4)), 'total');
      f.do(i32.store(next, 0, total));
      f.do(i64.store(out, 0, pair(i32.const(BLOCK.enhancedPacket), total)));
      f.do(i64.store(out, PACKET_BLOCK.interface, pair(interfaceOf(f, state, d, ofDevice), i32.load(d, DESCRIPTOR.timestampNs + 4))));
      f.do(i64.store(out, PACKET_BLOCK.timestampLow, pair(i32.load(d, DESCRIPTOR.timestampNs), length)));
      // What the capture had cut off was on the wire all the same.
      f.do(i32.store(out, PACKET_BLOCK.wire, i32.add(length, i32.sub(i32.load(d, DESCRIPTOR.wire), i32.load(d, DESCRIPTOR.captured)))));
      f.set(out, i32.add(next, i32.const(4)));
      f.set(d, i32.add(d, i32.const(DESCRIPTOR.size)));
      f.set(done, i32.add(done, i32.const(1)));
    },
  );
  f.do(i32.store(i32.const(state), STATE.end, out));
  f.return(done);
  module.export('encode', f);
  return module.assemble();
}

function copyPacket(f: FunctionBuilder, body: Local<'i32'>, address: Local<'i32'>, length: Local<'i32'>, pages: Local<'i32'>): void {
  // Pieces reach beyond the packet, and from the last page of memory beyond that.
  const isInLastPage = i32.geU(i32.shrU(address, i32.const(16)), i32.sub(pages, i32.const(1)));
  f.if(
    i32.gtU(i32.leU(length, i32.const(COPIED_IN_PIECES)), isInLastPage),
    () => {
      const [to, from] = [f.let(body, 'to'), f.let(address, 'from')];
      const end = f.let(i32.add(body, length), 'end');
      f.while(
        () => i32.ltU(to, end),
        () => {
          f.do(bytesOf.copy16(to, from, 0));
          f.set(to, i32.add(to, i32.const(PIECE_BYTES)));
          f.set(from, i32.add(from, i32.const(PIECE_BYTES)));
        },
      );
    },
    () => f.do(bytesOf.copy(body, address, length)),
  );
}

/** Kind, the return code's eight bytes and the padding, as three words behind code and length. The return code is sign-extended. */
function putVerdict(f: FunctionBuilder, next: Local<'i32'>, kind: number, verdict: Local<'i32'>): void {
  f.if(i32.ne(verdict, i32.const(NO_VERDICT)), () => {
    f.do(i64.store(next, 0, pair(i32.const(VERDICT_OPTION.head), i32.or(i32.const(kind), i32.shl(verdict, i32.const(8))))));
    f.do(i64.store(next, 8, pair(i32.shrS(verdict, i32.const(24)), i32.and(i32.shrS(verdict, i32.const(31)), i32.const(0xff)))));
    f.set(next, i32.add(next, i32.const(VERDICT_OPTION.size)));
  });
}

function interfaceOf(f: FunctionBuilder, state: number, d: Local<'i32'>, ofDevice: LeftInterfaces['ofDevice']): I32 {
  const found = f.local('i32', 'interface');
  f.set(found, i32.const(0));
  const left = f.let(i32.load(d, DESCRIPTOR.leftIfindex), 'left');
  f.if(
    left,
    () => {
      for (const [ifindex, own] of ofDevice) f.set(found, select(i32.eq(left, i32.const(ifindex)), i32.const(own), found));
    },
    () => {
      const input = f.let(i32.load(d, DESCRIPTOR.interface), 'input');
      f.if(i32.ltU(input, i32.load(i32.const(state), STATE.inputs)), () => f.set(found, i32.load(i32.shl(input, i32.const(2)), state + STATE.ofInput)));
    },
  );
  return found;
}
