/** Where BPF_F_BROADCAST sends an XDP frame: to every device that the map's slots name (man bpf-helpers, bpf_redirect_map). */
import type { BpfMap } from '../maps/bpf-map.ts';

/** The ifindexes in the devmap at `descriptor`, without `excludeIfindex`. */
export function broadcastTargets(maps: readonly BpfMap[], descriptor: number, excludeIfindex: number): number[] {
  const map = maps.find((candidate) => candidate.descriptor === descriptor);
  if (map === undefined) return [];
  return [...map.entries()]
    .map(([, value]) => new DataView(value.buffer, value.byteOffset).getUint32(0, true))
    .filter((ifindex) => ifindex !== 0 && ifindex !== excludeIfindex);
}
