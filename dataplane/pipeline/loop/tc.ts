/** TC in the packet loop: the ingress and egress chains of a device, and where a redirect leads. */
import type { HookName } from '../../hooks/hook.ts';
import { CPU_BLOCK, REDIRECT } from '../../machine/cpu.ts';
import { FRAME, SK_BUFF } from '../../packet/frame.ts';
import { call, i32, type Callee } from '../../wasm/expression.ts';
import type { FunctionBuilder } from '../../wasm/function-builder.ts';
import { DEVICE, DEVICE_FLAG, LOOP, MAX_HOPS } from '../layout.ts';
import type { DropReason } from '../outcome.ts';
import { outcomeNumber, runChain } from './chain.ts';
import { VLAN_TAG_BYTES, type LoopCode } from './loop-code.ts';
import type { SkbCode } from './skb.ts';

export interface TcCode {
  /** `tc_ingress(device)` and `tc_egress(device)`: the skb from there to its end. */
  readonly ingress: Callee<undefined>;
  readonly egress: Callee<undefined>;
}

export function defineTc(loop: LoopCode, skbCode: SkbCode): TcCode {
  const { module, cell, skb, countSent } = loop;
  const { end } = skbCode;
  const ingress = module.function('tc_ingress', ['i32'], undefined);
  const egress = module.function('tc_egress', ['i32'], undefined);
  const redirect = defineRedirect(loop, skbCode, ingress, egress);

  runHook(loop, skbCode, redirect, ingress, 'tc-ingress', 'TC_INGRESS');
  end(ingress, 'stack');

  runHook(loop, skbCode, redirect, egress, 'tc-egress', 'TC_EGRESS');
  countSent(egress, egress.param(0, 'i32'), skb(SK_BUFF.len));
  egress.if(cell(LOOP.hops), () => end(egress, 'redirected'));
  end(egress, 'sent');
  return { ingress, egress };
}

/** The device's chain at the hook, and every outcome of it but passing. */
function runHook(loop: LoopCode, { end }: SkbCode, redirect: Callee<undefined>, f: FunctionBuilder, hook: HookName, dropReason: DropReason): void {
  loop.atDeviceOf(f, hook, f.param(0, 'i32'), (chain) => {
    const { outcome } = runChain(loop, f, chain, loop.at.skbContext, () => loop.skb(SK_BUFF.len));
    f.if(i32.eq(outcome, outcomeNumber('drop')), () => end(f, 'dropped', dropReason));
    f.if(i32.eq(outcome, outcomeNumber('consumed')), () => end(f, 'consumed'));
    f.if(i32.eq(outcome, outcomeNumber('redirect')), () => {
      f.do(call(redirect));
      f.return();
    });
  });
}

/** TC_ACT_REDIRECT: to the target's egress, or with BPF_F_INGRESS to its ingress. */
function defineRedirect(loop: LoopCode, { packetType, end }: SkbCode, tcIngress: Callee<undefined>, tcEgress: Callee<undefined>): Callee<undefined> {
  const { module, findDevice, imports, cpuCell, cell, setCell, skb, setSkb } = loop;
  const f = module.function('tc_redirect', [], undefined);
  const BPF_F_INGRESS = 1;
  const kind = f.let(cpuCell(CPU_BLOCK.redirect));
  f.if(i32.eqz(kind), () => end(f, 'dropped', 'TC_REDIRECT_FAILED'));
  const device = findDevice(f, cpuCell(CPU_BLOCK.redirectTarget));
  f.if(i32.and(i32.ne(device, i32.const(0)), i32.eq(kind, i32.const(REDIRECT.peer))), () => {
    // Only a packet on its way in can change to the other side without a queue.
    f.if(i32.eqz(skb(SK_BUFF.at_ingress)), () => end(f, 'dropped', 'TC_REDIRECT_FAILED'));
    f.set(device, findDevice(f, i32.load(device, DEVICE.peer)));
  });
  f.if(i32.eqz(device), () => end(f, 'dropped', 'TC_REDIRECT_FAILED'));
  f.if(i32.eqz(i32.and(i32.load(device, DEVICE.flags), i32.const(DEVICE_FLAG.up))), () => end(f, 'dropped', 'DEV_READY'));
  const hops = f.let(i32.add(cell(LOOP.hops), i32.const(1)));
  setCell(f, LOOP.hops, hops);
  f.if(i32.gtU(hops, i32.const(MAX_HOPS)), () => end(f, 'dropped', 'TC_RECLASSIFY_LOOP'));
  for (let word = 0; word < 5; word++) setSkb(f, SK_BUFF.cb + 4 * word, i32.const(0));
  setSkb(f, SK_BUFF.ifindex, i32.load(device, DEVICE.ifindex));
  const toIngress = i32.or(
    i32.eq(kind, i32.const(REDIRECT.peer)),
    i32.and(i32.eq(kind, i32.const(REDIRECT.ifindex)), i32.and(cpuCell(CPU_BLOCK.redirectFlags), i32.const(BPF_F_INGRESS))),
  );
  f.if(toIngress, () => {
    setSkb(f, SK_BUFF.priority, i32.const(0));
    setSkb(f, SK_BUFF.ingress_ifindex, i32.load(device, DEVICE.ifindex));
    setSkb(f, SK_BUFF.pkt_type, call(packetType, skb(SK_BUFF.data), device));
    setSkb(f, SK_BUFF.at_ingress, i32.const(1));
    f.do(call(tcIngress, device));
    f.return();
  });
  const linkHeader = FRAME.minimumLength + VLAN_TAG_BYTES;
  f.if(i32.gtU(skb(SK_BUFF.len), i32.add(i32.load(device, DEVICE.mtu), i32.const(linkHeader))), () => end(f, 'dropped', 'PKT_TOO_BIG'));
  f.if(i32.eq(kind, i32.const(REDIRECT.neigh)), () => {
    const known = call(imports.link, i32.load(device, DEVICE.ifindex), cpuCell(CPU_BLOCK.redirectMap), skb(SK_BUFF.data));
    f.if(i32.eqz(known), () => end(f, 'dropped', 'NEIGH_FAILED'));
  });
  setSkb(f, SK_BUFF.at_ingress, i32.const(0));
  f.do(call(tcEgress, device));
  f.return();
  return f;
}
