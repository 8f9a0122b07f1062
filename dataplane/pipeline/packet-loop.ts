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
import { call, i32, i64, select, type Callee } from '../wasm/expression.ts';
import type { FunctionBuilder, Label, Local } from '../wasm/function-builder.ts';
import { ATTACHMENT, DEVICE, DEVICE_FLAG, FROM_HOST, LOOP } from './layout.ts';
import { judge, outcomeNumber, refuseXdp, runChain, tellVerdict } from './loop/chain.ts';
import { LoopCode, type LoopAddresses } from './loop/loop-code.ts';
import { receive } from './loop/receive.ts';
import { defineSkb, type SkbCode } from './loop/skb.ts';
import { defineTc, type TcCode } from './loop/tc.ts';
import { defineXdpRedirect } from './loop/xdp-redirect.ts';
import { DROP_REASON, FATE, type DropReason } from './outcome.ts';
import { defineQueueChoice } from './receive-side-scaling.ts';

/** What the loop's module exports. */
export interface PacketLoop {
  /** Runs `count` descriptors from `first`; returns how many were finished: fewer when room for frames or records ran out. */
  run(first: number, count: number): number;
  /** Ends the packet whose program faulted, with its hook's verdict for that. */
  stop(fault: number, verdict: number, reason: number): void;
}

interface Parts {
  readonly loop: LoopCode;
  readonly skb: SkbCode;
  readonly tc: TcCode;
  readonly xdpRedirect: Callee<'i32'>;
  readonly chooseQueue: Callee<'i32'>;
}

export function emitPacketLoop(at: LoopAddresses): Uint8Array<ArrayBuffer> {
  const loop = new LoopCode(at);
  const skb = defineSkb(loop);
  const parts = { loop, skb, tc: defineTc(loop, skb), xdpRedirect: defineXdpRedirect(loop), chooseQueue: defineQueueChoice(loop.module, at.toeplitz) };
  loop.module.export('run', defineRun(parts));
  loop.module.export('stop', defineStop(parts));
  return loop.module.assemble();
}

/** One packet, from its descriptor to its end. */
function processPacket({ loop, skb, tc, xdpRedirect, chooseQueue }: Parts, f: FunctionBuilder, d: Local<'i32'>, finished: Label): void {
  const { at, imports, finish, setCpuCell, setCell, setXdp, xdpLength, count, countSent, finishXdp } = loop;
  setCpuCell(f, CPU_BLOCK.descriptor, d);
  const timestamp = f.let(i64.load(d, DESCRIPTOR.timestampNs), 'timestamp');
  f.if(i64.leU(i64.load(i32.const(at.cpuBlock), CPU_BLOCK.nextTimer), timestamp), () => f.do(call(imports.timers)));
  // As Linux's monotonic clock, time does not go back where a capture is out of order.
  const now = f.let(i64.load(i32.const(at.cpuBlock), CPU_BLOCK.now), 'now');
  f.do(i64.store(i32.const(at.cpuBlock), CPU_BLOCK.now, select(i64.gtU(timestamp, now), timestamp, now)));
  if (at.observed) f.do(i32.store(d, DESCRIPTOR.leftIfindex, i32.const(0)));
  if (at.observed) for (const verdict of [DESCRIPTOR.xdp, DESCRIPTOR.tcIngress, DESCRIPTOR.tcEgress]) f.do(i32.store(d, verdict, i32.const(NO_VERDICT)));
  setCell(f, LOOP.hops, i32.const(0));
  const captured = f.let(i32.load(d, DESCRIPTOR.captured), 'captured');
  const reject = (reason: DropReason): void => {
    f.do(call(finish, i32.load(d, DESCRIPTOR.address), captured, i32.const(FATE.rejected), i32.const(DROP_REASON[reason])));
    f.br(finished);
  };
  const wireInterface = f.let(i32.load(d, DESCRIPTOR.interface));
  f.if(i32.geU(wireInterface, i32.const(at.interfaceCount)), () => reject('LINK_TYPE'));
  const entry = f.let(i32.load(i32.add(i32.const(at.interfaces), i32.shl(wireInterface, i32.const(2)))), 'entry');
  f.if(i32.eqz(entry), () => reject('LINK_TYPE'));
  const device = f.let(i32.and(entry, i32.const(~FROM_HOST)), 'device');
  f.if(i32.ltU(captured, i32.const(FRAME.minimumLength)), () => reject('PKT_TOO_SMALL'));
  f.if(i32.ltU(captured, i32.load(d, DESCRIPTOR.wire)), () => count(f, i32.const(at.cells), LOOP.truncated, i32.const(1)));
  setCpuCell(f, CPU_BLOCK.device, device);
  receive(loop, chooseQueue, f, d, device);
  // Not from the frame, whose bytes are still on their way.
  const data = i32.load(d, DESCRIPTOR.address);
  const knowsOwn = i32.and(i32.load(device, DEVICE.flags), i32.const(DEVICE_FLAG.knowsOwn));
  const own = i32.and(i32.eq(i32.load(data, 6), i32.load(device, DEVICE.mac)), i32.eq(i32.load16U(data, 10), i32.load16U(device, DEVICE.mac + 4)));
  const fromHost = f.let(i32.and(entry, i32.const(FROM_HOST)), 'fromHost');
  f.if(knowsOwn, () => f.set(fromHost, i32.or(fromHost, own)));
  f.if(fromHost, () => {
    f.do(call(skb.build, device, i32.const(0)));
    f.do(call(tc.egress, device));
    f.br(finished);
  });
  count(f, device, DEVICE.rxPackets, i32.const(1));
  count(f, device, DEVICE.rxBytes, captured);
  const first = f.let(i32.load(device, DEVICE.xdp));
  const last = f.let(i32.load(device, DEVICE.xdpEnd));
  f.if(i32.ne(first, last), () => {
    setXdp(f, XDP_MD.ingress_ifindex, i32.load(device, DEVICE.ifindex));
    const { outcome, code } = runChain(loop, f, 'xdp', at.xdpContext, first, last, xdpLength);
    f.if(i32.gtU(outcome, outcomeNumber('pass')), () => {
      f.if(i32.eq(outcome, outcomeNumber('transmit')), () => {
        countSent(f, device, xdpLength());
        finishXdp(f, 'transmitted', 'NONE');
        f.br(finished);
      });
      f.if(
        i32.eq(outcome, outcomeNumber('redirect')),
        () => f.if(i32.eqz(call(xdpRedirect, device, i32.const(0))), () => f.br(finished)),
        () => refuseXdp(loop, f, outcome, code, () => f.br(finished)),
      );
    });
  });
  // Without a TC program nobody sees the skb, and the packet reaches the host as XDP left it.
  f.if(i32.eq(i32.load(device, DEVICE.tcIngress), i32.load(device, DEVICE.tcIngressEnd)), () => {
    finishXdp(f, 'stack', 'NONE');
    f.br(finished);
  });
  f.do(call(skb.build, device, i32.const(1)));
  f.do(call(tc.ingress, device));
}

function defineRun(parts: Parts): Callee<'i32'> {
  const { at, module, imports, cell, cpuCell } = parts.loop;
  const f = module.function('run', ['i32', 'i32'], 'i32');
  const [d, limit] = [f.param(0, 'i32'), f.param(1, 'i32')];
  const done = f.local('i32', 'done');
  f.while(
    () => i32.ltU(done, limit),
    (again) => {
      if (at.observed) {
        // Room for this packet's frame and records, or the batch ends here and the caller drains both.
        const frame = i32.add(i32.load(d, DESCRIPTOR.captured), i32.const(FRAME.skbHeadroom + FRAME.size));
        f.if(i32.gtU(i32.add(cell(LOOP.arenaCursor), frame), i32.const(at.arenaEnd)), () => f.return(done));
        const records = i32.add(cell(LOOP.recordCursor), i32.const(at.recordBytesPerPacket));
        f.if(i32.gtU(records, i32.const(at.recordsEnd)), () => f.return(done));
      }
      f.block((finished) => processPacket(parts, f, d, finished));
      // Now, not when the batch ends: where that is depends on how the capture was read.
      f.if(cpuCell(CPU_BLOCK.records), () => f.do(call(imports.records)));
      f.set(done, i32.add(done, i32.const(1)));
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
  count(f, attachment, ATTACHMENT.faults, i32.const(1));
  tellVerdict(loop, f, cell(LOOP.hook), verdict);
  f.if(
    cell(LOOP.hook),
    () => {
      f.do(judge(loop, f, cell(LOOP.hook), attachment, verdict, loop.skb(SK_BUFF.len), fault));
      f.do(call(skb.finish, i32.const(FATE.dropped), reason));
    },
    () => {
      f.do(judge(loop, f, cell(LOOP.hook), attachment, verdict, xdpLength(), fault));
      f.do(call(finish, xdp(XDP_MD.data), xdpLength(), i32.const(FATE.dropped), reason));
    },
  );
  f.return();
  return f;
}
