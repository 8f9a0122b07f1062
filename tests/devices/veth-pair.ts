/**
 * Two connected interfaces in a network namespace of their own, made and removed by the test that uses them. Nothing
 * but the test sends on them.
 */
import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { whyNoPacketSockets } from '../../dataplane/devices/packet-socket.ts';
import { REPOSITORY } from '../cli/run-cli.ts';

const MAIN = `${REPOSITORY}dist/dataplane/cli/main.js`;
const SEND = `${REPOSITORY}dist/bench/send-capture.js`;

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Why there can be no network namespaces here; undefined where there can. */
export const whyNoNamespaces: string | undefined = whyNot();

function whyNot(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces need Linux';
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  const sockets = whyNoPacketSockets();
  if (sockets !== undefined) return sockets;
  try {
    const name = `xdplab-${randomBytes(4).toString('hex')}`;
    ip('netns', 'add', name);
    try {
      ip('-n', name, 'link', 'add', 'one', 'type', 'veth', 'peer', 'name', 'two');
    } finally {
      ip('netns', 'del', name);
    }
    return undefined;
  } catch (error) {
    return `ip netns add, or veth, does not work: ${String(error).split('\n')[0]}; apt install iproute2`;
  }
}

/** A title that shows why a test is skipped. */
export function namespaceTitle(title: string): string {
  return whyNoNamespaces === undefined ? title : `${title} (skipped: ${whyNoNamespaces})`;
}

function ip(...args: string[]): string {
  return execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
}

export class Namespace {
  readonly name = `xdplab-${randomBytes(4).toString('hex')}`;

  constructor() {
    ip('netns', 'add', this.name);
    // Else the kernel itself speaks IPv6 on every new interface.
    this.run('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');
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

  /** `xdplab live`, once it is listening. */
  async live(...args: string[]): Promise<LiveCommand> {
    const command = new LiveCommand(this.start(process.execPath, MAIN, 'live', ...args));
    await command.listening();
    return command;
  }

  /** What `xdplab live` says when it ends by itself. */
  async refused(...args: string[]): Promise<Finished> {
    return new LiveCommand(this.start(process.execPath, MAIN, 'live', ...args)).finished;
  }

  /** Sends a capture's packets as fast as they go; how many the kernel took. */
  send(device: string, capture: string, loop = 1): Promise<number> {
    const child = this.start(process.execPath, SEND, device, capture, '--loop', `${loop}`);
    return new Promise((resolve, reject) => {
      let [out, err] = ['', ''];
      child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
      child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
      child.on('close', (status) => (status === 0 ? resolve((JSON.parse(out) as { packets: number }).packets) : reject(new Error(err))));
    });
  }

  remove(): void {
    ip('netns', 'del', this.name);
  }
}

/** A running `xdplab live`. */
export class LiveCommand {
  readonly finished: Promise<Finished>;
  readonly #child: ChildProcessWithoutNullStreams;
  #stdout = '';
  #stderr = '';
  #changed: () => void = () => {};

  constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    child.stdout.on('data', (chunk: Buffer) => this.#take(() => (this.#stdout += chunk.toString())));
    child.stderr.on('data', (chunk: Buffer) => this.#take(() => (this.#stderr += chunk.toString())));
    this.finished = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (status) => this.#take(() => resolve({ status, stdout: this.#stdout, stderr: this.#stderr })));
    });
  }

  /** Until the command has said that it listens; throws what it said where it ended instead. */
  async listening(): Promise<void> {
    while (!this.#stderr.includes('Ctrl-C ends it')) {
      if (this.#child.exitCode !== null) throw new Error(`it ended: ${this.#stderr}`);
      await this.#change();
    }
  }

  /** The snapshots of `--json --every` so far, the next one first waited for. */
  async nextSnapshot(): Promise<LiveSummary> {
    const before = this.#stdout.split('\n').length;
    while (this.#stdout.split('\n').length === before) await this.#change();
    return JSON.parse(this.#stdout.trimEnd().split('\n').at(-1)!) as LiveSummary;
  }

  /** Waits for snapshots until one of them is as wanted. */
  async snapshotWhere(wanted: (snapshot: LiveSummary) => boolean): Promise<LiveSummary> {
    for (;;) {
      const snapshot = await this.nextSnapshot();
      if (wanted(snapshot)) return snapshot;
    }
  }

  /** Ctrl-C, and what it said in the end. */
  interrupt(): Promise<Finished> {
    this.kill('SIGINT');
    return this.finished;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  #take(change: () => void): void {
    change();
    this.#changed();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => (this.#changed = resolve));
  }
}

export interface Accounting {
  readonly received: number;
  readonly ringDrops: number;
  readonly rejected: number;
  readonly inFlight: number;
  readonly verdicts: Readonly<Record<string, number>>;
}

/** What `--json` prints, as far as these tests look at it. */
export interface LiveSummary {
  readonly interface: string;
  readonly backend: string;
  readonly packets: number;
  readonly live: { readonly packets: number; readonly interrupted: boolean; readonly knowsLosses: boolean; readonly failure?: string };
  readonly accounting: Accounting;
  readonly sent?: readonly { readonly interface: string; readonly packets: number; readonly tooLong: number; readonly refused: number }[];
  readonly statistics: {
    readonly truncated: number;
    readonly fates: readonly { readonly fate: string; readonly packets: number }[];
    readonly programs: readonly { readonly program: string; readonly packets: number; readonly verdicts: readonly { readonly verdict: string; readonly packets: number }[] }[];
  };
}

/** received = ringDrops + rejected + sum of verdicts + inFlight, to the packet. */
export function holds({ received, ringDrops, rejected, inFlight, verdicts }: Accounting): boolean {
  return inFlight >= 0 && received === ringDrops + rejected + inFlight + Object.values(verdicts).reduce((sum, packets) => sum + packets, 0);
}
