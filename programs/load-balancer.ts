/**
 * The control plane of xdp_lb: from services as people write them to the contents of its maps.
 *
 *   - { vip: 10.0.0.100, port: 80, protocol: tcp, backends: [ { address: 10.1.0.1, weight: 1 }, … ] }
 *
 * A pure function. VIPs get their numbers in the order of the list, from 0, and backends in the order they are first
 * named, from 1 (0 is the program's "none"); a backend that serves several VIPs is one backend. Every VIP address
 * also gets an entry by which the program answers echo requests.
 */
import { formatAddress, parseAddress } from '../dataplane/address.ts';
import { XdplabError } from '../dataplane/errors.ts';
import { maglevRing } from '../dataplane/program/maglev.ts';

/** The program's RING_SIZE, MAX_VIPS and MAX_BACKENDS. */
export const RING_SIZE = 4093;
export const MAX_VIPS = 64;
export const MAX_BACKENDS = 1024;

export interface VirtualService {
  readonly vip: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  readonly backends: readonly ServiceBackend[];
  /** Keep no connection table: for short flows. */
  readonly stateless?: boolean;
  /** `source`: all flows of a client go to the same backend. */
  readonly affinity?: 'flow' | 'source';
  /** Answer echo requests to this address; true if not given. */
  readonly echo?: boolean;
}

export interface ServiceBackend {
  readonly address: string;
  readonly weight?: number;
  /** `draining`: keeps the flows it has and gets no new ones. `down`: its flows move to others. */
  readonly state?: 'up' | 'draining' | 'down';
}

/** Keys and values by the names of their BTF fields, for `map.set(key, value)`; the ring by index. */
export interface LoadBalancerMaps {
  readonly vips: readonly {
    readonly key: { readonly address: string; readonly port: number; readonly protocol: string };
    readonly value: { readonly id: number; readonly flags: number };
  }[];
  readonly backends: readonly {
    readonly key: number;
    readonly value: { readonly address: string; readonly state: 'BACKEND_UP' | 'BACKEND_DOWN' };
  }[];
  /** From index 0: RING_SIZE backend numbers per VIP. */
  readonly lb_rings: readonly number[];
}

const VIP_STATELESS = 1;
const VIP_SOURCE_AFFINITY = 2;

const SERVICE_FIELDS = ['vip', 'port', 'protocol', 'backends', 'stateless', 'affinity', 'echo'];
const BACKEND_FIELDS = ['address', 'weight', 'state'];

/** Checks `services`, as read from a file, and makes map contents of them. */
export function loadBalancerMaps(services: unknown): LoadBalancerMaps {
  const list = checkServices(services);
  const numbers = new Map<string, { number: number; down: boolean }>();
  const vips: LoadBalancerMaps['vips'][number][] = [];
  const rings: number[] = [];

  for (const [id, { vip, port, protocol, backends, stateless, affinity }] of list.entries()) {
    for (const { address, state } of backends) {
      const known = numbers.get(address);
      if (!known) numbers.set(address, { number: numbers.size + 1, down: state === 'down' });
      else if (known.down !== (state === 'down')) fail(`backend ${address}`, 'is down for one VIP only; a backend is down for all or none');
    }
    const flags = (stateless ? VIP_STATELESS : 0) | (affinity === 'source' ? VIP_SOURCE_AFFINITY : 0);
    vips.push({ key: { address: vip, port, protocol }, value: { id, flags } });
    const candidates = backends.map(({ address, weight, state }) => ({
      id: numbers.get(address)!.number,
      name: address,
      weight: state === undefined || state === 'up' ? (weight ?? 1) : 0,
    }));
    for (const backend of maglevRing(candidates, RING_SIZE)) rings.push(backend);
  }
  for (const vip of new Set(list.filter(({ echo }) => echo !== false).map((service) => service.vip))) {
    const protocol = vip.includes(':') ? 'icmpv6' : 'icmp';
    vips.push({ key: { address: vip, port: 0, protocol }, value: { id: vips.length, flags: 0 } });
  }
  if (vips.length > MAX_VIPS) fail('services', `need ${vips.length} VIP entries with those for echo; at most ${MAX_VIPS}`);
  if (numbers.size >= MAX_BACKENDS) fail('services', `name ${numbers.size} backends; at most ${MAX_BACKENDS - 1}`);

  const backends = [...numbers].map(([address, { number, down }]) => ({
    key: number,
    value: { address, state: down ? ('BACKEND_DOWN' as const) : ('BACKEND_UP' as const) },
  }));
  return { vips, backends, lb_rings: rings };
}

function checkServices(services: unknown): VirtualService[] {
  if (!Array.isArray(services)) fail('load-balancer', `is ${describe(services)}; expected a list of services`);
  const seen = new Set<string>();
  return services.map((entry: unknown, index) => {
    const at = `load-balancer[${index}]`;
    const service = checkRecord(entry, at, SERVICE_FIELDS);
    const vip = checkAddress(service['vip'], `${at}.vip`);
    const port = service['port'];
    if (!isWhole(port, 1, 65535)) fail(`${at}.port`, `is ${describe(port)}; expected 1 to 65535`);
    const protocol = checkChoice(service['protocol'], `${at}.protocol`, ['tcp', 'udp']);
    const identity = `${vip} port ${port} ${protocol}`;
    if (seen.has(identity)) fail(at, `is a second service for ${identity}`);
    seen.add(identity);
    return {
      vip,
      port,
      protocol,
      backends: checkBackends(service['backends'], `${at}.backends`),
      stateless: checkBoolean(service['stateless'] ?? false, `${at}.stateless`),
      affinity: checkChoice(service['affinity'] ?? 'flow', `${at}.affinity`, ['flow', 'source']),
      echo: checkBoolean(service['echo'] ?? true, `${at}.echo`),
    };
  });
}

function checkBackends(backends: unknown, at: string): ServiceBackend[] {
  if (!Array.isArray(backends) || backends.length === 0) fail(at, `is ${describe(backends)}; expected a list of backends`);
  const seen = new Set<string>();
  return backends.map((entry: unknown, index) => {
    const place = `${at}[${index}]`;
    const backend = checkRecord(entry, place, BACKEND_FIELDS);
    const address = checkAddress(backend['address'], `${place}.address`);
    if (seen.has(address)) fail(place, `is a second backend ${address} of the same service`);
    seen.add(address);
    const weight = backend['weight'] ?? 1;
    if (!isWhole(weight, 0, 65535)) fail(`${place}.weight`, `is ${describe(weight)}; expected 0 to 65535`);
    const state = checkChoice(backend['state'] ?? 'up', `${place}.state`, ['up', 'draining', 'down']);
    return { address, weight, state };
  });
}

function checkRecord(value: unknown, at: string, fields: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(at, `is ${describe(value)}; expected ${fields.join(', ')}`);
  const unknown = Object.keys(value).find((name) => !fields.includes(name));
  if (unknown !== undefined) fail(at, `has an unknown field ${unknown}; expected ${fields.join(', ')}`);
  return value as Record<string, unknown>;
}

/** In its one canonical spelling, so that the same address is the same backend. */
function checkAddress(value: unknown, at: string): string {
  const bytes = typeof value === 'string' ? parseAddress(value) : undefined;
  if (!bytes) fail(at, `is ${describe(value)}; expected an IPv4 or IPv6 address`);
  return formatAddress(bytes);
}

function checkChoice<T extends string>(value: unknown, at: string, choices: readonly T[]): T {
  const choice = choices.find((candidate) => candidate === value);
  if (choice === undefined) fail(at, `is ${describe(value)}; expected ${choices.join(' or ')}`);
  return choice;
}

function checkBoolean(value: unknown, at: string): boolean {
  if (typeof value !== 'boolean') fail(at, `is ${describe(value)}; expected true or false`);
  return value;
}

function isWhole(value: unknown, least: number, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
}

function describe(value: unknown): string {
  return value === undefined ? 'missing' : (JSON.stringify(value) ?? String(value));
}

function fail(at: string, problem: string): never {
  throw new XdplabError('ERR_LAB', `${at} ${problem}`);
}
