/** A server that looks at live interfaces: on interfaces of the test's own, in a network namespace where the server runs too. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { object, trace } from '../cli/run-cli.ts';
import { holds, Namespace, namespaceTitle, whyNoNamespaces } from '../devices/veth-pair.ts';
import { Server, type Run } from './live-server.ts';

describe.skipIf(whyNoNamespaces !== undefined)(namespaceTitle('a server with --live'), { timeout: 60_000 }, () => {
  let here: Namespace;
  let server: Server | undefined;
  beforeEach(() => {
    here = Namespace.forServers();
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
    expect(Object.keys(run).toSorted()).toEqual(['accounting', 'busyNs', 'bytes', 'elapsedNs', 'id', 'interface', 'packets', 'startedAt', 'state']);
    expect(run).toMatchObject({ interface: 'near', state: 'running', packets: 1000, accounting: { received: 1000, ringDrops: 0, rejected: 0, inFlight: 0 } });
    expect(run.busyNs).toBeGreaterThan(0);
    expect(server.ask('GET', '/api/statistics').body).toMatchObject({ packets: 1000, devices: [{ device: 'near' }] });
    expect(server.ask('POST', '/api/runs/r1/pause')).toMatchObject({ status: 422 });
    expect(server.ask('POST', '/api/runs/r1/stop')).toMatchObject({ status: 200, body: { state: 'stopped', packets: 1000 } });
    const refused = (body: object, detail: string): void => expect(server!.ask('POST', '/api/runs', body)).toMatchObject({ status: 422, body: { code: 'ERR_REFUSED', detail } });
    refused({ interface: 'far' }, 'interface far: the server was not started with it; start it with --live far');
    refused({ interface: 'near', to: 'far' }, 'interface near: the server was not started to send by far; start it with --live near --allow-inline far');
    refused({ interface: 'near', attach: 'generic' }, 'interface near: the server was not started to attach programs to it; start it with --live near --allow-attach');
    expect(server.ask('POST', '/api/runs', { interface: 'near' })).toMatchObject({ status: 201, body: { id: 'r2', state: 'running', interface: 'near' } });
  });

  test('spreads what comes in over several CPUs, each with a ring of its own, lets lines be counted meanwhile, and begins again', async () => {
    server = await Server.start(here, '--live', 'near', '--cpus', '2', '--xdp', object('xdp_firewall.bpf.o'));
    const cpus = (): readonly number[] => (server!.ask('GET', '/api/statistics').body as { readonly hooks: readonly { readonly cpus: readonly { readonly packets: number }[] }[] }).hooks[0]!.cpus.map(({ packets }) => packets);
    const counts = (): { readonly runs: number } => server!.ask('GET', '/api/objects/o1/programs/xdp_firewall/counts').body;
    await here.send('far', trace('mixed.pcap'));
    expect(server.runWhere('r1', ({ packets }) => packets >= 1000)).toMatchObject({ packets: 1000, accounting: { received: 1000, ringDrops: 0, inFlight: 0 } });
    const spread = cpus();
    expect(spread.every((packets) => packets > 0)).toBe(true);
    expect(spread[0]! + spread[1]!).toBe(1000);
    // From here on, the next packets are looked at by one CPU; then both have them again.
    expect(counts().runs).toBe(0);
    await here.send('far', trace('mixed.pcap'));
    server.runWhere('r1', ({ packets }) => packets >= 2000);
    expect(counts().runs).toBeGreaterThan(0);
    const { body } = server.ask('POST', '/api/runs/r1/stop') as { readonly body: Run };
    expect(body).toMatchObject({ state: 'stopped', packets: 2000, accounting: { received: 2000, inFlight: 0 } });
    server.ask('POST', '/api/runs', { interface: 'near' });
    // A while after somebody has asked for counts nobody looks any more.
    let sent = 0;
    const spreadAgain = async (): Promise<readonly number[]> => {
      const before = cpus();
      await here.send('far', trace('mixed.pcap'));
      sent += 1000;
      const { accounting } = server!.runWhere('r2', ({ packets }) => packets >= sent);
      expect(holds(accounting!)).toBe(true);
      return cpus().map((packets, cpu) => packets - before[cpu]!);
    };
    await expect.poll(spreadAgain, { timeout: 25_000 }).toEqual(spread);
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
