/**
 * Two connected interfaces in a network namespace of their own, made and removed by the test that uses them. Nothing
 * but the test sends on them.
 */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { Namespace as BareNamespace, whyNoNamespaces as whyNot } from '../../bench/namespace.ts';
import { REPOSITORY } from '../cli/run-cli.ts';

const MAIN = `${REPOSITORY}dist/dataplane/cli/start.cjs`;
const SEND = `${REPOSITORY}dist/bench/send-capture.js`;

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export const whyNoNamespaces: string | undefined = whyNot();

/** A title that shows why a test is skipped. */
export function namespaceTitle(title: string): string {
  return whyNoNamespaces === undefined ? title : `${title} (skipped: ${whyNoNamespaces})`;
}

/** With the command line as this test runs it. */
/** How XDP runs on an interface, as `ip link` says it. */
export const XDP_MODE = { native: 1, generic: 2 } as const;

export class Namespace extends BareNamespace {
  /** One with a pair of interfaces, and a loopback that servers listen on. */
  static forServers(): Namespace {
    const here = new Namespace();
    here.ip('link', 'set', 'lo', 'up');
    here.pair('near', 'far');
    return here;
  }

  /** An XDP_MODE; undefined where nothing is attached. */
  xdpMode(device: string): number | undefined {
    return (JSON.parse(this.ip('-j', 'link', 'show', device)) as { readonly xdp?: { readonly mode: number } }[])[0]!.xdp?.mode;
  }

  /** `xdplab live`, once it is listening. Whether Linux would load the programs is asked elsewhere. */
  async live(...args: string[]): Promise<LiveCommand> {
    const command = new LiveCommand(this.start(process.execPath, MAIN, 'live', '--no-verify', ...args));
    await command.listening();
    return command;
  }

  /** What `xdplab live` says when it ends by itself. */
  refused(...args: string[]): Promise<Finished> {
    return this.refusedWith([], ...args);
  }

  /** The same, with options of Node's. */
  refusedWith(node: readonly string[], ...args: string[]): Promise<Finished> {
    return new LiveCommand(this.start(process.execPath, ...node, MAIN, 'live', ...args)).finished;
  }

  /** Sends a capture's packets as fast as they go; how many the kernel took. */
  send(device: string, capture: string, ...options: string[]): Promise<number> {
    const child = this.start(process.execPath, SEND, device, capture, ...options);
    return new Promise((resolve, reject) => {
      let [out, err] = ['', ''];
      child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
      child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
      child.on('close', (status) => (status === 0 ? resolve((JSON.parse(out) as { packets: number }).packets) : reject(new Error(err))));
    });
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

  get pid(): number {
    return this.#child.pid!;
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
    readonly hooks: readonly { readonly cpus: readonly { readonly cpu: number; readonly packets: number }[] }[];
    readonly programs: readonly { readonly program: string; readonly packets: number; readonly verdicts: readonly { readonly verdict: string; readonly packets: number }[] }[];
  };
}

/** received = ringDrops + rejected + sum of verdicts + inFlight, to the packet. */
export function holds({ received, ringDrops, rejected, inFlight, verdicts }: Accounting): boolean {
  return inFlight >= 0 && received === ringDrops + rejected + inFlight + Object.values(verdicts).reduce((sum, packets) => sum + packets, 0);
}
