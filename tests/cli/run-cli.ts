/** Runs the built command line as a user does: a process of its own, with pipes for its streams. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const REPOSITORY: string = fileURLToPath(new URL('../../', import.meta.url));
const MAIN = join(REPOSITORY, 'dist/dataplane/cli/start.cjs');

export interface Run {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stdoutBytes: Buffer;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  /** The user who runs it; only root can say that. */
  readonly uid?: number;
}

export function trace(name: string): string {
  return join(REPOSITORY, 'traces', name);
}

export function object(name: string): string {
  return join(REPOSITORY, 'programs', name);
}

export function start(args: readonly string[], env: RunOptions['env'] = {}, uid?: number): ChildProcessWithoutNullStreams {
  if (!existsSync(MAIN)) throw new Error(`${MAIN} is missing: run 'npm run build' before these tests, as 'npm test' does`);
  const { NO_COLOR: _no, FORCE_COLOR: _force, ...inherited } = process.env;
  return spawn(process.execPath, [MAIN, ...args], { env: { ...inherited, ...env }, ...(uid === undefined ? {} : { uid, gid: uid }) });
}

export function xdplab(args: readonly string[], { input, env, uid }: RunOptions = {}): Promise<Run> {
  const child = start(args, env, uid);
  // The command may rightly end before it has read everything.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  return ended(child);
}

/** What the process said and how it ended. */
export function ended(child: ChildProcessWithoutNullStreams): Promise<Run> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => {
      const stdoutBytes = Buffer.concat(out);
      resolve({ status, signal, stdout: stdoutBytes.toString(), stdoutBytes, stderr: Buffer.concat(err).toString() });
    });
  });
}

export class Scratch {
  readonly path: string = mkdtempSync(join(tmpdir(), 'xdplab-cli-'));

  at(name: string): string {
    return join(this.path, name);
  }

  file(name: string, content: string | Uint8Array): string {
    writeFileSync(this.at(name), content);
    return this.at(name);
  }

  remove(): void {
    rmSync(this.path, { recursive: true });
  }
}

/** The summary that `--json` prints, as far as these tests look at it. */
export interface Summary {
  readonly capture: string;
  readonly engine: string;
  readonly replay: {
    readonly packets: number;
    readonly elapsedNs: number;
    readonly format: string;
    readonly compression: string;
    readonly interfaces: readonly { readonly linkType: number; readonly name?: string }[];
    readonly interrupted: boolean;
    readonly damage?: string;
  };
  readonly statistics: {
    readonly packets: number;
    readonly bytes: number;
    readonly truncated: number;
    readonly fates: readonly { readonly fate: string; readonly packets: number; readonly bytes: number }[];
    readonly reasons: readonly { readonly reason: string; readonly packets: number }[];
    readonly hooks: readonly { readonly device: string; readonly hook: string; readonly packets: number }[];
    readonly programs: readonly { readonly program: string; readonly hook: string; readonly packets: number; readonly verdicts: readonly { readonly verdict: string; readonly packets: number }[] }[];
    readonly devices: readonly { readonly device: string; readonly ifindex: number; readonly rxPackets: number; readonly txPackets: number }[];
  };
  readonly maps: readonly { readonly title: string; readonly map: string; readonly by: string; readonly total: number; readonly more: number; readonly rows: readonly { readonly label: string; readonly amount: number }[] }[];
  readonly events: readonly { readonly source: string; readonly count: number }[];
}

/** Runs `replay … --json`; the run has to succeed. */
export async function replaySummary(args: readonly string[], options: RunOptions = {}): Promise<Summary> {
  const { status, stdout, stderr } = await xdplab(['replay', ...args, '--json'], options);
  if (status !== 0) throw new Error(`replay ${args.join(' ')}: status ${status}: ${stderr}`);
  return JSON.parse(stdout) as Summary;
}
