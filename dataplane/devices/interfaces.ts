/** The network interfaces of this machine: from /sys/class/net where that is (Linux), else as Node lists them. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { basename } from 'node:path';
import { parseMac } from '../address.ts';
import { XdplabError } from '../errors.ts';
import type { LiveInterface } from './device.ts';

const FOLDER = '/sys/class/net';
/** ARPHRD_ (include/uapi/linux/if_arp.h) of what carries Ethernet headers. The loopback device's are all zero. */
const ETHERNET_TYPES = new Set([1, 772]);
const IFF_UP = 1;
const NO_MAC = '00:00:00:00:00:00';
/** Of systems that do not say. */
const USUAL_MTU = 1500;

export function liveInterfaces(): LiveInterface[] {
  const found = process.platform === 'linux' ? fromSysfs() : fromNode();
  return found.toSorted((a, b) => a.ifindex - b.ifindex);
}

/** Throws ERR_DEVICE where there is none of that name, naming those that there are. */
export function liveInterface(name: string): LiveInterface {
  const all = liveInterfaces();
  const found = all.find((each) => each.name === name);
  if (found !== undefined) return found;
  throw new XdplabError('ERR_DEVICE', `interface '${name}': there is none of that name, expected one of ${all.map((each) => each.name).join(', ') || '(none)'}`);
}

function fromSysfs(): LiveInterface[] {
  return readdirSync(FOLDER).flatMap((name) => {
    const read = (file: string): string => readFileSync(`${FOLDER}/${name}/${file}`, 'latin1').trim();
    try {
      const mac = read('address');
      const master = masterOf(name);
      return [
        {
          name,
          ifindex: Number(read('ifindex')),
          mac: parseMac(/^(..:){5}..$/.test(mac) ? mac : NO_MAC)!,
          mtuBytes: Number(read('mtu')),
          up: (Number(read('flags')) & IFF_UP) !== 0,
          ethernet: ETHERNET_TYPES.has(Number(read('type'))),
          ...(master === undefined ? {} : { master }),
        },
      ];
    } catch {
      // Files that are no interfaces (bonding_masters), and interfaces that went away just now.
      return [];
    }
  });
}

function masterOf(name: string): string | undefined {
  try {
    return basename(readlinkSync(`${FOLDER}/${name}/master`));
  } catch {
    return undefined;
  }
}

function fromNode(): LiveInterface[] {
  return Object.entries(networkInterfaces()).map(([name, addresses = []], position) => ({
    name,
    ifindex: position + 1,
    mac: parseMac(addresses[0]?.mac ?? NO_MAC)!,
    mtuBytes: USUAL_MTU,
    up: true,
    ethernet: true,
  }));
}

/** Throws ERR_DEVICE where programs cannot see the interface's packets. */
export function usableInterface(device: LiveInterface): LiveInterface {
  const { name } = device;
  if (!device.ethernet) throw new XdplabError('ERR_DEVICE', `${name}: its packets do not begin with an Ethernet header, which XDP and TC programs here look at; choose an Ethernet interface`);
  if (!device.up) throw new XdplabError('ERR_DEVICE', `${name}: it is down; ip link set ${name} up`);
  return device;
}
