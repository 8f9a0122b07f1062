/** A packet's arrival in the packet loop. */
import { CPU_BLOCK } from '../../machine/cpu.ts';
import { FRAME, LINEAR_BYTES, XDP_MD } from '../../packet/frame.ts';
import { DESCRIPTOR } from '../../packet/packet-batch.ts';
import { call, i32, i64, memory, select, type Callee } from '../../wasm/expression.ts';
import type { FunctionBuilder, Local } from '../../wasm/function-builder.ts';
import { DEVICE, LOOP } from '../layout.ts';
import type { LoopCode } from './loop-code.ts';

/** Puts the packet into a frame of its own, as a NIC's DMA would, and describes it in the XDP context. */
export function receive({ cell, setCell, cpuCell, setXdp }: LoopCode, chooseQueue: Callee<'i32'>, f: FunctionBuilder, d: Local<'i32'>): void {
  const captured = f.let(i32.load(d, DESCRIPTOR.captured), 'captured');
  const start = f.let(cell(LOOP.arenaCursor), 'frame');
  const hardStart = f.let(i32.add(start, i32.const(FRAME.skbHeadroom)));
  const data = f.let(i32.add(hardStart, i32.const(FRAME.headroom)), 'data');
  const larger = i32.and(i32.add(captured, i32.const(FRAME.headroom + FRAME.sharedInfo + 63)), i32.const(~63));
  const frameBytes = f.let(select(i32.gtU(captured, i32.const(LINEAR_BYTES)), larger, i32.const(FRAME.size)));
  f.if(cell(LOOP.observed), () => setCell(f, LOOP.arenaCursor, i32.add(hardStart, frameBytes)));
  // Eight bytes at a time beats memory.copy for the packets that matter; what is copied past the end is never seen.
  const from = f.let(i32.load(d, DESCRIPTOR.address), 'from');
  f.if(
    i32.leU(captured, i32.const(256)),
    () => {
      const to = f.let(data, 'to');
      const end = f.let(i32.add(data, captured));
      f.loop((again) => {
        f.do(i64.store(to, 0, i64.load(from)));
        f.do(i64.store(to, 8, i64.load(from, 8)));
        f.set(from, i32.add(from, i32.const(16)));
        f.set(to, i32.add(to, i32.const(16)));
        f.brIf(again, i32.ltU(to, end));
      });
    },
    () => f.do(memory.copy(data, from, captured)),
  );
  setXdp(f, XDP_MD.data, data);
  setXdp(f, XDP_MD.data_meta, data);
  setXdp(f, XDP_MD.exposed, data);
  const end = f.let(i32.add(data, captured));
  setXdp(f, XDP_MD.data_end, end);
  setXdp(f, XDP_MD.packet_end, end);
  setXdp(f, XDP_MD.hard_start, hardStart);
  setXdp(f, XDP_MD.hard_end, i32.sub(i32.add(hardStart, frameBytes), i32.const(FRAME.sharedInfo)));
  setXdp(f, XDP_MD.rx_queue_index, i32.const(0));
  const queues = f.let(i32.load(cpuCell(CPU_BLOCK.device), DEVICE.queues), 'queues');
  f.if(i32.gtU(queues, i32.const(1)), () => setXdp(f, XDP_MD.rx_queue_index, call(chooseQueue, data, end, queues)));
  setXdp(f, XDP_MD.egress_ifindex, i32.const(0));
}
