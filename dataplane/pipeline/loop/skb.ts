/** An skb's life in the packet loop: built from the frame that XDP passed, ended as the packet it is on the wire. */
import { CHECKSUM, FRAME, PACKET_TYPE, SK_BUFF, XDP_MD } from '../../packet/frame.ts';
import { call, i32, i64, memory, select, type Callee } from '../../wasm/expression.ts';
import type { FunctionBuilder } from '../../wasm/function-builder.ts';
import { DEVICE, DEVICE_FLAG } from '../layout.ts';
import { DROP_REASON, FATE, type DropReason, type Fate } from '../outcome.ts';
import { VLAN_TAG_BYTES, type LoopCode } from './loop-code.ts';

/** 0x8100 and 0x88a8 as a little-endian load reads them. */
const ETH_P_8021Q_BE = 0x0081;
const ETH_P_8021AD_BE = 0xa888;
/** What skb->protocol is for frames of IEEE 802.3, whose type field is a length. */
const ETH_P_802_3_BE = 0x0100;
const ETH_P_802_2_BE = 0x0400;
/** High byte of the smallest type. */
const ETH_P_802_3_MIN_HIGH = 0x06;

export interface SkbCode {
  readonly packetType: Callee<'i32'>;
  readonly build: Callee<undefined>;
  readonly finish: Callee<undefined>;
  /** Ends the packet and returns from the function. */
  end(f: FunctionBuilder, fate: Fate, reason?: DropReason): void;
}

export function defineSkb(loop: LoopCode): SkbCode {
  const packetType = definePacketType(loop);
  const finish = defineFinish(loop);
  return {
    packetType,
    build: defineBuild(loop, packetType, defineProtocol(loop)),
    finish,
    end(f, fate, reason = 'NONE') {
      f.do(call(finish, i32.const(FATE[fate]), i32.const(DROP_REASON[reason])));
      f.return();
    },
  };
}

/** `packet_type(data, device)`, eth_type_trans: what kind of address the packet was sent to, seen from `device`. */
function definePacketType({ module }: LoopCode): Callee<'i32'> {
  const f = module.function('packet_type', ['i32', 'i32'], 'i32');
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
  return f;
}

/** `protocol(data, end)`, eth_type_trans: the frame's type, or what stands for a frame that has none. */
function defineProtocol({ module }: LoopCode): Callee<'i32'> {
  const f = module.function('protocol', ['i32', 'i32'], 'i32');
  const [data, end] = [f.param(0, 'i32'), f.param(1, 'i32')];
  const type = f.let(i32.load16U(data, 12));
  f.if(i32.geU(i32.and(type, i32.const(0xff)), i32.const(ETH_P_802_3_MIN_HIGH)), () => f.return(type));
  // Novell's raw 802.3 has no header of 802.2 behind the length, but begins with these bytes.
  f.if(i32.geU(i32.sub(end, data), i32.const(FRAME.minimumLength + 2)), () =>
    f.if(i32.eq(i32.load16U(data, FRAME.minimumLength), i32.const(0xffff)), () => f.return(i32.const(ETH_P_802_3_BE))),
  );
  f.return(i32.const(ETH_P_802_2_BE));
  return f;
}

/** `build_skb(device, ingress)` of the frame that the XDP context describes. */
function defineBuild({ module, at, xdp, setSkb }: LoopCode, packetType: Callee<'i32'>, protocolOf: Callee<'i32'>): Callee<undefined> {
  const f = module.function('build_skb', ['i32', 'i32'], undefined);
  const [device, ingress] = [f.param(0, 'i32'), f.param(1, 'i32')];
  for (let offset = 0; offset < SK_BUFF.tunnel_key_storage; offset += 8) f.do(i64.store(i32.const(at.skbContext), offset, i64.const(0)));
  setSkb(f, SK_BUFF.tunnel_options, i32.const(0));
  const data = f.let(xdp(XDP_MD.data));
  const meta = f.let(xdp(XDP_MD.data_meta));
  const end = f.let(xdp(XDP_MD.packet_end));
  const protocol = f.let(call(protocolOf, data, end));
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
    f.set(protocol, call(protocolOf, data, end));
  });
  const length = f.let(i32.sub(end, data));
  setSkb(f, SK_BUFF.len, length);
  setSkb(f, SK_BUFF.wire_len, length);
  setSkb(f, SK_BUFF.protocol, protocol);
  setSkb(f, SK_BUFF.data, data);
  setSkb(f, SK_BUFF.data_end, end);
  setSkb(f, SK_BUFF.data_meta, meta);
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
  return f;
}

/** `finish_skb(fate, reason)`: the packet as it is on the wire: a VLAN tag in metadata goes back between the addresses and the type. */
function defineFinish({ module, finish, skb, setSkb }: LoopCode): Callee<undefined> {
  const f = module.function('finish_skb', ['i32', 'i32'], undefined);
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
  return f;
}
