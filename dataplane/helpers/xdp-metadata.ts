/**
 * What a network card says of a packet (Linux Documentation/networking/xdp-rx-metadata.rst): captures do not say it, so
 * all of these answer as a driver that has none. Linux loads such programs for one device only (BPF_F_XDP_DEV_BOUND_ONLY).
 */
import { ERRNO } from '../maps/map.ts';
import type { KfuncArgumentKind } from './helper.ts';
import type { Kfunc } from './kfunc.ts';
import { XDP_PROGRAMS } from './program-sets.ts';

const row = (name: string, args: readonly KfuncArgumentKind[], sizes: readonly (number | undefined)[]): Kfunc => ({
  name: `bpf_xdp_metadata_${name}`,
  args,
  sizes,
  returns: 'u32',
  programs: XDP_PROGRAMS,
  trustedArguments: true,
  deviceBound: true,
  remark: '-EOPNOTSUPP; Linux wants the program bound to a device',
  implementation: { kind: 'js', bind: () => () => -ERRNO.EOPNOTSUPP },
});

export const XDP_METADATA_KFUNCS: readonly Kfunc[] = [
  row('rx_timestamp', ['ctx', 'memory_inout'], [undefined, 8]),
  row('rx_hash', ['ctx', 'memory_inout', 'memory_inout'], [undefined, 4, 4]),
  row('rx_vlan_tag', ['ctx', 'memory_inout', 'memory_inout'], [undefined, 2, 2]),
];
