/** XDP_REDIRECT in the packet loop. What a redirect helper asked for is in the CPU block (machine/cpu.ts). */
import { BPF_MAP_TYPE } from '../../bpf/map-type.ts';
import { CPU_BLOCK, REDIRECT } from '../../machine/cpu.ts';
import { MAP_DESCRIPTOR } from '../../maps/map.ts';
import { FRAME, XDP_MD } from '../../packet/frame.ts';
import { call, i32, i64, select, type Callee, type I32 } from '../../wasm/expression.ts';
import type { FunctionBuilder } from '../../wasm/function-builder.ts';
import { DEVICE, DEVICE_FLAG, HANDOVER, LOOP } from '../layout.ts';
import type { DropReason } from '../outcome.ts';
import { outcomeNumber } from './chain.ts';
import { IN_SLOT_MODE } from './in-slot.ts';
import { VLAN_TAG_BYTES, type LoopCode } from './loop-code.ts';

/** Slots of a CPUMAP are 8 bytes. */
const CPUMAP_SLOT_SHIFT = 3;

/** `redirect_on_cpu(device)`: the same for a packet that a CPUMAP has brought to another CPU. It always ends there. */
export function defineRedirectOnCpu(loop: LoopCode, inSlot: Callee<'i32'>): Callee<undefined> {
  const f = loop.module.function('redirect_on_cpu', ['i32'], undefined);
  const from = f.param(0, 'i32');
  const ended = (): void => f.return();
  emitRedirect(loop, inSlot, f, from, () => failedRedirect(loop, f, 'XDP_REDIRECT_FAILED', ended), ended);
  f.return();
  return f;
}

/** Sends the packet to a device, to every device of a map, or to another CPU; falls out of it where the packet goes on there, as after XDP_PASS. */
export function emitXdpRedirect(loop: LoopCode, inSlot: Callee<'i32'>, onCpu: Callee<undefined>, f: FunctionBuilder, from: I32, ended: () => void): void {
  const { setXdp } = loop;
  f.block((goesOn) => {
    const toCpu = (target: I32, program: I32): void => {
      if (loop.at.handsOver) {
        handOver(loop, f, from, target, program);
        ended();
        return;
      }
      f.if(program, () => {
        const outcome = f.let(call(inSlot, program, from, i32.const(IN_SLOT_MODE.cpumap)));
        f.if(i32.eq(outcome, outcomeNumber('redirect')), () => f.do(call(onCpu, from)));
        f.if(i32.ne(outcome, outcomeNumber('pass')), ended);
      });
      // An skb that is built there has no receive queue.
      setXdp(f, XDP_MD.rx_queue_index, i32.const(-1));
      f.br(goesOn);
    };
    emitRedirect(loop, inSlot, f, from, toCpu, ended);
  });
}

function failedRedirect({ finishXdp }: LoopCode, f: FunctionBuilder, reason: DropReason, ended: () => void): void {
  finishXdp(f, 'dropped', reason);
  ended();
}

/** In place, for every packet of a load balancer goes through it. `toCpu` leaves the code. */
function emitRedirect(loop: LoopCode, inSlot: Callee<'i32'>, f: FunctionBuilder, from: I32, toCpu: (target: I32, program: I32) => void, ended: () => void): void {
  const { imports, findDevice, cpuCell, setXdp, xdpLength, finishXdp, countSent } = loop;
  const kind = f.let(cpuCell(CPU_BLOCK.redirect));
  const target = f.let(cpuCell(CPU_BLOCK.redirectTarget));
  const failed = (reason: DropReason): void => failedRedirect(loop, f, reason, ended);
  f.if(i32.eqz(kind), () => failed('XDP_REDIRECT_FAILED'));
  f.if(i32.eq(kind, i32.const(REDIRECT.broadcast)), () => {
    const BPF_F_EXCLUDE_INGRESS = 16;
    const exclude = select(
      i32.and(cpuCell(CPU_BLOCK.redirectFlags), i32.const(BPF_F_EXCLUDE_INGRESS)),
      i32.load(from, DEVICE.ifindex),
      i32.const(0),
    );
    const copies = f.let(call(imports.broadcast, cpuCell(CPU_BLOCK.redirectMap), exclude, xdpLength()));
    f.if(i32.eqz(copies), () => failed('XDP_REDIRECT_FAILED'));
    finishXdp(f, 'redirected', 'NONE');
    ended();
  });
  const program = f.local('i32', 'program');
  f.set(program, i32.const(0));
  f.if(i32.eq(kind, i32.const(REDIRECT.map)), () => {
    f.set(program, i32.load(target, 4));
    f.if(i32.eq(i32.load(cpuCell(CPU_BLOCK.redirectMap), MAP_DESCRIPTOR.type), i32.const(BPF_MAP_TYPE.cpumap)), () => toCpu(target, program));
    f.set(target, i32.load(target));
  });
  const device = findDevice(f, target);
  f.if(i32.eqz(device), () => failed('XDP_REDIRECT_FAILED'));
  f.if(i32.eqz(i32.and(i32.load(device, DEVICE.flags), i32.const(DEVICE_FLAG.up))), () => failed('DEV_READY'));
  const longest = i32.add(i32.load(device, DEVICE.mtu), i32.const(FRAME.minimumLength + VLAN_TAG_BYTES));
  f.if(i32.gtU(xdpLength(), longest), () => failed('PKT_TOO_BIG'));
  // A program in the devmap slot sees the packet on its way out: XDP_PASS sends it.
  f.if(program, () => {
    setXdp(f, XDP_MD.egress_ifindex, i32.load(device, DEVICE.ifindex));
    f.if(i32.ne(call(inSlot, program, device, i32.const(IN_SLOT_MODE.devmap)), outcomeNumber('pass')), ended);
  });
  countSent(f, device, xdpLength());
  finishXdp(f, 'redirected', 'NONE');
  ended();
}

/** Leaves the packet for the CPU of the slot, also where that is this one: as in Linux, it goes on when the batch has been received. */
function handOver({ at, cell, setCell, cpuCell, descriptor }: LoopCode, f: FunctionBuilder, from: I32, slot: I32, program: I32): void {
  const left = f.let(cell(LOOP.handedOver), 'left');
  const index = i32.shrU(i32.sub(slot, i32.load(cpuCell(CPU_BLOCK.redirectMap), MAP_DESCRIPTOR.storage)), i32.const(CPUMAP_SLOT_SHIFT));
  f.do(i32.store(left, HANDOVER.cpu, index));
  f.do(i32.store(left, HANDOVER.program, program));
  f.do(i32.store(left, HANDOVER.device, i32.sub(from, i32.const(at.devices))));
  f.do(i32.store(left, HANDOVER.descriptor, descriptor()));
  f.do(i64.store(left, HANDOVER.now, i64.load(i32.const(at.cpuBlock), CPU_BLOCK.now)));
  for (let offset = 0; offset < XDP_MD.size; offset += 8) f.do(i64.store(left, HANDOVER.context + offset, i64.load(i32.const(at.xdpContext), offset)));
  setCell(f, LOOP.handedOver, i32.add(left, i32.const(HANDOVER.size)));
}
