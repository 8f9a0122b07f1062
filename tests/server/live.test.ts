/** A server that looks at live interfaces: on interfaces of the test's own, in a network namespace where the server runs too. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { object, REPOSITORY, trace } from '../cli/run-cli.ts';
import { holds, Namespace, namespaceTitle, whyNoNamespaces, type Accounting } from '../devices/veth-pair.ts';

interface Run {
  readonly id: string;
  readonly state: string;
  readonly interface: string;
  readonly packets: number;
  readonly busyNs: number;
  readonly accounting?: Accounting;
  readonly sent?: readonly { readonly interface: string; readonly packets: number }[];
}

interface Answer {
  readonly status: number;
  readonly body: never;
}

class Server {
  readonly #here: Namespace;
  readonly #child: ReturnType<Namespace['start']>;
  #origin = '';
  #token = '';

  private constructor(here: Namespace, child: ReturnType<Namespace['start']>) {
    this.#here = here;
    this.#child = child;
  }

  static async start(here: Namespace, ...args: string[]): Promise<Server> {
    const child = here.start(process.execPath, `${REPOSITORY}dist/dataplane/cli/main.js`, 'serve', '--no-verify', '--port', '0', ...args);
    const server = new Server(here, child);
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout.on('data', (chunk: Buffer) => resolve(/http:\S+/.exec(chunk.toString())![0]));
      child.stderr.on('data', (chunk: Buffer) => chunk.toString().startsWith('xdplab:') && reject(new Error(chunk.toString())));
    });
    [server.#origin, server.#token] = url.split('/#token=') as [string, string];
    return server;
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

  async stop(): Promise<void> {
    this.#child.kill('SIGINT');
    await new Promise((resolve) => this.#child.on('close', resolve));
  }
}

describe.skipIf(whyNoNamespaces !== undefined)(namespaceTitle('a server with --live'), { timeout: 60_000 }, () => {
  let here: Namespace;
  let server: Server | undefined;
  beforeEach(() => {
    here = new Namespace();
    here.ip('link', 'set', 'lo', 'up');
    here.pair('near', 'far');
  });
  afterEach(async () => {
    await server?.stop();
    server = undefined;
    here.remove();
  });

  test('judges what comes in, accounts for it, and starts again only what it was started with', async () => {
    server = await Server.start(here, '--live', 'near', '--xdp', object('xdp_firewall.bpf.o'));
    await here.send('far', trace('mixed.pcap'));
    const run = server.runWhere('r1', ({ packets }) => packets >= 1000);
    expect(run).toMatchObject({ interface: 'near', capture: '', state: 'running', packets: 1000, accounting: { received: 1000, ringDrops: 0, rejected: 0, inFlight: 0 } });
    expect(run.busyNs).toBeGreaterThan(0);
    expect(server.ask('GET', '/api/statistics').body).toMatchObject({ packets: 1000, devices: [{ device: 'near' }] });
    expect(server.ask('POST', '/api/runs/r1/pause')).toMatchObject({ status: 422 });
    expect(server.ask('POST', '/api/runs/r1/stop')).toMatchObject({ status: 200, body: { state: 'stopped', packets: 1000 } });
    const refused = (body: object, detail: string): void => expect(server!.ask('POST', '/api/runs', body)).toMatchObject({ status: 422, body: { code: 'ERR_REFUSED', detail } });
    refused({ interface: 'far' }, 'interface far: the server was not started with it; start it with --live far');
    refused({ interface: 'near', to: 'far' }, 'interface near: the server was not started to send by far; start it with --live near --allow-inline far');
    refused({ interface: 'near', attach: 'generic' }, 'interface near: a server attaches nothing to interfaces; use xdplab live near --attach generic');
    expect(server.ask('POST', '/api/runs', { interface: 'near' })).toMatchObject({ status: 201, body: { id: 'r2', state: 'running', interface: 'near' } });
  });

  test('sees what the host itself sends where a program is at TC egress', async () => {
    server = await Server.start(here, '--live', 'near', '--tc-egress', `${object('tc_firewall.bpf.o')}:tc_fw_egress`);
    await here.send('near', trace('icmp.pcap'), '--queued');
    const { packets } = server.runWhere('r1', (run) => run.packets > 0);
    expect(packets).toBeGreaterThan(0);
    expect(server.ask('GET', '/api/statistics').body).toMatchObject({ hooks: [{ device: 'near', hook: 'tc-egress' }] });
  });

  test('is a bump in the wire where it was started so and somebody asks, and sends nothing before', async () => {
    here.pair('other', 'outer');
    server = await Server.start(here, '--live', 'near', '--allow-inline', 'other', '--xdp', object('xdp_firewall.bpf.o'));
    const received = (name: string): number => (JSON.parse(here.ip('-j', '-s', 'link', 'show', name)) as { stats64: { rx: { packets: number } } }[])[0]!.stats64.rx.packets;
    await here.send('far', trace('mixed.pcap'));
    server.runWhere('r1', ({ packets }) => packets >= 1000);
    expect(received('outer')).toBe(0);
    server.ask('POST', '/api/runs/r1/stop');
    expect(server.ask('POST', '/api/runs', { interface: 'near', to: 'far' })).toMatchObject({ status: 422, body: { code: 'ERR_REFUSED' } });
    expect(server.ask('POST', '/api/runs', { interface: 'near', to: 'other' })).toMatchObject({ status: 201, body: { interface: 'near', to: 'other', state: 'running' } });
    await here.send('far', trace('mixed.pcap'));
    server.runWhere('r2', ({ packets }) => packets >= 1000);
    const { body } = server.ask('POST', '/api/runs/r2/stop') as { readonly body: Run };
    expect(holds(body.accounting!)).toBe(true);
    const passed = body.accounting!.verdicts['stack'] ?? 0;
    expect(passed).toBeGreaterThan(0);
    expect(body.sent).toMatchObject([{ interface: 'near', packets: 0 }, { interface: 'other', packets: passed }]);
    expect(received('outer')).toBe(passed);
    // And nothing afterwards.
    await here.send('far', trace('mixed.pcap'));
    expect(received('outer')).toBe(passed);
  });
});
