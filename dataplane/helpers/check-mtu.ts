/**
 * bpf_check_mtu: whether a packet fits a device once it has grown by a difference. `*mtu_len` is in: the length of its
 * IP packet, 0 to take the packet's own; out: the device's MTU.
 */
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import { SK_BUFF, XDP_MD } from '../packet/frame.ts';
import type { Helper, HelperFunction } from './helper.ts';
import { TC_PROGRAMS, XDP_PROGRAMS } from './program-sets.ts';
import { getField } from './skb-buffer.ts';

const FITS = 0;
const FRAGMENTATION_NEEDED = 1;
/** BPF_MTU_CHK_SEGS: an skb that stands for several segments is checked segment by segment. */
const SEGMENTS = 1;
const LINK_HEADER_BYTES = 14;

interface Kind {
  readonly deviceField: number;
  readonly allowedFlags: number;
  packetBytes(machine: Machine, ctx: number): number;
}

const check =
  (kind: Kind) =>
  (machine: Machine): HelperFunction =>
  (ctx, ifindex, mtuLength, difference, flags, flagsHigh) => {
    if ((flags! & ~kind.allowedFlags) !== 0 || flagsHigh !== 0) return -ERRNO.EINVAL;
    const { view } = machine.memory;
    const given = view.getInt32(mtuLength! >>> 0, true);
    if ((flags! & SEGMENTS) !== 0 && (difference !== 0 || given !== 0)) return -ERRNO.EINVAL;
    const device = machine.network.device(ifindex === 0 ? getField(machine, ctx!, kind.deviceField) : ifindex! >>> 0);
    if (device === undefined) return -ERRNO.ENODEV;
    // Linux computes with ints, which wrap.
    const lengthBytes = ((given === 0 ? kind.packetBytes(machine, ctx!) : given + LINK_HEADER_BYTES) + difference!) | 0;
    view.setUint32(mtuLength! >>> 0, device.mtuBytes, true);
    return lengthBytes > device.mtuBytes + LINK_HEADER_BYTES ? FRAGMENTATION_NEEDED : FITS;
  };

const row = (programs: Helper['programs'], kind: Kind): Helper => ({
  id: 163,
  name: 'check_mtu',
  args: ['ctx', 'u32', 'int_inout', 'i32', 'u64'],
  sizes: [undefined, undefined, 4],
  returns: 'int',
  programs,
  gplOnly: true,
  implementation: { kind: 'js', bind: check(kind) },
});

export const CHECK_MTU_HELPERS: readonly Helper[] = [
  row(XDP_PROGRAMS, {
    deviceField: XDP_MD.ingress_ifindex,
    allowedFlags: 0,
    packetBytes: (machine, ctx) => getField(machine, ctx, XDP_MD.data_end) - getField(machine, ctx, XDP_MD.data),
  }),
  row(TC_PROGRAMS, { deviceField: SK_BUFF.ifindex, allowedFlags: SEGMENTS, packetBytes: (machine, ctx) => getField(machine, ctx, SK_BUFF.len) }),
];
