/**
 * bpf_fib_lookup: where the kernel would forward a packet, from the machine's routes and neighbours. Answers one of
 * FIB_RESULT and fills `struct bpf_fib_lookup`, or a negative errno:
 *
 *    0 u8 family   u8 protocol   u16 source port   u16 destination port   6 u16 in: length of the packet, out: MTU
 *    8 u32 ifindex, in: where it came in, out: where it leaves
 *   12 u32 in: tos or flow label, out: metric of the route
 *   16 source address, 16 bytes    32 destination address, out: next hop
 *   48 in: u32 table, out: VLAN protocol and TCI    52 source MAC   58 destination MAC
 */
import { metricOf, TABLE_MAIN, type NetworkDevice, type Route, type RouteType } from '../machine/network.ts';
import type { Machine } from '../machine/machine.ts';
import { ERRNO } from '../maps/map.ts';
import { SK_BUFF } from '../packet/frame.ts';
import { inMemory } from './bounds.ts';
import type { Helper, HelperFunction } from './helper.ts';
import { TC_PROGRAMS, XDP_PROGRAMS } from './program-sets.ts';
import { getField } from './skb-buffer.ts';

const FIB_LOOKUP = { family: 0, length: 6, ifindex: 8, metric: 12, source: 16, destination: 32, table: 48, smac: 52, dmac: 58, size: 64 } as const;
const FLAG = { direct: 1, output: 2, skipNeighbour: 4, table: 8, source: 16, mark: 32 } as const;
const ALL_FLAGS = 63;

/** BPF_FIB_LKUP_RET_*. */
export const FIB_RESULT = {
  success: 0,
  blackhole: 1,
  unreachable: 2,
  prohibit: 3,
  notForwarded: 4,
  forwardingDisabled: 5,
  noNeighbour: 7,
  fragmentationNeeded: 8,
  noSourceAddress: 9,
} as const;

const OF_ROUTE_TYPE: Readonly<Record<RouteType, number>> = {
  unicast: FIB_RESULT.success,
  local: FIB_RESULT.notForwarded,
  blackhole: FIB_RESULT.blackhole,
  unreachable: FIB_RESULT.unreachable,
  prohibit: FIB_RESULT.prohibit,
};

const AF_INET = 2;
const AF_INET6 = 10;
const ADDRESS_BYTES = 16;
/** Link-layer header and a VLAN tag, which may come on top of the MTU. */
const LINK_HEADER_BYTES = 18;

/** The address a packet to `next` would leave the device with; `undefined` where the device has none of the family. */
function sourceAddress(device: NetworkDevice, route: Route, next: Uint8Array, at: number, addressBytes: number): Uint8Array | undefined {
  if (route.source) return route.source;
  const own = device.addresses.filter(({ address }) => address.length === addressBytes);
  const inSubnet = own.find(({ address, prefixBits }) => samePrefix(address, next, at, prefixBits));
  return (inSubnet ?? own[0])?.address;
}

function samePrefix(address: Uint8Array, bytes: Uint8Array, at: number, prefixBits: number): boolean {
  for (let bit = 0; bit < prefixBits; bit++) {
    const mask = 0x80 >> (bit & 7);
    if (((address[bit >> 3]! ^ bytes[at + (bit >> 3)]!) & mask) !== 0) return false;
  }
  return true;
}

/** `lengthBytes` is what the packet is checked against the MTU with, `undefined` where it is not checked here. */
function lookup(machine: Machine, params: number, flags: number, checkMtu: boolean): number {
  const { network, memory } = machine;
  const { u8, view } = memory;
  const family = u8[params + FIB_LOOKUP.family]!;
  if (family !== AF_INET && family !== AF_INET6) return -ERRNO.EAFNOSUPPORT;
  const addressBytes = family === AF_INET ? 4 : ADDRESS_BYTES;
  const ifindex = view.getUint32(params + FIB_LOOKUP.ifindex, true);
  const incoming = network.device(ifindex);
  if (incoming === undefined) return -ERRNO.ENODEV;
  if (!incoming.forwarding) return FIB_RESULT.forwardingDisabled;

  const destination = params + FIB_LOOKUP.destination;
  const route = network.route(u8, destination, addressBytes, tableOf(machine, params, flags), (flags & FLAG.output) !== 0 ? ifindex : 0);
  if (route === undefined) return FIB_RESULT.notForwarded;
  const result = OF_ROUTE_TYPE[route.type];
  if (result !== FIB_RESULT.success) return result;
  const outgoing = network.device(route.ifindex);
  if (outgoing === undefined) return FIB_RESULT.notForwarded;

  const mtuBytes = route.mtuBytes ?? outgoing.mtuBytes;
  if (checkMtu && view.getUint16(params + FIB_LOOKUP.length, true) > mtuBytes) {
    view.setUint16(params + FIB_LOOKUP.length, mtuBytes, true);
    return FIB_RESULT.fragmentationNeeded;
  }
  view.setUint32(params + FIB_LOOKUP.metric, metricOf(route), true);
  view.setUint32(params + FIB_LOOKUP.ifindex, outgoing.ifindex, true);
  if ((flags & FLAG.source) !== 0) {
    const source = sourceAddress(outgoing, route, route.via ?? u8, route.via ? 0 : destination, addressBytes);
    if (source === undefined && family === AF_INET6) return FIB_RESULT.noSourceAddress;
    if (source) u8.set(source, params + FIB_LOOKUP.source);
    else u8.fill(0, params + FIB_LOOKUP.source, params + FIB_LOOKUP.source + addressBytes);
  }
  if (route.via) {
    u8.set(route.via, destination);
    if (route.via.length === ADDRESS_BYTES) u8[params + FIB_LOOKUP.family] = AF_INET6;
  }
  if ((flags & FLAG.skipNeighbour) === 0) {
    const neighbour = network.neighbour(outgoing.ifindex, u8, destination, route.via?.length ?? addressBytes);
    if (neighbour === undefined) return FIB_RESULT.noNeighbour;
    u8.set(neighbour, params + FIB_LOOKUP.dmac);
    u8.set(outgoing.mac, params + FIB_LOOKUP.smac);
  }
  view.setUint32(params + FIB_LOOKUP.table, 0, true);
  if (checkMtu) view.setUint16(params + FIB_LOOKUP.length, mtuBytes, true);
  return FIB_RESULT.success;
}

/** Which table is looked up; `undefined` for what the default rules say. */
function tableOf({ memory }: Machine, params: number, flags: number): number | undefined {
  if ((flags & FLAG.direct) === 0) return undefined;
  if ((flags & FLAG.table) === 0) return TABLE_MAIN;
  const table = memory.view.getUint32(params + FIB_LOOKUP.table, true);
  memory.view.setUint32(params + FIB_LOOKUP.table, 0, true);
  return table;
}

const check = (machine: Machine, params: number, size: number, flags: number): number => {
  if (size >>> 0 < FIB_LOOKUP.size || (flags & ~ALL_FLAGS) !== 0) return -ERRNO.EINVAL;
  inMemory(machine.memory, params, FIB_LOOKUP.size);
  return 0;
};

const xdpLookup =
  (machine: Machine): HelperFunction =>
  (_ctx, params, size, flags) =>
    check(machine, params!, size!, flags!) || lookup(machine, params! >>> 0, flags!, true);

/** Where the program gives no length, the skb itself is measured against the device. */
const skbLookup =
  (machine: Machine): HelperFunction =>
  (ctx, params, size, flags) => {
    const refused = check(machine, params!, size!, flags!);
    if (refused !== 0) return refused;
    const at = params! >>> 0;
    const { view } = machine.memory;
    const given = view.getUint16(at + FIB_LOOKUP.length, true) !== 0;
    const result = lookup(machine, at, flags!, given);
    if (result !== FIB_RESULT.success || given) return result;
    const device = machine.network.device(view.getUint32(at + FIB_LOOKUP.ifindex, true));
    if (device === undefined) return -ERRNO.ENODEV;
    view.setUint16(at + FIB_LOOKUP.length, device.mtuBytes, true);
    const fits = device.up && getField(machine, ctx!, SK_BUFF.len) <= device.mtuBytes + LINK_HEADER_BYTES;
    return fits ? FIB_RESULT.success : FIB_RESULT.fragmentationNeeded;
  };

const row = (programs: Helper['programs'], bind: (machine: Machine) => HelperFunction): Helper => ({
  id: 69,
  name: 'fib_lookup',
  args: ['ctx', 'memory_inout', 'size', 'u32'],
  returns: 'int',
  programs,
  gplOnly: true,
  implementation: { kind: 'js', bind },
});

export const FIB_LOOKUP_HELPERS: readonly Helper[] = [row(XDP_PROGRAMS, xdpLookup), row(TC_PROGRAMS, skbLookup)];
