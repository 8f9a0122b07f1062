/**
 * The packet loop, in WebAssembly: it takes a batch of descriptors, carries each packet through the hooks of its
 * device and wherever it is redirected, counts, and leaves a verdict record for each program run. JavaScript sees
 * batches only. The path is Linux's: XDP, then an skb, TC ingress, the host's stack; redirects go to another
 * device's TC egress or ingress; XDP_TX and XDP_REDIRECT bypass TC.
 *
 * A program that faults unwinds to the caller of `run`, who calls `stop` with the reason and resumes behind it.
 */
import { CPU_BLOCK, FAULT, REDIRECT } from '../machine/cpu.ts';
import { CHECKSUM, FRAME, LINEAR_BYTES, PACKET_TYPE, SK_BUFF, XDP_MD } from '../packet/frame.ts';
import { DESCRIPTOR, NO_VERDICT } from '../packet/packet-batch.ts';
import { HOOK_NAMES, OUTCOMES, type HookName, type Outcome } from '../hooks/hook.ts';
import { MAP_DESCRIPTOR } from '../maps/map.ts';
import { call, callIndirect, i32, i64, memory, select, type I32 } from '../wasm/expression.ts';
import type { FunctionBuilder, Label, Local } from '../wasm/function-builder.ts';
import { ModuleBuilder } from '../wasm/module-builder.ts';
import { ATTACHMENT, DEVICE, DEVICE_FLAG, LOOP, MAX_HOPS, MAX_RECORDS_PER_PACKET, OTHER_VERDICT_SLOT, RECORD } from './layout.ts';
import { DROP_REASON, FATE, type DropReason, type Fate } from './outcome.ts';
import { defineQueueChoice } from './receive-side-scaling.ts';

/** Addresses that are constants in the loop's code. */
export interface LoopAddresses {
  readonly cpuBlock: number;
  readonly cells: number;
  readonly xdpContext: number;
  readonly skbContext: number;
  readonly arena: number;
  readonly arenaEnd: number;
  readonly records: number;
  readonly recordsEnd: number;
  readonly devices: number;
  readonly devicesEnd: number;
  /** u32 device record address by capture interface, 0 where packets of it cannot be run. */
  readonly interfaces: number;
  readonly interfaceCount: number;
  /** Words for receive-side scaling. */
  readonly toeplitz: number;
  readonly instructionBudget: number;
}

/** What the loop's module exports. */
export interface PacketLoop {
  /** Runs `count` descriptors from `first`; returns how many were finished: fewer when room for frames or records ran out. */
  run(first: number, count: number): number;
  /** Ends the packet whose program faulted, with its hook's verdict for that. */
  stop(fault: number, verdict: number, reason: number): void;
}

/** What it imports besides memory and the program table. */
export interface LoopImports {
  /** BPF_F_BROADCAST: sends the XDP frame to every device of the map; returns to how many. */
  broadcast(mapDescriptor: number, excludeIfindex: number): number;
  /** Runs the timers that expire until the packet at CPU_BLOCK.descriptor came in. */
  timers(): void;
  /** bpf_redirect_neigh: writes the link-layer addresses at `data`; 0 when the next hop is not known. */
  link(ifindex: number, nextHop: number, data: number): number;
}

const VLAN_TAG_BYTES = 4;
/** 0x8100 and 0x88a8 as a little-endian load reads them. */
const ETH_P_8021Q_BE = 0x0081;
const ETH_P_8021AD_BE = 0xa888;
const outcomeNumber = (name: Outcome): I32 => i32.const(OUTCOMES.indexOf(name));

export function emitPacketLoop(at: LoopAddresses): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  module.importMemory('machine', 'memory');
  const programs = module.importTable('machine', 'programs');
  const entry = module.type(['i32'], 'i64');
  const broadcast = module.importFunction('loop', 'broadcast', ['i32', 'i32'], 'i32');

  const timers = module.importFunction('loop', 'timers', [], undefined);
  const link = module.importFunction('loop', 'link', ['i32', 'i32', 'i32'], 'i32');

  const cpuCell = (offset: number): I32 => i32.load(i32.const(at.cpuBlock), offset);
  const setCpuCell = (f: FunctionBuilder, offset: number, value: I32): void => f.do(i32.store(i32.const(at.cpuBlock), offset, value));
  const cell = (offset: number): I32 => i32.load(i32.const(at.cells), offset);
  const setCell = (f: FunctionBuilder, offset: number, value: I32): void => f.do(i32.store(i32.const(at.cells), offset, value));
  const descriptor = (): I32 => cpuCell(CPU_BLOCK.descriptor);
  const xdp = (offset: number): I32 => i32.load(i32.const(at.xdpContext), offset);
  const setXdp = (f: FunctionBuilder, offset: number, value: I32): void => f.do(i32.store(i32.const(at.xdpContext), offset, value));
  const skb = (offset: number): I32 => i32.load(i32.const(at.skbContext), offset);
  const setSkb = (f: FunctionBuilder, offset: number, value: I32): void => f.do(i32.store(i32.const(at.skbContext), offset, value));
  /** Adds to a u64 counter. */
  const count = (f: FunctionBuilder, base: I32, offset: number, amount: I32): void =>
    f.do(i64.store(base, offset, i64.add(i64.load(base, offset), i64.extendU(amount))));

  /** Ends a packet: where its bytes are, its fate, and the counters of both. */
  const finish = module.function('finish', ['i32', 'i32', 'i32', 'i32'], undefined);
  {
    const f = finish;
    const [address, length, fate, reason] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32'), f.param(3, 'i32')];
    const d = f.let(descriptor());
    f.do(i32.store(d, DESCRIPTOR.leftAddress, address));
    f.do(i32.store(d, DESCRIPTOR.leftLength, length));
    f.do(i32.store16(d, DESCRIPTOR.outcome, fate));
    f.do(i32.store16(d, DESCRIPTOR.reason, reason));
    const slot = f.let(i32.add(i32.const(at.cells), i32.shl(fate, i32.const(3))));
    count(f, slot, LOOP.fatePackets, i32.const(1));
    count(f, slot, LOOP.fateBytes, length);
    f.if(reason, () => count(f, i32.add(i32.const(at.cells), i32.shl(reason, i32.const(3))), LOOP.reasons, i32.const(1)));
    f.return();
  }

  /** The packet as XDP left it. */
  const finishXdp = (f: FunctionBuilder, fate: Fate, reason: DropReason): void =>
    f.do(call(finish, xdp(XDP_MD.data), i32.sub(xdp(XDP_MD.packet_end), xdp(XDP_MD.data)), i32.const(FATE[fate]), i32.const(DROP_REASON[reason])));

  /** The packet as an skb is on the wire: a VLAN tag in metadata goes back between the addresses and the type. */
  const finishSkb = module.function('finish_skb', ['i32', 'i32'], undefined);
  {
    const f = finishSkb;
    const data = f.let(skb(SK_BUFF.data));
    f.if(skb(SK_BUFF.vlan_present), () => {
      const moved = f.let(i32.sub(data, i32.const(VLAN_TAG_BYTES)));
      f.if(i32.geU(moved, skb(SK_BUFF.head)), () => {
        f.do(memory.copy(moved, data, i32.const(12)));
        f.do(i32.store16(moved, 12, skb(SK_BUFF.vlan_proto)));
        const tci = f.let(skb(SK_BUFF.vlan_tci));
        f.do(i32.store8(moved, 14, i32.shrU(tci, i32.const(8))));
        f.do(i32.store8(moved, 15, tci));
        setSkb(f, SK_BUFF.vlan_present, i32.const(0));
        setSkb(f, SK_BUFF.data, moved);
        f.set(data, moved);
      });
    });
    f.do(call(finish, data, i32.sub(skb(SK_BUFF.data_end), data), f.param(0, 'i32'), f.param(1, 'i32')));
    f.return();
  }
  const endSkb = (f: FunctionBuilder, fate: Fate, reason: DropReason = 'NONE'): void => {
    f.do(call(finishSkb, i32.const(FATE[fate]), i32.const(DROP_REASON[reason])));
    f.return();
  };

  // What every packet goes through is emitted in place: a call costs one to two nanoseconds, and the engine inlines none.

  /** Counts a program's answer, writes its record where someone looks, and says what the answer does: the number of an Outcome. */
  const judge = (f: FunctionBuilder, hook: I32, attachment: Local<'i32'>, code: Local<'i32'>, lengthNow: I32, fault: I32): I32 => {
    const length = f.let(lengthNow, 'length');
    const raw = f.let(i32.add(code, i32.const(1)));
    const slot = f.let(select(i32.ltU(raw, i32.const(OTHER_VERDICT_SLOT)), raw, i32.const(OTHER_VERDICT_SLOT)));
    const counter = f.let(i32.add(attachment, i32.shl(slot, i32.const(4))));
    count(f, counter, ATTACHMENT.verdicts, i32.const(1));
    count(f, counter, ATTACHMENT.verdicts + 8, length);
    const d = f.let(descriptor());
    f.if(cell(LOOP.observed), () => {
      const record = f.let(cell(LOOP.recordCursor));
      f.do(i64.store(record, RECORD.number, i64.load(d, DESCRIPTOR.number)));
      f.do(i64.store(record, RECORD.timestampNs, i64.load(d, DESCRIPTOR.timestampNs)));
      f.do(i32.store(record, RECORD.length, length));
      f.do(i32.store(record, RECORD.ifindex, i32.load(cpuCell(CPU_BLOCK.device), DEVICE.ifindex)));
      f.do(i32.store(record, RECORD.verdict, code));
      f.do(i32.store16(record, RECORD.attachment, i32.load(attachment, ATTACHMENT.index)));
      f.do(i32.store8(record, RECORD.hook, hook));
      f.do(i32.store8(record, RECORD.fault, fault));
      setCell(f, LOOP.recordCursor, i32.add(record, i32.const(RECORD.size)));
    });
    f.do(i32.store(i32.add(d, i32.shl(hook, i32.const(2))), DESCRIPTOR.xdp, code));
    return i32.load8U(i32.add(i32.load(attachment, ATTACHMENT.outcomes), slot));
  };

  /** Runs the attachments of a hook in order; gives the Outcome that ended the chain, `next` if none did. */
  const runChain = (f: FunctionBuilder, hookName: HookName, context: number, first: I32, last: I32, length: () => I32): Local<'i32'> => {
    const hook = i32.const(HOOK_NAMES.indexOf(hookName));
    const attachment = f.let(first, 'attachment');
    const end = f.let(last, 'end');
    const outcome = f.let(outcomeNumber('next'), 'outcome');
    const left = f.let(i32.const(-1), 'left');
    setCell(f, LOOP.hook, hook);
    f.while(
      () => i32.ltU(attachment, end),
      (again, decided) => {
        f.if(i32.ne(i32.load(attachment, ATTACHMENT.mode), left), () => {
          setCell(f, LOOP.attachment, attachment);
          setCpuCell(f, CPU_BLOCK.budget, i32.const(at.instructionBudget));
          f.do(i64.store(i32.const(at.cpuBlock), CPU_BLOCK.redirect, i64.const(0)));
          setCpuCell(f, CPU_BLOCK.tailCalls, i32.const(0));
          const program = f.let(i32.load(attachment, ATTACHMENT.programId));
          setCpuCell(f, CPU_BLOCK.programId, program);
          const code = f.let(i32.wrap(callIndirect(entry, programs, program, i32.const(context))), 'code');
          f.set(outcome, judge(f, hook, attachment, code, length(), i32.const(FAULT.none)));
          f.if(i32.gtU(outcome, outcomeNumber('next')), () => {
            f.brIf(decided, i32.ne(outcome, outcomeNumber('leave')));
            f.set(left, i32.load(attachment, ATTACHMENT.mode));
            f.set(outcome, outcomeNumber('next'));
          });
        });
        f.set(attachment, i32.add(attachment, i32.const(ATTACHMENT.size)));
        f.br(again);
      },
    );
    return outcome;
  };
  const xdpLength = (): I32 => i32.sub(xdp(XDP_MD.packet_end), xdp(XDP_MD.data));

  const findDevice = module.function('find_device', ['i32'], 'i32');
  {
    const f = findDevice;
    const device = f.let(i32.const(at.devices));
    f.while(
      () => i32.ltU(device, i32.const(at.devicesEnd)),
      (again) => {
        f.if(i32.eq(i32.load(device, DEVICE.ifindex), f.param(0, 'i32')), () => f.return(device));
        f.set(device, i32.add(device, i32.const(DEVICE.size)));
        f.br(again);
      },
    );
    f.return(i32.const(0));
  }

  const countSent = (f: FunctionBuilder, device: Local<'i32'>, length: I32): void => {
    count(f, device, DEVICE.txPackets, i32.const(1));
    count(f, device, DEVICE.txBytes, length);
    f.do(i32.store(descriptor(), DESCRIPTOR.leftIfindex, i32.load(device, DEVICE.ifindex)));
  };

  /** eth_type_trans: what kind of address the packet was sent to, seen from `device`. */
  const packetType = module.function('packet_type', ['i32', 'i32'], 'i32');
  {
    const f = packetType;
    const [data, device] = [f.param(0, 'i32'), f.param(1, 'i32')];
    const high = f.let(i32.load(data));
    const low = f.let(i32.load16U(data, 4));
    f.if(i32.and(high, i32.const(1)), () => {
      f.if(i32.and(i32.eq(high, i32.const(-1)), i32.eq(low, i32.const(0xffff))), () => f.return(i32.const(PACKET_TYPE.broadcast)));
      f.return(i32.const(PACKET_TYPE.multicast));
    });
    // A device whose address the lab does not say takes every packet as its own.
    f.if(i32.eqz(i32.and(i32.load(device, DEVICE.flags), i32.const(DEVICE_FLAG.knowsOwn))), () => f.return(i32.const(PACKET_TYPE.host)));
    const own = i32.and(i32.eq(high, i32.load(device, DEVICE.mac)), i32.eq(low, i32.load16U(device, DEVICE.mac + 4)));
    f.return(select(own, i32.const(PACKET_TYPE.host), i32.const(PACKET_TYPE.otherhost)));
  }

  /** Builds the skb of the frame that the XDP context describes. */
  const buildSkb = module.function('build_skb', ['i32', 'i32'], undefined);
  {
    const f = buildSkb;
    const [device, ingress] = [f.param(0, 'i32'), f.param(1, 'i32')];
    for (let offset = 0; offset < SK_BUFF.tunnel_key_storage; offset += 8) f.do(i64.store(i32.const(at.skbContext), offset, i64.const(0)));
    setSkb(f, SK_BUFF.tunnel_options, i32.const(0));
    const data = f.let(xdp(XDP_MD.data));
    const meta = f.let(xdp(XDP_MD.data_meta));
    const end = f.let(xdp(XDP_MD.packet_end));
    const protocol = f.let(i32.load16U(data, 12));
    const tagged = i32.or(i32.eq(protocol, i32.const(ETH_P_8021Q_BE)), i32.eq(protocol, i32.const(ETH_P_8021AD_BE)));
    const roomForTag = i32.geU(i32.sub(end, data), i32.const(FRAME.minimumLength + VLAN_TAG_BYTES));
    // skb_vlan_untag: the outer tag moves to metadata, the addresses move up over it.
    f.if(i32.and(ingress, i32.and(tagged, roomForTag)), () => {
      setSkb(f, SK_BUFF.vlan_present, i32.const(1));
      setSkb(f, SK_BUFF.vlan_proto, protocol);
      setSkb(f, SK_BUFF.vlan_tci, i32.or(i32.shl(i32.load8U(data, 14), i32.const(8)), i32.load8U(data, 15)));
      f.do(memory.copy(i32.add(data, i32.const(VLAN_TAG_BYTES)), data, i32.const(12)));
      // Metadata that ends at the packet's start moves with it, as it would be lost otherwise.
      f.if(i32.ltU(meta, data), () => f.do(memory.copy(i32.add(meta, i32.const(VLAN_TAG_BYTES)), meta, i32.sub(data, meta))));
      f.set(meta, i32.add(meta, i32.const(VLAN_TAG_BYTES)));
      f.set(data, i32.add(data, i32.const(VLAN_TAG_BYTES)));
      f.set(protocol, i32.load16U(data, 12));
    });
    const length = f.let(i32.sub(end, data));
    setSkb(f, SK_BUFF.len, length);
    setSkb(f, SK_BUFF.wire_len, length);
    setSkb(f, SK_BUFF.protocol, protocol);
    setSkb(f, SK_BUFF.data, data);
    setSkb(f, SK_BUFF.data_end, end);
    setSkb(f, SK_BUFF.data_meta, meta);
    setSkb(f, SK_BUFF.exposed, meta);
    setSkb(f, SK_BUFF.head, i32.sub(xdp(XDP_MD.hard_start), i32.const(FRAME.skbHeadroom)));
    setSkb(f, SK_BUFF.end, xdp(XDP_MD.hard_end));
    setSkb(f, SK_BUFF.ifindex, i32.load(device, DEVICE.ifindex));
    setSkb(f, SK_BUFF.network_offset, i32.const(FRAME.minimumLength));
    setSkb(f, SK_BUFF.transport_offset, i32.const(FRAME.minimumLength));
    setSkb(f, SK_BUFF.ip_summed, i32.const(CHECKSUM.none));
    setSkb(f, SK_BUFF.at_ingress, ingress);
    f.if(ingress, () => {
      setSkb(f, SK_BUFF.pkt_type, call(packetType, data, device));
      setSkb(f, SK_BUFF.ingress_ifindex, i32.load(device, DEVICE.ifindex));
      // skb_record_rx_queue keeps the queue plus one.
      setSkb(f, SK_BUFF.queue_mapping, i32.add(xdp(XDP_MD.rx_queue_index), i32.const(1)));
    });
    f.return();
  }

  const tcIngress = module.function('tc_ingress', ['i32'], undefined);
  const tcEgress = module.function('tc_egress', ['i32'], undefined);

  /** TC_ACT_REDIRECT: to the target's egress, or with BPF_F_INGRESS to its ingress. */
  const tcRedirect = module.function('tc_redirect', [], undefined);
  {
    const f = tcRedirect;
    const BPF_F_INGRESS = 1;
    const kind = f.let(cpuCell(CPU_BLOCK.redirect));
    f.if(i32.eqz(kind), () => endSkb(f, 'dropped', 'TC_REDIRECT_FAILED'));
    const device = f.let(call(findDevice, cpuCell(CPU_BLOCK.redirectTarget)));
    f.if(i32.and(i32.ne(device, i32.const(0)), i32.eq(kind, i32.const(REDIRECT.peer))), () => f.set(device, call(findDevice, i32.load(device, DEVICE.peer))));
    f.if(i32.eqz(device), () => endSkb(f, 'dropped', 'TC_REDIRECT_FAILED'));
    f.if(i32.eqz(i32.and(i32.load(device, DEVICE.flags), i32.const(DEVICE_FLAG.up))), () => endSkb(f, 'dropped', 'DEV_READY'));
    const hops = f.let(i32.add(cell(LOOP.hops), i32.const(1)));
    setCell(f, LOOP.hops, hops);
    f.if(i32.gtU(hops, i32.const(MAX_HOPS)), () => endSkb(f, 'dropped', 'TC_RECLASSIFY_LOOP'));
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
    f.if(i32.gtU(skb(SK_BUFF.len), i32.add(i32.load(device, DEVICE.mtu), i32.const(linkHeader))), () => endSkb(f, 'dropped', 'PKT_TOO_BIG'));
    f.if(i32.eq(kind, i32.const(REDIRECT.neigh)), () => {
      const known = call(link, i32.load(device, DEVICE.ifindex), cpuCell(CPU_BLOCK.redirectMap), skb(SK_BUFF.data));
      f.if(i32.eqz(known), () => endSkb(f, 'dropped', 'NEIGH_FAILED'));
    });
    setSkb(f, SK_BUFF.at_ingress, i32.const(0));
    f.do(call(tcEgress, device));
    f.return();
  }

  const afterChain = (f: FunctionBuilder, outcome: Local<'i32'>, dropReason: DropReason): void => {
    f.if(i32.eq(outcome, outcomeNumber('drop')), () => endSkb(f, 'dropped', dropReason));
    f.if(i32.eq(outcome, outcomeNumber('consumed')), () => endSkb(f, 'consumed'));
    f.if(i32.eq(outcome, outcomeNumber('redirect')), () => {
      f.do(call(tcRedirect));
      f.return();
    });
  };
  {
    const f = tcIngress;
    const device = f.param(0, 'i32');
    setCpuCell(f, CPU_BLOCK.device, device);
    afterChain(f, runChain(f, 'tc-ingress', at.skbContext, i32.load(device, DEVICE.tcIngress), i32.load(device, DEVICE.tcIngressEnd), () => skb(SK_BUFF.len)), 'TC_INGRESS');
    endSkb(f, 'stack');
  }
  {
    const f = tcEgress;
    const device = f.param(0, 'i32');
    setCpuCell(f, CPU_BLOCK.device, device);
    afterChain(f, runChain(f, 'tc-egress', at.skbContext, i32.load(device, DEVICE.tcEgress), i32.load(device, DEVICE.tcEgressEnd), () => skb(SK_BUFF.len)), 'TC_EGRESS');
    countSent(f, device, skb(SK_BUFF.len));
    f.if(cell(LOOP.hops), () => endSkb(f, 'redirected'));
    endSkb(f, 'sent');
  }

  /** XDP_REDIRECT: to a device, to every device of a map, or to another CPU, where the packet goes on as after XDP_PASS. */
  const xdpRedirect = module.function('xdp_redirect', ['i32'], 'i32');
  {
    const f = xdpRedirect;
    const BPF_MAP_TYPE_CPUMAP = 16;
    const kind = f.let(cpuCell(CPU_BLOCK.redirect));
    const target = f.let(cpuCell(CPU_BLOCK.redirectTarget));
    const failed = (reason: DropReason): void => {
      finishXdp(f, 'dropped', reason);
      f.return(i32.const(0));
    };
    f.if(i32.eqz(kind), () => failed('XDP_REDIRECT_FAILED'));
    f.if(i32.eq(kind, i32.const(REDIRECT.broadcast)), () => {
      const BPF_F_EXCLUDE_INGRESS = 16;
      const exclude = select(
        i32.and(cpuCell(CPU_BLOCK.redirectFlags), i32.const(BPF_F_EXCLUDE_INGRESS)),
        i32.load(f.param(0, 'i32'), DEVICE.ifindex),
        i32.const(0),
      );
      const copies = f.let(call(broadcast, cpuCell(CPU_BLOCK.redirectMap), exclude));
      f.if(i32.eqz(copies), () => failed('XDP_REDIRECT_FAILED'));
      finishXdp(f, 'redirected', 'NONE');
      f.return(i32.const(0));
    });
    const program = f.local('i32', 'devmapProgram');
    f.if(i32.eq(kind, i32.const(REDIRECT.map)), () => {
      f.if(i32.eq(i32.load(cpuCell(CPU_BLOCK.redirectMap), MAP_DESCRIPTOR.type), i32.const(BPF_MAP_TYPE_CPUMAP)), () => f.return(i32.const(1)));
      f.set(program, i32.load(target, 4));
      f.set(target, i32.load(target));
    });
    const device = f.let(call(findDevice, target), 'device');
    f.if(i32.eqz(device), () => failed('XDP_REDIRECT_FAILED'));
    f.if(i32.eqz(i32.and(i32.load(device, DEVICE.flags), i32.const(DEVICE_FLAG.up))), () => failed('DEV_READY'));
    const longest = i32.add(i32.load(device, DEVICE.mtu), i32.const(FRAME.minimumLength + VLAN_TAG_BYTES));
    f.if(i32.gtU(xdpLength(), longest), () => failed('PKT_TOO_BIG'));
    // A program in the devmap slot sees the packet on its way out: XDP_PASS sends it.
    f.if(program, () => {
      setXdp(f, XDP_MD.egress_ifindex, i32.load(device, DEVICE.ifindex));
      setCpuCell(f, CPU_BLOCK.budget, i32.const(at.instructionBudget));
      const XDP_PASS = 2;
      f.if(i32.ne(i32.wrap(callIndirect(entry, programs, program, i32.const(at.xdpContext))), i32.const(XDP_PASS)), () => failed('XDP'));
    });
    countSent(f, device, xdpLength());
    finishXdp(f, 'redirected', 'NONE');
    f.return(i32.const(0));
  }

  const chooseQueue = defineQueueChoice(module, at.toeplitz);

  /** Puts the packet into a frame of its own, as a NIC's DMA would, and describes it in the XDP context. */
  const receive = (f: FunctionBuilder, d: Local<'i32'>): void => {
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
  };

  const processPacket = (f: FunctionBuilder, d: Local<'i32'>, finished: Label): void => {
    setCpuCell(f, CPU_BLOCK.descriptor, d);
    const timestamp = i64.load(d, DESCRIPTOR.timestampNs);
    f.if(i64.leU(i64.load(i32.const(at.cpuBlock), CPU_BLOCK.nextTimer), timestamp), () => f.do(call(timers)));
    f.do(i64.store(i32.const(at.cpuBlock), CPU_BLOCK.now, timestamp));
    f.do(i32.store(d, DESCRIPTOR.leftIfindex, i32.const(0)));
    for (const verdict of [DESCRIPTOR.xdp, DESCRIPTOR.tcIngress, DESCRIPTOR.tcEgress]) f.do(i32.store(d, verdict, i32.const(NO_VERDICT)));
    setCell(f, LOOP.hops, i32.const(0));
    const captured = f.let(i32.load(d, DESCRIPTOR.captured), 'captured');
    const reject = (reason: DropReason): void => {
      f.do(call(finish, i32.load(d, DESCRIPTOR.address), captured, i32.const(FATE.rejected), i32.const(DROP_REASON[reason])));
      f.br(finished);
    };
    const wireInterface = f.let(i32.load(d, DESCRIPTOR.interface));
    f.if(i32.geU(wireInterface, i32.const(at.interfaceCount)), () => reject('LINK_TYPE'));
    const device = f.let(i32.load(i32.add(i32.const(at.interfaces), i32.shl(wireInterface, i32.const(2)))), 'device');
    f.if(i32.eqz(device), () => reject('LINK_TYPE'));
    f.if(i32.ltU(captured, i32.const(FRAME.minimumLength)), () => reject('PKT_TOO_SMALL'));
    f.if(i32.ltU(captured, i32.load(d, DESCRIPTOR.wire)), () => count(f, i32.const(at.cells), LOOP.truncated, i32.const(1)));
    setCpuCell(f, CPU_BLOCK.device, device);
    receive(f, d);
    const data = f.let(xdp(XDP_MD.data));
    const knowsOwn = i32.and(i32.load(device, DEVICE.flags), i32.const(DEVICE_FLAG.knowsOwn));
    const own = i32.and(i32.eq(i32.load(data, 6), i32.load(device, DEVICE.mac)), i32.eq(i32.load16U(data, 10), i32.load16U(device, DEVICE.mac + 4)));
    f.if(knowsOwn, () =>
      f.if(own, () => {
        f.do(call(buildSkb, device, i32.const(0)));
        f.do(call(tcEgress, device));
        f.br(finished);
      }),
    );
    count(f, device, DEVICE.rxPackets, i32.const(1));
    count(f, device, DEVICE.rxBytes, captured);
    const first = f.let(i32.load(device, DEVICE.xdp));
    const last = f.let(i32.load(device, DEVICE.xdpEnd));
    f.if(i32.ne(first, last), () => {
      setXdp(f, XDP_MD.ingress_ifindex, i32.load(device, DEVICE.ifindex));
      const outcome = runChain(f, 'xdp', at.xdpContext, first, last, xdpLength);
      f.if(i32.gtU(outcome, outcomeNumber('pass')), () => {
        f.if(i32.eq(outcome, outcomeNumber('transmit')), () => {
          countSent(f, device, xdpLength());
          finishXdp(f, 'transmitted', 'NONE');
          f.br(finished);
        });
        f.if(
          i32.eq(outcome, outcomeNumber('redirect')),
          () => f.if(i32.eqz(call(xdpRedirect, device)), () => f.br(finished)),
          () => {
            f.if(i32.eq(outcome, outcomeNumber('drop')), () => {
              finishXdp(f, 'dropped', 'XDP');
              f.br(finished);
            });
            f.if(i32.load(d, DESCRIPTOR.xdp), () => {
              finishXdp(f, 'dropped', 'XDP_INVALID_ACTION');
              f.br(finished);
            });
            finishXdp(f, 'dropped', 'XDP_ABORTED');
            f.br(finished);
          },
        );
      });
    });
    // Without a TC program nobody sees the skb, and the packet reaches the host as XDP left it.
    f.if(i32.eq(i32.load(device, DEVICE.tcIngress), i32.load(device, DEVICE.tcIngressEnd)), () => {
      finishXdp(f, 'stack', 'NONE');
      f.br(finished);
    });
    f.do(call(buildSkb, device, i32.const(1)));
    f.do(call(tcIngress, device));
  };

  const run = module.function('run', ['i32', 'i32'], 'i32');
  {
    const f = run;
    const [d, limit] = [f.param(0, 'i32'), f.param(1, 'i32')];
    const done = f.local('i32', 'done');
    f.while(
      () => i32.ltU(done, limit),
      (again) => {
        f.if(
          cell(LOOP.observed),
          () => {
            // Room for this packet's frame and records, or the batch ends here and the caller drains both.
            const frame = i32.add(i32.load(d, DESCRIPTOR.captured), i32.const(FRAME.skbHeadroom + FRAME.size));
            f.if(i32.gtU(i32.add(cell(LOOP.arenaCursor), frame), i32.const(at.arenaEnd)), () => f.return(done));
            const records = i32.add(cell(LOOP.recordCursor), i32.const(MAX_RECORDS_PER_PACKET * RECORD.size));
            f.if(i32.gtU(records, i32.const(at.recordsEnd)), () => f.return(done));
          },
          () => setCell(f, LOOP.recordCursor, i32.const(at.records)),
        );
        f.block((finished) => processPacket(f, d, finished));
        f.set(done, i32.add(done, i32.const(1)));
        f.set(d, i32.add(d, i32.const(DESCRIPTOR.size)));
        f.br(again);
      },
    );
    f.return(done);
  }

  const stop = module.function('stop', ['i32', 'i32', 'i32'], undefined);
  {
    const f = stop;
    const [fault, verdict, reason] = [f.param(0, 'i32'), f.param(1, 'i32'), f.param(2, 'i32')];
    const attachment = f.let(cell(LOOP.attachment));
    count(f, attachment, ATTACHMENT.faults, i32.const(1));
    f.if(
      cell(LOOP.hook),
      () => {
        f.do(judge(f, cell(LOOP.hook), attachment, verdict, skb(SK_BUFF.len), fault));
        f.do(call(finishSkb, i32.const(FATE.dropped), reason));
      },
      () => {
        f.do(judge(f, cell(LOOP.hook), attachment, verdict, xdpLength(), fault));
        f.do(call(finish, xdp(XDP_MD.data), xdpLength(), i32.const(FATE.dropped), reason));
      },
    );
    f.return();
  }

  module.export('run', run);
  module.export('stop', stop);
  return module.assemble();
}
