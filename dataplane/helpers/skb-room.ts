/**
 * Making a packet longer or shorter at its head, inside or at its end: bpf_skb_change_head, change_tail, change_proto
 * and adjust_room. Bytes that come in are zero; headers in them are for the program to write.
 */
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import { CHECKSUM, SK_BUFF } from '../packet/frame.ts';
import type { Helper, HelperFunction } from './helper.ts';
import { getField, insertBytes, LONGEST_SKB_BYTES, removeBytes, setField, setLength } from './skb-buffer.ts';
import { tcPacketHelper } from './tc-helper.ts';

/** skb->protocol as programs see it: network order in a little-endian word. */
const PROTOCOL = { ipv4: 0x0008, ipv6: 0xdd86 } as const;
const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;
const ADJUST_MODE = { net: 0, mac: 1 } as const;

/** BPF_F_ADJ_ROOM_*. */
const ADJUST = {
  fixedGso: 1 << 0,
  encapIpv4: 1 << 1,
  encapIpv6: 1 << 2,
  encapGre: 1 << 3,
  encapUdp: 1 << 4,
  noCsumReset: 1 << 5,
  encapEthernet: 1 << 6,
  decapIpv4: 1 << 7,
  decapIpv6: 1 << 8,
} as const;
const ENCAP_L3 = ADJUST.encapIpv4 | ADJUST.encapIpv6;
const DECAP_L3 = ADJUST.decapIpv4 | ADJUST.decapIpv6;
const SHRINK_FLAGS = ADJUST.fixedGso | DECAP_L3 | ADJUST.noCsumReset;
const ALL_FLAGS = SHRINK_FLAGS | ENCAP_L3 | ADJUST.encapGre | ADJUST.encapUdp | ADJUST.encapEthernet;
/** Length of the inner link-layer header: bits 56 to 63 of the flags, 24 to 31 of their high half. */
const INNER_MAC_SHIFT = 24;
const LARGEST_ADJUSTMENT = 0xfff;
const ETHERNET_HEADER_BYTES = 14;

/** Header length without options, or `undefined` where Linux knows none. */
function networkHeaderBytes(protocol: number): number | undefined {
  if (protocol === PROTOCOL.ipv4) return IPV4_HEADER_BYTES;
  return protocol === PROTOCOL.ipv6 ? IPV6_HEADER_BYTES : undefined;
}

/** Inserts behind the link-layer header and what else is before `offset`: the network header's place stays. */
function pushNetworkHeader(machine: Machine, ctx: number, offset: number, lengthBytes: number): number {
  const transport = getField(machine, ctx, SK_BUFF.transport_offset);
  const same = transport === getField(machine, ctx, SK_BUFF.network_offset);
  if (!insertBytes(machine, ctx, offset, lengthBytes)) return -ERRNO.ENOMEM;
  if (transport !== 0 && !same) setField(machine, ctx, SK_BUFF.transport_offset, transport + lengthBytes);
  return 0;
}

function popNetworkHeader(machine: Machine, ctx: number, offset: number, lengthBytes: number): number {
  const transport = getField(machine, ctx, SK_BUFF.transport_offset);
  const same = transport === getField(machine, ctx, SK_BUFF.network_offset);
  if (!removeBytes(machine, ctx, offset, lengthBytes)) return -ERRNO.ENOMEM;
  if (transport !== 0 && !same) setField(machine, ctx, SK_BUFF.transport_offset, Math.max(transport - lengthBytes, 0));
  return 0;
}

const changeHead =
  (machine: Machine): HelperFunction =>
  (ctx, headroom, flags, flagsHigh) => {
    const lengthBytes = getField(machine, ctx!, SK_BUFF.len);
    if (flags !== 0 || flagsHigh !== 0 || headroom! < 0 || lengthBytes + headroom! > LONGEST_SKB_BYTES) return -ERRNO.EINVAL;
    if (!insertBytes(machine, ctx!, 0, headroom!)) return -ERRNO.ENOMEM;
    // The network header stays where it is: the link-layer header has grown.
    setField(machine, ctx!, SK_BUFF.network_offset, getField(machine, ctx!, SK_BUFF.network_offset) + headroom!);
    const transport = getField(machine, ctx!, SK_BUFF.transport_offset);
    if (transport !== 0) setField(machine, ctx!, SK_BUFF.transport_offset, transport + headroom!);
    return 0;
  };

const changeTail =
  (machine: Machine): HelperFunction =>
  (ctx, size, flags, flagsHigh) => {
    const lengthBytes = size! >>> 0;
    const shortest = getField(machine, ctx!, SK_BUFF.transport_offset) || getField(machine, ctx!, SK_BUFF.network_offset);
    if (flags !== 0 || flagsHigh !== 0 || lengthBytes > LONGEST_SKB_BYTES || lengthBytes < shortest) return -ERRNO.EINVAL;
    if (getField(machine, ctx!, SK_BUFF.encapsulation) !== 0) return -ERRNO.ENOTSUPP;
    if (lengthBytes === getField(machine, ctx!, SK_BUFF.len)) return 0;
    if (!setLength(machine, ctx!, lengthBytes)) return -ERRNO.ENOMEM;
    if (getField(machine, ctx!, SK_BUFF.ip_summed) === CHECKSUM.complete) setField(machine, ctx!, SK_BUFF.ip_summed, CHECKSUM.none);
    return 0;
  };

/** The headers differ by 20 bytes, added to or taken from the start of the network header. */
const changeProto =
  (machine: Machine): HelperFunction =>
  (ctx, protocol, flags, flagsHigh) => {
    if (flags !== 0 || flagsHigh !== 0) return -ERRNO.EINVAL;
    const to = protocol! & 0xffff;
    const from = getField(machine, ctx!, SK_BUFF.protocol);
    const offset = getField(machine, ctx!, SK_BUFF.network_offset);
    const difference = IPV6_HEADER_BYTES - IPV4_HEADER_BYTES;
    let errno: number;
    if (from === PROTOCOL.ipv4 && to === PROTOCOL.ipv6) errno = pushNetworkHeader(machine, ctx!, offset, difference);
    else if (from === PROTOCOL.ipv6 && to === PROTOCOL.ipv4) errno = popNetworkHeader(machine, ctx!, offset, difference);
    else return -ERRNO.ENOTSUPP;
    if (errno !== 0) return errno;
    setField(machine, ctx!, SK_BUFF.protocol, to);
    setField(machine, ctx!, SK_BUFF.hash, 0);
    return 0;
  };

function grow(machine: Machine, ctx: number, offset: number, lengthBytes: number, flags: number, innerMacBytes: number): number {
  const encapsulate = (flags & ENCAP_L3) !== 0;
  if (encapsulate) {
    if ((flags & ENCAP_L3) === ENCAP_L3) return -ERRNO.EINVAL;
    if ((flags & ADJUST.encapGre) !== 0 && (flags & ADJUST.encapUdp) !== 0) return -ERRNO.EINVAL;
    if ((flags & ADJUST.encapEthernet) !== 0 && innerMacBytes < ETHERNET_HEADER_BYTES) return -ERRNO.EINVAL;
    if (getField(machine, ctx, SK_BUFF.encapsulation) !== 0) return -ERRNO.EALREADY;
    if (innerMacBytes > lengthBytes) return -ERRNO.EINVAL;
  }
  const errno = pushNetworkHeader(machine, ctx, offset, lengthBytes);
  if (errno !== 0) return errno;
  if (encapsulate) {
    setField(machine, ctx, SK_BUFF.encapsulation, 1);
    setField(machine, ctx, SK_BUFF.protocol, (flags & ADJUST.encapIpv6) !== 0 ? PROTOCOL.ipv6 : PROTOCOL.ipv4);
  }
  return 0;
}

function shrink(machine: Machine, ctx: number, offset: number, lengthBytes: number, flags: number, innerMacBytes: number): number {
  if ((flags & ~SHRINK_FLAGS) !== 0 || innerMacBytes !== 0) return -ERRNO.EINVAL;
  const errno = popNetworkHeader(machine, ctx, offset, lengthBytes);
  if (errno !== 0) return errno;
  if ((flags & ADJUST.decapIpv6) !== 0) setField(machine, ctx, SK_BUFF.protocol, PROTOCOL.ipv6);
  else if ((flags & ADJUST.decapIpv4) !== 0) setField(machine, ctx, SK_BUFF.protocol, PROTOCOL.ipv4);
  return 0;
}

/** The least that must remain of network header and payload, or a negative errno for flags that do not go together. */
function shortestRemainder(flags: number, shrinking: boolean, headerBytes: number): number {
  if ((flags & DECAP_L3) === 0) return headerBytes;
  if (!shrinking || (flags & DECAP_L3) === DECAP_L3) return -ERRNO.EINVAL;
  return (flags & ADJUST.decapIpv4) !== 0 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
}

const adjustRoom =
  (machine: Machine): HelperFunction =>
  (ctx, difference, mode, flags, flagsHigh) => {
    const innerMacBytes = flagsHigh! >>> INNER_MAC_SHIFT;
    if ((flags! & ~ALL_FLAGS) !== 0 || (flagsHigh! & ~(0xff << INNER_MAC_SHIFT)) !== 0) return -ERRNO.EINVAL;
    const changeBytes = Math.abs(difference!);
    if (changeBytes > LARGEST_ADJUSTMENT) return -ERRNO.EFAULT;
    const headerBytes = networkHeaderBytes(getField(machine, ctx!, SK_BUFF.protocol));
    if (headerBytes === undefined || (mode !== ADJUST_MODE.net && mode !== ADJUST_MODE.mac)) return -ERRNO.ENOTSUPP;

    const network = getField(machine, ctx!, SK_BUFF.network_offset);
    const offset = mode === ADJUST_MODE.net ? network + headerBytes : network;
    const shrinking = difference! < 0;
    const shortest = shortestRemainder(flags!, shrinking, headerBytes);
    if (shortest < 0) return shortest;
    const lengthBytes = getField(machine, ctx!, SK_BUFF.len);
    const remaining = lengthBytes - network - changeBytes;
    if (shrinking ? remaining <= 0 || remaining < shortest : lengthBytes + changeBytes > LONGEST_SKB_BYTES) return -ERRNO.ENOTSUPP;

    const change = shrinking ? shrink : grow;
    const errno = change(machine, ctx!, offset, changeBytes, flags!, innerMacBytes);
    if (errno === 0 && (flags! & ADJUST.noCsumReset) === 0) resetChecksumUnnecessary(machine, ctx!);
    return errno;
  };

/** What the NIC vouched for no longer holds. */
export function resetChecksumUnnecessary(machine: Machine, ctx: number): void {
  if (getField(machine, ctx, SK_BUFF.ip_summed) !== CHECKSUM.unnecessary) return;
  setField(machine, ctx, SK_BUFF.ip_summed, CHECKSUM.none);
  setField(machine, ctx, SK_BUFF.csum_level, 0);
}

export const SKB_ROOM_HELPERS: readonly Helper[] = [
  tcPacketHelper(31, 'skb_change_proto', ['u32', 'u64'], changeProto),
  tcPacketHelper(38, 'skb_change_tail', ['u32', 'u64'], changeTail),
  tcPacketHelper(43, 'skb_change_head', ['u32', 'u64'], changeHead),
  tcPacketHelper(50, 'skb_adjust_room', ['i32', 'u32', 'u64'], adjustRoom),
];
