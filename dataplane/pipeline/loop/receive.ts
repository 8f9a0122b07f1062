/** A packet's arrival in the packet loop. */
import { FRAME, LINEAR_BYTES, XDP_MD } from '../../packet/frame.ts';
import { DESCRIPTOR } from '../../packet/packet-batch.ts';
import { call, i32, i64, memory, pair, select, type Callee, type I32 } from '../../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../../wasm/function-builder.ts';
import { DEVICE, LOOP } from '../layout.ts';
import type { LoopCode } from './loop-code.ts';

/** Where pieces of the first 70 bytes begin: see below. */
const FIRST_PIECES = [0, 6, 22, 38, 54];
const FIRST_BYTES = 70;
/** Copied at a time behind them. At most as many more than there are, which memory has to spare. */
const PIECES_BYTES = 64;
const PIECE_BYTES = 16;
/** Above this, the engine's own copy wins. */
const COPIED_IN_PIECES = 256;

/** Puts the packet into a frame of its own, as a NIC's DMA would, and describes it in the XDP context. */
export function receive({ at, cell, setCell, descriptor }: LoopCode, chooseQueue: Callee<'i32'>, f: FunctionBuilder, from: Local<'i32'>, captured: Local<'i32'>, device: I32): void {
  const start = at.keeps === 'packets' ? f.let(cell(LOOP.arenaCursor), 'frame') : i32.const(at.arena);
  const hardStart = f.let(i32.add(start, i32.const(FRAME.skbHeadroom)));
  const data = f.let(i32.add(hardStart, i32.const(FRAME.headroom)), 'data');
  // Two words at a time: a processor takes about one store a cycle.
  const describe = (offset: number, first: I32, second: I32): void => f.do(i64.store(i32.const(at.xdpContext), offset, pair(first, second)));
  const describeFrame = (bytes: I32): void => {
    if (at.keeps === 'packets') setCell(f, LOOP.arenaCursor, i32.add(hardStart, bytes));
    describe(XDP_MD.hard_start, hardStart, i32.sub(i32.add(hardStart, bytes), i32.const(FRAME.sharedInfo)));
  };
  f.if(
    i32.leU(captured, i32.const(COPIED_IN_PIECES)),
    () => {
      copyInPieces(f, data, from, captured);
      describeFrame(i32.const(FRAME.size));
    },
    () => {
      f.do(memory.copy(data, from, captured));
      const larger = i32.and(i32.add(captured, i32.const(FRAME.headroom + FRAME.sharedInfo + 63)), i32.const(~63));
      describeFrame(f.let(select(i32.gtU(captured, i32.const(LINEAR_BYTES)), larger, i32.const(FRAME.size))));
    },
  );
  const end = f.let(i32.add(data, captured), 'end');
  const queue = f.local('i32', 'queue');
  if (at.spread) {
    f.set(queue, i32.load(descriptor(), DESCRIPTOR.queue));
  } else if (at.anyQueues) {
    const rss = f.let(i32.load(device, DEVICE.rss), 'rss');
    f.set(queue, i32.const(0));
    // From where the packet came: the bytes in the frame are still on their way.
    f.if(rss, () => f.set(queue, call(chooseQueue, from, i32.add(from, captured), rss)));
  }
  describe(XDP_MD.data, data, end);
  describe(XDP_MD.data_meta, data, i32.load(device, DEVICE.ifindex));
  describe(XDP_MD.rx_queue_index, queue, i32.const(0));
  describe(XDP_MD.exposed, data, end);
}

/**
 * Sixteen bytes at a time, the pieces beginning where the headers do: a processor that loads what it has just stored has
 * to wait where the bytes come from two stores, and so would every load of an address that lies across two pieces.
 *
 *   0        6        14        22        30        38        46        54
 *   | destination, source, type, …
 *            | source, type, IPv4 up to the fragment offset
 *                               | TTL, protocol, checksum, source, destination, ports
 *                                                   | … TCP                        (IPv6: 22 and 38 begin its addresses)
 *
 * What is copied past the end is never seen.
 */
function copyInPieces(f: FunctionBuilder, data: Local<'i32'>, from: Local<'i32'>, lengthBytes: Local<'i32'>): void {
  for (const offset of FIRST_PIECES) f.do(memory.copy16(data, from, offset));
  f.if(i32.gtU(lengthBytes, i32.const(FIRST_BYTES)), () => {
    const [to, source] = [f.let(data, 'to'), f.let(from, 'source')];
    const end = f.let(i32.add(data, i32.sub(lengthBytes, i32.const(FIRST_BYTES))));
    f.loop((again) => {
      for (let offset = FIRST_BYTES; offset < FIRST_BYTES + PIECES_BYTES; offset += PIECE_BYTES) f.do(memory.copy16(to, source, offset));
      f.set(source, i32.add(source, i32.const(PIECES_BYTES)));
      f.set(to, i32.add(to, i32.const(PIECES_BYTES)));
      f.brIf(again, i32.ltU(to, end));
    });
  });
}
