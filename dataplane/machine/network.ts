/**
 * The network around the simulated machine, as far as helpers ask for it: devices, routes and neighbours. They are
 * what `ip link`, `ip route` and `ip neigh` would show, given by the lab; nothing here is learnt from packets.
 *
 * A device's addresses bring the routes that Linux derives from them: the address itself is local, its prefix is
 * reached directly. Lookups read addresses where they stand and allocate nothing.
 */
import { IPV6_BYTES, type Prefix } from '../address.ts';

export interface NetworkDevice {
  readonly ifindex: number;
  readonly name: string;
  /** 6 bytes. */
  readonly mac: Uint8Array;
  readonly mtuBytes: number;
  /** Receive queues: as many as CPUs run unless said. Over more than one, packets are spread by receive-side scaling. */
  readonly queues?: number;
  /** Key of its hash, 40 bytes. */
  readonly rssKey?: Uint8Array;
  /** Queues by slot of the indirection table, over and over until it is full; each in turn unless said. */
  readonly indirection?: readonly number[];
  readonly up: boolean;
  /** net.ipv4.conf.*.forwarding and its IPv6 twin: without it, bpf_fib_lookup answers FWD_DISABLED for what comes in here. */
  readonly forwarding: boolean;
  readonly addresses: readonly Prefix[];
  /** ifindex of the other end of a veth or netkit pair: where bpf_redirect_peer goes. */
  readonly peer?: number;
}

export const ROUTE_TYPES = ['unicast', 'local', 'blackhole', 'unreachable', 'prohibit'] as const;
export type RouteType = (typeof ROUTE_TYPES)[number];

export interface Route {
  readonly prefix: Prefix;
  readonly type: RouteType;
  /** Device it leaves by; 0 where nothing leaves. */
  readonly ifindex: number;
  /** Gateway, 4 or 16 bytes; an IPv4 route may have an IPv6 one. Without it the destination is on the link. */
  readonly via?: Uint8Array;
  /** The lowest wins among equal prefixes. Unless said, 0 for IPv4 and 1024 for IPv6, as `ip route` has it. */
  readonly metric?: number;
  /** As `mtu lock` sets it; the device's unless said. */
  readonly mtuBytes?: number;
  /** Preferred source address. */
  readonly source?: Uint8Array;
  /** Routing table id, 254 (main) unless said. */
  readonly table?: number;
}

export interface Neighbour {
  readonly ifindex: number;
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  /** 6 bytes. */
  readonly mac: Uint8Array;
}

/** What bpf_clone_redirect sends beside the packet that runs. Bytes are a copy. */
export interface PacketClone {
  readonly ifindex: number;
  /** To the device's receive path, not out of it. */
  readonly toIngress: boolean;
  readonly bytes: Uint8Array;
}

export const TABLE_MAIN = 254;

/** Routes of one family and prefix length, by the first 32 bits of their prefix. */
interface Level {
  readonly addressBytes: number;
  readonly prefixBits: number;
  readonly routes: Map<number, Route[]>;
}

/** The network as another thread takes it. */
export interface NetworkImage {
  readonly netnsCookie: bigint;
  readonly devices: readonly NetworkDevice[];
  readonly routes: readonly Route[];
  readonly neighbours: readonly Neighbour[];
}

export class Network {
  /** Grows with every change. */
  revision = 0;
  /** What bpf_get_netns_cookie answers; the first namespace of a booted Linux has 1. */
  netnsCookie = 1n;
  /** Takes clones; replaced by whoever carries packets. */
  onClone: (clone: PacketClone) => void = () => {};
  readonly #devices = new Map<number, NetworkDevice>();
  /** Longest prefixes first. */
  readonly #levels: Level[] = [];
  /** By the last 32 bits of the address. */
  readonly #neighbours = new Map<number, Neighbour[]>();

  /** Adds a device with the routes of its addresses; a device of the same ifindex is replaced, its routes stay. */
  addDevice(device: NetworkDevice): void {
    this.revision++;
    this.#devices.set(device.ifindex, device);
    for (const prefix of device.addresses) {
      const { address } = prefix;
      this.addRoute({ prefix: { address, prefixBits: address.length * 8 }, type: 'local', ifindex: device.ifindex });
      if (prefix.prefixBits < address.length * 8) {
        const metric = address.length === IPV6_BYTES ? CONNECTED_IPV6_METRIC : 0;
        this.addRoute({ prefix, type: 'unicast', ifindex: device.ifindex, source: address, metric });
      }
      const broadcast = broadcastAddress(prefix);
      if (broadcast) this.addRoute({ prefix: { address: broadcast, prefixBits: 32 }, type: 'local', ifindex: device.ifindex });
    }
  }

  addRoute(route: Route): void {
    this.revision++;
    const { address, prefixBits } = route.prefix;
    let level = this.#levels.find((found) => found.addressBytes === address.length && found.prefixBits === prefixBits);
    if (level === undefined) {
      level = { addressBytes: address.length, prefixBits, routes: new Map() };
      this.#levels.push(level);
      this.#levels.sort((a, b) => b.prefixBits - a.prefixBits);
    }
    const head = leadingBits(address, 0, prefixBits);
    const routes = level.routes.get(head) ?? [];
    routes.push(route);
    routes.sort((a, b) => metricOf(a) - metricOf(b));
    level.routes.set(head, routes);
  }

  /** A neighbour of the same device and address is replaced. */
  addNeighbour(neighbour: Neighbour): void {
    this.revision++;
    const { address, ifindex } = neighbour;
    const tail = word(address, address.length - 4);
    const others = (this.#neighbours.get(tail) ?? []).filter((other) => other.ifindex !== ifindex || !sameBytes(other.address, address, 0));
    this.#neighbours.set(tail, [...others, neighbour]);
  }

  get image(): NetworkImage {
    const routes = this.#levels.flatMap((level) => [...level.routes.values()].flat());
    return { netnsCookie: this.netnsCookie, devices: [...this.#devices.values()], routes, neighbours: [...this.#neighbours.values()].flat() };
  }

  /** Takes the place of all that is there. */
  restore({ netnsCookie, devices, routes, neighbours }: NetworkImage): void {
    this.netnsCookie = netnsCookie;
    this.#devices.clear();
    this.#levels.length = 0;
    this.#neighbours.clear();
    // The routes of their addresses are among the others.
    for (const device of devices) this.#devices.set(device.ifindex, device);
    for (const route of routes) this.addRoute(route);
    for (const neighbour of neighbours) this.addNeighbour(neighbour);
  }

  device(ifindex: number): NetworkDevice | undefined {
    return this.#devices.get(ifindex);
  }

  get devices(): IterableIterator<NetworkDevice> {
    return this.#devices.values();
  }

  /**
   * The route to the address at `bytes[at, at + addressBytes)`. Without a table, as the default rules look it up:
   * local addresses first, then the main table. With `outIfindex`, only routes that leave by that device. Routes by a
   * device that is down are not there.
   */
  route(bytes: Uint8Array, at: number, addressBytes: number, table?: number, outIfindex = 0): Route | undefined {
    for (const { routes, prefixBits, addressBytes: family } of this.#levels) {
      if (family !== addressBytes) continue;
      const candidates = routes.get(leadingBits(bytes, at, prefixBits));
      if (candidates === undefined) continue;
      for (const route of candidates) {
        if (outIfindex !== 0 && route.ifindex !== outIfindex) continue;
        if (this.#devices.get(route.ifindex)?.up === false) continue;
        if (table === undefined ? !ofDefaultTables(route) : table !== tableOf(route)) continue;
        if (matches(route.prefix, bytes, at)) return route;
      }
    }
    return undefined;
  }

  /** MAC of the neighbour whose address is at `bytes[at, at + addressBytes)`. */
  neighbour(ifindex: number, bytes: Uint8Array, at: number, addressBytes: number): Uint8Array | undefined {
    const found = this.#neighbours.get(word(bytes, at + addressBytes - 4));
    if (found === undefined) return undefined;
    for (const { ifindex: device, address, mac } of found) {
      if (device === ifindex && address.length === addressBytes && sameBytes(address, bytes, at)) return mac;
    }
    return undefined;
  }
}

const TABLE_LOCAL = 255;
const DEFAULT_IPV6_METRIC = 1024;
const CONNECTED_IPV6_METRIC = 256;

export function metricOf({ metric, prefix }: Route): number {
  return metric ?? (prefix.address.length === IPV6_BYTES ? DEFAULT_IPV6_METRIC : 0);
}

/** The last address of an IPv4 prefix that has one to spare. */
function broadcastAddress({ address, prefixBits }: Prefix): Uint8Array | undefined {
  if (address.length === IPV6_BYTES || prefixBits > 30) return undefined;
  return Uint8Array.from(address, (byte, index) => byte | (0xff >> Math.min(Math.max(prefixBits - 8 * index, 0), 8)));
}

function tableOf(route: Route): number {
  return route.table ?? (route.type === 'local' ? TABLE_LOCAL : TABLE_MAIN);
}

function ofDefaultTables(route: Route): boolean {
  const table = tableOf(route);
  return table === TABLE_MAIN || table === TABLE_LOCAL;
}

function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** The first `min(bits, 32)` bits, the others zero. */
function leadingBits(bytes: Uint8Array, at: number, bits: number): number {
  if (bits === 0) return 0;
  return (bits >= 32 ? word(bytes, at) : word(bytes, at) & (-1 << (32 - bits))) >>> 0;
}

function sameBytes(address: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let index = 0; index < address.length; index++) {
    if (address[index] !== bytes[at + index]) return false;
  }
  return true;
}

function matches(prefix: Prefix, bytes: Uint8Array, at: number): boolean {
  const whole = prefix.prefixBits >> 3;
  for (let index = 0; index < whole; index++) {
    if (prefix.address[index] !== bytes[at + index]) return false;
  }
  const rest = prefix.prefixBits & 7;
  return rest === 0 || ((prefix.address[whole]! ^ bytes[at + whole]!) >> (8 - rest)) === 0;
}
