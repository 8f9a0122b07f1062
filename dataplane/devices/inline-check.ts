/**
 * What of this host would also answer, forward or change the packets of an interface that is a bump in the wire, and
 * the command that ends it. While there is any, running inline would do harm: packets would arrive twice, or be
 * answered by the wrong host.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { XdplabError } from '../errors.ts';
import type { LiveInterface } from './device.ts';
import { PacketSocket } from './packet-socket.ts';

export interface InlineObstacle {
  readonly problem: string;
  /** What to type. */
  readonly command: string;
}

/** sysctl arp_ignore: answers no ARP request at all. */
const ARP_IGNORE_ALL = 8;
const IFF_NOARP = 0x80;
/** Commands of ethtool (include/uapi/linux/ethtool.h), and the bit of LRO in flags. */
const ETHTOOL = { flags: 0x25, gro: 0x2b, lroFlag: 1 << 15 } as const;

/** Throws ERR_DEVICE with the commands that make the interfaces fit. */
export function expectInlineFit(devices: readonly LiveInterface[]): void {
  const obstacles = devices.flatMap((device) => inlineObstacles(device));
  if (obstacles.length === 0) return;
  throw new XdplabError('ERR_DEVICE', `${devices.map(({ name }) => name).join(' and ')} cannot be run inline: ${obstacles.map(({ problem }) => problem).join('; ')}. First: ${obstacles.map(({ command }) => command).join(' && ')}`);
}

export function inlineObstacles({ name, master }: LiveInterface): InlineObstacle[] {
  const found: InlineObstacle[] = [];
  const obstacle = (problem: string, command: string): void => void found.push({ problem: `${name} ${problem}`, command });
  const setting = (family: 'ipv4' | 'ipv6', of: string, key: string): number => numberIn(`/proc/sys/net/${family}/conf/${of}/${key}`);
  const all = networkInterfaces();

  if (master !== undefined) obstacle(`belongs to ${master}, which forwards its packets`, `ip link set ${name} nomaster`);
  for (const upper of uppers(name)) if (upper !== master) obstacle(`carries ${upper}, which takes its packets`, `ip link del ${upper}`);
  if ((all[name] ?? []).length > 0) obstacle(`has addresses, for which this host answers (${all[name]!.map(({ address }) => address).join(', ')})`, `ip addr flush dev ${name}`);
  if (setting('ipv4', name, 'forwarding') === 1) obstacle('forwards IPv4', `sysctl -w net.ipv4.conf.${name}.forwarding=0`);
  if (setting('ipv6', name, 'disable_ipv6') === 0) obstacle('speaks IPv6 by itself', `sysctl -w net.ipv6.conf.${name}.disable_ipv6=1`);
  // Linux answers ARP on every interface for the addresses of all of them.
  const hasAddresses = Object.values(all).some((addresses = []) => addresses.some(({ family, internal }) => family === 'IPv4' && !internal));
  const silent = Math.max(setting('ipv4', 'all', 'arp_ignore'), setting('ipv4', name, 'arp_ignore')) === ARP_IGNORE_ALL || (numberIn(`/sys/class/net/${name}/flags`) & IFF_NOARP) !== 0;
  if (hasAddresses && !silent) obstacle("answers ARP for this host's other addresses", `sysctl -w net.ipv4.conf.${name}.arp_ignore=${ARP_IGNORE_ALL}`);
  const socket = new PacketSocket();
  const merges = [...(socket.ethtool(name, ETHTOOL.gro) === 1 ? ['gro'] : []), ...((socket.ethtool(name, ETHTOOL.flags) & ETHTOOL.lroFlag) !== 0 ? ['lro'] : [])];
  socket.close();
  if (merges.length > 0) obstacle(`puts packets together that are then too long to be sent (${merges.join(', ')})`, `ethtool -K ${name} ${merges.map((feature) => `${feature} off`).join(' ')}`);
  return found;
}

/** Devices on top of it: VLANs, bridges, macvlans. */
function uppers(name: string): string[] {
  return readdirSync(`/sys/class/net/${name}`).filter((entry) => entry.startsWith('upper_')).map((entry) => entry.slice('upper_'.length));
}

/** -1 where there is no such file: that kernel has no IPv6, say. */
function numberIn(path: string): number {
  try {
    return Number(readFileSync(path, 'latin1'));
  } catch {
    return -1;
  }
}
