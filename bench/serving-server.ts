/** `xdplab serve` in a process of its own, as a user runs it, and what is asked of it while it is measured. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const XDPLAB = join(ROOT, 'dist/dataplane/cli/start.cjs');
export const DEMO_LAB: string = join(ROOT, 'programs/demo.yaml');

export interface RunState {
  readonly state: string;
  readonly packets: number;
  readonly elapsedNs: number;
}

export class MeasuredServer {
  readonly origin: string;
  readonly token: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    const [origin, token] = url.split('/#token=');
    this.origin = origin!;
    this.token = token!;
  }

  static start(args: readonly string[]): Promise<MeasuredServer> {
    const child = spawn(process.execPath, [XDPLAB, 'serve', '--port', '0', '--lab', DEMO_LAB, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    return new Promise((resolve, reject) => {
      child.stdout.on('data', (chunk: Buffer) => {
        const [url] = /http:\S+/.exec(chunk.toString()) ?? [];
        if (url !== undefined) resolve(new MeasuredServer(child, url));
      });
      child.on('exit', (status) => reject(new Error(`xdplab serve ended with status ${status}`)));
    });
  }

  get authorization(): string {
    return `Bearer ${this.token}`;
  }

  json<Body>(path: string): Promise<Body> {
    return this.#ask<Body>(path, {});
  }

  post<Body>(path: string, body: object): Promise<Body> {
    return this.#ask<Body>(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  }

  async #ask<Body>(path: string, request: { readonly method?: string; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }): Promise<Body> {
    const response = await fetch(`${this.origin}${path}`, { ...request, headers: { ...request.headers, authorization: this.authorization } });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as Body;
  }

  run(): Promise<RunState> {
    return this.json<RunState>('/api/runs/r1');
  }

  /** Of the whole process. */
  get memoryBytes(): number {
    const [, kib] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8')) ?? [];
    return Number(kib) * 1024;
  }

  /** Time that each thread was on a core, by its id. The server's own has the id of the process. */
  get cpuNs(): ReadonlyMap<number, number> {
    const tasks = `/proc/${this.pid}/task`;
    return new Map(readdirSync(tasks).map((id) => [Number(id), Number(readFileSync(`${tasks}/${id}/schedstat`, 'utf8').split(' ')[0])]));
  }

  get pid(): number {
    return this.#child.pid!;
  }

  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.#child.removeAllListeners('exit');
      this.#child.on('exit', () => resolve());
      this.#child.kill('SIGINT');
    });
  }
}
