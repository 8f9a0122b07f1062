/**
 * Where BPF_F_BROADCAST sends an XDP frame: to every device that the map's slots name and that can send it (man
 * bpf-helpers, bpf_redirect_map; the kernel's is_valid_dst). Programs in the slots are not run.
 */
import type { Machine } from '../machine/machine.ts';
import { mapsOf } from '../maps/map-registry.ts';
import { readU32 } from '../maps/slot-array.ts';
import { FRAME } from '../packet/frame.ts';
import { VLAN_TAG_BYTES } from './loop/loop-code.ts';

/** The ifindexes in the devmap at `descriptor`, without `excludeIfindex`, for a frame of that length. */
export function broadcastTargets(machine: Machine, descriptor: number, excludeIfindex: number, lengthBytes: number): number[] {
  const map = mapsOf(machine).byDescriptor(descriptor);
  if (map?.type.holds !== 'devices') return [];
  return Array.from(map.entries(), ([, value]) => readU32(value)).filter((ifindex) => {
    const device = machine.network.device(ifindex);
    return device?.up === true && ifindex !== excludeIfindex && lengthBytes <= device.mtuBytes + FRAME.minimumLength + VLAN_TAG_BYTES;
  });
}
