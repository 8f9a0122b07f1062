/** A packet's arrival in the packet loop. */
import { FRAME, LINEAR_BYTES, XDP_MD } from '../../packet/frame.ts';
import { DESCRIPTOR } from '../../packet/packet-batch.ts';
import { call, i32, i64, memory, select, type Callee, type I32 } from '../../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../../wasm/function-builder.ts';
import { DEVICE, LOOP } from '../layout.ts';
import type { LoopCode } from './loop-code.ts';

const ETHERNET_BYTES = 14;
/** Copied at a time behind the Ethernet header: all of a small packet. At most as many more than there are, which memory has to spare. */
const PIECES_BYTES = 56;
/** Above this, the engine's own copy wins. */
const COPIED_IN_PIECES = 256;

/** Puts the packet into a frame of its own, as a NIC's DMA would, and describes it in the XDP context. */
export function receive({ at, cell, setCell, setXdp }: LoopCode, chooseQueue: Callee<'i32'>, f: FunctionBuilder, d: Local<'i32'>, device: I32): void {
  const captured = f.let(i32.load(d, DESCRIPTOR.captured), 'captured');
  const start = at.observed ? f.let(cell(LOOP.arenaCursor), 'frame') : i32.const(at.arena);
  const hardStart = f.let(i32.add(start, i32.const(FRAME.skbHeadroom)));
  const data = f.let(i32.add(hardStart, i32.const(FRAME.headroom)), 'data');
  const larger = i32.and(i32.add(captured, i32.const(FRAME.headroom + FRAME.sharedInfo + 63)), i32.const(~63));
  const frameBytes = f.let(select(i32.gtU(captured, i32.const(LINEAR_BYTES)), larger, i32.const(FRAME.size)));
  if (at.observed) setCell(f, LOOP.arenaCursor, i32.add(hardStart, frameBytes));
  const from = f.let(i32.load(d, DESCRIPTOR.address), 'from');
  f.if(i32.leU(captured, i32.const(COPIED_IN_PIECES)), () => copyInPieces(f, data, from, captured), () => f.do(memory.copy(data, from, captured)));
  setXdp(f, XDP_MD.data, data);
  setXdp(f, XDP_MD.data_meta, data);
  setXdp(f, XDP_MD.exposed, data);
  const end = f.let(i32.add(data, captured));
  setXdp(f, XDP_MD.data_end, end);
  setXdp(f, XDP_MD.packet_end, end);
  setXdp(f, XDP_MD.hard_start, hardStart);
  setXdp(f, XDP_MD.hard_end, i32.sub(i32.add(hardStart, frameBytes), i32.const(FRAME.sharedInfo)));
  setXdp(f, XDP_MD.rx_queue_index, i32.const(0));
  const queues = f.let(i32.load(device, DEVICE.queues), 'queues');
  f.if(i32.gtU(queues, i32.const(1)), () => setXdp(f, XDP_MD.rx_queue_index, call(chooseQueue, data, end, queues)));
  setXdp(f, XDP_MD.egress_ifindex, i32.const(0));
}

/**
 * Eight bytes at a time, the pieces beginning where the headers do: a processor that loads what it has just stored has to
 * wait where the bytes come from two stores, and so would every load of an address that lies across two pieces.
 *
 *   0        6        14        22        30        38        46
 *   | destination, first bytes of the source
 *            | source, type
 *                     | IPv4 up to the fragment offset
 *                               | TTL, protocol, checksum, source
 *                                         | destination, ports        (IPv6: 22 and 38 begin its addresses)
 *
 * What is copied past the end is never seen.
 */
function copyInPieces(f: FunctionBuilder, data: Local<'i32'>, from: Local<'i32'>, lengthBytes: Local<'i32'>): void {
  const piece = (at: Local<'i32'>, source: Local<'i32'>, offset: number): void => f.do(i64.store(at, offset, i64.load(source, offset)));
  piece(data, from, 0);
  piece(data, from, 6);
  const [to, source] = [f.let(data, 'to'), f.let(from, 'source')];
  const end = f.let(i32.add(data, i32.sub(lengthBytes, i32.const(ETHERNET_BYTES))));
  f.loop((again) => {
    for (let offset = ETHERNET_BYTES; offset < ETHERNET_BYTES + PIECES_BYTES; offset += 8) piece(to, source, offset);
    f.set(source, i32.add(source, i32.const(PIECES_BYTES)));
    f.set(to, i32.add(to, i32.const(PIECES_BYTES)));
    f.brIf(again, i32.ltU(to, end));
  });
}
