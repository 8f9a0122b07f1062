/** A server that looks at a live interface: on interfaces of the test's own, in a network namespace where the server runs too. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { object, REPOSITORY, trace } from '../cli/run-cli.ts';
import { Namespace, namespaceTitle, whyNoNamespaces } from '../devices/veth-pair.ts';

interface Run {
  readonly id: string;
  readonly state: string;
  readonly interface: string;
  readonly packets: number;
  readonly accounting?: { readonly received: number; readonly inFlight: number; readonly rejected: number; readonly ringDrops: number; readonly verdicts: Readonly<Record<string, number>> };
}

describe.skipIf(whyNoNamespaces !== undefined)(namespaceTitle('a server with --live'), { timeout: 60_000 }, () => {
  let here: Namespace;
  beforeEach(() => {
    here = new Namespace();
    here.ip('link', 'set', 'lo', 'up');
    here.pair('near', 'far');
  });
  afterEach(() => here.remove());

  test('judges what comes in, accounts for it, and starts again only what it was started with', async () => {
    const server = here.start(process.execPath, `${REPOSITORY}dist/dataplane/cli/main.js`, 'serve', '--no-verify', '--port', '0', '--live', 'near', '--xdp', object('xdp_firewall.bpf.o'));
    const url = await new Promise<string>((resolve, reject) => {
      server.stdout.on('data', (chunk: Buffer) => resolve(/http:\S+/.exec(chunk.toString())![0]));
      server.stderr.on('data', (chunk: Buffer) => chunk.toString().startsWith('xdplab:') && reject(new Error(chunk.toString())));
    });
    const [origin, token] = url.split('/#token=');
    // Its loopback is not ours.
    const ask = (method: string, path: string, body?: object): { readonly status: number; readonly body: never } =>
      JSON.parse(here.run(process.execPath, '-e', `fetch('${origin}${path}', { method: '${method}', headers: { authorization: 'Bearer ${token}' ${body === undefined ? '' : ", 'content-type': 'application/json'"} } ${body === undefined ? '' : `, body: '${JSON.stringify(body)}'`} }).then(async (response) => console.log(JSON.stringify({ status: response.status, body: await response.json() })))`)) as never;
    try {
      await here.send('far', trace('mixed.pcap'));
      let run: Run;
      do run = ask('GET', '/api/runs/r1').body;
      while (run.packets < 1000);
      expect(run).toMatchObject({ interface: 'near', capture: '', state: 'running', packets: 1000, accounting: { received: 1000, ringDrops: 0, rejected: 0, inFlight: 0 } });
      expect(ask('GET', '/api/statistics').body).toMatchObject({ packets: 1000, devices: [{ device: 'near' }] });
      expect(ask('POST', '/api/runs/r1/pause')).toMatchObject({ status: 422 });
      expect(ask('POST', '/api/runs/r1/stop')).toMatchObject({ status: 200, body: { state: 'stopped', packets: 1000 } });
      expect(ask('POST', '/api/runs', { interface: 'far' })).toMatchObject({ status: 422, body: { code: 'ERR_REFUSED', detail: 'interface far: the server was not started with it; start it with --live far' } });
      expect(ask('POST', '/api/runs', { interface: 'near' })).toMatchObject({ status: 201, body: { id: 'r2', state: 'running', interface: 'near' } });
    } finally {
      server.kill('SIGINT');
      await new Promise((resolve) => server.on('close', resolve));
    }
  });
});
