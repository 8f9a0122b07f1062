/**
 * The packet loop, in WebAssembly: it takes a batch of descriptors, carries each packet through the hooks of its
 * device and wherever it is redirected, counts, and leaves a verdict record for each program run. JavaScript sees
 * batches only. The path is Linux's: XDP, then an skb, TC ingress, the host's stack; redirects go to another
 * device's TC egress or ingress; XDP_TX and XDP_REDIRECT bypass TC.
 *
 * A program that faults unwinds to the caller of `run`, who calls `stop` with the reason and resumes behind it.
 */
import { CPU_BLOCK } from '../machine/cpu.ts';
import { FRAME, SK_BUFF, XDP_MD } from '../packet/frame.ts';
import { DESCRIPTOR, NO_VERDICT } from '../packet/packet-batch.ts';
import { call, i32, i64, pair, select, type Callee, type I32 } from '../wasm/expression.ts';
import type { FunctionBuilder, Label, Local } from '../wasm/function-builder.ts';
import { ATTACHMENT, DEVICE, DEVICE_FLAG, HANDOVER, LOOP, SENDER } from './layout.ts';
import { judge, judgedAt, outcomeNumber, refuseXdp, runChain, tellVerdict, type Chain } from './loop/chain.ts';
import { LoopCode, type LoopConstants } from './loop/loop-code.ts';
import { receive } from './loop/receive.ts';
import { defineSkb, type SkbCode } from './loop/skb.ts';
import { defineTc, type TcCode } from './loop/tc.ts';
import { defineInSlot, IN_SLOT_MODE } from './loop/in-slot.ts';
import { defineRedirectOnCpu, emitXdpRedirect } from './loop/xdp-redirect.ts';
import { DROP_REASON, FATE, type DropReason } from './outcome.ts';
import { defineQueueChoice } from './receive-side-scaling.ts';

/** What the loop's module exports. */
export interface PacketLoop {
  /** Runs `count` descriptors from `first`; returns how many were finished: fewer when room for frames or records ran out, or other programs are attached. */
  run(first: number, count: number): number;
  /** Goes on with a packet that was left behind: a HANDOVER. Only loops that hand packets over have this. */
  resume?(handover: number): void;
  /** Ends the packet whose program faulted, with its hook's verdict for that. */
  stop(fault: number, verdict: number, reason: number): void;
}

interface Parts {
  readonly loop: LoopCode;
  readonly skb: SkbCode;
  readonly tc: TcCode;
  readonly inSlot: Callee<'i32'>;
  readonly redirectOnCpu: Callee<undefined>;
  readonly chooseQueue: Callee<'i32'>;
}

export function emitPacketLoop(at: LoopConstants): Uint8Array<ArrayBuffer> {
  const loop = new LoopCode(at);
  const skb = defineSkb(loop);
  const inSlot = defineInSlot(loop);
  const parts = { loop, skb, tc: defineTc(loop, skb), inSlot, redirectOnCpu: defineRedirectOnCpu(loop, inSlot), chooseQueue: defineQueueChoice(loop.module) };
  loop.module.export('run', defineRun(parts));
  loop.module.export('stop', defineStop(parts));
  if (at.handsOver) loop.module.export('resume', defineResume(parts));
  return loop.module.assemble();
}

/** One packet, from its descriptor to its end. */
function processPacket(parts: Parts, f: FunctionBuilder, d: Local<'i32'>, finished: Label): void {
  const { loop, skb, tc, chooseQueue } = parts;
  const { at, describes, imports, finish, setCpuCell, setCell, count } = loop;
  setCpuCell(f, CPU_BLOCK.descriptor, d);
  const timestamp = f.let(i64.load(d, DESCRIPTOR.timestampNs), 'timestamp');
  f.if(i64.leU(i64.load(i32.const(at.cpuBlock), CPU_BLOCK.nextTimer), timestamp), () => f.do(call(imports.timers)));
  // As Linux's monotonic clock, time does not go back where a capture is out of order.
  const now = f.let(i64.load(i32.const(at.cpuBlock), CPU_BLOCK.now), 'now');
  f.do(i64.store(i32.const(at.cpuBlock), CPU_BLOCK.now, at.spread ? i64.load(d, DESCRIPTOR.now) : select(i64.gtU(timestamp, now), timestamp, now)));
  if (describes) {
    f.do(i64.store(d, DESCRIPTOR.leftIfindex, pair(i32.const(0), i32.const(NO_VERDICT))));
    f.do(i64.store(d, DESCRIPTOR.tcIngress, pair(i32.const(NO_VERDICT), i32.const(NO_VERDICT))));
  }
  const from = f.let(i32.load(d, DESCRIPTOR.address), 'from');
  const captured = f.let(i32.load(d, DESCRIPTOR.captured), 'captured');
  count(f, i32.const(at.cells), LOOP.bytes, captured);
  const reject = (reason: DropReason): void => {
    f.do(call(finish, from, captured, i32.const(FATE.rejected), i32.const(DROP_REASON[reason])));
    f.br(finished);
  };
  const wireInterface = f.let(i32.load(d, DESCRIPTOR.interface));
  f.if(i32.geU(wireInterface, i32.const(at.interfaceCount)), () => reject('LINK_TYPE'));
  const entry = f.let(i32.load(i32.shl(wireInterface, i32.const(2)), at.interfaces), 'entry');
  f.if(i32.eqz(entry), () => reject('LINK_TYPE'));
  const device = f.let(i32.and(entry, i32.const(~SENDER.mask)), 'device');
  f.if(i32.ltU(captured, i32.const(FRAME.minimumLength)), () => reject('PKT_TOO_SMALL'));
  f.if(i32.ltU(captured, i32.load(d, DESCRIPTOR.wire)), () => count(f, i32.const(at.cells), LOOP.truncated, i32.const(1)));
  receive(loop, chooseQueue, f, from, captured, device);
  const fromHost = f.let(i32.and(entry, i32.const(SENDER.host)), 'fromHost');
  if (at.anyKnowsOwn) f.set(fromHost, i32.or(fromHost, i32.and(i32.eqz(i32.and(entry, i32.const(SENDER.wire))), isOwn(from, device))));
  f.if(fromHost, () => {
    setCell(f, LOOP.hops, i32.const(0));
    f.do(call(skb.build, device, i32.const(0)));
    f.do(call(tc.egress, device));
    f.br(finished);
  });
  count(f, device, DEVICE.rxPackets, i32.const(1));
  count(f, device, DEVICE.rxBytes, captured);
  loop.atDeviceOf(f, 'xdp', device, (chain) => runXdp(parts, f, chain, finished));
  enterStack(parts, f, device, finished);
}

/** What XDP passed, from TC ingress on. */
function enterStack({ loop, skb, tc }: Parts, f: FunctionBuilder, device: Local<'i32'>, finished: Label): void {
  loop.atDeviceOf(f, 'tc-ingress', device, () => {
    loop.setCell(f, LOOP.hops, i32.const(0));
    f.do(call(skb.build, device, i32.const(1)));
    f.do(call(tc.ingress, device));
    f.br(finished);
  });
  // Without a TC program nobody sees the skb, and the packet reaches the host as XDP left it.
  loop.finishXdp(f, 'stack', 'NONE');
}

/** `resume(handover)`: a packet that another CPU, or this one, has left for this one. */
function defineResume(parts: Parts): Callee<undefined> {
  const { loop, inSlot, redirectOnCpu } = parts;
  const { at, module, imports, begin, setCpuCell, cpuCell, setXdp } = loop;
  const f = module.function('resume', ['i32'], undefined);
  const left = f.param(0, 'i32');
  begin(f);
  setCpuCell(f, CPU_BLOCK.descriptor, i32.load(left, HANDOVER.descriptor));
  f.do(i64.store(i32.const(at.cpuBlock), CPU_BLOCK.now, i64.load(left, HANDOVER.now)));
  for (let offset = 0; offset < XDP_MD.size; offset += 8) f.do(i64.store(i32.const(at.xdpContext), offset, i64.load(left, HANDOVER.context + offset)));
  const device = f.let(i32.add(i32.load(left, HANDOVER.device), i32.const(at.devices)), 'device');
  const program = f.let(i32.load(left, HANDOVER.program), 'program');
  setCpuCell(f, CPU_BLOCK.device, device);
  f.block((finished) => {
    f.if(program, () => {
      const outcome = f.let(call(inSlot, program, device, i32.const(IN_SLOT_MODE.cpumap)), 'outcome');
      f.if(i32.eq(outcome, outcomeNumber('redirect')), () => f.do(call(redirectOnCpu, device)));
      f.brIf(finished, i32.ne(outcome, outcomeNumber('pass')));
    });
    // An skb that is built there has no receive queue.
    setXdp(f, XDP_MD.rx_queue_index, i32.const(-1));
    enterStack(parts, f, device, finished);
  });
  f.if(cpuCell(CPU_BLOCK.records), () => f.do(call(imports.records)));
  f.return();
  return f;
}

/** Whether the packet has the device's own address as its source. Not from the frame, whose bytes are still on their way. */
function isOwn(from: I32, device: I32): I32 {
  const source = i64.and(i64.load(from, 6), i64.const(0xffff_ffff_ffffn));
  const knowsOwn = i32.ne(i32.and(i32.load(device, DEVICE.flags), i32.const(DEVICE_FLAG.knowsOwn)), i32.const(0));
  return i32.and(knowsOwn, i64.eq(source, i64.load(device, DEVICE.mac)));
}

/** XDP at a device: falls out of it where the packet passes. */
function runXdp({ loop, inSlot, redirectOnCpu }: Parts, f: FunctionBuilder, chain: Chain, finished: Label): void {
  const { at, xdpLength, countSent, finishXdp } = loop;
  const device = i32.const(chain.device);
  const { outcome, code } = runChain(loop, f, chain, at.xdpContext, xdpLength);
  f.if(i32.gtU(outcome, outcomeNumber('pass')), () => {
    f.if(i32.eq(outcome, outcomeNumber('transmit')), () => {
      countSent(f, device, xdpLength());
      finishXdp(f, 'transmitted', 'NONE');
      f.br(finished);
    });
    f.if(
      i32.eq(outcome, outcomeNumber('redirect')),
      () => emitXdpRedirect(loop, inSlot, redirectOnCpu, f, device, () => f.br(finished)),
      () => refuseXdp(loop, f, outcome, code, () => f.br(finished)),
    );
  });
}

function defineRun(parts: Parts): Callee<'i32'> {
  const { at, records, module, imports, cell, cpuCell, begin } = parts.loop;
  const f = module.function('run', ['i32', 'i32'], 'i32');
  const [d, limit] = [f.param(0, 'i32'), f.param(1, 'i32')];
  const done = f.local('i32', 'done');
  begin(f);
  f.while(
    () => i32.ltU(done, limit),
    (again) => {
      // Room for this packet's frame and records, or the batch ends here and the caller drains both.
      if (at.keeps === 'packets') {
        const frame = i32.add(i32.load(d, DESCRIPTOR.captured), i32.const(FRAME.skbHeadroom + FRAME.size));
        f.if(i32.gtU(i32.add(cell(LOOP.arenaCursor), frame), i32.const(at.arenaEnd)), () => f.return(done));
      }
      if (records) {
        const end = i32.add(cell(LOOP.recordCursor), i32.const(at.recordBytesPerPacket));
        f.if(i32.gtU(end, cell(LOOP.recordsEnd)), () => f.return(done));
      }
      f.block((finished) => processPacket(parts, f, d, finished));
      f.set(done, i32.add(done, i32.const(1)));
      // Now, not when the batch ends: where that is depends on how the capture was read.
      f.if(cpuCell(CPU_BLOCK.records), () => f.if(call(imports.records), () => f.return(done)));
      f.set(d, i32.add(d, i32.const(DESCRIPTOR.size)));
      f.br(again);
    },
  );
  f.return(done);
  return f;
}

function defineStop({ loop, skb }: Parts): Callee<undefined> {
  const { module, cell, count, finish, xdp, xdpLength } = loop;
  const f = module.function('stop', ['i32', 'i32', 'i32'], undefined);
  const [fault, verdict, reason] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32')];
  const attachment = f.let(cell(LOOP.attachment));
  const hook = f.let(i32.load(attachment, ATTACHMENT.hook));
  count(f, attachment, ATTACHMENT.faults, i32.const(1));
  tellVerdict(loop, f, hook, verdict);
  const length = f.let(xdpLength());
  f.if(hook, () => f.set(length, loop.skb(SK_BUFF.len)));
  f.do(judge(loop, f, judgedAt(loop, attachment, fault), verdict, length));
  f.if(
    hook,
    () => f.do(call(skb.finish, i32.const(FATE.dropped), reason)),
    () => f.do(call(finish, xdp(XDP_MD.data), length, i32.const(FATE.dropped), reason)),
  );
  f.return();
  return f;
}
