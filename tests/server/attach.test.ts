/** A server that may attach: its lab's programs in the running Linux, on an interface of the test's own, begun, watched and ended over HTTP. */
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { kernelTitle, whyNoKernel } from '../engine/kernel/kernel-here.ts';
import { object, replaySummary, Scratch, trace } from '../cli/run-cli.ts';
import { Namespace, namespaceTitle, whyNoNamespaces, XDP_MODE } from '../devices/veth-pair.ts';
import { Server, type Answer, type Run } from './live-server.ts';

const FIREWALL = object('xdp_firewall.bpf.o');
const TC_FIREWALL = object('tc_firewall.bpf.o');
const scratch = new Scratch();
afterAll(() => scratch.remove());

interface Counted {
  readonly packets: number;
  readonly devices: readonly { readonly device: string; readonly rxPackets: number }[];
  readonly reasons: readonly { readonly reason: string; readonly packets: number }[];
  readonly fates: readonly { readonly fate: string; readonly packets: number }[];
  readonly hooks: readonly { readonly hook: string; readonly packets: number; readonly verdicts: readonly { readonly verdict: string; readonly packets: number }[] }[];
}

describe.skipIf(whyNoNamespaces !== undefined || whyNoKernel !== undefined)(kernelTitle(namespaceTitle('a server with --allow-attach')), { timeout: 60_000 }, () => {
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

  const start = (...args: string[]): Promise<Server> => Server.start(here, '--live', 'near', '--allow-attach', ...args);
  const attach = (mode: string): Answer => {
    server!.ask('POST', '/api/runs/r1/stop');
    return server!.ask('POST', '/api/runs', { interface: 'near', attach: mode });
  };
  const statistics = (): Counted => server!.ask('GET', '/api/statistics').body;
  const mapCalled = (name: string): { readonly id: number } => (server!.ask('GET', '/api/maps').body as { readonly maps: readonly { readonly id: number; readonly name: string }[] }).maps.find((map) => map.name === name)!;
  const entriesOf = (name: string): readonly { readonly key: unknown; readonly value: unknown }[] => (server!.ask('GET', `/api/maps/${mapCalled(name).id}`).body as { readonly entries: [] }).entries;

  test.each([['native', XDP_MODE.native], ['generic', XDP_MODE.generic]] as const)('has programs attached by %s XDP where somebody asks, with verdicts as in a replay and maps as Linux keeps them', async (mode, number) => {
    const replayed = await replaySummary([trace('mixed.pcap'), '--xdp', FIREWALL]);
    server = await start('--xdp', FIREWALL);
    expect(here.xdpMode('near')).toBeUndefined();
    expect(attach(mode)).toMatchObject({ status: 201, body: { id: 'r2', interface: 'near', attach: mode, state: 'running', attached: [{ program: 'xdp_firewall', hook: 'xdp', mode, packets: 0 }] } });
    expect(here.xdpMode('near')).toBe(number);
    await here.send('far', trace('mixed.pcap'));
    const run = server.runWhere('r2', ({ packets }) => packets >= 1000);
    const wanted = replayed.statistics.programs[0]!.verdicts.map(({ verdict, packets }) => ({ verdict, packets }));
    expect(run.attached).toMatchObject([{ packets: 1000, verdicts: wanted }]);
    expect(statistics()).toMatchObject({ packets: 1000, devices: [{ device: 'near', rxPackets: 1000 }], hooks: [{ hook: 'xdp', packets: 1000, verdicts: wanted }] });
    expect(Object.keys(run).toSorted()).toEqual(['attach', 'attached', 'busyNs', 'bytes', 'elapsedNs', 'id', 'interface', 'packets', 'startedAt', 'state']);
    expect(run).toMatchObject({ bytes: null, busyNs: null });
    expect(statistics().reasons).toEqual([]);
    expect(Object.fromEntries(statistics().fates.map(({ fate, packets }) => [fate, packets]))).toEqual(Object.fromEntries(replayed.statistics.fates.map(({ fate, packets }) => [fate, packets])));
    expect(server.ask('POST', '/api/runs/r2/stop')).toMatchObject({ status: 200, body: { state: 'stopped', packets: 1000 } });
    expect(here.xdpMode('near')).toBeUndefined();
  });

  test('lets maps be written while Linux has them, keeps what it had in them, and goes on by itself', async () => {
    server = await start('--xdp', FIREWALL);
    attach('generic');
    const { id } = mapCalled('deny_v4');
    expect(server.ask('PUT', `/api/maps/${id}/entries`, { key: '0.0.0.0/0', value: 1 })).toMatchObject({ status: 200, body: { value: 1 } });
    await here.send('far', trace('mixed.pcap'));
    server.runWhere('r2', ({ packets }) => packets >= 1000);
    const [{ verdicts }] = statistics().hooks as [Counted['hooks'][0]];
    const dropped = (of: readonly { verdict: string; packets: number }[]): number => of.find(({ verdict }) => verdict === 'XDP_DROP')!.packets;
    expect(dropped(verdicts)).toBeGreaterThan(0);
    expect(statistics().reasons).toMatchObject([{ reason: 'XDP', packets: dropped(verdicts) }]);
    const counters = entriesOf('fw_counters');
    expect(JSON.stringify(counters)).toMatch(/"packets":[1-9]/);
    server.ask('POST', '/api/runs/r2/stop');
    expect(entriesOf('fw_counters')).toEqual(counters);
    expect(entriesOf('deny_v4')).toEqual([{ key: '0.0.0.0/0', value: 1 }]);
    expect(server.ask('POST', '/api/runs', { interface: 'near' })).toMatchObject({ status: 201 });
    await here.send('far', trace('mixed.pcap'));
    server.runWhere('r3', ({ packets }) => packets >= 1000);
    expect(statistics().hooks[0]).toMatchObject({ packets: 2000 });
    expect(dropped(statistics().hooks[0]!.verdicts)).toBe(2 * dropped(verdicts));
  });

  test('changes nothing of what is attached meanwhile, and says so', async () => {
    server = await start('--xdp', FIREWALL);
    attach('generic');
    const detail = 'run r2: its programs are attached by the running Linux, and stay as they are meanwhile; stop it first';
    const [{ index }] = (server.ask('GET', '/api/lab').body as { readonly attachments: [{ readonly index: number }] }).attachments;
    expect(server.ask('DELETE', `/api/lab/attachments/${index}`)).toMatchObject({ status: 422, body: { detail } });
    expect(server.ask('POST', '/api/lab/attachments', { object: 'o1', hook: 'xdp' })).toMatchObject({ status: 422, body: { detail } });
    expect(server.ask('POST', '/api/lab/rerun', { bytes: '00'.repeat(60) })).toMatchObject({ status: 422, body: { detail } });
    expect(server.ask('POST', '/api/runs/r2/pause')).toMatchObject({ status: 422 });
    expect(server.ask('POST', '/api/runs', { interface: 'near' })).toMatchObject({ status: 409 });
  });

  test('attaches TC programs by TCX in both directions, and refuses modes that the lab is not for', async () => {
    const lab = scratch.file('tc.yaml', `devices: [{ name: near, tc-ingress: ["${TC_FIREWALL}:tc_fw_ingress"], tc-egress: ["${TC_FIREWALL}:tc_fw_egress"] }]\n`);
    server = await start('--lab', lab);
    expect(attach('tcx')).toMatchObject({ status: 201, body: { attached: [{ hook: 'tc-ingress', mode: 'tcx' }, { hook: 'tc-egress', mode: 'tcx' }] } });
    await here.send('far', trace('mixed.pcap'));
    await here.send('near', trace('icmp.pcap'), '--queued');
    const { attached = [] } = server.runWhere('r2', ({ attached: programs = [] }) => programs.length === 2 && programs.every(({ packets }) => packets > 0));
    expect(statistics().hooks.map(({ hook, packets }) => [hook, packets])).toEqual(attached.map(({ hook, packets }) => [hook, packets]));
    await server.stop();
    server = await start('--xdp', FIREWALL);
    expect(attach('tcx')).toMatchObject({ status: 422, body: { code: 'ERR_LAB', detail: "program 'xdp_firewall': tcx attaches TC programs, and it is for XDP; use native or generic" } });
    expect(server.ask('POST', '/api/runs', { interface: 'near', attach: 'native', to: 'far' })).toMatchObject({ status: 422, body: { code: 'ERR_REFUSED' } });
    expect(server.ask('POST', '/api/runs', { interface: 'far', attach: 'native' })).toMatchObject({ status: 422, body: { code: 'ERR_REFUSED' } });
    expect(here.xdpMode('near')).toBeUndefined();
  });

  test('is none the worse where Linux refuses, because another program is there', async () => {
    server = await start('--xdp', FIREWALL);
    const first = await here.live('near', '--attach', 'generic', '--xdp', FIREWALL);
    const busy = attach('generic');
    expect(busy).toMatchObject({ status: 422, body: { code: 'ERR_DEVICE' } });
    expect((busy.body as { readonly detail: string }).detail).toMatch(/^near: Linux does not attach 'xdp_firewall' to xdp \(generic\): another program is attached there/);
    await first.interrupt();
    expect(server.ask('PUT', `/api/maps/${mapCalled('deny_v4').id}/entries`, { key: '192.0.2.0/24', value: 1 })).toMatchObject({ status: 200 });
    expect(server.ask('POST', '/api/runs', { interface: 'near', attach: 'generic' })).toMatchObject({ status: 201 });
    expect(entriesOf('deny_v4')).toEqual([{ key: '192.0.2.0/24', value: 1 }]);
  });

  test.each([
    ['another lab takes its place', (): unknown => server!.ask('POST', '/api/lab/reset')],
    ['the server ends', () => server!.stop()],
    ['the server is killed', () => server!.stop('SIGKILL')],
  ] as const)('leaves nothing attached when %s', async (_, end) => {
    server = await start('--xdp', FIREWALL);
    attach('generic');
    expect(here.xdpMode('near')).toBe(XDP_MODE.generic);
    await end();
    await expect.poll(() => here.xdpMode('near')).toBeUndefined();
  });

  test('ends the run, with the reason, when its interface goes away', async () => {
    server = await start('--xdp', FIREWALL);
    attach('generic');
    here.ip('link', 'delete', 'near');
    const run = (): Run => server!.ask('GET', '/api/runs/r2').body;
    await expect.poll(() => run().state).toBe('failed');
    expect((run() as unknown as { readonly error: string }).error).toMatch(/^interface 'near': there is none of that name/);
  });
});

test.skipIf(whyNoNamespaces !== undefined || whyNoKernel !== undefined)(kernelTitle(namespaceTitle('--allow-attach wants an interface, and the CPUs of this Linux')), async () => {
  const here = new Namespace();
  try {
    await expect(Server.start(here, '--allow-attach')).rejects.toThrow('--allow-attach: to which interface? Give it with --live');
    here.pair('near', 'far');
    await expect(Server.start(here, '--live', 'near', '--allow-attach', '--cpus', '4')).rejects.toThrow('leave --cpus out');
  } finally {
    here.remove();
  }
});
