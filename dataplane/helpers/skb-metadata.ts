/** What an skb carries beside its bytes: packet type, flow hash, delivery time; and the ECN mark in its IP header. */
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import { CHECKSUM, PACKET_TYPE, SK_BUFF } from '../packet/frame.ts';
import type { Helper, HelperFunction } from './helper.ts';
import { SKB_NETWORK_PROGRAMS } from './program-sets.ts';
import { flowHash } from './flow-hash.ts';
import { addSums, getField, setField } from './skb-buffer.ts';
import { tcHelper } from './tc-helper.ts';

const ETH_P_IP = 0x0008;
const ETH_P_IPV6 = 0xdd86;
const ETH_P_8021Q = 0x0081;
const ETH_P_8021AD = 0xa888;
const TAG_BYTES = 4;
const CLOCK = { realtime: 0, monotonic: 1, tai: 2 } as const;
/** Congestion Experienced, both bits of the ECN field. */
const ECN_CE = 3;

const isChangeable = (type: number): boolean => type >>> 0 <= PACKET_TYPE.otherhost;

const changeType =
  (machine: Machine): HelperFunction =>
  (ctx, type) => {
    if (!isChangeable(type!) || !isChangeable(getField(machine, ctx!, SK_BUFF.pkt_type))) return -ERRNO.EINVAL;
    setField(machine, ctx!, SK_BUFF.pkt_type, type!);
    return 0;
  };

/** The hash that is there, or that of the packet's flow, which is kept. */
const getHash =
  (machine: Machine): HelperFunction =>
  (ctx) => {
    const known = getField(machine, ctx!, SK_BUFF.hash);
    if (known !== 0) return known;
    const hash = flowHash(machine, ctx!);
    setField(machine, ctx!, SK_BUFF.hash, hash);
    return hash;
  };

const setHash =
  (machine: Machine): HelperFunction =>
  (ctx, hash) => {
    setField(machine, ctx!, SK_BUFF.hash, hash ?? 0);
    return 0;
  };

const setTimestamp =
  (machine: Machine): HelperFunction =>
  (ctx, low, high, type) => {
    const protocol = getField(machine, ctx!, SK_BUFF.protocol);
    if (protocol !== ETH_P_IP && protocol !== ETH_P_IPV6) return -ERRNO.EOPNOTSUPP;
    const zero = low === 0 && high === 0;
    if (type! >>> 0 > CLOCK.tai || (zero && type !== CLOCK.realtime)) return -ERRNO.EINVAL;
    setField(machine, ctx!, SK_BUFF.tstamp, low!);
    setField(machine, ctx!, SK_BUFF.tstamp + 4, high!);
    setField(machine, ctx!, SK_BUFF.tstamp_type, type!);
    return 0;
  };

/** 1 if the packet carries the mark now, 0 if its transport does not speak ECN. */
const setCongestionExperienced =
  (machine: Machine): HelperFunction =>
  (ctx) => {
    const protocol = protocolBehindTags(machine, ctx!);
    const at = getField(machine, ctx!, SK_BUFF.data) + getField(machine, ctx!, SK_BUFF.network_offset);
    const available = getField(machine, ctx!, SK_BUFF.data_end) - at;
    if (protocol === ETH_P_IP && available >= 20) return markIpv4(machine, at);
    if (protocol === ETH_P_IPV6 && available >= 40) return markIpv6(machine, ctx!, at);
    return 0;
  };

/** skb->protocol, or what the VLAN tags in the packet encapsulate; 0 where the packet ends among them. */
function protocolBehindTags(machine: Machine, ctx: number): number {
  const data = getField(machine, ctx, SK_BUFF.data);
  let protocol = getField(machine, ctx, SK_BUFF.protocol);
  let offset = getField(machine, ctx, SK_BUFF.network_offset) - TAG_BYTES;
  while (protocol === ETH_P_8021Q || protocol === ETH_P_8021AD) {
    if (offset < 0 || offset + TAG_BYTES > getField(machine, ctx, SK_BUFF.len)) return 0;
    protocol = machine.memory.view.getUint16(data + offset + 2, true);
    offset += TAG_BYTES;
  }
  return protocol;
}

function markIpv4(machine: Machine, at: number): number {
  const { view } = machine.memory;
  const word = view.getUint16(at, false);
  const ecn = word & ECN_CE;
  if (ecn === 0) return 0;
  if (ecn === ECN_CE) return 1;
  // RFC 1624 on the word that holds the field.
  const sum = (~view.getUint16(at + 10, false) & 0xffff) + (~word & 0xffff) + (word | ECN_CE);
  const once = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(at + 10, ~((once & 0xffff) + (once >>> 16)) & 0xffff, false);
  view.setUint16(at, word | ECN_CE, false);
  return 1;
}

function markIpv6(machine: Machine, ctx: number, at: number): number {
  const { view } = machine.memory;
  const before = view.getUint32(at, true);
  if (((view.getUint16(at, false) >>> 4) & ECN_CE) === 0) return 0;
  view.setUint16(at, view.getUint16(at, false) | (ECN_CE << 4), false);
  if (getField(machine, ctx, SK_BUFF.ip_summed) === CHECKSUM.complete) {
    const after = view.getUint32(at, true);
    setField(machine, ctx, SK_BUFF.csum, addSums(addSums(getField(machine, ctx, SK_BUFF.csum), ~before), after));
  }
  return 1;
}

export const SKB_METADATA_HELPERS: readonly Helper[] = [
  tcHelper(32, 'skb_change_type', ['u32'], changeType),
  tcHelper(34, 'get_hash_recalc', [], getHash, { returns: 'u32' }),
  tcHelper(41, 'set_hash_invalid', [], setHash),
  tcHelper(48, 'set_hash', ['u32'], setHash),
  tcHelper(97, 'skb_ecn_set_ce', [], setCongestionExperienced, { programs: SKB_NETWORK_PROGRAMS }),
  tcHelper(192, 'skb_set_tstamp', ['u64', 'u32'], setTimestamp),
];
