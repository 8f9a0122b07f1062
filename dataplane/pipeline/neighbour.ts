/**
 * bpf_redirect_neigh: a packet leaves by a device with a fresh link-layer header, its addresses those of the device
 * and of the next hop. The next hop is the program's (struct bpf_redir_neigh) or the routing table's; its address has
 * to be a neighbour that the lab knows, since nobody answers ARP here.
 */
import type { Machine } from '../machine/machine.ts';
import { IPV4_BYTES, IPV6_BYTES } from '../address.ts';
import { FRAME } from '../packet/frame.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const MAC_BYTES = 6;

/** struct bpf_redir_neigh. */
const NEXT_HOP = { family: 0, address: 4 } as const;

/** Writes the two MAC addresses at `data`. False when there is no route, or no neighbour for it. */
export function writeLinkAddresses(machine: Machine, ifindex: number, nextHop: number, data: number): boolean {
  const { memory, network } = machine;
  const { u8, view } = memory;
  const device = network.device(ifindex);
  if (device === undefined) return false;
  const version = u8[data + FRAME.minimumLength]! >> 4;
  let mac: Uint8Array | undefined;
  if (nextHop !== 0) {
    const family = view.getUint32(nextHop + NEXT_HOP.family, true);
    if (family !== AF_INET && family !== AF_INET6) return false;
    mac = network.neighbour(ifindex, u8, nextHop + NEXT_HOP.address, family === AF_INET ? IPV4_BYTES : IPV6_BYTES);
  } else {
    const [at, addressBytes] = version === 4 ? [data + FRAME.minimumLength + 16, IPV4_BYTES] : [data + FRAME.minimumLength + 24, IPV6_BYTES];
    const route = network.route(u8, at, addressBytes, undefined, ifindex);
    if (route === undefined) return false;
    mac = route.via ? network.neighbour(ifindex, route.via, 0, route.via.length) : network.neighbour(ifindex, u8, at, addressBytes);
  }
  if (mac === undefined) return false;
  u8.set(mac, data);
  u8.set(device.mac, data + MAC_BYTES);
  return true;
}
