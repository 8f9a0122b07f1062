/**
 * The network that the traces come from: what programs/demo.yaml describes, seen on the wire of eth0.
 *
 *     clients, attackers ── gateway 02:…:fe ── eth0 02:…:01 10.0.0.1, in front of the services' addresses
 */
import { parsePrefix } from '../dataplane/address.ts';
import { addressBytes } from '../dataplane/packet/address.ts';
import { IP_PROTOCOL } from '../dataplane/packet/ipv4.ts';
import type { Random } from '../dataplane/random.ts';

export const MAC = { device: '02:00:00:00:00:01', gateway: '02:00:00:00:00:fe' } as const;

/** Ethernet addresses of what comes in at eth0, and of what its host sends. */
export const INWARD = { source: MAC.gateway, destination: MAC.device } as const;
export const OUTWARD = { source: MAC.device, destination: MAC.gateway } as const;

/** The device's own address. */
export const HOST = '10.0.0.1';
export const HOST_6 = 'fd00::1';
export const ROUTER = '198.18.255.1';
export const ROUTER_6 = '2001:db8:ffff::1';

export interface Service {
  readonly address: string;
  readonly port: number;
  readonly protocol: typeof IP_PROTOCOL.tcp | typeof IP_PROTOCOL.udp;
}

/** Balanced over backends. */
export const VIP = {
  http: { address: '10.0.0.100', port: 80, protocol: IP_PROTOCOL.tcp },
  https: { address: '10.0.0.100', port: 443, protocol: IP_PROTOCOL.tcp },
  dns: { address: '10.0.0.101', port: 53, protocol: IP_PROTOCOL.udp },
  https6: { address: 'fd00::100', port: 443, protocol: IP_PROTOCOL.tcp },
} as const satisfies Record<string, Service>;

/** On the device itself. */
export const LOCAL = {
  ssh: { address: HOST, port: 22, protocol: IP_PROTOCOL.tcp },
  web: { address: HOST, port: 8080, protocol: IP_PROTOCOL.tcp },
} as const satisfies Record<string, Service>;

/** What the host itself asks: a name server, a mirror of packages, a clock. */
export const REMOTE = {
  dns: { address: '198.18.0.53', port: 53, protocol: IP_PROTOCOL.udp },
  mirror: { address: '198.51.100.80', port: 443, protocol: IP_PROTOCOL.tcp },
  clock: { address: '198.51.100.123', port: 123, protocol: IP_PROTOCOL.udp },
} as const satisfies Record<string, Service>;

/** Clients that the demo trusts, and others. */
export const TRUSTED = '198.18.0.0/15';
export const UNTRUSTED = '203.0.113.0/24';
const CLIENTS = [TRUSTED, TRUSTED, UNTRUSTED];
const CLIENTS_6 = ['2001:db8::/32'];
/** Of the SYN flood. The upper half, 192.0.2.128/25, is on the demo's deny list. */
export const ATTACKERS = '192.0.2.0/24';
export const SCANNER = '203.0.113.66';

/** An address of `prefix` that is neither its first nor its last. */
export function addressIn(prefix: string, random: Random): Uint8Array {
  const { address, prefixBits } = parsePrefix(prefix)!;
  const bytes = address.slice();
  do {
    for (let bit = prefixBits; bit < bytes.length * 8; bit += 8 - (bit % 8)) {
      const mask = 0xff >>> (bit % 8);
      bytes[bit >>> 3] = (address[bit >>> 3]! & ~mask) | (random.u32() & mask);
    }
  } while (bytes.at(-1) === 0 || bytes.at(-1) === 255);
  return bytes;
}

/** A client that may talk to `server`: of the same IP version. */
export function clientOf(server: string, random: Random): Uint8Array {
  const prefixes = addressBytes(server).length === 4 ? CLIENTS : CLIENTS_6;
  return addressIn(random.pick(prefixes), random);
}

/** As Linux picks them: 32768 to 60999. */
export function ephemeralPort(random: Random): number {
  return random.between(32_768, 60_999);
}
