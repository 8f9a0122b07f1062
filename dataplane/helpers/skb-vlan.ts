/**
 * bpf_skb_vlan_push and vlan_pop. The outermost tag is kept beside the packet, as a NIC strips it (vlan_present,
 * vlan_proto, vlan_tci); those within are in the packet:
 *
 *   6 destination | 6 source | 2 protocol of tag | 2 TCI | 2 encapsulated protocol | …
 */
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import { SK_BUFF } from '../packet/frame.ts';
import type { Helper, HelperFunction } from './helper.ts';
import { countBytes, getField, insertBytes, removeBytes, setField } from './skb-buffer.ts';
import { tcPacketHelper } from './tc-helper.ts';

const ADDRESSES_BYTES = 12;
const TAG_BYTES = 4;
const ETHERNET_HEADER_BYTES = 14;
/** EtherTypes as skb->protocol has them: network order in a little-endian word. */
const ETH_P_8021Q = 0x0081;
const ETH_P_8021AD = 0xa888;
const ETH_P_802_3 = 0x0100;
const ETH_P_802_2 = 0x0400;
/** Smaller numbers in the type field are lengths. */
const ETH_P_802_3_MIN = 0x600;

const isVlan = (protocol: number): boolean => protocol === ETH_P_8021Q || protocol === ETH_P_8021AD;
const swap = (value: number): number => ((value & 0xff) << 8) | ((value >>> 8) & 0xff);

function setTag(machine: Machine, ctx: number, protocol: number, tci: number): void {
  setField(machine, ctx, SK_BUFF.vlan_present, 1);
  setField(machine, ctx, SK_BUFF.vlan_proto, protocol);
  setField(machine, ctx, SK_BUFF.vlan_tci, tci);
}

/** A tag that is there already moves into the packet. */
const push =
  (machine: Machine): HelperFunction =>
  (ctx, protocol, tci) => {
    const wanted = protocol! & 0xffff;
    if (getField(machine, ctx!, SK_BUFF.vlan_present) !== 0) {
      if (!insertBytes(machine, ctx!, ADDRESSES_BYTES, TAG_BYTES)) return -ERRNO.ENOMEM;
      const outer = getField(machine, ctx!, SK_BUFF.vlan_proto);
      const at = getField(machine, ctx!, SK_BUFF.data) + ADDRESSES_BYTES;
      const { view } = machine.memory;
      view.setUint16(at, outer, true);
      view.setUint16(at + 2, getField(machine, ctx!, SK_BUFF.vlan_tci), false);
      countBytes(machine, ctx!, ADDRESSES_BYTES, TAG_BYTES);
      setField(machine, ctx!, SK_BUFF.protocol, outer);
    }
    setTag(machine, ctx!, isVlan(wanted) ? wanted : ETH_P_8021Q, tci! & 0xffff);
    return 0;
  };

/** Takes the tag at the front of the packet out of it; returns its TCI, or a negative errno. */
function removeTag(machine: Machine, ctx: number): number {
  const headerBytes = ETHERNET_HEADER_BYTES + TAG_BYTES;
  if (getField(machine, ctx, SK_BUFF.len) < headerBytes) return -ERRNO.ENOMEM;
  const { view } = machine.memory;
  const data = getField(machine, ctx, SK_BUFF.data);
  const tci = view.getUint16(data + ADDRESSES_BYTES + 2, false);
  const encapsulated = view.getUint16(data + ADDRESSES_BYTES + TAG_BYTES, true);
  let protocol = encapsulated;
  if (swap(encapsulated) < ETH_P_802_3_MIN) protocol = view.getUint16(data + headerBytes, true) === 0xffff ? ETH_P_802_3 : ETH_P_802_2;
  removeBytes(machine, ctx, ADDRESSES_BYTES, TAG_BYTES);
  setField(machine, ctx, SK_BUFF.protocol, protocol);
  setField(machine, ctx, SK_BUFF.network_offset, Math.max(getField(machine, ctx, SK_BUFF.network_offset) - TAG_BYTES, ETHERNET_HEADER_BYTES));
  return tci;
}

/** Of several tags, the next one takes the place beside the packet. A packet without tags stays as it is. */
const pop =
  (machine: Machine): HelperFunction =>
  (ctx) => {
    if (getField(machine, ctx!, SK_BUFF.vlan_present) !== 0) {
      for (const field of [SK_BUFF.vlan_present, SK_BUFF.vlan_proto, SK_BUFF.vlan_tci]) setField(machine, ctx!, field, 0);
    } else {
      if (!isVlan(getField(machine, ctx!, SK_BUFF.protocol))) return 0;
      const removed = removeTag(machine, ctx!);
      if (removed < 0) return removed;
    }
    const next = getField(machine, ctx!, SK_BUFF.protocol);
    if (!isVlan(next)) return 0;
    const tci = removeTag(machine, ctx!);
    if (tci < 0) return tci;
    setTag(machine, ctx!, next, tci);
    return 0;
  };

export const SKB_VLAN_HELPERS: readonly Helper[] = [tcPacketHelper(18, 'skb_vlan_push', ['u32', 'u32'], push), tcPacketHelper(19, 'skb_vlan_pop', [], pop)];
