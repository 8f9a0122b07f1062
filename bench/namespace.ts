/** Interfaces in a network namespace of their own, made and removed by who uses them: nothing else sends on them. */
import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { whyNoPacketSockets } from '../dataplane/devices/packet-socket.ts';

/** Why there can be no network namespaces here; undefined where there can. */
export function whyNoNamespaces(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces need Linux';
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  const sockets = whyNoPacketSockets();
  if (sockets !== undefined) return sockets;
  try {
    const trial = new Namespace();
    try {
      trial.pair('one', 'two');
    } finally {
      trial.remove();
    }
    return undefined;
  } catch (error) {
    return `network namespaces with veth pairs cannot be made (${String(error).split('\n')[0]}); apt install iproute2`;
  }
}

export class Namespace {
  readonly name = `xdplab-${randomBytes(4).toString('hex')}`;

  constructor() {
    ip('netns', 'add', this.name);
    // Else the kernel itself speaks IPv6 on every new interface.
    this.run('sh', '-c', '! test -e /proc/sys/net/ipv6 || echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6');
  }

  /** A pair of veths that are up. */
  pair(one: string, two: string): void {
    this.ip('link', 'add', one, 'type', 'veth', 'peer', 'name', two);
    for (const name of [one, two]) this.ip('link', 'set', name, 'up');
  }

  ip(...args: string[]): string {
    return ip('-n', this.name, ...args);
  }

  run(command: string, ...args: string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.name, command, ...args], { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
  }

  start(command: string, ...args: string[]): ChildProcessWithoutNullStreams {
    return spawn('ip', ['netns', 'exec', this.name, command, ...args]);
  }

  remove(): void {
    ip('netns', 'del', this.name);
  }
}

function ip(...args: string[]): string {
  return execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
}
