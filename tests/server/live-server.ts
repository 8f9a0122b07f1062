/** A server that runs in a namespace of its own, and what is asked of it there. */
import { REPOSITORY } from '../cli/run-cli.ts';
import type { Accounting, Namespace } from '../devices/veth-pair.ts';

export interface Run {
  readonly id: string;
  readonly state: string;
  readonly interface: string;
  readonly packets: number;
  readonly busyNs: number;
  readonly accounting?: Accounting;
  readonly attach?: string;
  readonly attached?: readonly { readonly program: string; readonly hook: string; readonly mode: string; readonly packets: number; readonly verdicts: readonly { readonly verdict: string; readonly packets: number }[] }[];
  readonly sent?: readonly { readonly interface: string; readonly packets: number }[];
}

export interface Answer {
  readonly status: number;
  readonly body: never;
}

export class Server {
  readonly #here: Namespace;
  readonly #child: ReturnType<Namespace['start']>;
  #origin = '';
  #token = '';

  private constructor(here: Namespace, child: ReturnType<Namespace['start']>) {
    this.#here = here;
    this.#child = child;
  }

  static async start(here: Namespace, ...args: string[]): Promise<Server> {
    const child = here.start(process.execPath, `${REPOSITORY}dist/dataplane/cli/start.cjs`, 'serve', '--no-verify', '--port', '0', ...args);
    const server = new Server(here, child);
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout.on('data', (chunk: Buffer) => resolve(/http:\S+/.exec(chunk.toString())![0]));
      child.stderr.on('data', (chunk: Buffer) => chunk.toString().startsWith('xdplab:') && reject(new Error(chunk.toString())));
    });
    [server.#origin, server.#token] = url.split('/#token=') as [string, string];
    return server;
  }

  /** With the token. */
  get url(): string {
    return `${this.#origin}/#token=${this.#token}`;
  }

  /** Its loopback is not ours. */
  ask(method: string, path: string, body?: object): Answer {
    const json = body === undefined ? '' : `, 'content-type': 'application/json'`;
    return JSON.parse(this.#here.run(process.execPath, '-e', `fetch('${this.#origin}${path}', { method: '${method}', headers: { authorization: 'Bearer ${this.#token}' ${json} } ${body === undefined ? '' : `, body: '${JSON.stringify(body)}'`} }).then(async (response) => console.log(JSON.stringify({ status: response.status, body: await response.json() })))`)) as Answer;
  }

  runWhere(id: string, isThere: (run: Run) => boolean): Run {
    for (;;) {
      const run: Run = this.ask('GET', `/api/runs/${id}`).body;
      if (isThere(run)) return run;
      if (run.state === 'failed') throw new Error(JSON.stringify(run));
    }
  }

  async stop(signal: NodeJS.Signals = 'SIGINT'): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill(signal);
    await new Promise((resolve) => this.#child.on('close', resolve));
  }
}
